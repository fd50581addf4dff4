"""Cluster objects that people have made on a host before: part of a scenario."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from include.simulator import manifests

Object = dict[str, Any]

_HOST_LABEL = "cluster-role.kubesphere.io/host"


@dataclass(frozen=True, kw_only=True)
class ExtraCluster:
    """A Cluster that somebody has applied with kubectl; the controller finds it when it starts.

    `of` is the cluster whose kubeconfig it has, for a direct connection; without one it is by proxy. `joins` is its
    `joinFederation`, left out when false; `host_label`: it is marked as the host.
    """

    of: str | None = None
    joins: bool = True
    host_label: bool = False


def build(name: str, extra: ExtraCluster, *, kubeconfig: str) -> Object:
    """Return the object; the kubeconfig is that of the cluster which it is of, if any."""
    content = manifests.cluster(name, kubeconfig=kubeconfig)
    if extra.of is None:
        content["spec"]["connection"] = {"type": "proxy"}
    if not extra.joins:
        del content["spec"]["joinFederation"]
    if extra.host_label:
        content["metadata"]["labels"] = {_HOST_LABEL: ""}
    return content
