"""Who has asked the simulated clusters for what: counts in their audit logs."""

from __future__ import annotations

import collections
import datetime
import json
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path

from include.simulator import disturbances
from include.simulator.access import Entry

PRODUCT = ("join-member-cluster",)
"""How the user agents of the product begin."""
RUNBOOK = ("kubectl/", "curl/")
"""How those of the runbook begin: curl goes through `kubectl proxy`, which leaves its user agent as it is."""

_DISCOVERY = re.compile(r"/(api(/[^/]+)?|apis(/[^/]+){0,2}|openapi(/.*)?|version)")


def read(directory: Path, *, names: Iterable[str]) -> dict[str, list[Entry]]:
    """Return by cluster what `python -m include.simulator` has left in its directory when it ended."""
    return {
        name: [_entry(line) for line in (directory / f"{name}.audit.jsonl").read_text().splitlines()] for name in names
    }


def _entry(line: str) -> Entry:
    fields = json.loads(line)
    return Entry(**{**fields, "time": datetime.datetime.fromisoformat(fields["time"])})


def sent_by(agents: tuple[str, ...], logs: Mapping[str, Iterable[Entry]]) -> list[tuple[str, Entry]]:
    """Return cluster and entry of each request of a client, oldest first, what kubectl asks to find its way left out.

    That is `/api`, `/apis`, their groups and versions, `/openapi` and `/version`.
    """
    found = [
        (name, entry)
        for name, entries in logs.items()
        for entry in entries
        if entry.agent.startswith(agents) and not is_discovery(entry.path)
    ]
    return sorted(found, key=lambda pair: pair[1].time)


def is_discovery(path: str) -> bool:
    """Tell whether a path, with or without a query, is asked for what the server serves."""
    return _DISCOVERY.fullmatch(path.partition("?")[0].rstrip("/")) is not None


def describe(call: Entry | disturbances.Call) -> tuple[str, str]:
    """Name a request of an audit log, or of a disturbance, without what differs from run to run."""
    query = dict(urllib.parse.parse_qsl(call.path.partition("?")[2]))
    name = call.name or query.get("fieldSelector", "").partition("=")[2] or query.get("labelSelector", "")
    name = re.sub(r"^(ks-installer|cluster-agent)-[-0-9a-z]+", r"\1-…", name)
    name = re.sub(r"^(join-member-cluster)-[-0-9a-f]{36}$", r"\1-…", name)
    resource = call.resource + (f"/{call.subresource}" if call.subresource else "")
    verb = "follow" if query.get("follow") else f"try to {call.verb}" if query.get("dryRun") else call.verb
    return verb, f"{resource} {name}".strip()


def count(requests: Iterable[tuple[str, Entry]]) -> collections.Counter[str]:
    """Count requests by cluster and name."""
    return collections.Counter(f"{name}: {' '.join(describe(entry))}" for name, entry in requests)
