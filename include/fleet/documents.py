"""YAML, read by the parser in C where PyYAML has it: a join reads some ninety documents.

Pure: no I/O.
"""

from __future__ import annotations

from typing import Any

import yaml

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    """Return what a YAML document holds; raises yaml.YAMLError for what is none."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - the safe loader, in C
