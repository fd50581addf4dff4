"""What stood on a cluster before a run's first write: how it is kept, compared, and brought back.

Pure: objects in; records, merge patches and sentences out. What is compared is kept as digests of what a user would
mind, so that a comparison names fields and never shows a value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from include.fleet import kinds, kubesphere, redaction

Section = dict[str, str] | None
"""Digests by name; None where the right to look was missing, which is no difference."""

CLUSTER = "cluster"
"""The section with the fields of the Cluster."""
MANAGED_LABEL = "kubefed.io/managed"
WORKSPACE_LABEL = "kubesphere.io/workspace"
"""What kubefed puts on Workspaces and namespaces of a member, and what ties a namespace to its Workspace (6.7)."""


@dataclass(frozen=True)
class Side:
    """One cluster as it stood. None in a field of its ClusterConfiguration: the key was not there."""

    role: str | None
    jwt_secret: str | None = field(repr=False)
    in_force: str = field(repr=False)
    """The jwtSecret in force."""
    address: str | None
    """proxyPublishAddress."""
    met: bool
    """Whether ks-installer had done all that it was asked for."""
    kept: dict[str, Any] | None = field(repr=False)
    """On the host the Cluster of that name, on the member the agent's Deployment; None if there was none."""
    there: dict[str, bool | None]
    """Whether an object was there, by its reference; None where that could not be seen."""
    labelled: dict[str, Any] | None
    """What kubefed may change on Workspaces and namespaces that exist, by reference; see `labels_of`."""
    sections: dict[str, Section]
    """What is compared."""


@dataclass(frozen=True)
class Record:
    """Both clusters as they stood before the first write of one run."""

    run: str
    cluster: str
    host: Side
    member: Side

    def dump(self) -> str:
        """Return it as text; holds secrets."""
        return json.dumps(asdict(self))


def load(text: str) -> Record:
    """Return the record that `dump` has written."""
    fields = json.loads(text)
    return Record(**{**fields, "host": Side(**fields["host"]), "member": Side(**fields["member"])})


def digest(value: object) -> str:
    """Return what tells two values apart and shows neither."""
    return redaction.fingerprint(json.dumps(value, sort_keys=True))


def leaves(value: object, prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested mapping by their paths; a list is one value, an empty mapping is none."""
    if not isinstance(value, Mapping):
        return {prefix.rstrip("."): value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= leaves(inner, f"{prefix}{key}.")
    return found


def digests(value: object, *, of: str, prefix: str = "") -> dict[str, str]:
    """Return the digest of each value of a nested mapping, named for sentences."""
    return {f"{path} of {of}": digest(leaf) for path, leaf in leaves(value, prefix).items()}


def of_configuration(configuration: kubesphere.Object, *, in_force: str) -> dict[str, str]:
    """Return the digests of what a ClusterConfiguration asks for.

    A jwtSecret that is empty stands for the one in force: that is what it asks for (kubesphere-facts 2.4).
    """
    spec = dict(configuration.get("spec") or {})
    effective = kubesphere.spec_secret(configuration) or in_force
    spec["authentication"] = {**(spec.get("authentication") or {}), "jwtSecret": effective}
    return digests(spec, of=str(kubesphere.CONFIGURATION), prefix="spec.")


def of_config(config: kubesphere.Config | None) -> dict[str, str]:
    """Return the digests of what is in force, {} if there is nothing that can be read.

    As a join knows it, since the host's controller writes the whole file anew, with defaults that ks-installer leaves
    out (kubesphere-facts 3.2). It also writes a host's own clusterName and an accessTokenMaxAge of 0s, which each run
    of ks-installer drops.
    """
    if config is None:
        return {}
    fields = asdict(config)
    if config.role == kubesphere.HOST:
        del fields["cluster_name"]
        fields["token_age"] = "" if config.has_lasting_tokens else config.token_age
    return digests(fields, of=str(kubesphere.CONFIG))


def of_deployments(items: Iterable[kubesphere.Object]) -> dict[str, str]:
    """Return the digests of Deployments: what they run, whenever it was restarted."""
    found = {}
    for item in items:
        template = item["spec"].get("template") or {}
        marks = dict((template.get("metadata") or {}).get("annotations") or {})
        marks.pop(kubesphere.RESTART_ANNOTATION, None)
        runs = [item["spec"].get("replicas", 1), template.get("spec"), marks]
        found[str(kinds.Ref(kinds.DEPLOYMENT, item["metadata"]["name"], item["metadata"]["namespace"]))] = digest(runs)
    return found


def of_cluster(cluster: kubesphere.Object | None) -> dict[str, str]:
    """Return the digests of a Cluster, {} if there is none; tower writes a kubeconfig anew at each connection."""
    if cluster is None:
        return {}
    kept = kept_cluster(cluster)
    if kubesphere.connection_type(cluster) == "proxy":
        kept["spec"] = {**kept["spec"], "connection": {**kept["spec"]["connection"], "kubeconfig": ""}}
    kept["metadata"] = {key: kept["metadata"].get(key) or {} for key in ("labels", "annotations")}
    return digests(kept, of=str(kinds.Ref(kinds.CLUSTER, cluster["metadata"]["name"])))


def kept_cluster(cluster: kubesphere.Object) -> dict[str, Any]:
    """Return what of a Cluster is kept: whose it is, and what a join changes."""
    metadata = {
        key: value
        for key, value in cluster["metadata"].items()
        if key in ("name", "uid", "labels", "annotations", "deletionTimestamp")
    }
    return {"metadata": metadata, "spec": cluster.get("spec") or {}}


def kept_agent(deployment: kubesphere.Object) -> dict[str, Any]:
    """Return what of the agent's Deployment is kept."""
    spec = {key: value for key, value in deployment["spec"].items() if key in ("replicas", "template")}
    return {"metadata": {"uid": deployment["metadata"]["uid"]}, "spec": spec}


def labels_of(item: kubesphere.Object) -> dict[str, Any]:
    """Return what ties a namespace or a Workspace to kubefed and to a Workspace: two labels, and its owners."""
    labels = item["metadata"].get("labels") or {}
    return {
        "labels": {key: labels.get(key) for key in (MANAGED_LABEL, WORKSPACE_LABEL)},
        "ownerReferences": item["metadata"].get("ownerReferences") or [],
    }


def restoring_labels(before: Mapping[str, Any], now: kubesphere.Object) -> dict[str, Any]:
    """Return the merge patch that takes back what kubefed did to an object, {} if it did nothing.

    Its own label tells: without that, whatever has changed was changed by somebody else.
    """
    tied = labels_of(now)
    if tied["labels"][MANAGED_LABEL] == before["labels"][MANAGED_LABEL] or before["labels"][MANAGED_LABEL]:
        return {}
    return {"metadata": restoring(tied, before)}


def restoring(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that makes *before* out of *now*."""
    patch: dict[str, Any] = {key: None for key, value in now.items() if key not in before and value is not None}
    for key, value in before.items():
        present = now.get(key)
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            inner = restoring(present, value)
            if inner:
                patch[key] = inner
        elif present != value:
            patch[key] = value
    return patch


def of_before_join(secret: kubesphere.Object) -> Side:
    """Return a member as it stood before its first join, as far as Secret before-join tells: role and jwtSecret."""
    return _before(
        role=kubesphere.secret_value(secret, "clusterRole"),
        jwt_secret=kubesphere.secret_value(secret, "jwtSecret"),
        in_force=kubesphere.secret_value(secret, "secretInForce") or "",
    )


def unrecorded(configuration: kubesphere.Object) -> Side:
    """Return how a member is taken to have stood before a join that has recorded nothing: of no role."""
    return _before(role="none", jwt_secret=kubesphere.spec_secret(configuration), in_force="")


def _before(*, role: str | None, jwt_secret: str | None, in_force: str) -> Side:
    return Side(
        role=role,
        jwt_secret=jwt_secret,
        in_force=in_force,
        address=None,
        met=True,
        kept=None,
        there={},
        labelled=None,
        sections={},
    )


def freeing(item: kubesphere.Object, *, workspaces: Iterable[kubesphere.Object]) -> dict[str, Any]:
    """Return the merge patch that frees a Workspace or namespace of kubefed, {} if it is free (kubesphere-facts 12.5).

    Its label goes. What ties a namespace to a Workspace goes with it where there is no such Workspace, since then the
    namespace is deleted by and by.
    """
    tied = labels_of(item)
    if not tied["labels"][MANAGED_LABEL]:
        return {}
    labels: dict[str, None] = {MANAGED_LABEL: None}
    present = {each["metadata"]["name"]: each["metadata"].get("uid") for each in workspaces}
    if tied["labels"][WORKSPACE_LABEL] not in (None, *present):
        labels[WORKSPACE_LABEL] = None
    owners = [
        owner
        for owner in tied["ownerReferences"]
        if owner.get("kind") != kinds.WORKSPACE.name or present.get(owner.get("name")) == owner.get("uid")
    ]
    patch: dict[str, Any] = {"labels": labels}
    if owners != tied["ownerReferences"]:
        patch["ownerReferences"] = owners
    return {"metadata": patch}


def restoring_role_and_secret(
    configuration: kubesphere.Object, before: Side, *, secrets: Iterable[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the one merge patch that takes a member's role and jwtSecret back, and what is left as it is, and why.

    *secrets* are those that a join may have written there: the host's. The former secret is named where it has
    changed, since "" keeps the one in force (kubesphere-facts 2.4, P-36); neither key is ever removed (2.4, P-14).
    """
    spec: dict[str, Any] = {}
    left: list[str] = []
    of = f"of {kubesphere.CONFIGURATION} on the member"
    role, former_role = kubesphere.spec_role(configuration), before.role or "none"
    if role != former_role:
        if role == kubesphere.MEMBER:
            spec["multicluster"] = {"clusterRole": former_role}
        else:
            left.append(f"The role {of} stays {role}: somebody else has set it since.")
    secret, former = kubesphere.spec_secret(configuration), before.jwt_secret or before.in_force
    if secret == (before.jwt_secret or ""):
        pass
    elif secret in secrets and secret == before.in_force and not before.jwt_secret:
        # The host's was in force already, so that no name asks for the same, as it did.
        spec["authentication"] = {"jwtSecret": ""}
    elif not former or (secret not in secrets and secret != former):
        why = "somebody else has set it since" if former else "the one that was in force before is not known"
        left.append(f"The jwtSecret {of} stays {redaction.fingerprint(secret)}: {why}.")
    else:
        if secret != former:
            spec["authentication"] = {"jwtSecret": former}
        if not before.jwt_secret:
            left.append(
                f"The jwtSecret {of} names the one that was in force ({redaction.fingerprint(former)}), where it was "
                "empty: empty would keep the host's."
            )
    return {"spec": spec} if spec else {}, left


def restoring_cluster(
    now: kubesphere.Object, before: kubesphere.Object, *, wanted: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the merge patch that takes back what a join has changed in a Cluster that existed, and what is left.

    *wanted* is the manifest of the join: what has one of its values now, and had another before, was changed by it.
    """
    patch: dict[str, Any] = {}
    left: list[str] = []
    proxy = kubesphere.connection_type(before) == "proxy"
    for path in _paths(wanted):
        former, present = _at(before, path), _at(now, path)
        if former == present or (proxy and path[-1] == "kubeconfig"):
            continue
        if present == _at(wanted, path):
            _put(patch, path, former)
        else:
            left.append(
                f"{'.'.join(path)} of Cluster {now['metadata']['name']} stays: somebody else has changed it since."
            )
    return patch, left


def _paths(manifest: Mapping[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(value: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for key, inner in value.items():
            if isinstance(inner, Mapping):
                walk(inner, (*path, key))
            else:
                found.append((*path, key))

    walk({key: manifest[key] for key in ("metadata", "spec")}, ())
    return [path for path in found if path != ("metadata", "name")]


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _put(patch: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for key in path[:-1]:
        patch = patch.setdefault(key, {})
    patch[path[-1]] = value


def differences(
    before: Mapping[str, Section], now: Mapping[str, Section], *, where: str, verb: str = "is"
) -> list[str]:
    """Return what is not as it was in any section, with whether it *is* or was new, gone or another."""
    found = []
    for name, former in before.items():
        present = now.get(name)
        if former is None or present is None or (name == CLUSTER and not (former and present)):
            # Of a Cluster that is new or gone, its being there is compared, not each of its fields.
            continue
        for key in sorted({*former, *present}):
            if former.get(key) != present.get(key):
                change = "new" if key not in former else "gone" if key not in present else "another"
                found.append(f"{key} on the {where} {verb} {change}")
    return list(dict.fromkeys(found))
