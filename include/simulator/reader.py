"""Reading what a person wrote: problems are collected with their paths, and reading goes on with a default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

Part = TypeVar("Part")


class Reader:
    """Reads values out of mappings; `problems` has a sentence for each one that cannot be used."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def _mapping(self, source: Any, *, path: str, keys: set[str]) -> dict[str, Any]:
        if not isinstance(source, Mapping):
            self.problems.append(f"{path}: expected a mapping, got {source!r}")
            return {}
        unknown = sorted(str(key) for key in source if key not in keys)
        self.problems += [f"{path}.{key}: unknown; known are {', '.join(sorted(keys))}" for key in unknown]
        return {key: value for key, value in source.items() if key in keys}

    def _choice(self, known: dict[str, Any], key: str, *, path: str, choices: tuple[str, ...], default: str) -> str:
        value = known.get(key, default)
        if value in choices:
            return str(value)
        self.problems.append(f"{path}{key}: expected {' or '.join(choices)}, got {value!r}")
        return default

    def _flag(self, known: dict[str, Any], key: str, *, path: str, default: bool) -> bool:
        value = known.get(key, default)
        if isinstance(value, bool):
            return value
        self.problems.append(f"{path}.{key}: expected true or false, got {value!r}")
        return default

    def _names(self, source: Any, *, path: str) -> tuple[str, ...]:
        if isinstance(source, list) and all(isinstance(name, str) and _NAME.fullmatch(name) for name in source):
            return tuple(source)
        self.problems.append(f"{path}: expected a list of names, got {source!r}")
        return ()

    def _days(self, known: dict[str, Any], key: str, *, path: str) -> float | None:
        value = known.get(key)
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0):
            return value
        self.problems.append(f"{path}.{key}: expected days, negative for an end in the past, got {value!r}")
        return None

    def _name(self, known: dict[str, Any], *, path: str, default: str) -> str:
        value = known.get("name", default)
        if value == "" or (isinstance(value, str) and _NAME.fullmatch(value) and len(value) <= 60):
            return str(value)
        self.problems.append(f"{path}.name: expected a cluster name, got {value!r}")
        return default

    def _optional_name(self, known: dict[str, Any], key: str, *, path: str) -> str | None:
        value = known.get(key)
        if value is None or (isinstance(value, str) and _NAME.fullmatch(value)):
            return value
        self.problems.append(f"{path}.{key}: expected a cluster name or null, got {value!r}")
        return None

    def _part(self, read: Part | str | None, *, path: str) -> Part | None:
        """Return a part that has been read, or note what is wrong with it."""
        if isinstance(read, str):
            self.problems.append(f"{path}: {read}")
            return None
        return read
