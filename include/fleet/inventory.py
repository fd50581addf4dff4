"""The inventory: which members the hosts of a fleet are to have. The checked value made from its file.

Pure: no I/O but the machine's time zones. The file's form is in `inventory_schema`.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.fleet import conf as confs
from include.fleet import documents, errors, forms, inventory_schema


@dataclass(frozen=True)
class Window:
    """A time in which members may be changed."""

    days: tuple[str, ...]
    """On which it begins, of inventory_schema.DAYS; none: every day."""
    start: datetime.time
    end: datetime.time
    """Not after *start*: on the next day."""
    zone: str
    """The IANA name of its time zone."""


@dataclass(frozen=True)
class Member:
    """One member of one host."""

    cluster: str
    conf: Mapping[str, Any]
    """The whole conf of its join, without problems: the file's defaults, the host's, and its own keys."""
    paused: bool
    """By itself, or with its host."""
    line: int
    """In the file, from 1."""


@dataclass(frozen=True)
class Host:
    """One host cluster, and the members that it is to have."""

    name: str
    conn_id: str
    console: str | None
    max_joins: int
    prune: bool
    paused: bool
    windows: tuple[Window, ...]
    members: tuple[Member, ...]
    line: int
    """In the file, from 1."""


@dataclass(frozen=True)
class Inventory:
    """All hosts, in the order of the file."""

    hosts: tuple[Host, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an inventory."""

    path: str
    """As in hosts[0].members[2].connection; "" is the file as a whole."""
    line: int
    """From 1."""
    sentence: str

    @property
    def told(self) -> str:
        """Return path and sentence."""
        return f"{self.path}: {self.sentence}" if self.path else self.sentence


class InventoryError(errors.PermanentError):
    """An inventory cannot be used; holds every problem, in the order of the file."""

    def __init__(self, problems: Sequence[Problem], *, where: str = "The inventory") -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  line {problem.line}: {problem.told}" for problem in self.problems)
        super().__init__(f"{where} cannot be used, nothing was changed. Mend it:{lines}")


def load(text: str) -> Inventory:
    """Return the inventory that a YAML text holds; raises InventoryError with every problem."""
    document = documents.Located(text)
    reading = _Reading(document)
    for flaw in document.flaws:
        reading.blame(flaw.path, flaw.sentence, line=flaw.line)
    if not document.flaws or document.value is not None:
        lost = {flaw.path for flaw in document.flaws if flaw.lost}
        for path, sentence in inventory_schema.unfit(document.value):
            if path not in lost:
                reading.blame(path, sentence)
        reading.check()
    if reading.problems:
        raise InventoryError(sorted(reading.problems, key=lambda problem: problem.line))
    return Inventory(tuple(_host(reading, found) for found in reading.hosts))


def is_open(windows: Sequence[Window], now: datetime.datetime) -> bool:
    """Tell whether *now*, which knows its zone, lies in one of the windows; True where there are none.

    Start and end are what a clock on the wall shows: where it is put forward or back, a window is as much shorter or
    longer.
    """
    return not windows or any(_holds(window, now) for window in windows)


def _holds(window: Window, now: datetime.datetime) -> bool:
    local = now.astimezone(zoneinfo.ZoneInfo(window.zone))
    week = inventory_schema.DAYS
    days = window.days or week
    today, yesterday = week[local.weekday()] in days, week[local.weekday() - 1] in days
    time = local.time()
    if window.start < window.end:
        return today and window.start <= time < window.end
    return (today and time >= window.start) or (yesterday and time < window.end)


@dataclass(frozen=True)
class _Entry:
    """A host or a member as it stands in the file, and where."""

    path: documents.Path
    raw: Mapping[str, Any]


class _Reading:
    """A document that is being checked. Takes what is there, since all problems are to be told at once."""

    def __init__(self, document: documents.Located) -> None:
        self.problems: dict[Problem, None] = {}
        self.hosts = _entries(_Entry((), _mapping(document.value)), "hosts")
        self._document = document
        self._defaults = _Entry(("defaults",), _mapping(_mapping(document.value).get("defaults")))
        self._owners: dict[tuple[str, str], documents.Path] = {}
        self._addresses: dict[documents.Path, tuple[documents.Path, Any]] = {}
        """The first address of tower that a member of each host declares, and where it stands."""

    def line(self, path: documents.Path) -> int:
        """Return the line of what *path* leads to, from 1."""
        return self._document.line(path)

    def blame(self, path: documents.Path, sentence: str, *, line: int | None = None) -> None:
        """Note a problem, once."""
        self.problems[Problem(_shown(path), line or self.line(path), sentence)] = None

    def check(self) -> None:
        """Note what no schema can say."""
        for host in self.hosts:
            self._check_unique(host, "name", "name", "another host's")
            self._check_unique(host, "host_conn_id", "connection", "another host's")
            for window in _entries(host, "windows"):
                self._check_window(window)
        for host in self.hosts:
            for member in _entries(host, "members"):
                self._check_member(host, member)

    def conf(self, host: _Entry, member: _Entry) -> dict[str, tuple[documents.Path, Any]]:
        """Return the conf of a member's join: each value with where it is from."""
        shared = [self._defaults, _Entry((*host.path, "defaults"), _mapping(host.raw.get("defaults")))]
        known = set(confs.SCHEMA) - set(inventory_schema.REFUSED)
        found: dict[str, tuple[documents.Path, Any]] = {}
        for entry in (*shared, member):
            for key, value in entry.raw.items():
                if key == "labels" and key in found and isinstance(value, Mapping):
                    found[key] = ((*entry.path, key), {**_mapping(found[key][1]), **value})
                elif key in known and not (entry is not member and key in inventory_schema.OF_ONE):
                    found[key] = ((*entry.path, key), value)
        kind = found.get("connection", (None, confs.Connection.DIRECT.value))[1]
        unused = set(confs.UNUSED.get(kind, ()) if isinstance(kind, str) else ()) - set(member.raw)
        kept = {key: found[key] for key in found if key not in unused}
        if "host_conn_id" in host.raw:
            kept["host_conn_id"] = ((*host.path, "host_conn_id"), host.raw["host_conn_id"])
        return kept

    def _check_member(self, host: _Entry, member: _Entry) -> None:
        found = self.conf(host, member)
        # Each value has been checked by the schema where it stands, with what the conf's own has of its key.
        for told in confs.contradictions({key: value for key, (_, value) in found.items()}):
            key, _, sentence = told.partition(": ")
            self.blame(found[key][0] if key in found else (*member.path, key), sentence)
        self._check_address(host, found.get("proxy_publish_address"))
        self._check_unique(member, "cluster", f"cluster of {host.path}", "another member's")
        self._check_unique(member, "member_conn_id", "member connection", "another member's")
        for key in ("member_conn_id", "import_conn_id"):
            owner = self._owners.get(("connection", str(member.raw.get(key))))
            if owner is not None and owner[:-1] != host.path:
                self.blame(
                    (*member.path, key),
                    f"{forms.shown(member.raw[key])} is the connection of a host, in line {self.line(owner)}; "
                    "a host cluster is no member of another",
                )

    def _check_address(self, host: _Entry, declared: tuple[documents.Path, Any] | None) -> None:
        if declared is None or not declared[1]:
            return
        first = self._addresses.setdefault(host.path, declared)
        if first[1] != declared[1]:
            self.blame(
                declared[0],
                f"{forms.shown(declared[1])} is not what line {self.line(first[0])} says; a host has one address of "
                "tower for all its members, best in the host's defaults",
            )

    def _check_window(self, window: _Entry) -> None:
        zone = window.raw.get("zone")
        if not isinstance(zone, str):
            return
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            self.blame((*window.path, "zone"), f"there is no time zone {forms.shown(zone)}; take an IANA name")

    def _check_unique(self, entry: _Entry, key: str, scope: str, whose: str) -> None:
        value, path = entry.raw.get(key), (*entry.path, key)
        if not isinstance(value, str):
            return
        first = self._owners.setdefault((scope, value), path)
        if first != path:
            self.blame(path, f"{forms.shown(value)} is {whose} already, in line {self.line(first)}")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _entries(entry: _Entry, key: str) -> list[_Entry]:
    """Return the mappings in a list that *entry* may have."""
    items = entry.raw.get(key)
    if not isinstance(items, list):
        return []
    return [_Entry((*entry.path, key, at), item) for at, item in enumerate(items) if isinstance(item, Mapping)]


def _host(reading: _Reading, host: _Entry) -> Host:
    raw, paused = host.raw, bool(host.raw.get("paused", False))
    members = []
    for member in _entries(host, "members"):
        conf = {key: value for key, (_, value) in reading.conf(host, member).items()}
        paused_itself = bool(member.raw.get("paused", False))
        members.append(Member(conf["cluster"], conf, paused or paused_itself, reading.line(member.path)))
    return Host(
        name=raw["name"],
        conn_id=raw["host_conn_id"],
        console=raw.get("console"),
        max_joins=int(raw.get("max_joins", 4)),
        prune=raw.get("prune", False),
        paused=paused,
        windows=tuple(_window(window.raw) for window in _entries(host, "windows")),
        members=tuple(members),
        line=reading.line(host.path),
    )


def _window(raw: Mapping[str, Any]) -> Window:
    return Window(
        days=tuple(raw.get("days", ())),
        start=datetime.time.fromisoformat(raw["start"]),
        end=datetime.time.fromisoformat(raw["end"]),
        zone=raw.get("zone", "UTC"),
    )


def _shown(path: documents.Path) -> str:
    """Return a path as people write it: hosts[0].members[2].connection."""
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{part if len(part) <= 80 else part[:20] + '...'}" for part in path
    )
    return "".join(parts).lstrip(".")
