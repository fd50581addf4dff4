"""Kubernetes access: an Airflow connection becomes a client, a server's answer becomes one of our errors.

The hook and the client do the work: credentials, TLS, proxies, paths and JSON are theirs. Here is what they
leave open: one small set of verbs over `kinds.Ref`, errors that name cluster and object, and every secret
of a connection masked before anything can be logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import yaml
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from airflow.sdk.log import amask_secret
from kubernetes_asyncio import client, config, watch

from include.fleet import errors, kinds, kubeconfig, redaction, settings

log = logging.getLogger(__name__)

MERGE_PATCH = "application/merge-patch+json"
FIELD_MANAGER = "join-member-cluster"
_LONGEST_QUOTE = 300

# The client writes whole response bodies, Secrets among them, to its debug log.
logging.getLogger("kubernetes_asyncio.client.rest").setLevel(logging.INFO)


class Cluster:
    """One cluster as one Airflow connection reaches it. Open it with `connect`."""

    def __init__(self, role: str, *, conn_id: str, api: client.ApiClient, limits: settings.Settings) -> None:
        self.role = role
        self.conn_id = conn_id
        self.secrets: set[str] = set()
        """Secret values seen on this cluster, to be taken out of any text of a server."""
        self._api = api
        self._limits = limits

    def __str__(self) -> str:
        return f"{self.role} cluster (connection {self.conn_id})"

    async def keep_secret(self, *values: str | None) -> None:
        """Have *values* masked in every log from now on, and taken out of what servers say."""
        for value in values:
            if value and value not in self.secrets:
                self.secrets.add(value)
                await amask_secret(value)

    def redacted(self, text: str) -> str:
        """Return *text* of a server without this cluster's secrets."""
        return redaction.redacted(text, self.secrets)

    async def read(self, ref: kinds.Ref) -> dict[str, Any] | None:
        """Return the object, or None if there is none."""
        try:
            return await self.get(ref)
        except _NotFoundError:
            return None

    async def get(self, ref: kinds.Ref) -> dict[str, Any]:
        """Return the object; raises ApiRefusedError if there is none."""
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

    async def create(self, ref: kinds.Ref, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create the object and return it; raises ConflictError if it is there already."""
        path = ref.kind.path(ref.namespace)
        query = [("fieldManager", FIELD_MANAGER)]
        made: dict[str, Any] = await self._call("create", ref, "POST", path, query=query, body=manifest)
        return made

    async def patch(self, ref: kinds.Ref, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge *body* into the object and return it; a resourceVersion in it makes the server compare."""
        query = [("fieldManager", FIELD_MANAGER)]
        headers = {"Content-Type": MERGE_PATCH}
        patched: dict[str, Any] = await self._call(
            "patch", ref, "PATCH", ref.path, query=query, body=body, headers=headers
        )
        return patched

    async def pod_log(self, pod: kinds.Ref, *, lines: int) -> str:
        """Return the last *lines* lines of a pod's log, not redacted."""
        query = [("tailLines", str(lines))]
        return str(await self._call("read the log of", pod, "GET", f"{pod.path}/log", query=query, answer="str"))

    async def proxied(self, path: str, *, what: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Return status and body of a GET behind the API server's proxy to a pod or service.

        A Kubernetes Status in the body may come from either side of the proxy, so nothing is raised for a
        status but 5xx without one; raises UnreachableError if the API server itself does not answer.
        """
        try:
            answer = await self._api.call_api(
                path,
                "GET",
                header_params=dict(headers or {}),
                auth_settings=["BearerToken"],
                response_types_map={200: "object"},
                _request_timeout=self._timeout,
            )
            # The client parses what looks like JSON, whatever it is asked for.
            return 200, answer[0] if isinstance(answer[0], str) else json.dumps(answer[0])
        except client.ApiException as error:
            if not error.status:
                self._raise("reach", what, error)
            return int(error.status), str(error.body or "")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._raise("reach", what, error)

    async def changes(self, ref: kinds.Ref, *, opened: asyncio.Event) -> AsyncGenerator[None, None]:
        """Yield whenever the object may have changed, until the server ends the watch; set *opened* once it listens.

        Only a bell: whoever hears it reads again, so an event that is lost or doubled does no harm.
        Raises what any request raises, and UnavailableError when the watch is too old (410).
        """
        seen: str | None = None
        transports: list[asyncio.Transport] = []
        stream = watch.Watch()
        try:
            events = stream.stream(
                self._watched,
                ref,
                field_selector=f"metadata.name={ref.name}",
                timeout_seconds=round(self._limits.watch_timeout),
                opened=opened,
                transports=transports,
            )
            async for event in events:
                version = event["raw_object"]["metadata"]["resourceVersion"]
                if version != seen:
                    seen = version
                    yield None
        except client.ApiException as error:
            self._raise("watch", ref, error)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._raise("watch", ref, error)
        finally:
            await stream.close()
            # At once: a polite end waits for the server's part of it, longer than the event loop of a task lives.
            for transport in transports:
                transport.abort()

    async def _watched(self, ref: kinds.Ref, **options: Any) -> Any:
        query = {
            "fieldSelector": options["field_selector"],
            "timeoutSeconds": options["timeout_seconds"],
            "resourceVersion": options.get("resource_version"),
            "watch": "true",
        }
        response = await self._api.call_api(
            ref.kind.path(ref.namespace),
            "GET",
            query_params=[(key, value) for key, value in query.items() if value is not None],
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=_timeout(self._limits.connect_timeout, self._limits.watch_timeout + 10),
        )
        if response.connection is not None and response.connection.transport is not None:
            options["transports"].append(response.connection.transport)
        options["opened"].set()
        return response

    @property
    def _timeout(self) -> aiohttp.ClientTimeout:
        return _timeout(self._limits.connect_timeout, self._limits.request_timeout)

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
            data, _, _ = await self._api.call_api(
                path,
                method,
                query_params=list(query),
                header_params={"Accept": "application/json, */*", **(headers or {})},
                body=body,
                auth_settings=["BearerToken"],
                response_types_map={200: answer, 201: answer, 202: answer},
                _request_timeout=self._timeout,
            )
            return data
        except client.ApiException as error:
            self._raise(action, what, error)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._raise(action, what, error)

    def _raise(self, action: str, what: kinds.Ref | str, error: Exception) -> NoReturn:
        # Not chained: the client's exception carries headers and bodies of the server (style rule 20).
        tried = f"{action} {what} on the {self}"
        if not isinstance(error, client.ApiException) or not error.status:
            reason = self.redacted(str(error) or type(error).__name__)
            raise errors.UnreachableError(
                f"{tried}: no answer: {reason}. Check that Airflow's workers and triggerer reach the server of "
                "the connection and trust its certificate."
            ) from None
        said = self._said(error)
        if error.status == 404:
            raise _NotFoundError(f"{tried}: {said}. Check the name, and that KubeSphere is installed.") from None
        if error.status == 403:
            raise errors.ForbiddenError(f"{tried}: {said}. Grant this right to the connection's user.") from None
        if error.status == 401:
            raise errors.ApiRefusedError(f"{tried}: {said}. Renew the connection's credential.") from None
        if error.status == 409:
            raise errors.ConflictError(f"{tried}: {said}. Another writer was faster; this is tried again.") from None
        if error.status in (408, 410, 429) or error.status >= 500:
            raise errors.UnavailableError(f"{tried}: {said}. This is tried again.") from None
        raise errors.ApiRefusedError(f"{tried}: {said}. The request itself is not accepted.") from None

    def _said(self, error: client.ApiException) -> str:
        message = status_message(str(error.body or ""))
        text = f"{error.status} {error.reason}" + (f": {message}" if message else "")
        return self.redacted(text)[:_LONGEST_QUOTE]


class _NotFoundError(errors.ApiRefusedError):
    """404: a class of its own, since `read` takes it for an answer."""


def _timeout(connect: float, answer: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect, sock_connect=connect, sock_read=answer)


def status_message(body: str) -> str:
    """Return the message of a Kubernetes Status, or "" for any other body: those are not quoted."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(parsed, dict) or parsed.get("kind") != "Status":
        return ""
    return str(parsed.get("message") or "")


@dataclass(frozen=True)
class Source:
    """What an Airflow connection says about a cluster."""

    extras: Mapping[str, Any] = field(repr=False)
    document: Any = field(repr=False)
    """Its kubeconfig, or None if it has none of its own (inside a cluster)."""
    folder: Path
    """What the file names in the kubeconfig are relative to."""

    def value(self, key: str) -> Any:
        """Return one field, under its short or its prefixed name."""
        return self.extras.get(key) or self.extras.get(f"extra__kubernetes__{key}")


async def source(conn_id: str) -> Source:
    """Return what an Airflow connection says, with its secrets masked.

    Raises ConfError if there is no such connection or its kubeconfig cannot be read.
    """
    try:
        extras = await get_async_extra_dejson(await get_async_connection(conn_id))
    except AirflowNotFoundException:
        raise errors.ConfError([f"there is no Airflow connection {conn_id!r}; create it first"]) from None
    found = Source(extras, None, Path.cwd())
    document, folder = found.value("kube_config"), found.folder
    try:
        if found.value("kube_config_path"):
            path = Path(await asyncio.to_thread(os.path.expanduser, str(found.value("kube_config_path"))))
            document, folder = await asyncio.to_thread(path.read_text), path.parent
        if isinstance(document, str):
            document = yaml.safe_load(document)
    except OSError as error:
        raise errors.ConfError(
            [f"connection {conn_id}: its kube_config_path cannot be read: {error.strerror}: {error.filename}"]
        ) from None
    except yaml.YAMLError:
        # Not chained: a parser's error quotes the line that it stumbled over.
        raise errors.ConfError([f"connection {conn_id}: its kubeconfig is not YAML"]) from None
    for secret in kubeconfig.secrets(document):
        await amask_secret(secret)
    return Source(extras, document, folder)


@contextlib.asynccontextmanager
async def connect(conn_id: str, *, role: str, limits: settings.Settings) -> AsyncIterator[Cluster]:
    """Open the cluster behind an Airflow connection of type Kubernetes; *role* names it in messages.

    Raises ConfError if the connection does not exist or cannot be loaded. Each call has a client
    configuration of its own: without one, the hooks of two clusters share one inside the process.
    """
    found = await source(conn_id)
    hook = AsyncKubernetesHook(
        conn_id=conn_id,
        connection_extras=dict(found.extras),
        client_configuration=client.Configuration(),
    )
    async with contextlib.AsyncExitStack() as stack:
        try:
            api = await stack.enter_async_context(hook.get_conn())
        except (config.ConfigException, AirflowException, OSError, ValueError, TypeError, KeyError) as error:
            # Neither chained nor quoted: the text of such an error can hold parts of the kubeconfig.
            raise errors.ConfError(
                [f"connection {conn_id}: its kubeconfig cannot be loaded ({type(error).__name__})"]
            ) from None
        api.user_agent = FIELD_MANAGER
        cluster = Cluster(role, conn_id=conn_id, api=api, limits=limits)
        await cluster.keep_secret(*kubeconfig.secrets(found.document))
        yield cluster


async def importable_kubeconfig(conn_id: str, *, server: str | None) -> kubeconfig.Kubeconfig:
    """Return the kubeconfig of a connection in the form that the host cluster receives.

    Raises KubeconfigError with every reason why the host could not use it, ConfError if there is no such
    connection.
    """
    found = await source(conn_id)
    if found.document is None:
        raise kubeconfig.KubeconfigError(
            ["it holds no kubeconfig of its own (kube_config or kube_config_path); the host needs one"]
        )
    made = await asyncio.to_thread(
        kubeconfig.self_contained,
        found.document,
        context=found.value("cluster_context"),
        server=server,
        read_file=lambda name: (found.folder / name).read_bytes(),
    )
    for secret in (made.text, *kubeconfig.secrets(made.document)):
        await amask_secret(secret)
    return made
