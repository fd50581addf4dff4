"""Kubernetes access: one small set of verbs over `kinds.Ref`. What a server refuses, is one of our errors: `refusals`.

The client does the work: credentials, TLS, proxies, paths and JSON are its own. What a credential that has expired
is replaced by, stands in the Airflow connection: it is read again when a server refuses the one in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import aiohttp
from airflow.sdk.log import amask_secret
from kubernetes_asyncio import client

from include.fleet import connections, errors, kinds, kubesphere, plans, redaction, refusals, settings

log = logging.getLogger(__name__)

MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "join-member-cluster"
_UNFIT = re.compile(r"[^ -'*-~]")
"""What a comment in a header must not have."""

# The client writes whole response bodies, Secrets among them, to its debug log.
logging.getLogger("kubernetes_asyncio.client.rest").setLevel(logging.INFO)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Greeting:
    """What a server tells everybody."""

    kubernetes: str
    """Its gitVersion."""
    ahead: float | None
    """Seconds by which its clock is ahead of this machine's, None where it does not tell the time."""
    margin: float
    """Seconds by which *ahead* may be wrong: the time is told in whole seconds, and the answer took its way."""


class Cluster:
    """One cluster as one Airflow connection reaches it. Open it with `connect`."""

    def __init__(
        self,
        role: str,
        *,
        conn_id: str,
        limits: settings.Settings,
        access: Callable[[], Awaitable[connections.Access]],
        grant: str | None = None,
        run: str = "",
        dry: bool = False,
    ) -> None:
        self.role = role
        self.conn_id = conn_id
        self._dry = dry
        """Whether nothing is to be persisted: then writes are only tried, and noted in `planned`."""
        self.planned: list[plans.Write] = []
        self.done_without: list[str] = []
        """What could not be checked or done without a right, a sentence each; for the report."""
        self.secrets: set[str] = set()
        """Secret values seen on this cluster, to be taken out of any text of a server."""
        self._grant = grant or f"Grant this right to the connection's user: deploy/rbac/{role}.yaml has it."
        self._agent = f"{FIELD_MANAGER} ({_UNFIT.sub('?', run)})" if run else FIELD_MANAGER
        self._limits = limits
        self._access = access
        self._api: client.ApiClient | None = None
        self._opening = asyncio.Lock()
        self._shown: dict[kinds.Ref, dict[str, Any] | None] = {}
        """What the watches that are open show: objects as they are now, None for one that is not there."""
        self._written: set[kinds.Ref] = set()

    async def open(self) -> None:
        """Read the connection, so that what is wrong with it is told first."""
        await self._client()

    def __str__(self) -> str:
        return f"{self.role} cluster (connection {self.conn_id})"

    def do_without(self, error: errors.ForbiddenError, loss: str) -> None:
        """Go on without a right: say once in the log, and in the report, what is lost and which right it takes."""
        sentence = f"{loss}: {error.lacking}."
        if sentence not in self.done_without:
            self.done_without.append(sentence)
            log.warning("%s", sentence)

    async def keep_secret(self, *values: str | None) -> None:
        """Have *values* masked in every log from now on, and taken out of what servers say."""
        for value in values:
            if value and value not in self.secrets:
                self.secrets.add(value)
                await amask_secret(value)

    def redacted(self, text: str) -> str:
        """Return *text* of a server without this cluster's secrets."""
        return redaction.redacted(text, self.secrets)

    async def greeting(self) -> Greeting:
        """Return the server's version and clock; everybody whom it knows may ask for that."""
        sent = time.time()
        try:
            data, _, headers = await self._send("/version", "GET", response_types_map={200: "object"})
        except refusals.FAILURES as error:
            self._raise("read", "the version", error)
        took = time.time() - sent
        date = dict(headers or {}).get("Date")
        ahead = email.utils.parsedate_to_datetime(date).timestamp() + 0.5 - (sent + took / 2) if date else None
        return Greeting(kubernetes=str(data["gitVersion"]), ahead=ahead, margin=0.5 + took / 2)

    async def by(self, deadline: float, asking: Awaitable[Answer], *, what: str) -> Answer:
        """Return the answer to a request if it comes by *deadline*, in seconds of `time.monotonic`.

        Raises UnreachableError if it does not.
        """
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await asking
        except TimeoutError:
            raise errors.UnreachableError(f"read {what} on the {self}: no answer in the time there was.") from None

    async def read(self, ref: kinds.Ref) -> dict[str, Any] | None:
        """Return the object, or None if there is none."""
        try:
            return await self.get(ref)
        except errors.NotFoundError:
            return None

    async def get(self, ref: kinds.Ref) -> dict[str, Any]:
        """Return the object; raises NotFoundError if there is none.

        While `changes` watches the object, the server need not be asked.
        """
        if ref in self._shown:
            shown = self._shown[ref]
            if shown is None:
                raise errors.NotFoundError(f"read {ref} on the {self}: a watch shows that it is not there.")
            return shown
        found: dict[str, Any] = await self._call("read", ref, "GET", ref.path)
        return found

    async def list(
        self,
        kind: kinds.Kind,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return all objects of a kind in a namespace, that match the selectors."""
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = [(key, value) for key, value in selectors.items() if value]
        found = await self._call("list", kind.full_name, "GET", kind.path(namespace), query=query)
        return list(found["items"])

    async def newest_pod(self, namespace: str, *, label_selector: str) -> kinds.Ref | None:
        """Return the Pod that was made last of those that match, or None; one that is being deleted does not count."""
        pods = await self.list(kinds.POD, namespace=namespace, label_selector=label_selector)
        newest = kubesphere.newest(pods)
        return None if newest is None else kinds.Ref(kinds.POD, newest["metadata"]["name"], namespace)

    async def create(self, ref: kinds.Ref, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create the object and return it; raises ConflictError if it is there already."""
        path = ref.kind.path(ref.namespace)
        made: dict[str, Any] = await self._call("create", ref, "POST", path, query=self._written_to(ref), body=manifest)
        await self._plan("create", ref, manifest)
        return made

    async def patch(self, ref: kinds.Ref, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge *body* into the object and return it; a resourceVersion in it makes the server compare."""
        headers = {"Content-Type": MERGE_PATCH}
        patched: dict[str, Any] = await self._call(
            "patch", ref, "PATCH", ref.path, query=self._written_to(ref), body=body, headers=headers
        )
        await self._plan("patch", ref, body)
        return patched

    async def try_patch(self, ref: kinds.Ref, body: Mapping[str, Any]) -> None:
        """Have the server do all of a patch but store it: webhooks are asked, and may refuse."""
        query, headers = [("dryRun", "All")], {"Content-Type": MERGE_PATCH}
        await self._call("try to patch", ref, "PATCH", ref.path, query=query, body=body, headers=headers)

    def _written_to(self, ref: kinds.Ref) -> Sequence[tuple[str, str]]:
        """Return the query of a write; in a dry run the server does all but store it."""
        if self._dry:
            return [("fieldManager", FIELD_MANAGER), ("dryRun", "All")]
        self._forget(ref)
        return [("fieldManager", FIELD_MANAGER)]

    async def _plan(self, verb: str, ref: kinds.Ref, body: Mapping[str, Any]) -> None:
        """Note what a dry run would have written."""
        if self._dry:
            before = await self.read(ref) if verb == "patch" else None
            self.planned.append(plans.Write(verb, ref, before, body))

    async def delete(self, ref: kinds.Ref, *, uid: str | None = None, version: str | None = None) -> None:
        """Delete the object, and in the background what belongs to it; finalizers may hold it for some time.

        Raises NotFoundError if there is none, and ConflictError if it is not the one with that *uid*, or if it has
        changed since it had that *version* (a resourceVersion).
        """
        self._forget(ref)
        wanted = {"uid": uid, "resourceVersion": version}
        conditions = {key: value for key, value in wanted.items() if value is not None}
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        query = []
        if self._dry:
            # A server goes by the body, whoever reads its audit log by the query.
            options["dryRun"], query = ["All"], [("dryRun", "All")]
        body = {**options, "preconditions": conditions}
        await self._call("delete", ref, "DELETE", ref.path, query=query, body=body)
        await self._plan("delete", ref, {})

    async def may(self, right: kinds.Right) -> bool:
        """Say whether the connection's user has a right; the server is asked, and stores nothing.

        Everybody may ask that, unless an administrator has taken it away: ForbiddenError then.
        """
        # Of a Namespace an authorizer is asked as of something inside it.
        namespace = right.namespace or (right.name if right.kind == kinds.NAMESPACE else None)
        attributes = {
            "verb": right.verb,
            "group": right.kind.group,
            "version": right.kind.version,
            "resource": right.kind.plural,
            "subresource": right.subresource,
            "namespace": namespace,
            "name": right.name,
        }
        asked = {key: value for key, value in attributes.items() if value}
        review = {
            "apiVersion": kinds.SELF_REVIEW.api_version,
            "kind": kinds.SELF_REVIEW.name,
            "spec": {"resourceAttributes": asked},
        }
        answer = await self._call("ask for the right to", str(right), "POST", kinds.SELF_REVIEW.path(), body=review)
        return bool(answer["status"]["allowed"])

    async def pod_log(self, pod: kinds.Ref, *, lines: int) -> str:
        """Return the last *lines* lines of a pod's log, not redacted."""
        query = [("tailLines", str(lines))]
        text = await self._call("read the log of", pod, "GET", f"{pod.path}/log", query=query, answer="str")
        # A pod that no node has taken yet is answered with 204, which has no body.
        return str(text or "")

    async def serves(self, kind: kinds.Kind) -> bool:
        """Tell whether the API server has a kind of a group, by discovery, for which nobody needs a right."""
        try:
            found = await self._call("discover", kind.full_name, "GET", f"/apis/{kind.api_version}")
        except errors.NotFoundError:
            return False
        return any(resource["name"] == kind.plural for resource in found["resources"])

    async def proxied(
        self,
        path: str,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        query: Sequence[tuple[str, str]] = (),
    ) -> tuple[int, str]:
        """Return status and body of a GET behind the API server's proxy to a pod or service.

        A Kubernetes Status in the body may come from either side of the proxy, so nothing is raised for it but
        ForbiddenError, where it is the proxy that may not be used; raises UnreachableError if the API server itself
        does not answer.
        """
        try:
            answer = await self._send(
                path,
                "GET",
                query_params=list(query),
                header_params=dict(headers or {}),
                response_types_map={200: "object"},
            )
            # The client parses what looks like JSON, whatever it is asked for.
            return 200, answer[0] if isinstance(answer[0], str) else json.dumps(answer[0])
        except client.ApiException as error:
            return self._refused_behind(what, error)
        except refusals.FAILURES as error:
            self._raise("reach", what, error)

    async def proxied_watch(
        self, path: str, *, what: str, seconds: float, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Hold a watch behind the API server's proxy open; return its status, and its first event or the refusal.

        Raises what `proxied` raises, and UnavailableError if it shows nothing or ends before *seconds* are over.
        """
        query = [("watch", "true"), ("timeoutSeconds", str(round(seconds) + 10))]
        first = b""
        try:
            async with self._stream(path, query=query, opened=asyncio.Event(), headers=headers) as response:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        async for line in response.content:
                            first = first or line
                        raise errors.UnavailableError(f"watch {what} on the {self}: it ended within {seconds:.0f} s.")
        except client.ApiException as error:
            return self._refused_behind(what, error)
        except refusals.FAILURES as error:
            self._raise("watch", what, error)
        if not first:
            raise errors.UnavailableError(f"watch {what} on the {self}: it showed nothing in {seconds:.0f} s.")
        return 200, first.decode(errors="replace")

    def _refused_behind(self, what: str, error: client.ApiException) -> tuple[int, str]:
        """Return what was refused behind a proxy; raises if it is the API server itself that does not let through."""
        missing = refusals.missing_right(error)
        if not error.status or (missing and missing["resource"].endswith("/proxy")):
            self._raise("reach", what, error)
        return int(error.status), refusals.body_of(error)

    async def changes(self, ref: kinds.Ref, *, opened: asyncio.Event) -> AsyncGenerator[None, None]:
        """Yield once the object is watched, then whenever it has changed, until the server ends the watch.

        Sets *opened* as soon as a connection stands. In between, `read` and `get` answer from what the watch shows.
        Raises what any request raises, and UnavailableError when the watch is too old (410) or is cut off.
        """
        field = ("fieldSelector", f"metadata.name={ref.name}")
        path = ref.kind.path(ref.namespace)
        try:
            listed = await self._call("list", ref, "GET", path, query=[field])
            since = ("resourceVersion", listed["metadata"]["resourceVersion"])
            query = [field, since, ("watch", "true"), ("timeoutSeconds", str(round(self._limits.watch_timeout)))]
            async with self._stream(path, query=query, opened=opened) as response:
                self._show(ref, next(iter(listed["items"]), None))
                yield None
                async for line in response.content:
                    self._show(ref, self._event_object(ref, line))
                    yield None
        except refusals.FAILURES as error:
            self._raise("watch", ref, error)
        finally:
            self._shown.pop(ref, None)
            self._written.discard(ref)

    async def all_changes(self, kind: kinds.Kind) -> AsyncGenerator[dict[str, dict[str, Any] | None], None]:
        """Yield all objects of a kind that has no namespaces by name, then each that has changed, None if it is gone.

        Ends when the server ends the watch; raises what `changes` raises.
        """
        what, path = kind.full_name, kind.path()
        try:
            listed = await self._call("list", what, "GET", path)
            yield {item["metadata"]["name"]: item for item in listed["items"]}
            query = [
                ("resourceVersion", listed["metadata"]["resourceVersion"]),
                ("watch", "true"),
                ("timeoutSeconds", str(round(self._limits.watch_timeout))),
            ]
            async with self._stream(path, query=query, opened=asyncio.Event()) as response:
                async for line in response.content:
                    event, item = self._event(what, line)
                    yield {item["metadata"]["name"]: None if event == "DELETED" else item}
        except refusals.FAILURES as error:
            self._raise("watch", what, error)

    def _event_object(self, ref: kinds.Ref, line: bytes) -> dict[str, Any] | None:
        """Return the object of a line of a watch, None if it is gone."""
        event, found = self._event(ref, line)
        return None if event == "DELETED" else found

    def _event(self, what: kinds.Ref | str, line: bytes) -> tuple[str, dict[str, Any]]:
        """Return type and object of a line of a watch; raises ApiException for one that is an error.

        The library's Watch is not used: it makes a client of its own for each watch, which loads the certificates of
        the system (33 ms in which the triggerer stands still), and takes half a line for an event.
        """
        try:
            event = json.loads(line)
        except ValueError:
            # Not chained: it holds the line.
            raise errors.UnavailableError(
                f"watch {what} on the {self}: cut off in the middle of a line. It is opened again."
            ) from None
        if event["type"] == "ERROR":
            status = event["object"]
            error = client.ApiException(status=status.get("code"), reason=status.get("reason"))
            error.body = json.dumps(status).encode()
            raise error
        return str(event["type"]), event["object"]

    async def log_lines(self, pod: kinds.Ref, *, last: int, opened: asyncio.Event) -> AsyncGenerator[str, None]:
        """Yield the *last* lines of a pod's log and then each new one, until the pod ends; not redacted.

        An empty line comes first, as soon as the log is followed.
        Raises what any request raises, and UnavailableError for a container that has not started.
        """
        query = [("follow", "true"), ("tailLines", str(last))]
        try:
            async with self._stream(f"{pod.path}/log", query=query, opened=opened) as response:
                yield ""
                async for line in response.content:
                    yield line.decode(errors="replace").rstrip("\n")
        except client.ApiException as error:
            if error.status == 400:
                raise errors.UnavailableError(
                    f"follow the log of {pod} on the {self}: {refusals.said(error, hide=self.redacted)}"
                ) from None
            self._raise("follow the log of", pod, error)
        except refusals.FAILURES as error:
            self._raise("follow the log of", pod, error)

    def _show(self, ref: kinds.Ref, item: dict[str, Any] | None) -> None:
        if ref not in self._written:
            self._shown[ref] = item

    def _forget(self, ref: kinds.Ref) -> None:
        """Have an object that we write read from the server from now on: a watch may lag behind us."""
        self._shown.pop(ref, None)
        self._written.add(ref)

    @contextlib.asynccontextmanager
    async def _stream(
        self,
        path: str,
        *,
        query: Sequence[tuple[str, str]],
        opened: asyncio.Event,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a response that goes on, and set *opened*."""
        timeout = _timeout(self._limits.connect_timeout, self._limits.watch_timeout + 10)
        # What comes later may be long in coming, the beginning of the answer is not.
        async with asyncio.timeout(self._limits.request_timeout):
            response: aiohttp.ClientResponse = await self._send(
                path,
                "GET",
                query_params=list(query),
                header_params=dict(headers or {}),
                _preload_content=False,
                _request_timeout=timeout,
            )
        transport = response.connection.transport if response.connection else None
        opened.set()
        try:
            yield response
        finally:
            # At once: a polite end waits for the server's part of it, longer than the event loop of a task lives.
            if transport is not None:
                transport.abort()
            response.close()

    async def _call(
        self,
        action: str,
        what: kinds.Ref | str,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        answer: str = "object",
    ) -> Any:
        try:
            data, _, _ = await self._send(
                path,
                method,
                query_params=list(query),
                header_params=dict(headers or {}),
                body=body,
                response_types_map={200: answer, 201: answer, 202: answer},
            )
            return data
        except refusals.FAILURES as error:
            self._raise(action, what, error)

    async def _send(self, path: str, method: str, **options: Any) -> Any:
        """Send one request; if the credential is refused, send it once more with what the connection says now."""
        used = await self._client()
        try:
            return await self._send_with(used, path, method, **options)
        except client.ApiException as error:
            if error.status != 401 or refusals.is_of_kubesphere(error):
                raise
        return await self._send_with(await self._client(instead_of=used), path, method, **options)

    async def _send_with(self, api: client.ApiClient, path: str, method: str, **options: Any) -> Any:
        timeout = _timeout(self._limits.connect_timeout, self._limits.request_timeout)
        headers = {"Accept": "application/json, */*", **options.pop("header_params", {})}
        options = {"_request_timeout": timeout, "auth_settings": ["BearerToken"], **options}
        answer = await api.call_api(path, method, header_params=headers, **options)
        if isinstance(answer, aiohttp.ClientResponse) and not answer.ok:
            # A response that is to be streamed is not looked at by the client.
            error = client.ApiException(status=answer.status, reason=answer.reason)
            error.body, error.headers = await answer.read(), answer.headers
            raise error
        return answer

    async def _client(self, *, instead_of: client.ApiClient | None = None) -> client.ApiClient:
        async with self._opening:
            if self._api is None or self._api is instead_of:
                if instead_of is not None:
                    log.info("The %s refuses the credential; reading its connection again", self)
                access = await self._access()
                access.api.user_agent = self._agent
                await self.keep_secret(*access.secrets)
                self._api = access.api
            return self._api

    def _raise(self, action: str, what: kinds.Ref | str, error: Exception) -> NoReturn:
        # Not chained: the client's exception carries headers and bodies of the server (style rule 20).
        raise refusals.told(
            error,
            tried=f"{action} {what} on the {self}",
            who=f"connection {self.conn_id}",
            where=f"the {self.role} cluster",
            grant=self._grant,
            hide=self.redacted,
        ) from None


class Unreached(Cluster):
    """A cluster that Airflow does not reach: each request of it raises NotReachedError."""

    def __init__(self, role: str, *, limits: settings.Settings) -> None:
        super().__init__(role, conn_id="", limits=limits, access=self._no_access)

    def __str__(self) -> str:
        return f"{self.role} cluster"

    async def _no_access(self) -> connections.Access:
        raise errors.NotReachedError(f"Airflow does not reach the {self} (member_access: handoff).")


@contextlib.asynccontextmanager
async def connect(
    conn_id: str,
    *,
    role: str,
    limits: settings.Settings,
    grant: str | None = None,
    run: str = "",
    dry: bool = False,
) -> AsyncIterator[Cluster]:
    """Open the cluster behind an Airflow connection of type Kubernetes; *role* names it in messages.

    *grant* is what to do about a missing right, if that is not to grant what deploy/rbac has for the role. *run* is
    what API servers find in their audit logs: whose requests these are. With *dry* nothing is persisted.
    Raises ConfError if the connection does not exist or cannot be loaded.
    """
    async with contextlib.AsyncExitStack() as stack:
        cluster = Cluster(
            role,
            conn_id=conn_id,
            limits=limits,
            access=lambda: stack.enter_async_context(connections.access(conn_id)),
            grant=grant,
            run=run,
            dry=dry,
        )
        await cluster.open()
        yield cluster


@contextlib.asynccontextmanager
async def connect_by(document: Mapping[str, Any], *, role: str, limits: settings.Settings) -> AsyncIterator[Cluster]:
    """Open the cluster behind a self-contained kubeconfig that no Airflow connection has; raises ConfError."""
    source = "none, the kubeconfig in its Cluster"
    async with _opened(lambda: connections.access_by(document), source, role=role, limits=limits) as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def connect_to_file(path: Path, *, role: str, limits: settings.Settings) -> AsyncIterator[Cluster]:
    """Open the cluster of a kubeconfig file's current context, without an Airflow connection; raises ConfError."""
    source = f"none, kubeconfig {path}"
    async with _opened(lambda: connections.access_to_file(path), source, role=role, limits=limits) as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def _opened(
    access: Callable[[], contextlib.AbstractAsyncContextManager[connections.Access]],
    source: str,
    *,
    role: str,
    limits: settings.Settings,
) -> AsyncIterator[Cluster]:
    async with contextlib.AsyncExitStack() as stack:
        cluster = Cluster(role, conn_id=source, limits=limits, access=lambda: stack.enter_async_context(access()))
        await cluster.open()
        yield cluster


def _timeout(connect: float, answer: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect, sock_connect=connect, sock_read=answer)
