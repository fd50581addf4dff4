"""YAML, read by the parser in C where PyYAML has it: a join reads some ninety documents.

Pure: no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""Keys and indexes that lead to a value from the top of a document."""

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAGS = "tag:yaml.org,2002:"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?")
_DEEPEST = 100
_LARGEST = 1_000_000
"""Values in a document, each alias counted as all that it stands for."""


def load(text: str) -> Any:
    """Return what a YAML document holds; raises yaml.YAMLError for what is none."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - the safe loader, in C


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a document as YAML; *line* counts from 1."""

    path: Path
    line: int
    sentence: str
    lost: bool = False
    """Whether the value there could not be read: it is None then, or what its tag does not say."""


@dataclass
class _Node:
    """A value, the line that it begins in, from 1, and what it holds, each with its own line: a key's, an item's."""

    line: int
    value: Any = None
    holds: dict[Any, tuple[int, _Node]] = field(default_factory=dict)
    size: int = 0
    """How many values it is, 0 while it is being read."""


class _NotReadError(Exception):
    """A document is not read any further."""

    def __init__(self, flaw: Flaw) -> None:
        self.flaw = flaw
        super().__init__(flaw.sentence)


class Located:
    """A YAML document as plain values, with the line of each, and what is wrong with it as YAML.

    Aliases and merge keys are taken, keys that are given twice are not. Values are those of YAML 1.2, as editors and
    JSON Schema see them: yes and no, 10:30 and 2026-01-31 are text. Never raises: what cannot be read is a flaw.
    """

    def __init__(self, text: str) -> None:
        self.flaws: list[Flaw] = []
        self._root = _Node(1)
        self._anchors: dict[str, _Node] = {}
        # The parser's composer is not used: nesting without end overflows its stack, in C.
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        try:
            self._document()
        except yaml.YAMLError as error:
            self.flaws.append(_syntax_flaw(error, text))
            self._root = _Node(1)
        except _NotReadError as error:
            self.flaws.append(error.flaw)
            self._root = _Node(1)

    @property
    def value(self) -> Any:
        """Return what the document holds, None where it cannot be read."""
        return self._root.value

    def line(self, path: Path) -> int:
        """Return the line, from 1, of what *path* leads to, or of the last on the way that is there."""
        line, node = self._root.line, self._root
        for part in path:
            if part not in node.holds:
                break
            line, node = node.holds[part]
        return line

    def _document(self) -> None:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._root = self._node(next(self._events), ())
                if self._root.size > _LARGEST:
                    raise _NotReadError(Flaw((), 1, f"its aliases make more than {_LARGEST} values of it"))
                break
        # Marks and the end of the document, and what may come after it.
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._blame((), event, "a second document begins; leave one out")
                break

    def _blame(self, path: Path, event: Any, sentence: str, *, lost: bool = False) -> None:
        self.flaws.append(Flaw(path, event.start_mark.line + 1, sentence, lost))

    def _node(self, event: Any, path: Path) -> _Node:
        node = _Node(event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, node, path)
        if event.anchor:
            self._anchors[event.anchor] = node
        if len(path) > _DEEPEST:
            raise _NotReadError(Flaw((), node.line, f"it is nested more than {_DEEPEST} times"))
        if isinstance(event, yaml.MappingStartEvent):
            node.holds = self._pairs(path)
            node.value = {key: held.value for key, (_, held) in node.holds.items()}
        elif isinstance(event, yaml.SequenceStartEvent):
            node.holds = dict(enumerate(self._items(path)))
            node.value = [held.value for _, held in node.holds.values()]
        else:
            node.value = _scalar(event)
        if not _is_known(event):
            self._blame(path, event, f"the tag {event.tag} means nothing here; leave it out", lost=True)
        node.size = 1 + sum(held.size for _, held in node.holds.values())
        return node

    def _alias(self, event: Any, instead: _Node, path: Path) -> _Node:
        found = self._anchors.get(event.anchor)
        if found is not None and found.size:
            return found
        what = "an alias of what it stands in" if found else "an alias of nothing that stands before it"
        self._blame(path, event, f"*{event.anchor} is {what}", lost=True)
        instead.size = 1
        return instead

    def _items(self, path: Path) -> Iterator[tuple[int, _Node]]:
        for at, event in enumerate(self._events):
            if isinstance(event, yaml.SequenceEndEvent):
                return
            yield event.start_mark.line + 1, self._node(event, (*path, at))

    def _pairs(self, path: Path) -> dict[Any, tuple[int, _Node]]:
        """Return the values of a mapping by their keys; what is merged yields to its own."""
        own: dict[Any, tuple[int, _Node]] = {}
        merged: dict[Any, tuple[int, _Node]] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            line, key = event.start_mark.line + 1, self._node(event, (*path, "")).value
            node = self._node(next(self._events), (*path, key if isinstance(key, str) else ""))
            if key == "<<" and event.implicit[0]:
                merged |= self._merged(node, event, path)
            elif not isinstance(key, str):
                self._blame(path, event, "a key that is no text; put it in quotes")
            elif key in own:
                self._blame((*path, key), event, f"given twice, first in line {own[key][0]}; leave one out")
            else:
                own[key] = (line, node)
        return {**merged, **own}

    def _merged(self, node: _Node, event: Any, path: Path) -> dict[Any, tuple[int, _Node]]:
        """Return what a merge key brings; of several mappings the first one wins."""
        parts = [held for _, held in node.holds.values()] if isinstance(node.value, list) else [node]
        if not all(isinstance(part.value, dict) for part in parts):
            self._blame(path, event, "<<: expected a mapping, or a list of mappings")
            return {}
        found: dict[Any, tuple[int, _Node]] = {}
        for part in reversed(parts):
            found |= part.holds
        return found


def _is_known(event: Any) -> bool:
    if event.tag in (None, "!"):
        return True
    kinds: tuple[str, ...] = ("str", "null", "bool", "int", "float")
    if isinstance(event, yaml.CollectionStartEvent):
        kinds = ("map",) if isinstance(event, yaml.MappingStartEvent) else ("seq",)
    return str(event.tag).removeprefix(_TAGS) in kinds


def _scalar(event: Any) -> Any:
    text: str = event.value
    if not event.implicit[0] and event.tag in (None, "!", f"{_TAGS}str"):
        return text
    if text in _NULLS:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _syntax_flaw(error: yaml.YAMLError, text: str) -> Flaw:
    """Return what a parser says, without the line that it quotes."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        line = text.count("\n", 0, int(getattr(error, "position", 0))) + 1
        return Flaw((), line, "not YAML: it has a character that may not be there")
    said = [getattr(error, name, None) for name in ("context", "problem")]
    return Flaw((), mark.line + 1, "not YAML: " + ", ".join(part for part in said if part))
