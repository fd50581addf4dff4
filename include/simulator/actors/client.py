"""The API client of the actors.

Not kubernetes_asyncio, for three reasons: the traffic has to go through the simulated network, which an httpx transport
gives without touching a client's insides; objects have to stay plain mappings, so that a field like `status: {}`
survives as it does in a Go program; and errors have to read as Go's, because KubeSphere copies them into conditions.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx

from include.simulator.network import DialError, Network
from include.simulator.resources import Resource
from include.simulator.streams import read_what_ends

Object = dict[str, Any]

log = logging.getLogger(__name__)

_RECONNECT_SECONDS = 0.2


class RequestError(Exception):
    """A request failed; the text is what client-go would report. `code` is 0 when no answer came."""

    def __init__(self, message: str, *, code: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Change:
    """An object that appeared, changed or went away; `old` is what was known of it before."""

    type: str
    object: Object
    old: Object | None


class Client:
    """Talks to one API server as one user, from a pod of one cluster. Used within the simulation's event loop.

    The user is who `token` belongs to, who `auth` says, or whose certificate `context` holds.
    """

    def __init__(
        self,
        network: Network,
        *,
        cluster: str,
        server: str,
        context: ssl.SSLContext,
        token: str | None = None,
        auth: httpx.Auth | None = None,
        server_name: str | None = None,
    ) -> None:
        self.server = server
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = network.client(cluster, context=context, server_name=server_name, headers=headers, auth=auth)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, resource: Resource, *, name: str, namespace: str | None = None) -> Object:
        """Return an object. Raises RequestError."""
        return await self._json("GET", path=resource.path(name, namespace=namespace))

    async def find(self, resource: Resource, *, name: str, namespace: str | None = None) -> Object | None:
        """Return an object, or None when there is none. Raises RequestError."""
        try:
            return await self.get(resource, name=name, namespace=namespace)
        except RequestError as error:
            if error.reason == "NotFound":
                return None
            raise

    async def select(
        self, resource: Resource, *, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """Return the objects of a kind that match the selectors. Raises RequestError."""
        params = {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        answer = await self._json("GET", path=resource.path(namespace=namespace), params=params)
        return _items(resource, answer)

    async def create(
        self,
        resource: Resource,
        *,
        content: Object,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str = "",
    ) -> Object:
        """Create an object, or a subresource of the object of that name. Raises RequestError."""
        content = {"apiVersion": resource.api_version, "kind": resource.kind, **content}
        path = resource.path(name, namespace=namespace, subresource=subresource)
        return await self._json("POST", path=path, content=content)

    async def replace(self, resource: Resource, *, content: Object, subresource: str = "") -> Object:
        """Write an object back. Raises RequestError, with code 409 when it changed meanwhile."""
        metadata = content["metadata"]
        path = resource.path(metadata["name"], namespace=metadata.get("namespace"), subresource=subresource)
        return await self._json("PUT", path=path, content=content)

    async def patch(
        self, resource: Resource, *, name: str, patch: Object, namespace: str | None = None, subresource: str = ""
    ) -> Object:
        """Merge-patch an object. Raises RequestError."""
        path = resource.path(name, namespace=namespace, subresource=subresource)
        return await self._json("PATCH", path=path, content=patch, content_type="application/merge-patch+json")

    async def delete(
        self, resource: Resource, *, name: str, namespace: str | None = None, options: Object | None = None
    ) -> None:
        """Delete an object; one that is gone already is no error. Raises RequestError."""
        try:
            await self._json("DELETE", path=resource.path(name, namespace=namespace), content=options)
        except RequestError as error:
            if error.reason != "NotFound":
                raise

    async def ensure(self, resource: Resource, *, content: Object, namespace: str | None = None) -> Object:
        """Create an object unless it exists. Raises RequestError."""
        try:
            return await self.create(resource, content=content, namespace=namespace)
        except RequestError as error:
            if error.reason != "AlreadyExists":
                raise
        return await self.get(resource, name=content["metadata"]["name"], namespace=namespace)

    async def request(
        self,
        method: str,
        *,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        patience: float = 30,
    ) -> httpx.Response:
        """Send a request to any path of the server and return the answer as it is. Raises RequestError.

        `patience` is how many seconds may pass without an answer.
        """
        return await self._send(method, path=path, headers=headers or {}, body=body, patience=patience)

    async def open(
        self, method: str, *, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> httpx.Response:
        """Send a request to any path and return the answer as it begins, read already if it ends. Raises RequestError.

        One that goes on is to be closed.
        """
        url = self.server + path
        timeout = httpx.Timeout(30, read=None)
        sent = self._http.build_request(method, url, headers=headers, content=body, timeout=timeout)
        try:
            answer = await self._http.send(sent, stream=True)
            await read_what_ends(answer)
        except (DialError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise RequestError(f'{method.title()} "{url}": {error}') from error
        return answer

    async def follow(
        self, resource: Resource, *, namespace: str | None = None, fields: str = ""
    ) -> AsyncGenerator[Change, None]:
        """Yield each change of a kind, of what matches the field selector, starting with what exists, for ever.

        As an informer does: lists, watches, and after any failure lists again and yields what differs.
        """
        known: dict[tuple[str, str], Object] = {}
        selected = {"fieldSelector": fields} if fields else {}
        while True:
            try:
                listed = await self._json("GET", path=resource.path(namespace=namespace), params=selected)
                present = {_key(item): item for item in _items(resource, listed)}
                for key in [key for key in known if key not in present]:
                    gone = known.pop(key)
                    yield Change(type="DELETED", object=gone, old=gone)
                for key, item in present.items():
                    old, known[key] = known.get(key), item
                    if old != item:
                        yield Change(type="MODIFIED" if old else "ADDED", object=item, old=old)
                params = {**selected, "watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
                async with contextlib.aclosing(self._watch(resource, namespace=namespace, params=params)) as events:
                    async for event in events:
                        item = event["object"]
                        if event["type"] == "ERROR":
                            break
                        old = known.pop(_key(item), None)
                        if event["type"] != "DELETED":
                            known[_key(item)] = item
                        yield Change(type=event["type"], object=item, old=old)
            except (RequestError, httpx.HTTPError, DialError) as error:
                log.debug("Watching %s failed, trying again: %s", resource.plural, error)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _watch(
        self, resource: Resource, *, namespace: str | None, params: dict[str, str]
    ) -> AsyncGenerator[Object, None]:
        url = self.server + resource.path(namespace=namespace)
        timeout = httpx.Timeout(30, read=None)
        async with self._http.stream("GET", url, params=params, timeout=timeout) as answer:
            if answer.status_code != 200:
                raise RequestError(f"watch answered {answer.status_code}", code=answer.status_code)
            async for line in answer.aiter_lines():
                if line:
                    yield json.loads(line)

    async def _json(
        self,
        method: str,
        *,
        path: str,
        content: Object | None = None,
        content_type: str = "application/json",
        params: dict[str, str] | None = None,
    ) -> Object:
        headers = {"Content-Type": content_type} if content is not None else {}
        body = json.dumps(content).encode() if content is not None else None
        answer = await self._send(method, path=path, headers=headers, body=body, params=params)
        if answer.is_success:
            result: Object = answer.json()
            return result
        try:
            failure = answer.json()
        except ValueError:
            if answer.status_code == 404:
                # client-go's words for a path that the server does not serve at all.
                raise RequestError("the server could not find the requested resource", code=404) from None
            failure = {}
        raise RequestError(
            str(failure.get("message") or f"the server answered {answer.status_code}"),
            code=answer.status_code,
            reason=str(failure.get("reason", "")),
        )

    async def _send(
        self,
        method: str,
        *,
        path: str,
        headers: dict[str, str],
        body: bytes | None = None,
        params: dict[str, str] | None = None,
        patience: float = 30,
    ) -> httpx.Response:
        url = self.server + path
        try:
            return await self._http.request(method, url, headers=headers, content=body, params=params, timeout=patience)
        except httpx.TimeoutException as error:
            raise RequestError(f'{method.title()} "{url}": context deadline exceeded') from error
        except (DialError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise RequestError(f'{method.title()} "{url}": {error}') from error


def _items(resource: Resource, listed: Object) -> list[Object]:
    """Return the objects of a list as they are when they come alone: Kubernetes leaves out what kind they are."""
    return [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in listed["items"]]


def _key(item: Object) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
