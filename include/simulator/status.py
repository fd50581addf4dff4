"""Errors of the API server as Kubernetes `Status` objects, in the real server's words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from include.simulator.resources import Resource


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with one field; `reason` is the one for programs."""

    field: str
    text: str
    reason: str = "FieldValueInvalid"


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
        if self.details is not None:
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


def conflict(resource: Resource, *, name: str, cause: str | None = None, kind: str | None = None) -> ApiError:
    """Return the error for a write based on an older version, or with a precondition that does not hold.

    `kind` is what the object is called, if not by its kind's plural.
    """
    described = kind or resource.plural
    qualified = f"{described}.{resource.group}" if resource.group else described
    cause = cause or "the object has been modified; please apply your changes to the latest version and try again"
    return ApiError(
        409,
        reason="Conflict",
        details={**_details(resource, name=name), "kind": described},
        message=f'Operation cannot be fulfilled on {qualified} "{name}": {cause}',
    )


def invalid(resource: Resource, *, name: str, problems: Sequence[Problem], kind: str | None = None) -> ApiError:
    """Return the error for an object whose fields are refused; `kind` is what it is called, if not by its kind."""
    details = {"name": name} if name else {}
    details |= {"group": resource.group} if resource.group else {}
    described = kind or resource.kind
    qualified = f"{described}.{resource.group}" if resource.group else described
    return _invalid(f'{qualified} "{name}"', problems=problems, details={**details, "kind": described})


def invalid_options(kind: str, *, problems: Sequence[Problem]) -> ApiError:
    """Return the error for parameters that may not be given so; `kind` is `ListOptions` or another of its like."""
    group = "meta.k8s.io"
    return _invalid(f'{kind}.{group} ""', problems=problems, details={"group": group, "kind": kind})


def invalid_patch(patched: str, *, problem: str) -> ApiError:
    """Return the error for a patch that makes no object of an object; `patched` is what it makes, as text."""
    return _invalid(' ""', problems=[Problem(field="patch", text=f"Invalid value: {patched}: {problem}")], details={})


def _invalid(subject: str, *, problems: Sequence[Problem], details: dict[str, Any]) -> ApiError:
    causes = [{"reason": problem.reason, "message": problem.text, "field": problem.field} for problem in problems]
    said = [f"{problem.field}: {problem.text}" for problem in problems]
    return ApiError(
        422,
        reason="Invalid",
        details={**details, "causes": causes},
        message=f"{subject} is invalid: {said[0] if len(said) == 1 else '[' + ', '.join(said) + ']'}",
    )


def invalid_review(problems: Sequence[Problem]) -> ApiError:
    """Return the error for an access review that cannot be answered; a real server does not name its kind either."""
    group = "authorization.k8s.io"
    return _invalid(f'.{group} ""', problems=problems, details={"group": group})


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


def forbidden_path(path: str, *, user: str, verb: str) -> ApiError:
    """Return the error for a path of no kind that no rule allows."""
    return ApiError(
        403, reason="Forbidden", message=f'forbidden: User "{user}" cannot {verb} path "{path}"', details={}
    )


def forbidden_for_reason(resource: Resource, *, name: str, cause: str) -> ApiError:
    """Return the error for a request that the server refuses whoever asks."""
    return ApiError(
        403,
        reason="Forbidden",
        details=_details(resource, name=name),
        message=f'{resource.qualified} "{name}" is forbidden: {cause}',
    )


def unauthorized() -> ApiError:
    """Return the error for a request without a credential that this cluster knows."""
    return ApiError(401, reason="Unauthorized", message="Unauthorized")


def bad_request(message: str) -> ApiError:
    """Return the error for a request that cannot be understood."""
    return ApiError(400, reason="BadRequest", message=message)


def unreadable(resource: Resource, *, content: Any, problem: str) -> ApiError:
    """Return the error for a body that is no object of its kind."""
    kind, version = content.get("kind") or resource.kind, content.get("apiVersion") or resource.api_version
    return bad_request(
        f'{kind} in version "{version.rpartition("/")[2]}" cannot be handled as a {resource.kind}: {problem}'
    )


def failure(message: str) -> ApiError:
    """Return the error for what the server did not expect; it has no reason."""
    return ApiError(500, reason="", message=message)


def denied_by_webhook(name: str, *, result: dict[str, Any]) -> ApiError:
    """Return the error for what an admission webhook denies; code and reason are the webhook's own."""
    said = result.get("message") or result.get("reason")
    return ApiError(
        max(int(result.get("code", 0)), 400),
        reason=str(result.get("reason", "")),
        message=f'admission webhook "{name}" denied the request' + (f": {said}" if said else " without explanation"),
    )


def webhook_failure(name: str, *, problem: str) -> ApiError:
    """Return the error for an admission webhook that cannot be asked."""
    cause = f'failed calling webhook "{name}": failed to call webhook: {problem}'
    return ApiError(
        500,
        reason="InternalError",
        message=f"Internal error occurred: {cause}",
        details={"causes": [{"message": cause}]},
    )


def too_new(asked: int, *, current: int) -> ApiError:
    """Return the error for a version that is yet to come."""
    return ApiError(
        504,
        reason="Timeout",
        message=f"Timeout: Too large resource version: {asked}, current: {current}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


def not_acceptable(message: str = "") -> ApiError:
    """Return the error for a form that there is not of what is asked for."""
    accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    message = message or f"only the following media types are accepted: {accepted}"
    return ApiError(406, reason="NotAcceptable", message=message)


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
    """Return the error for a body of a content type that is not taken."""
    return ApiError(
        415,
        reason="UnsupportedMediaType",
        message="the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted),
    )


def unsupported_patch() -> ApiError:
    """Return the error for a patch of a content type that Kubernetes' own kinds do not take."""
    return ApiError(415, reason="UnsupportedMediaType", message="415: Unsupported Media Type", details={})


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
