"""YAML, read by the parser in C where PyYAML has it: a join reads some ninety documents.

Pure: no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""Keys and indexes that lead to a value from the top of a document."""

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAGS = "tag:yaml.org,2002:"
_TEXTS = frozenset({"str", "bool", "int", "float", "timestamp", "value", "merge"})
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?")
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


class Located:
    """A YAML document as plain values, with the line of each, and what is wrong with it as YAML.

    Aliases and merge keys are taken, keys that are given twice are not. Values are those of YAML 1.2, as editors and
    JSON Schema see them: yes and no, 10:30 and 2026-01-31 are text. Never raises: what cannot be read is a flaw.
    """

    def __init__(self, text: str) -> None:
        self.value: Any = None
        self.flaws: list[Flaw] = []
        self._root: yaml.Node | None = None
        self._children: dict[int, Mapping[Any, tuple[int, yaml.Node]]] = {}
        """What a node holds, by the node's id: line, from 0, and node."""
        self._values: dict[int, Any] = {}
        self._sizes: dict[int, int] = {}
        """How many values a node is, by its id; 0 while it is being read."""
        try:
            self._root = yaml.compose(text, Loader=_LOADER)
            if self._root is not None:
                self.value = self._value(self._root, ())
        except yaml.YAMLError as error:
            self.flaws.append(_syntax_flaw(error, text))
        except RecursionError:
            self.flaws.append(Flaw((), 1, "it is nested too deeply"))
        if self._root is not None and self._sizes.get(id(self._root), 0) > _LARGEST:
            self.value = None
            self.flaws.append(Flaw((), 1, f"its aliases make more than {_LARGEST} values of it"))

    def line(self, path: Path) -> int:
        """Return the line, from 1, of what *path* leads to, or of the last on the way that is there."""
        line, node = (0, None) if self._root is None else (self._root.start_mark.line, self._root)
        for part in path:
            found = self._children.get(id(node), {}).get(part)
            if found is None:
                break
            line, node = found
        return int(line) + 1

    def _blame(self, path: Path, node: yaml.Node, sentence: str) -> None:
        self.flaws.append(Flaw(path, node.start_mark.line + 1, sentence))

    def _value(self, node: yaml.Node, path: Path) -> Any:
        if self._sizes.get(id(node)) == 0:
            self._blame(path, node, "it holds an alias of itself")
            return None
        if id(node) not in self._sizes:
            self._sizes[id(node)] = 0
            self._values[id(node)] = self._read(node, path)
            held = self._children.get(id(node), {}).values()
            self._sizes[id(node)] = 1 + sum(self._sizes[id(child)] for _, child in held)
        return self._values[id(node)]

    def _read(self, node: yaml.Node, path: Path) -> Any:
        kind = str(node.tag).removeprefix(_TAGS)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            pairs = self._pairs(node, path)
            self._children[id(node)] = pairs
            return {key: self._value(child, (*path, key)) for key, (_, child) in pairs.items()}
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            self._children[id(node)] = {at: (child.start_mark.line, child) for at, child in enumerate(node.value)}
            return [self._value(child, (*path, at)) for at, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and (kind == "null" or kind in _TEXTS):
            return _scalar(kind, node.value)
        self._blame(path, node, f"the tag {node.tag} means nothing here; leave it out")
        return None

    def _pairs(self, node: yaml.MappingNode, path: Path) -> dict[str, tuple[int, yaml.Node]]:
        """Return line and node of each value of a mapping by its key; what is merged yields to its own."""
        own: dict[str, tuple[int, yaml.Node]] = {}
        merged: dict[str, tuple[int, yaml.Node]] = {}
        for key_node, child in node.value:
            key = self._value(key_node, path)
            if key_node.tag == f"{_TAGS}merge":
                merged |= self._merged(child, path)
            elif not isinstance(key, str):
                self._blame(path, key_node, "a key that is no text; put it in quotes")
            elif key in own:
                self._blame((*path, key), key_node, f"given twice, first in line {own[key][0] + 1}; leave one out")
            else:
                own[key] = (key_node.start_mark.line, child)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, tuple[int, yaml.Node]]:
        """Return what a merge key brings; of several mappings the first one wins."""
        value = self._value(node, path)
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, tuple[int, yaml.Node]] = {}
        if any(not isinstance(part, yaml.MappingNode) for part in parts) or value is None:
            self._blame(path, node, "<<: expected a mapping, or a list of mappings")
            return found
        for part in reversed(parts):
            found |= {str(key): child for key, child in self._children.get(id(part), {}).items()}
        return found


def _scalar(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool" and text in _TRUTH:
        return _TRUTH[text]
    if kind == "int" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "float" and _FLOAT.fullmatch(text):
        return float(text)
    return text


def _syntax_flaw(error: yaml.YAMLError, text: str) -> Flaw:
    """Return what a parser says, without the line that it quotes."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        line = text.count("\n", 0, int(getattr(error, "position", 0))) + 1
        return Flaw((), line, "not YAML: it has a character that may not be there")
    said = [getattr(error, name, None) for name in ("context", "problem")]
    return Flaw((), mark.line + 1, "not YAML: " + ", ".join(part for part in said if part))
