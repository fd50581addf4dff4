"""The inventory of what hosts have already, as text: what `load` takes, and comments on what is left to do.

Pure: Clusters in, text out. Nothing secret is taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from include.fleet import conf as confs
from include.fleet import forms, kubeconfig, kubesphere

_HEAD = """\
# yaml-language-server: $schema=fleet.schema.json
# Written by `python -m include.fleet adopt`. To do: each host_conn_id and member_conn_id is to be the id of an Airflow
# connection of type Kubernetes to that cluster. The ids are proposals: create connections with them, or write the ids
# of those that you have.
version: 1
"""
_SHARED = ("connection", "provider", "group")
_ENOUGH = 3
"""So many members of a host make defaults worth reading."""


@dataclass(frozen=True)
class Found:
    """What one host has."""

    name: str
    """What people call it."""
    conn_id: str
    """The id of its Airflow connection, or a proposal."""
    clusters: Sequence[kubesphere.Object]
    """All its Clusters, its own among them."""


def text(hosts: Sequence[Found]) -> str:
    """Return the inventory of the members that *hosts* have."""
    taken = {host.conn_id for host in hosts}
    lines = [line for host in hosts for line in _host(host, taken)]
    return _HEAD + "\n".join(["hosts:", *lines] if lines else ["hosts: []"]) + "\n"


def _host(host: Found, taken: set[str]) -> Iterable[str]:
    members, left_out = [], []
    for cluster in sorted(host.clusters, key=lambda cluster: str(cluster["metadata"]["name"])):
        if kubesphere.is_host(cluster):
            continue
        keys, notes = _member(cluster, host=host, taken=taken)
        if keys:
            members.append((keys, notes))
        else:
            left_out += notes
    defaults = _defaults([keys for keys, _ in members])
    yield f"  - name: {_scalar(host.name)}"
    yield f"    host_conn_id: {_scalar(host.conn_id)}"
    if defaults:
        yield "    defaults:"
        yield from (f"      {key}: {_scalar(value)}" for key, value in defaults.items())
    yield from (f"    # {note}" for note in left_out)
    yield "    members:" if members else "    members: []"
    for keys, notes in members:
        yield from (f"      # {note}" for note in notes)
        own = [f"{key}: {_scalar(value)}" for key, value in keys.items() if defaults.get(key) != value]
        yield f"      - {own[0]}"
        yield from (f"        {line}" for line in own[1:])


def _member(cluster: kubesphere.Object, *, host: Found, taken: set[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the keys of a member, {} for one that is left out, and what is to be said of it."""
    metadata = cluster["metadata"]
    name, kind = str(metadata["name"]), kubesphere.connection_type(cluster)
    if "deletionTimestamp" in metadata:
        return {}, [f"Cluster {name} is left out: it is being deleted."]
    if kind not in confs.UNUSED:
        return {}, [f"Cluster {name} is left out: its connection type is {forms.shown(kind)}."]
    proposed = name
    while proposed in taken:
        proposed = f"{host.name}-{proposed}"
    bare = {"cluster": name, "host_conn_id": host.conn_id, "member_conn_id": proposed}
    wrong = confs.problems(bare)
    if wrong:
        return {}, [f"Cluster {name} is left out: {_line(wrong[0])}."]
    taken.add(proposed)
    keys = {"cluster": name, "member_conn_id": proposed, "connection": kind}
    notes = []
    for key, value in _described(cluster, kind).items():
        wrong = confs.problems({**bare, "connection": kind, key: value})
        if wrong:
            notes.append(f"Its {key} stays as it is and is left out here: {_line(wrong[0])}.")
        else:
            keys[key] = value
    own = {
        key: value for key, value in _labels(cluster).items() if not confs.problems({**bare, "labels": {key: value}})
    }
    return {**keys, **({"labels": own} if own else {})}, notes


def _described(cluster: kubesphere.Object, kind: str) -> dict[str, Any]:
    """Return what a Cluster says of a member, under the keys of a conf."""
    direct = kind == confs.Connection.DIRECT.value
    found = {
        "member_server": kubeconfig.server(kubesphere.cluster_kubeconfig(cluster)) if direct else None,
        "provider": (cluster.get("spec") or {}).get("provider"),
        "group": _labels(cluster).get(kubesphere.GROUP_LABEL),
        "description": (cluster["metadata"].get("annotations") or {}).get(kubesphere.DESCRIPTION_ANNOTATION),
    }
    return {key: value for key, value in found.items() if value}


def _labels(cluster: kubesphere.Object) -> dict[str, str]:
    return dict(cluster["metadata"].get("labels") or {})


def _defaults(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all members have alike, where there are enough of them."""
    if len(members) < _ENOUGH:
        return {}
    first = {key: members[0][key] for key in _SHARED if key in members[0]}
    return {key: value for key, value in first.items() if all(keys.get(key) == value for keys in members)}


def _line(sentence: str) -> str:
    """Return a sentence as a comment has it: of one line."""
    return " ".join(sentence.split())


def _scalar(value: Any) -> str:
    """Return a value as YAML of one line."""
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    shown = yaml.safe_dump(value, default_flow_style=True, default_style=style, allow_unicode=True, width=10**9)
    return shown.removesuffix("\n").removesuffix("\n...")
