"""What in a cluster's objects must never leak: the values that a test looks for in logs and databases."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml

from include.simulator import resources
from include.simulator.resources import Resource

Object = dict[str, Any]

KINDS: Final = (resources.SECRETS, resources.CLUSTERCONFIGURATIONS, resources.CLUSTERS, resources.DEPLOYMENTS)

_NOT_SECRET_KEYS = ("ca.crt", "namespace")
_TOKEN_FLAG = "--token="  # noqa: S105 - the flag, not a token
# A shorter one, which only a scenario makes up, would be found in ordinary text.
_SHORTEST_TOKEN = 8


def find_all(items: Iterable[tuple[Resource, Object]]) -> set[str]:
    """Return the values in these Secrets, ClusterConfigurations, Clusters and agents' command lines.

    Each object comes with its kind; objects of other kinds than KINDS hold nothing.
    """
    found: set[str] = set()
    for resource, item in items:
        if resource == resources.CLUSTERCONFIGURATIONS:
            found.add(((item.get("spec") or {}).get("authentication") or {}).get("jwtSecret") or "")
        elif resource == resources.SECRETS and _is_clusters_own(item):
            for key, value in (item.get("data") or {}).items():
                if key not in _NOT_SECRET_KEYS:
                    found.add(base64.b64decode(value).decode())
        elif resource == resources.CLUSTERS:
            found |= set(_find_in_cluster(item))
        elif resource == resources.DEPLOYMENTS:
            found |= set(_find_in_deployment(item))
    return found - {""}


def _find_in_cluster(item: Object) -> Iterator[str]:
    """Yield the agent's token and the private key of a kubeconfig that tower wrote.

    The kubeconfig of a direct connection is the member's: that cluster tells its credentials itself.
    """
    connection = (item.get("spec") or {}).get("connection")
    if not isinstance(connection, dict) or connection.get("type") != "proxy":
        return
    token = str(connection.get("token") or "")
    if len(token) >= _SHORTEST_TOKEN:
        yield token
    try:
        document = yaml.safe_load(base64.b64decode(str(connection.get("kubeconfig") or "")))
    except (binascii.Error, yaml.YAMLError):
        return
    for user in (document.get("users") or []) if isinstance(document, dict) else []:
        key = (user.get("user") or {}).get("client-key-data")
        if key:
            yield from (key, base64.b64decode(key).decode())


def _find_in_deployment(item: Object) -> Iterator[str]:
    for container in item["spec"]["template"]["spec"].get("containers") or []:
        for word in (*(container.get("command") or ()), *(container.get("args") or ())):
            token = str(word).removeprefix(_TOKEN_FLAG)
            if token != word and len(token) >= _SHORTEST_TOKEN:
                yield token


def _is_clusters_own(secret: Object) -> bool:
    """Say whether a Secret is KubeSphere's or Kubernetes' own: others keep what is no secret, too."""
    metadata = secret["metadata"]
    return (
        metadata["name"] == "kubesphere-secret"
        or metadata.get("namespace") == "kube-federation-system"
        or secret.get("type") == "kubernetes.io/service-account-token"
    )
