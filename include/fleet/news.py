"""What people are told of the fleet after a reconcile: what its record says that they have not been told.

Pure: a record and what has been told in, items and what has been told by then out; `messages` says them. What has been
told is a small JSON document, which holds the time of the newest record and who is not well:

    {"newest": TIME, "failing": [tasks], "findings": {HOST: [keys]}, "members": {HOST: {CLUSTER: [what was told]}}}

A member is told of when it is not well, and again when something else has drifted besides or its repair has failed;
then when it is well. A state that only passes through, and a member for which something about its host accounts, is
neither: what was told of it still holds.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.fleet import records

_LONGEST = 300
"""Characters of a reason, and of a next step; the fleet page has all of both."""
_HELD = datetime.timedelta(hours=1)
"""So long good news of members waits for repairs that are at work, to be told with theirs."""
_EXPIRES = "credential-expires"
_UNDECLARED = "undeclared"
_FAILED = "failed"
_ROTATING = "rotating"
"""What a host is found to be, by the hand of a person, until its jwtSecret is rotated: no news."""
_PASSING = frozenset({"joining", "leaving", "left"})
"""States in which a member is on its way from one to another."""


class Heading(enum.Enum):
    """What kind of news it is, in the order in which they are told: what it is called, and the subject's words."""

    FAILING = ("Reconciling fails", "reconciling fails")
    HOST = ("Host trouble", "host trouble")
    FAILED = ("Repair failed", "failed")
    UNREACHABLE = ("Not reached", "not reached")
    DRIFTED = ("Not as declared", "drifted")
    EXPIRES = ("Credential ends soon", "with a credential that ends soon")
    UNDECLARED = ("Not in the inventory", "not in the inventory")
    WORKING = ("Reconciling works again", "reconciling works again")
    OVER = ("Host trouble is over", "host trouble is over")
    WELL = ("Well again", "well again")


@dataclass(frozen=True)
class Item:
    """One thing to tell of a host, a member or, without a host, of reconciling itself."""

    heading: Heading
    sentence: str
    host: str = ""
    cluster: str = ""
    next: str = ""
    """What is done about it, or what a person does."""

    @property
    def said(self) -> str:
        """What is said of it, in one line of a readable length."""
        return " ".join(filter(None, (_cut(self.sentence), _cut(self.next))))


def _cut(words: str) -> str:
    return records.cut(" ".join(words.split()), _LONGEST)


@dataclass(frozen=True)
class Gathered:
    """What is to be told, and what will have been told by then."""

    items: Sequence[Item]
    told: Mapping[str, Any]


def gather(
    record: Mapping[str, Any] | None, told: Mapping[str, Any] | None, *, failing: Sequence[str] | None = ()
) -> Gathered:
    """Return what *told* does not have yet.

    *record* is that of this reconcile, None if it has left none; *failing* names the tasks of it that have failed, None
    if that is not to be told.
    """
    told = told or {}
    items: list[Item] = []
    if failing and list(failing) != told.get("failing"):
        sentence = f"Failed: {', '.join(failing)}. "
        sentence += "The record is there." if record else "Nobody has looked at the fleet."
        items.append(Item(Heading.FAILING, sentence, next="The task's log says why, most often the inventory."))
    if failing is not None and not failing and told.get("failing"):
        items.append(Item(Heading.WORKING, "The fleet is looked at again."))
    after = {**told, "failing": list(told.get("failing", ()) if failing is None else failing)}
    if record:
        of_fleet = _Reading(record, told).gather()
        items += of_fleet.items
        after |= of_fleet.told
    return Gathered(items, after)


def is_older(record: Mapping[str, Any], told: Mapping[str, Any] | None) -> bool:
    """Tell whether people have been told of a newer record than this one."""
    return bool(told) and str(record["recorded_at"]) < str((told or {}).get("newest", ""))


class _Reading:
    """One record, read beside what has been told."""

    def __init__(self, record: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        self._record = record
        self._members: dict[str, dict[str, list[str]]] = told.get("members", {})
        self._findings: dict[str, list[str]] = told.get("findings", {})
        self._started = {(action["host"], action["cluster"]): action["run_id"] for action in record["actions"]}

    def gather(self) -> Gathered:
        """Return the news of hosts and members."""
        items: list[Item] = []
        members: dict[str, dict[str, list[str]]] = {}
        findings: dict[str, list[str]] = {}
        for host in self._record["hosts"]:
            items += self._of_host(host, findings)
            items += self._of_members(host, members)
        if self._record["partial"]:
            # Whom it does not have at all it has not looked for.
            members = {**self._members, **members}
            findings = {**self._findings, **findings}
        if self._may_wait(items):
            for item in items:
                members.setdefault(item.host, {})[item.cluster] = list(self._members[item.host][item.cluster])
            items = []
        kept = {
            "members": {host: rows for host, rows in members.items() if rows},
            "findings": {host: keys for host, keys in findings.items() if keys},
        }
        return Gathered(items, {**kept, "newest": self._record["recorded_at"]})

    def _of_host(self, host: Mapping[str, Any], findings: dict[str, list[str]]) -> list[Item]:
        name, before = host["name"], self._findings.get(host["name"], ())
        present = {_key(found): found for found in host["findings"] if found["kind"] != _ROTATING}
        # Of a host that has not answered, or not for all of its members, nothing is known to be over.
        over = [] if host["error"] or self._record["partial"] else [key for key in before if key not in present]
        findings[name] = [*present, *(key for key in before if key not in present and key not in over)]
        items = [
            Item(Heading.HOST, found["sentence"], name, next=f"{_concerned(found, host)} {found['next']}")
            for key, found in present.items()
            if key not in before
        ]
        return items + [Item(Heading.OVER, f"{key.partition(' ')[0]}.", name) for key in over]

    def _of_members(self, host: Mapping[str, Any], members: dict[str, dict[str, list[str]]]) -> list[Item]:
        name = host["name"]
        before, after = self._members.get(name, {}), members.setdefault(name, {})
        items = []
        for row in host["members"]:
            cluster, facts = row["cluster"], self._facts(row, host)
            known = before.get(cluster, ())
            if facts is None:
                after |= {cluster: list(known)} if known else {}
            elif facts - set(known):
                after[cluster] = sorted({*known, *facts})
                items.append(self._bad(row, name, new=facts - set(known)))
            elif facts:
                after[cluster] = list(known)
            elif set(known) - {_UNDECLARED}:
                items.append(Item(Heading.WELL, f"It is {row['state']}.", name, cluster))
        return items

    def _facts(self, row: Mapping[str, Any], host: Mapping[str, Any]) -> frozenset[str] | None:
        """Return what is not well with a member; None if that is not to be told of now."""
        kinds = frozenset(drift["kind"] for drift in row["drift"])
        state = row["state"]
        if state == "healthy":
            return frozenset()
        if host["error"] or state in _PASSING:
            return None
        if state == "paused":
            # Somebody knows; but a credential that ends does not wait for them.
            return kinds & {_EXPIRES} or None
        if state == _UNDECLARED:
            return frozenset({_UNDECLARED})
        settling = kinds == {"not-ready"} and row["cause_since"] == self._record["recorded_at"]
        if settling or any(_accounts_for(found, row) for found in host["findings"]):
            return None
        return kinds | {_FAILED} if state == _FAILED else kinds

    def _bad(self, row: Mapping[str, Any], host: str, *, new: frozenset[str]) -> Item:
        started = self._started.get((host, row["cluster"]))
        doing = f"Run {started} has been started for it." if started else row.get("waits", "")
        if new == {_EXPIRES}:
            sentence = next(drift["sentence"] for drift in row["drift"] if drift["kind"] == _EXPIRES)
            heading = Heading.EXPIRES
        else:
            sentence, heading = row["sentence"], _HEADINGS[row["state"]]
        if heading is Heading.DRIFTED:
            sentence = f"({', '.join(drift['kind'] for drift in row['drift'])}) {sentence}"
        return Item(heading, sentence, host, row["cluster"], f"{doing} {row['next']}".strip())

    def _may_wait(self, items: Sequence[Item]) -> bool:
        """Tell whether it is good news of members alone, while others that were told of are being repaired.

        A fleet is repaired some members at a time; a message for each of them would hide the one that matters.
        """
        if not items or any(item.heading is not Heading.WELL for item in items):
            return False
        good = {(item.host, item.cluster) for item in items}
        rows = {(host["name"], row["cluster"]): row for host in self._record["hosts"] for row in host["members"]}
        at_work = any(
            rows[place]["state"] in _PASSING - {"left"} or place in self._started
            for place in ((host, cluster) for host, told in self._members.items() for cluster in told)
            if place in rows
        )
        oldest = min(_time(rows[place]["since"]) for place in good)
        return at_work and _time(self._record["recorded_at"]) - oldest < _HELD


_HEADINGS = {
    "failed": Heading.FAILED,
    "unreachable": Heading.UNREACHABLE,
    "drifted": Heading.DRIFTED,
    "undeclared": Heading.UNDECLARED,
}


def _key(found: Mapping[str, str]) -> str:
    """Return what tells a finding from others of its host; its sentence has counts in it, which change."""
    return f"{found['kind']} {found.get('holds', '')}".strip()


def _accounts_for(found: Mapping[str, str], row: Mapping[str, Any]) -> bool:
    """Tell whether a finding of the host is why nothing is done about a member."""
    holds = found.get("holds", "")
    if holds.startswith("cause "):
        # The newest attempt may be the one that this reconcile has started.
        causes = [(each.get("diagnosis") or {}).get("cause") for each in row["attempts"] if each["state"] == _FAILED]
        return row["state"] == _FAILED and f"cause {causes[-1] if causes else None}" == holds
    return bool(holds) and holds in ("host", row.get("connection") or row["conf"].get("connection", "direct"))


def _concerned(found: Mapping[str, str], host: Mapping[str, Any]) -> str:
    ill = [row for row in host["members"] if row["state"] in _HEADINGS and row["declared"]]
    number = len(ill) if host["error"] else sum(1 for row in ill if _accounts_for(found, row))
    return {0: "", 1: "One member that is not well is not told of besides."}.get(
        number, f"{number} members that are not well are not told of besides."
    )


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
