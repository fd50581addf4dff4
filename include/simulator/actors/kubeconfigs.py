"""Kubeconfigs as a program in a pod can use them: inline certificates, keys and tokens.

What refers to the machine where it was written (files, exec and auth-provider plugins) fails as it fails in the pod,
which has neither those files nor those programs; nothing is ever executed or read from here. The token file of a pod's
own service account is the exception: it is there.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import yaml

from include.simulator.actors.client import Client
from include.simulator.certificates import Pair
from include.simulator.network import DialError, Network, tls_context

ACCOUNT_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"


class KubeconfigError(ValueError):
    """A kubeconfig from which no client can be made; the text is client-go's as far as known."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a kubeconfig's current context says. The authority is PEM; `plugin` a command; the rest as in the file."""

    server: str
    authority: str | None
    insecure: bool
    server_name: str | None
    token: str | None
    certificate: str | None
    key: str | None
    plugin: str | None = None


class _MissingPlugin(httpx.Auth):
    """Fails each request: in a pod there is no such program."""

    def __init__(self, command: str) -> None:
        self._command = command

    def auth_flow(self, _request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Raise DialError, as if the request had not got out."""
        raise DialError(f"getting credentials: exec: executable {self._command} not found")


def decode(field: Any) -> bytes:
    """Return the kubeconfig in the base64 text of a Cluster. Raises KubeconfigError."""
    try:
        return base64.b64decode(str(field), validate=True)
    except (binascii.Error, ValueError) as error:
        raise KubeconfigError("illegal base64 data in kubeconfig") from error


def parse(text: bytes) -> Access:
    """Return what the current context of a kubeconfig says. Raises KubeconfigError."""
    try:
        document = yaml.safe_load(text.decode())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KubeconfigError("couldn't get version/kind; json parse error") from error
    if not isinstance(document, dict):
        raise KubeconfigError("couldn't get version/kind; json parse error: cannot unmarshal into Go value")
    context = _entry(document, kind="contexts", name=document.get("current-context"), field="context")
    cluster = _entry(document, kind="clusters", name=context.get("cluster"), field="cluster")
    user = _entry(document, kind="users", name=context.get("user"), field="user")
    if not cluster.get("server"):
        raise KubeconfigError("invalid configuration: no server found for cluster")
    for where, key in ((cluster, "certificate-authority"), (user, "client-certificate"), (user, "client-key")):
        if where.get(key) and not where.get(f"{key}-data"):
            raise KubeconfigError(f"unable to read {key} {where[key]}: no such file or directory")
    if user.get("auth-provider"):
        raise KubeconfigError(f'no Auth Provider found for name "{user["auth-provider"].get("name", "")}"')
    token = user.get("token")
    if not token and user.get("tokenFile") and user["tokenFile"] != ACCOUNT_FILE:
        raise KubeconfigError(f"open {user['tokenFile']}: no such file or directory")
    server = str(cluster["server"]).rstrip("/")
    return Access(
        server=server if "://" in server else f"https://{server}",
        authority=_decode(cluster, key="certificate-authority-data"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=cluster.get("tls-server-name"),
        token=str(token) if token else None,
        certificate=_decode(user, key="client-certificate-data"),
        key=_decode(user, key="client-key-data"),
        plugin=str(user["exec"].get("command", "")) if user.get("exec") else None,
    )


def connect(access: Access, *, network: Network, cluster: str) -> Client:
    """Return a client for the server of a kubeconfig, used from a pod of that cluster. Raises KubeconfigError."""
    if urlsplit(access.server).scheme not in {"http", "https"}:
        raise KubeconfigError(f"unsupported protocol scheme in {access.server}")
    try:
        context = tls_context(authority=access.authority)
        if access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if access.certificate and access.key:
            Pair(certificate=access.certificate, key=access.key).load_into(context)
    except (ssl.SSLError, ValueError) as error:
        raise KubeconfigError("tls: failed to find any PEM data in certificate or key input") from error
    return Client(
        network,
        cluster=cluster,
        server=access.server,
        context=context,
        token=access.token,
        auth=None if access.plugin is None else _MissingPlugin(access.plugin),
        server_name=access.server_name,
    )


def build(*, name: str, server: str, authority: str, user: dict[str, Any], user_name: str) -> dict[str, Any]:
    """Return a kubeconfig with one context; the authority is PEM."""
    encoded = base64.b64encode(authority.encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": f"{user_name}@{name}",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": encoded}}],
        "users": [{"name": user_name, "user": user}],
        "contexts": [{"name": f"{user_name}@{name}", "context": {"cluster": name, "user": user_name}}],
    }


def combine(documents: Mapping[str, dict[str, Any]], *, current: str) -> dict[str, Any]:
    """Return one kubeconfig for several with one context each, which get the names by which they are given."""
    first = next(iter(documents.values()))
    return {
        **first,
        "current-context": current,
        "clusters": [{**document["clusters"][0], "name": name} for name, document in documents.items()],
        "users": [{**document["users"][0], "name": name} for name, document in documents.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in documents],
    }


def dump(document: dict[str, Any]) -> str:
    """Return a kubeconfig as text."""
    return yaml.safe_dump(document, sort_keys=False)


def _entry(document: dict[str, Any], *, kind: str, name: Any, field: str) -> dict[str, Any]:
    for entry in document.get(kind) or []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(field), dict):
            return dict(entry[field])
    if kind == "users":
        return {}
    raise KubeconfigError(
        "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable"
    )


def _decode(section: dict[str, Any], *, key: str) -> str | None:
    if not section.get(key):
        return None
    try:
        return base64.b64decode(section[key], validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise KubeconfigError(f"illegal base64 data in {key}") from error
