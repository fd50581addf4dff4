"""Which requests clients send and which answers they get, without what differs from run to run.

`used.txt` lists what the test suite has shown of the simulator's clients, the actors included: verb, subresource,
content type of the body, HTTP status. The contract has to show each of them, on the simulator and on a real server.
"""

import urllib.parse
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parent / "used.txt"

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_METHODS = {verb: method for method, verb in _VERBS.items() if method != "HEAD"}
_METHODS |= {"list": "GET", "watch": "GET", "deletecollection": "DELETE"}
_BODILESS = ("get", "list", "watch")
_LIMIT = "limit: "


class Usage(NamedTuple):
    """A kind of request and its answer. `part` is the subresource, `object` without one, `path` for other paths."""

    verb: str
    part: str
    content_type: str
    code: int

    def __str__(self):
        return f"{self.verb} {self.part} {self.content_type or '-'} {self.code}"


def parse(line):
    """Return what a line of the file tells."""
    verb, part, content_type, code = line.split()
    return Usage(verb, part, content_type.strip("-"), int(code))


def read():
    """Return what the contract has to show."""
    return {parse(line) for line in _lines() if not line.startswith(_LIMIT)}


def read_limits():
    """Return what the simulator answers and a real server does not: limits that its docstring names."""
    return {parse(line.removeprefix(_LIMIT)) for line in _lines() if line.startswith(_LIMIT)}


def _lines():
    return [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]


def classify(method, url, *, content_type, code):
    """Return the usage that a request is; `url` may have a query."""
    parsed = urllib.parse.urlsplit(url)
    verb, part = _VERBS.get(method, method.lower()), "path"
    parts = parsed.path.strip("/").split("/")
    if (parts[0] == "api" and len(parts) > 2) or (parts[0] == "apis" and len(parts) > 3):
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in {"status", "finalize"}:
            parts = parts[2:]
        part = parts[2] if len(parts) > 2 else "object"
        if verb == "get" and len(parts) == 1:
            watches = dict(urllib.parse.parse_qsl(parsed.query)).get("watch", "false").lower() in {"true", "1"}
            verb = "watch" if watches else "list"
        elif verb == "delete" and len(parts) == 1:
            verb = "deletecollection"
    sent = "" if verb in _BODILESS else content_type.partition(";")[0].strip()
    return Usage(verb, part, sent, code)


def of_entry(entry):
    """Return the usage that an entry of the simulator's audit log is."""
    method = _METHODS.get(entry.verb, entry.verb.upper())
    return classify(method, entry.path, content_type=entry.content_type, code=entry.code)
