"""The Cluster object of a member: how it is made, and what of it is worth changing in one that exists.

Pure: dictionaries in, dictionaries out.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from include.fleet import kinds, kubeconfig, kubesphere


def cluster_manifest(
    name: str,
    *,
    uid: str,
    handed_over: str = "",
    kubeconfig: str | None,
    kubesphere_api_endpoint: str | None,
    provider: str | None,
    group: str | None,
    labels: Mapping[str, str],
    description: str | None,
) -> dict[str, Any]:
    """Return the Cluster manifest of a member, in the dashboard's form (kubesphere-facts 5.2).

    With a kubeconfig it is joined directly, without one by proxy: then tower fills in the rest. A *uid* that is not
    known yet is "", and *handed_over* then the run that waits for the member.
    """
    connection = {"type": "proxy"}
    if kubeconfig is not None:
        connection = {"type": "direct", "kubeconfig": base64.b64encode(kubeconfig.encode()).decode()}
    if kubesphere_api_endpoint:
        connection["kubesphereAPIEndpoint"] = kubesphere_api_endpoint
    annotations = {kubesphere.MEMBER_UID_ANNOTATION: uid} if uid else {}
    if handed_over:
        annotations[kubesphere.HANDED_OVER_ANNOTATION] = handed_over
    if description:
        annotations[kubesphere.DESCRIPTION_ANNOTATION] = description
    spec: dict[str, Any] = {"joinFederation": True, "enable": True, "connection": connection}
    if provider:
        spec["provider"] = provider
    metadata: dict[str, Any] = {"name": name, "annotations": annotations}
    all_labels = {**labels, **({kubesphere.GROUP_LABEL: group} if group else {})}
    if all_labels:
        metadata["labels"] = all_labels
    return {"apiVersion": kinds.CLUSTER.api_version, "kind": "Cluster", "metadata": metadata, "spec": spec}


def difference(current: object, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that brings *wanted*, and nothing else, into *current*."""
    patch: dict[str, Any] = {}
    for key, value in wanted.items():
        present = current.get(key) if isinstance(current, Mapping) else None
        if isinstance(value, Mapping):
            inner = difference(present, value)
            if inner:
                patch[key] = inner
        elif present != value:
            patch[key] = value
    return patch


def secret(ref: kinds.Ref, values: Mapping[str, str]) -> dict[str, Any]:
    """Return a Secret that holds *values*."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "type": "Opaque",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def worth_changing(
    existing: Mapping[str, Any], wanted: dict[str, Any], *, server: str | None, replace: bool
) -> dict[str, Any]:
    """Return the part of *wanted* to bring into a Cluster that exists.

    One that is joined keeps a kubeconfig that works, and its mark if it came by hand, unless another *server* is
    asked for or *replace* says that the credential is to be replaced.
    """
    spec, metadata = dict(wanted["spec"]), dict(wanted["metadata"])
    connection = dict(spec["connection"])
    if "kubeconfig" not in connection:
        return _without_mark({"metadata": metadata, "spec": spec}, joined=bool(kubesphere.member_uid(existing)))
    text = kubesphere.cluster_kubeconfig(existing)
    new = base64.b64decode(connection["kubeconfig"]).decode()
    joined = bool(kubesphere.member_uid(existing))
    asked = replace or (server is not None and kubeconfig.server(text) != server)
    if kubeconfig.essence(text) == kubeconfig.essence(new) or (joined and not asked):
        del connection["kubeconfig"]
    spec["connection"] = connection
    return _without_mark({"metadata": metadata, "spec": spec}, joined=joined)


def _without_mark(wanted: dict[str, Any], *, joined: bool) -> dict[str, Any]:
    if not joined:
        return wanted
    annotations = {
        key: value
        for key, value in wanted["metadata"]["annotations"].items()
        if key != kubesphere.MEMBER_UID_ANNOTATION
    }
    spec = {key: value for key, value in wanted["spec"].items() if key != "enable"}
    return {"metadata": {**wanted["metadata"], "annotations": annotations}, "spec": spec}


def changed_fields(patch: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the paths of the fields in a merge patch, without their values."""
    found: list[str] = []
    for key, value in patch.items():
        path = f"{prefix}{key}"
        found += changed_fields(value, f"{path}.") if isinstance(value, Mapping) else [path]
    return found
