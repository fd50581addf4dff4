"""The inventory: which members the hosts of a fleet are to have. Its schema, and the checked value made from it.

Pure: no I/O but the machine's time zones. The schema of a member is made from the one of a join's conf, so that they
cannot disagree.
"""

from __future__ import annotations

import datetime
import difflib
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema

from include.fleet import conf as confs
from include.fleet import documents, errors

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_UNATTENDED = "joins that the inventory starts run unattended"
REFUSED = {
    "preflight_only": f"{_UNATTENDED} and to their end; trigger join_member_cluster yourself to only check",
    "plan_only": f"{_UNATTENDED} and to their end; trigger join_member_cluster yourself to only plan",
    "approve": f"{_UNATTENDED}; pause the member, or trigger join_member_cluster yourself to be asked",
    "approve_timeout": f"{_UNATTENDED}, so that nobody is asked",
    "host_conn_id": "it is the host's, and stands there",
}
"""Keys of a join's conf that a member and defaults do not have, and why."""

OF_ONE = ("cluster", "member_conn_id", "member_server", "import_conn_id", "kubesphere_api_endpoint")
"""What defaults do not have: it is of one member."""

_NAME = f"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?{confs.END}"
_TIME = f"^([01][0-9]|2[0-3]):[0-5][0-9]{confs.END}"


def _conf_key(key: str) -> dict[str, Any]:
    """Return what an editor needs of the schema of one key of a join's conf."""
    shown = ("default", "section", "values_display")
    return {name: value for name, value in confs.SCHEMA[key].items() if name not in shown}


def _object(description: str, properties: Mapping[str, Any], *required: str, null: bool = False) -> dict[str, Any]:
    """Return the schema of a mapping; *null*: a key with nothing after it stands for an empty one."""
    return {
        "type": ["object", "null"] if null else "object",
        "description": description,
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
        "x-expected": "keys and values",
    }


def _list(description: str, definition: str) -> dict[str, Any]:
    return {
        "type": ["array", "null"],
        "description": description,
        "items": {"$ref": f"#/$defs/{definition}"},
        "x-expected": "a list",
    }


def _switch(description: str) -> dict[str, Any]:
    return {"type": "boolean", "default": False, "description": description, "x-expected": "true or false"}


_TIME_OF_DAY = {"type": "string", "pattern": _TIME, "x-expected": '"HH:MM", from "00:00" to "23:59"'}

_WINDOW = _object(
    "A time in which members may be changed.",
    {
        "days": {
            "type": "array",
            "items": {"enum": list(DAYS)},
            "uniqueItems": True,
            "description": "The days on which it begins. Without them: every day.",
            "x-expected": f"a list of days, each once: {', '.join(DAYS)}",
        },
        "start": {**_TIME_OF_DAY, "description": "When it begins, by the clock of its zone."},
        "end": {**_TIME_OF_DAY, "description": "When it ends. Where that is not after its start: on the next day."},
        "zone": {
            "type": "string",
            "default": "UTC",
            "description": "The time zone, by its IANA name, for example Europe/Berlin.",
            "x-expected": "the IANA name of a time zone, for example Europe/Berlin",
        },
    },
    "start",
    "end",
)

_MEMBER = _object(
    "A member: keys of the conf of its join.",
    {
        **{key: _conf_key(key) for key in confs.SCHEMA if key not in REFUSED},
        "paused": _switch("Leave this member as it is."),
    },
    "cluster",
)

_DEFAULTS = _object(
    "What each member has that does not say otherwise: keys of the conf of a join. What a member's connection type "
    "does not use is left out for that member; labels are added up.",
    {key: _conf_key(key) for key in confs.SCHEMA if key not in REFUSED and key not in OF_ONE},
    null=True,
)

_HOST = _object(
    "A host cluster and its members.",
    {
        "name": {
            "type": "string",
            "pattern": _NAME,
            "maxLength": 63,
            "description": "What people call it; no other host of the file has the same.",
            "x-expected": "at most 63 letters, digits, dots, dashes and underscores",
        },
        "host_conn_id": _conf_key("host_conn_id"),
        "console": {
            "type": ["null", "string"],
            "pattern": rf"^https://[^/@?#\s]+{confs.END}",
            "description": "The address of its KubeSphere console, for links.",
            "x-expected": "https://ADDRESS[:PORT] without a path",
        },
        "max_joins": {
            "type": "integer",
            "minimum": 1,
            "maximum": 32,
            "default": 4,
            "description": "So many joins of this host run at the same time at most.",
            "x-expected": "a whole number from 1 to 32",
        },
        "prune": _switch("Whether a member that has been taken out of the inventory leaves the host."),
        "paused": _switch("Leave all members of this host as they are."),
        "windows": _list("When members may be changed. Without any: at any time.", "window"),
        "defaults": {"$ref": "#/$defs/defaults"},
        "members": _list("Its members.", "member"),
    },
    "name",
    "host_conn_id",
)

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Inventory of a fleet of KubeSphere clusters",
    **_object(
        "Host clusters, and the members that each is to have.",
        {
            "version": {"const": 1, "description": "The form of this file.", "x-expected": "1"},
            "defaults": {"$ref": "#/$defs/defaults"},
            "hosts": _list("The host clusters.", "host"),
        },
        "version",
        "hosts",
    ),
    "$defs": {"window": _WINDOW, "defaults": _DEFAULTS, "member": _MEMBER, "host": _HOST},
}
"""The JSON Schema of the file, draft 2020-12. `load` checks it, and what no schema can say."""

_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@dataclass(frozen=True)
class Window:
    """A time in which members may be changed."""

    days: tuple[str, ...]
    """On which it begins, of DAYS; none: every day."""
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
        found = (told for error in _VALIDATOR.iter_errors(document.value) for told in _told(error))
        for path, sentence in found:
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
    days = window.days or DAYS
    today, yesterday = DAYS[local.weekday()] in days, DAYS[local.weekday() - 1] in days
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
        known = set(confs.SCHEMA) - set(REFUSED)
        found: dict[str, tuple[documents.Path, Any]] = {}
        for entry in (*shared, member):
            for key, value in entry.raw.items():
                if key == "labels" and key in found and isinstance(value, Mapping):
                    found[key] = ((*entry.path, key), {**_mapping(found[key][1]), **value})
                elif key in known and not (entry is not member and key in OF_ONE):
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
                    f"{confs.shown(member.raw[key])} is the connection of a host, in line {self.line(owner)}; "
                    "a host cluster is no member of another",
                )

    def _check_address(self, host: _Entry, declared: tuple[documents.Path, Any] | None) -> None:
        if declared is None or not declared[1]:
            return
        first = self._addresses.setdefault(host.path, declared)
        if first[1] != declared[1]:
            self.blame(
                declared[0],
                f"{confs.shown(declared[1])} is not what line {self.line(first[0])} says; a host has one address of "
                "tower for all its members, best in the host's defaults",
            )

    def _check_window(self, window: _Entry) -> None:
        zone = window.raw.get("zone")
        if not isinstance(zone, str):
            return
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            self.blame((*window.path, "zone"), f"there is no time zone {confs.shown(zone)}; take an IANA name")

    def _check_unique(self, entry: _Entry, key: str, scope: str, whose: str) -> None:
        value, path = entry.raw.get(key), (*entry.path, key)
        if not isinstance(value, str):
            return
        first = self._owners.setdefault((scope, value), path)
        if first != path:
            self.blame(path, f"{confs.shown(value)} is {whose} already, in line {self.line(first)}")


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


def _told(error: jsonschema.ValidationError) -> Iterator[tuple[documents.Path, str]]:
    """Yield where and what is wrong by one finding of the schema."""
    path = tuple(error.absolute_path)
    instance: Any = error.instance
    asked: Any = error.validator_value
    schema: Any = error.schema
    if error.validator == "required":
        missing = next(key for key in asked if f"'{key}' is a required" in error.message)
        yield (*path, missing), f"missing; expected {_expected([*error.absolute_schema_path][:-1], missing)}"
    elif error.validator == "additionalProperties":
        known = list(schema["properties"])
        yield from (((*path, key), _unknown(key, known)) for key in instance if key not in known)
    else:
        free = error.validator == "type" and "string" in asked and "enum" not in schema
        hint = "; put it in quotes" if free and isinstance(instance, int | float) else ""
        # Of a key of labels the path does not know.
        where = (*path, instance) if "propertyNames" in error.absolute_schema_path else path
        yield where, f"expected {_expected(error.absolute_schema_path)}, got {confs.shown(instance)}{hint}"


def _expected(way: Iterable[Any], key: str | None = None) -> str:
    """Return what the schema expects at the end of a way through it, or in *key* of it."""
    schema: Any = SCHEMA
    expected = SCHEMA["x-expected"]
    for part in [*way, *(["properties", key] if key else [])]:
        # jsonschema leaves references out of the way.
        schema = schema[part]
        if isinstance(schema, Mapping) and "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        if isinstance(schema, Mapping) and "x-expected" in schema:
            expected = schema["x-expected"]
    return str(expected)


def _unknown(key: str, known: Sequence[str]) -> str:
    if key in REFUSED:
        return f"not in an inventory: {REFUSED[key]}"
    if key in OF_ONE:
        return "not among defaults: it is of one member, and stands there"
    near = difflib.get_close_matches(key, known, n=1)
    return "unknown key; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")
