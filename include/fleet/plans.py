"""What a join would write, field by field, old against new; secrets are fingerprints.

Pure: the writes that a dry run of the join's own steps has noted, turned into what people read and runs compare. The
same clusters and the same conf give the same plan, byte for byte: times and run ids are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.fleet import kinds, kubeconfig, kubesphere, redaction

_UNSHOWN = frozenset({"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.resourceVersion"})
"""Said by the object's name, or not about it."""
_VARYING = frozenset({"data.recordedAt", "data.recordedBy"})
"""What differs from run to run in Secret before-join."""
_NO_SECRETS = frozenset({"data.clusterRole", "data.proxyPublishAddress"})
"""What of that Secret is none."""
_SECRET_FLAG = re.compile(r"--?[\w-]*(?:token|secret|password)(?:=(.*))?", re.DOTALL)
"""A word of a command that gives a secret, or whose next word does."""
_SECRET_FIELD = re.compile(r"(?:secret|token|password|\.env\[\d+\]\.value)$", re.IGNORECASE)
_LONGEST = 200

Entry = dict[str, Any]
"""One object that would be written: `cluster` (host or member), `verb` (create or change), `object` and `fields`, a
list of `field`, `old` (absent where there is none) and `new`."""


@dataclass(frozen=True)
class Write:
    """One write that a dry run has not sent."""

    verb: str
    ref: kinds.Ref
    before: Mapping[str, Any] | None = field(repr=False)
    """The object as it is; None if there is none."""
    body: Mapping[str, Any] = field(repr=False)
    """A manifest, or a merge patch."""


def entry(cluster: str, write: Write, *, hide: Callable[[str], str]) -> Entry:
    """Return what a write on the host or the member would change; *hide* takes secrets out of a text.

    What a command is given as a token or the like is hidden besides: whose it was, nobody may know.
    """
    given = {word for side in (write.before or {}, write.body) for word in _given_secrets(side)}

    def hidden(text: str) -> str:
        return redaction.redacted(hide(text), given)

    old = dict(_flat(write.before or {}))
    fields: list[dict[str, str]] = []
    for path, value in _flat(write.body):
        if path in _UNSHOWN or old.get(path, _ABSENT) == value:
            continue
        change = {"field": path, "new": _shown(write.ref.kind, path, value, hidden)}
        if path in old:
            change["old"] = _shown(write.ref.kind, path, old[path], hidden)
        fields.append(change)
    if write.before is not None:
        fields += _gone(old, write, hidden)
    verb = "create" if write.before is None else "change"
    return {"cluster": cluster, "verb": verb, "object": str(write.ref), "fields": fields}


def _gone(old: Mapping[str, Any], write: Write, hide: Callable[[str], str]) -> list[dict[str, str]]:
    """Return the items of lists that a shorter list replaces: a merge patch replaces lists as a whole."""
    found = []
    for path, items in _lists(write.body):
        for former in old:
            index, closed, _ = former.removeprefix(f"{path}[").partition("]")
            if former.startswith(f"{path}[") and closed and int(index) >= items:
                shown = _shown(write.ref.kind, former, old[former], hide)
                found.append({"field": former, "old": shown, "new": "(removed)"})
    return found


_ABSENT = object()


def _flat(value: object, path: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the path and value of every leaf."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    elif path:
        yield path, value


def _lists(value: object, path: str = "") -> Iterable[tuple[str, int]]:
    """Yield the path and length of every list."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _lists(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        yield path, len(value)
        for index, inner in enumerate(value):
            yield from _lists(inner, f"{path}[{index}]")


def _given_secrets(value: object) -> Iterable[str]:
    """Yield what the lists of words in an object give as secrets, as a program's command does; not what is unknown."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _given_secrets(inner)
    elif isinstance(value, list):
        for word, following in zip(value, [*value[1:], ""], strict=True):
            flag = _SECRET_FLAG.fullmatch(word) if isinstance(word, str) else None
            if flag is None:
                yield from _given_secrets(word)
            elif (given := flag[1] if flag[1] is not None else str(following)) and not given.startswith("("):
                yield given


def _shown(kind: kinds.Kind, path: str, value: Any, hide: Callable[[str], str]) -> str:
    if kind == kinds.SECRET and path.startswith(("data.", "stringData.")):
        if path in _VARYING:
            return "(of the run that writes it)"
        text = _decoded(value)
        return text if path in _NO_SECRETS and text else redaction.fingerprint(text) if text else '""'
    if path.endswith("spec.connection.kubeconfig") and value:
        return f"kubeconfig {redaction.fingerprint(_decoded(value))}"
    if _SECRET_FIELD.search(path) and value:
        return redaction.fingerprint(str(value))
    text = value if isinstance(value, str) and value else json.dumps(value)
    return hide(text)[:_LONGEST]


def _decoded(value: object) -> str:
    return kubeconfig.from_base64(str(value)) or str(value)


def consequences(entries: Iterable[Entry], *, name: str, connection: str) -> list[str]:
    """Return what KubeSphere itself does once these are written (kubesphere-facts 2.3, 2.5, 6.4, 6.5)."""
    written = {(item["cluster"], item["verb"], item["object"].partition("/")[0]): item for item in entries}
    found = []
    for side in ("host", "member"):
        asked = written.get((side, "change", kinds.CLUSTER_CONFIGURATION.plural))
        if asked is None:
            continue
        found.append(f"ks-installer runs on the {side}, for minutes; KubeSphere there restarts or reloads.")
        changed = {change["field"]: change for change in asked["fields"]}
        if side == "host" and "spec.multicluster.clusterRole" in changed:
            found.append("The host gets tower, kubefed and a Cluster of its own; ks-installer cannot undo that.")
        if side == "member" and "spec.authentication.jwtSecret" in changed:
            found.append("The member's users are logged out, and log in through the host from then on.")
    if ("host", "create", kinds.CLUSTER.plural) in written:
        account, role = kubesphere.member_account(name).name, kubesphere.member_role(name)
        found.append(
            f"The host makes KubeFedCluster {name} and Secret {name}-secret in its kube-federation-system; on the "
            f"member it makes namespace kube-federation-system with account {account} and the token of it, "
            f"and ClusterRole and ClusterRoleBinding {role}."
        )
        if connection == "proxy":
            found.append(f"Tower makes Service mc-{name} in kubesphere-system of the host.")
    return found


def digest(entries: Sequence[Entry]) -> str:
    """Return what is the same for two plans exactly if they are the same."""
    return redaction.fingerprint(json.dumps(entries, sort_keys=True))


def lines(entries: Iterable[Entry]) -> list[str]:
    """Return the plan as lines of a log."""
    found = []
    for item in entries:
        found.append(f"{item['verb']} {item['object']} on the {item['cluster']}")
        for change in item["fields"]:
            old = f"{change['old']} -> " if "old" in change else ""
            found.append(f"    {change['field']}: {old}{change['new']}")
    return found


def summary(entries: Sequence[Entry]) -> str:
    """Return how much would be written, as a sentence."""
    if not entries:
        return "Nothing would be written: all that this run asks for is there."
    created = sum(item["verb"] == "create" for item in entries)
    return f"Objects to create: {created}; objects to change: {len(entries) - created}."


def report(heading: str, entries: Sequence[Entry], consequences: Sequence[str], notes: Sequence[str]) -> dict[str, Any]:
    """Return a plan as the report of a step has it: its parts, its digest, and `markdown` for people."""
    return {
        "entries": entries,
        "consequences": consequences,
        "notes": notes,
        "digest": digest(entries),
        "markdown": markdown(heading, entries, consequences, notes),
    }


def told(heading: str, report: Mapping[str, Any]) -> list[str]:
    """Return a plan as lines of a log, what it leads to last."""
    entries = report["entries"]
    return [heading, summary(entries), *lines(entries), *report["consequences"], *report["notes"]]


def changed(approved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return why a plan that a person has approved does not hold any more, with what is new in it; [] if it does."""
    if now["digest"] == approved["digest"]:
        return []
    former = set(lines(approved["entries"]))
    new = [line.strip() for line in lines(now["entries"]) if line not in former]
    return ["the clusters have changed since the plan was approved; run it again to see the new plan", *new]


def markdown(heading: str, entries: Sequence[Entry], consequences: Sequence[str], notes: Sequence[str]) -> str:
    """Return the plan as a person reads it in Airflow: what matters most first, copies of what was there last."""
    parts = [f"### {heading}", summary(entries)]
    for title, sentences in (("What KubeSphere does then", consequences), ("To know", notes)):
        if sentences:
            parts.append(f"**{title}**\n\n" + "\n".join(f"- {sentence}" for sentence in sentences))
    for item in sorted(entries, key=lambda item: str(item["object"]).startswith(f"{kinds.SECRET.plural}/")):
        parts.append(f"**{item['cluster']}: {item['verb']} {item['object']}**")
        rows = [(change["field"], change.get("old", ""), change["new"]) for change in item["fields"]]
        table = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
        parts.append("\n".join(["| field | old | new |", "| --- | --- | --- |", *table]))
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    """Return text that breaks no table and is shown as it is."""
    quoted = text.replace("`", "'").replace("|", "\\|").replace("\n", " ")
    return f"`{quoted}`" if quoted else ""
