"""Airflow connections of type Kubernetes: what they say about a cluster, and a client made from it.

The hook does the work. Here is what it leaves open: a client configuration of its own for each client, errors
without any part of a kubeconfig, and every secret of a connection masked before anything can be logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import yaml
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from airflow.sdk.log import amask_secret
from kubernetes_asyncio import client, config

from include.fleet import documents, errors, kubeconfig


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
            document = documents.load(document)
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


async def problems(raw: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """Return what is wrong with the connections that a conf names under *keys*, a sentence each, with its key."""
    found = []
    for key in keys:
        if isinstance(raw.get(key), str):
            try:
                await source(raw[key])
            except errors.ConfError as error:
                found += [f"{key}: {problem}" for problem in error.problems]
    return found


@dataclass(frozen=True)
class Access:
    """A client of one cluster, and the secrets that it was made from."""

    api: client.ApiClient
    secrets: frozenset[str] = field(repr=False)


@contextlib.asynccontextmanager
async def access(conn_id: str) -> AsyncIterator[Access]:
    """Make a client from what an Airflow connection says at this moment.

    Raises ConfError if the connection does not exist or cannot be loaded. Each client has a configuration of
    its own: without one, the hooks of two clusters share one inside the process.
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
        await stack.enter_async_context(_parting(api))
        yield Access(api, frozenset(kubeconfig.secrets(found.document)))


@contextlib.asynccontextmanager
async def access_by(document: Mapping[str, Any]) -> AsyncIterator[Access]:
    """Make a client from a self-contained kubeconfig, as `kubeconfig.self_contained` leaves one.

    From any other one it would run programs and read files. Raises ConfError if it cannot be loaded.
    """
    async with _loaded(document, "a Cluster's kubeconfig", config.load_kube_config_from_dict, dict(document)) as made:
        yield made


@contextlib.asynccontextmanager
async def access_to_file(path: Path) -> AsyncIterator[Access]:
    """Make a client from the current context of a kubeconfig file, for a person at a terminal: without Airflow.

    As kubectl does, it runs the program and reads the files that the kubeconfig names. Raises ConfError if it cannot be
    loaded.
    """
    try:
        path = await asyncio.to_thread(path.expanduser)
        document = documents.load(await asyncio.to_thread(path.read_text, encoding="utf-8"))
    except OSError as error:
        raise errors.ConfError([f"kubeconfig {path}: it cannot be read: {error.strerror}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        # Not chained: a parser's error quotes the line that it stumbled over.
        raise errors.ConfError([f"kubeconfig {path}: it is not YAML"]) from None
    async with _loaded(document, f"kubeconfig {path}", config.load_kube_config, str(path)) as made:
        yield made


@contextlib.asynccontextmanager
async def _loaded(
    document: Any, what: str, load: Callable[..., Awaitable[object]], source: object
) -> AsyncIterator[Access]:
    """Make a client by one of the library's loaders, with the secrets of *document* masked."""
    secrets = frozenset(kubeconfig.secrets(document))
    for secret in secrets:
        await amask_secret(secret)
    configuration = client.Configuration()
    try:
        await load(source, client_configuration=configuration)
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        raise errors.ConfError([f"{what} cannot be loaded ({type(error).__name__})"]) from None
    async with client.ApiClient(configuration) as api, _parting(api):
        yield Access(api, secrets)


@contextlib.asynccontextmanager
async def _parting(api: client.ApiClient) -> AsyncIterator[None]:
    """Have no connection of *api* outlive it.

    One whose request was given up ends politely: it waits for the server's part of that, longer than the event loop of
    a task lives.
    """
    connector = cast("aiohttp.BaseConnector", api.rest_client.pool_manager.connector)
    connect = connector.connect
    transports: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    async def remembered(*args: Any, **options: Any) -> aiohttp.connector.Connection:
        connection = await connect(*args, **options)
        if connection.transport is not None:
            transports.add(connection.transport)
        return connection

    connector.connect = remembered  # type: ignore[method-assign]
    try:
        yield
    finally:
        for transport in list(transports):
            if transport.is_closing():
                transport.abort()
        # A socket is closed in the next round of the loop.
        await asyncio.sleep(0)


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
