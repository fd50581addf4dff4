"""Validating admission webhooks: what an API server asks before it stores an object, and what it says to a refusal.

Only webhooks that a Service of the cluster leads to, for what is created and updated. Of a configuration its rules are
looked at, not its selectors. A configuration holds at once; a real server learns of it a moment later.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx

from include.simulator import resources, selectors, status
from include.simulator.network import DialError, Network
from include.simulator.resources import Resource
from include.simulator.store import Store

Object = dict[str, Any]

_KIND: Final = "AdmissionReview"
_GROUP: Final = "admission.k8s.io"


@dataclass(frozen=True, kw_only=True)
class Write:
    """What is about to be stored; `old` is None for a new object."""

    resource: Resource
    user: str
    dry_run: bool
    new: Object
    old: Object | None

    @property
    def operation(self) -> str:
        """Return the operation as rules name it."""
        return "CREATE" if self.old is None else "UPDATE"


class Webhooks:
    """Asks the webhooks of one cluster."""

    def __init__(self, store: Store, *, network: Network, cluster: str) -> None:
        self._store = store
        self._network = network
        self._cluster = cluster
        self._client = network.client(cluster)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def find(self, resource: Resource, *, operation: str) -> list[Object]:
        """Return the webhooks that want to see an operation on a kind."""
        configurations = self._store.select(resources.WEBHOOK_CONFIGURATIONS)
        hooks = [hook for item in configurations for hook in item.get("webhooks") or []]
        return [hook for hook in hooks if any(_covers(rule, resource, operation) for rule in hook.get("rules") or [])]

    async def review(self, hooks: Iterable[Object], write: Write) -> None:
        """Ask webhooks about a write. Raises ApiError 403 for what one of them denies, 500 where one cannot be asked.

        A code that a webhook gives for its denial is the server's.
        """
        for hook in hooks:
            if not _selects(hook, write):
                continue
            try:
                answer = await self._ask(hook, write)
            except _CallError as error:
                if hook.get("failurePolicy") == "Ignore":
                    continue
                raise status.webhook_failure(hook["name"], problem=str(error)) from error
            if not answer.get("allowed"):
                raise status.denied_by_webhook(hook["name"], result=answer.get("status") or {})

    async def _ask(self, hook: Object, write: Write) -> Object:
        """Return the response of a webhook. Raises _CallError, whose text is Go's."""
        config = hook["clientConfig"]
        service: Object = config["service"]
        host = f"{service['name']}.{service['namespace']}.svc:{service['port']}"
        query = f"timeout={hook['timeoutSeconds']}s"
        shown = f'Post "https://{host}{service.get("path", "")}?{query}"'
        found = self._store.find(resources.SERVICES, name=service["name"], namespace=service["namespace"])
        if found is None:
            raise _CallError(f'{shown}: service "{service["name"]}" not found')
        address = found["spec"]["clusterIP"]
        try:
            self._verify(config, address=address, port=service["port"])
            answer = await self._client.post(
                f"https://{address}:{service['port']}{service.get('path', '')}?{query}",
                json=_build_review(hook, write),
                timeout=hook["timeoutSeconds"],
            )
        except httpx.TimeoutException as error:
            raise _CallError(f"{shown}: context deadline exceeded") from error
        except (DialError, httpx.HTTPError) as error:
            raise _CallError(f"{shown}: {error}") from error
        return dict(answer.json()["response"])

    def _verify(self, config: Object, *, address: str, port: int) -> None:
        """Look whether the webhook's certificate is of the authority that the configuration names. Raises DialError.

        The pods' ports have no TLS here: a webhook tells its authority.
        """
        authority = getattr(self._network.route(self._cluster, host=address, port=port), "authority", "")
        if _decode(config.get("caBundle", "")) != authority:
            raise DialError("tls: failed to verify certificate: x509: certificate signed by unknown authority")


class _CallError(Exception):
    """A webhook that could not be asked."""


def _covers(rule: Object, resource: Resource, operation: str) -> bool:
    wanted: Iterator[tuple[str, str]] = iter(
        (
            ("apiGroups", resource.group),
            ("apiVersions", resource.version),
            ("resources", resource.plural),
            ("operations", operation),
        )
    )
    return all({"*", value} & set(rule.get(key) or []) for key, value in wanted)


def _selects(hook: Object, write: Write) -> bool:
    """Say whether the object as it was, or as it is to be, has the labels that a webhook wants to see."""
    items = [write.new] if write.old is None else [write.new, write.old]
    wanted = hook.get("objectSelector") or {}
    return any(selectors.match(wanted, item["metadata"].get("labels") or {}) for item in items)


def _build_review(hook: Object, write: Write) -> Object:
    """Return the question, in the first version that the webhook takes."""
    resource, metadata = write.resource, write.new["metadata"]
    version = hook["admissionReviewVersions"][0]
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    named = {"group": resource.group, "version": resource.version, "resource": resource.plural}
    return {
        "kind": _KIND,
        "apiVersion": f"{_GROUP}/{version}",
        "request": {
            "uid": str(uuid.uuid4()),
            "kind": kind,
            "resource": named,
            "requestKind": kind,
            "requestResource": named,
            "name": metadata["name"],
            **({"namespace": metadata["namespace"]} if "namespace" in metadata else {}),
            "operation": write.operation,
            "userInfo": {"username": write.user},
            "object": write.new,
            "oldObject": write.old,
            "dryRun": write.dry_run,
        },
    }


def _decode(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return text
