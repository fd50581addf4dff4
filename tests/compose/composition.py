"""docker-compose.yaml as docker compose reads it, as far as this file needs: values of .env in, services out.

Pure but for the files that it reads. Of the interpolation it knows `$NAME`, `${NAME}`, `${NAME:-default}`,
`${NAME:?message}` and `$$`, and refuses everything else. No library on PyPI does it for compose files; this is compared
with docker-compose by hand when the file changes.
"""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yaml"
EXAMPLE = ROOT / ".env.example"

_REFERENCE = re.compile(
    r"""\$(?: (?P<dollar>\$)
            | (?P<plain>[A-Za-z_]\w*)
            | \{(?P<name>[A-Za-z_]\w*)(?: :- (?P<default>[^}]*) | :\? (?P<message>[^}]*) )?\}
            | (?P<other>) )""",
    re.VERBOSE,
)


class MissingError(Exception):
    """A variable that the file demands has no value."""


def load(values=None):
    """Return the document, interpolated with *values*; without them as it stands."""
    document = yaml.safe_load(FILE.read_text())
    return document if values is None else interpolated(document, values)


def interpolated(node, values):
    """Return a document with the references in its strings replaced, keys excepted."""
    if isinstance(node, dict):
        return {key: interpolated(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(value, values) for value in node]
    return _expanded(node, values) if isinstance(node, str) else node


def references(node):
    """Return the names of the variables in a document, each with whether it must be given."""
    if isinstance(node, dict):
        return set().union(*map(references, node.values()))
    if isinstance(node, list):
        return set().union(*map(references, node))
    found = _REFERENCE.finditer(node) if isinstance(node, str) else ()
    return {
        (match["plain"] or match["name"], match["message"] is not None)
        for match in found
        if match["plain"] or match["name"]
    }


def settings(path):
    """Return the variables of a file in the form of .env."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", maxsplit=1) for line in lines)


def _expanded(text, values):
    def value_of(match):
        if match["dollar"]:
            return "$"
        name = match["plain"] or match["name"]
        if not name:
            raise ValueError(f"unknown form of reference: {text[match.start() :]}")
        value = values.get(name, "")
        if value:
            return value
        if match["message"] is not None:
            raise MissingError(f"{name}: {match['message']}")
        return match["default"] or ""

    return _REFERENCE.sub(value_of, text)
