"""Kubeconfigs that the host cluster's pods can use: checked, reduced to one user, with nothing left outside.

Pure: files are read through a function that the caller gives.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from include.fleet import documents

_LOCAL_SUFFIXES = (".local", ".localhost", ".svc")
_USER_FILES = {"client-certificate": "client-certificate-data", "client-key": "client-key-data"}
_CLUSTER_FILES = {"certificate-authority": "certificate-authority-data"}


class KubeconfigError(ValueError):
    """A kubeconfig that the host cluster cannot use; holds every problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


@dataclass(frozen=True)
class Kubeconfig:
    """A self-contained kubeconfig of one cluster and one user."""

    document: Mapping[str, Any] = field(repr=False)
    server: str
    warnings: tuple[str, ...] = ()

    @property
    def cluster(self) -> Mapping[str, Any]:
        """Return what it says about the cluster: no secrets."""
        return cluster_of(self.document, context=None)

    @property
    def text(self) -> str:
        """Return it as YAML, the same text for the same content."""
        return yaml.safe_dump(self.document, sort_keys=True)


def self_contained(
    document: object,
    *,
    context: str | None,
    server: str | None,
    read_file: Callable[[str], bytes],
) -> Kubeconfig:
    """Return what the host's pods need of *document*, and nothing that only exists where Airflow runs.

    *context* names the context to take (default: the current one), *server* replaces the server's address,
    *read_file* returns a file that the kubeconfig names. Raises KubeconfigError with every problem found:
    KubeSphere loads such a kubeconfig inside a pod, where there are no files and no plugins, and a plugin
    would be a command run by whoever loads it (kubesphere-facts 9, P-24, P-25).
    """
    if not isinstance(document, Mapping):
        raise KubeconfigError(["it is not a kubeconfig: not a YAML mapping"])
    name = context or document.get("current-context")
    chosen = _named(document, "contexts", name).get("context")
    if not isinstance(chosen, Mapping):
        raise KubeconfigError([f"it has no context {name!r}" if name else "it has no current-context"])
    cluster = dict(_named(document, "clusters", chosen.get("cluster")).get("cluster") or {})
    user = dict(_named(document, "users", chosen.get("user")).get("user") or {})

    problems: list[str] = []
    warnings: list[str] = []
    address = server or str(cluster.get("server") or "")
    problems += _server_problems(address, explicit=server is not None, warnings=warnings)
    kept_cluster: dict[str, Any] = {"server": address}
    kept_cluster |= _inlined(cluster, _CLUSTER_FILES, read_file, problems)
    if cluster.get("tls-server-name"):
        kept_cluster["tls-server-name"] = str(cluster["tls-server-name"])
    if cluster.get("insecure-skip-tls-verify"):
        kept_cluster["insecure-skip-tls-verify"] = True
        warnings.append("its insecure-skip-tls-verify is set: the host will not verify the member's identity")
    if cluster.get("proxy-url"):
        warnings.append("its proxy-url is left out: it is a proxy of the place where Airflow runs")
    kept_user = _user(user, read_file, problems)
    if problems:
        raise KubeconfigError(problems)
    return Kubeconfig(_document(kept_cluster, kept_user), address, tuple(warnings))


def user_of(document: object, *, context: str | None) -> Mapping[str, Any]:
    """Return the user of a context (default: the current one); {} where there is none."""
    name = context or (document.get("current-context") if isinstance(document, Mapping) else None)
    chosen = _named(document, "contexts", name).get("context")
    user = _named(document, "users", chosen.get("user") if isinstance(chosen, Mapping) else None).get("user")
    return user if isinstance(user, Mapping) else {}


def cluster_of(document: object, *, context: str | None) -> Mapping[str, Any]:
    """Return the cluster of a context (default: the current one); {} where there is none."""
    name = context or (document.get("current-context") if isinstance(document, Mapping) else None)
    chosen = _named(document, "contexts", name).get("context")
    found = _named(document, "clusters", chosen.get("cluster") if isinstance(chosen, Mapping) else None).get("cluster")
    return found if isinstance(found, Mapping) else {}


def essence(text: str) -> tuple[Any, ...] | None:
    """Return what makes two kubeconfigs of one context the same, or None if *text* is not a kubeconfig."""
    try:
        document = documents.load(text)
        context = _named(document, "contexts", document["current-context"])["context"]
        cluster = _named(document, "clusters", context["cluster"])["cluster"]
        user = _named(document, "users", context["user"]).get("user") or {}
        return (sorted(cluster.items()), sorted(user.items()))
    except (yaml.YAMLError, LookupError, TypeError, AttributeError):
        return None


def server(text: str) -> str | None:
    """Return the server's address in the kubeconfig *text*, or None if it is not a kubeconfig."""
    found = essence(text)
    return None if found is None else dict(found[0]).get("server")


def secrets(document: object) -> list[str]:
    """Return every secret value in a kubeconfig, to be masked before anything is logged."""
    found: list[str] = []
    for entry in _entries(document, "users"):
        user = entry.get("user")
        if isinstance(user, Mapping):
            found += [str(user[key]) for key in ("token", "password", "client-key-data") if user.get(key)]
    decoded = [from_base64(value) for value in found]
    return found + [value for value in decoded if value]


def address_problem(address: str) -> str | None:
    """Return why pods of another cluster cannot reach *address*, judged by its literal form, or None.

    Not resolved: a name means something else here than in the host's pods.
    """
    name = (urlsplit(address).hostname or "").rstrip(".").lower()
    try:
        number = ipaddress.ip_address(name)
    except ValueError:
        if name == "localhost" or name.endswith(_LOCAL_SUFFIXES):
            return f"{name!r} is a name that only one machine or cluster knows"
        return None
    if number.is_loopback or number.is_unspecified:
        return f"{name} is a loopback address: inside the host's pods it is the pod itself"
    if number.is_link_local:
        return f"{name} is a link-local address"
    return None


def _server_problems(address: str, *, explicit: bool, warnings: list[str]) -> list[str]:
    if not address.startswith("https://") or not urlsplit(address).hostname:
        return [f"its server {address!r} is no https:// address"]
    local = address_problem(address)
    if local and explicit:
        warnings.append(f"member_server {address} is used as given, although {local}")
        return []
    if local:
        return [f"its server {address} cannot be used by the host: {local}. Set member_server in the conf"]
    return []


def _user(user: Mapping[str, Any], read_file: Callable[[str], bytes], problems: list[str]) -> dict[str, str]:
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            problems.append(
                f"its user relies on a plugin ({plugin}), a command that the host's pods do not have and must "
                "not be given; make a service account with cluster-admin on the member and use its token"
            )
    if "tokenFile" in user:
        problems.append("its user takes the token from a file, which rotates; give a token of its own")
    if "username" in user or "password" in user:
        problems.append("its user has a password; Kubernetes takes none since 1.19, give a token or certificate")
    kept: dict[str, str] = dict(_inlined(user, _USER_FILES, read_file, problems))
    if user.get("token"):
        kept["token"] = str(user["token"])
    if not problems and "token" not in kept and len(kept) < len(_USER_FILES):
        problems.append("its user has neither a token nor a client certificate with its key")
    return kept


def _inlined(
    source: Mapping[str, Any],
    files: Mapping[str, str],
    read_file: Callable[[str], bytes],
    problems: list[str],
) -> dict[str, str]:
    kept: dict[str, str] = {}
    for by_path, by_value in files.items():
        if source.get(by_value):
            kept[by_value] = str(source[by_value])
        elif source.get(by_path):
            try:
                kept[by_value] = base64.b64encode(read_file(str(source[by_path]))).decode()
            except OSError as error:
                problems.append(f"its {by_path} cannot be read: {error.strerror}: {source[by_path]}")
                continue
        if by_value in kept and "-----BEGIN" not in (from_base64(kept[by_value]) or ""):
            problems.append(f"its {by_value} is not a base64-encoded PEM")
    return kept


def _document(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "member", "cluster": dict(cluster)}],
        "users": [{"name": "member", "user": dict(user)}],
        "contexts": [{"name": "member", "context": {"cluster": "member", "user": "member"}}],
        "current-context": "member",
    }


def _entries(document: object, section: str) -> list[Mapping[str, Any]]:
    found = document.get(section) if isinstance(document, Mapping) else None
    return [entry for entry in found or [] if isinstance(entry, Mapping)]


def _named(document: object, section: str, name: object) -> Mapping[str, Any]:
    return next((entry for entry in _entries(document, section) if entry.get("name") == name), {})


def from_base64(value: str) -> str | None:
    """Return the text that base64 stands for, or None if it is none."""
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
