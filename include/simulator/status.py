"""Errors of the API server as Kubernetes `Status` objects, in the real server's words."""

from __future__ import annotations

import json
from typing import Any

from include.simulator.resources import Resource


class ApiError(Exception):
    """A request that the API server refuses.

    Holds what the `Status` body says; `str()` of it is the message.
    """

    def __init__(self, code: int, *, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> dict[str, Any]:
        """Return the `Status` object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status

    def event(self) -> str:
        """Return the line by which a watch is told."""
        return json.dumps({"type": "ERROR", "object": self.body()}) + "\n"


def _details(resource: Resource, *, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    return details


def not_found(resource: Resource, *, name: str) -> ApiError:
    """Return the error for an object that does not exist."""
    return ApiError(
        404,
        reason="NotFound",
        message=f'{resource.qualified} "{name}" not found',
        details=_details(resource, name=name),
    )


def no_such_resource() -> ApiError:
    """Return the error for a subresource that the kind does not have."""
    return ApiError(404, reason="NotFound", message="the server could not find the requested resource", details={})


def already_exists(resource: Resource, *, name: str, deleting: bool) -> ApiError:
    """Return the error for a create whose name is taken, maybe by an object that is being deleted."""
    prefix = "object is being deleted: " if deleting else ""
    return ApiError(
        409,
        reason="AlreadyExists",
        message=f'{prefix}{resource.qualified} "{name}" already exists',
        details=_details(resource, name=name),
    )


def conflict(resource: Resource, *, name: str, cause: str | None = None) -> ApiError:
    """Return the error for a write based on an older version, or with a precondition that does not hold."""
    cause = cause or "the object has been modified; please apply your changes to the latest version and try again"
    return ApiError(
        409,
        reason="Conflict",
        details=_details(resource, name=name),
        message=f'Operation cannot be fulfilled on {resource.qualified} "{name}": {cause}',
    )


def invalid(resource: Resource, *, name: str, field: str, problem: str, reason: str = "FieldValueInvalid") -> ApiError:
    """Return the error for an object whose field is refused."""
    details = {"name": name} if name else {}
    details |= {"group": resource.group} if resource.group else {}
    causes = [{"reason": reason, "message": problem, "field": field}]
    return ApiError(
        422,
        reason="Invalid",
        details={**details, "kind": resource.kind, "causes": causes},
        message=f'{resource.qualified_kind} "{name}" is invalid: {field}: {problem}',
    )


def forbidden_option(field: str, *, problem: str) -> ApiError:
    """Return the error for a parameter of a list or watch that may not be given there."""
    causes = [{"reason": "FieldValueForbidden", "message": f"Forbidden: {problem}", "field": field}]
    return ApiError(
        422,
        reason="Invalid",
        details={"group": "meta.k8s.io", "kind": "ListOptions", "causes": causes},
        message=f'ListOptions.meta.k8s.io "" is invalid: {field}: Forbidden: {problem}',
    )


def impossible_patch() -> ApiError:
    """Return the error for a JSON patch that does not fit the object; a real server does not say why either."""
    return ApiError(
        422,
        reason="Invalid",
        details={},
        message="the server rejected our request due to an error in our request",
    )


def forbidden(resource: Resource, *, user: str, verb: str, name: str, namespace: str, subresource: str) -> ApiError:
    """Return the error for a request that no rule allows."""
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    what = f"{resource.plural}/{subresource}" if subresource else resource.plural
    return ApiError(
        403,
        reason="Forbidden",
        details=_details(resource, name=name),
        message=f'{subject} is forbidden: User "{user}" cannot {verb} resource "{what}" in API group '
        f'"{resource.group}" {where}',
    )


def unauthorized() -> ApiError:
    """Return the error for a request without a credential that this cluster knows."""
    return ApiError(401, reason="Unauthorized", message="Unauthorized")


def bad_request(message: str) -> ApiError:
    """Return the error for a request that cannot be understood."""
    return ApiError(400, reason="BadRequest", message=message)


def expired(asked: int, *, oldest: int) -> ApiError:
    """Return the error for a watch that starts before the kept history."""
    return ApiError(410, reason="Expired", message=f"too old resource version: {asked} ({oldest})")


def watch_expired() -> ApiError:
    """Return the error for a watch whose events etcd has compacted (apiserver/pkg/storage/etcd3/errors.go)."""
    return ApiError(410, reason="Expired", message="The resourceVersion for the provided watch is too old.")


def method_not_allowed() -> ApiError:
    """Return the error for a method that the resource does not support."""
    return ApiError(
        405,
        reason="MethodNotAllowed",
        details={},
        message="the server does not allow this method on the requested resource",
    )


def unsupported_media_type(accepted: tuple[str, ...]) -> ApiError:
    """Return the error for a patch of a content type that is not taken."""
    return ApiError(
        415,
        reason="UnsupportedMediaType",
        details={},
        message="the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted),
    )


def unavailable(message: str) -> ApiError:
    """Return the error for something behind the API server that does not answer."""
    return ApiError(503, reason="ServiceUnavailable", message=message)


def internal_error() -> ApiError:
    """Return the error for a request during which something inside the server failed."""
    cause = "context deadline exceeded"
    return ApiError(
        500,
        reason="InternalError",
        message=f"Internal error occurred: {cause}",
        details={"causes": [{"message": cause}]},
    )


def overloaded() -> ApiError:
    """Return the error of a server that cannot work now."""
    return unavailable("the server is currently unable to handle the request")
