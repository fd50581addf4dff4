"""Moments as Go reads and writes a Kubernetes MicroTime: in UTC, always with six digits after the second."""

from __future__ import annotations

import datetime
import re
from typing import Final

_LAYOUT: Final = "2006-01-02T15:04:05.000000Z07:00"
_PARTS: Final = (
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", r"\d\d"),
    ("-", "-"),
    ("02", r"\d\d"),
    ("T", "T"),
    ("15", r"\d\d"),
    (":", ":"),
    ("04", r"\d\d"),
    (":", ":"),
    ("05", r"\d\d"),
    (".000000", r"\.\d{6}"),
    ("Z07:00", r"Z|[+-]\d\d:\d\d"),
)
"""Of Go's layout, and what fits each of them."""
_RANGES: Final = (("month", 5, 12), ("hour", 11, 23), ("minute", 14, 59), ("second", 17, 59))
"""Where a number begins, and the highest that it may be."""


def read_micro(text: str) -> str:
    """Return a moment as it is stored. Raises ValueError, with Go's words, for any other form."""
    at = 0
    for part, pattern in _PARTS:
        found = re.compile(pattern).match(text, at)
        if found is None:
            raise ValueError(f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{text[at:]}" as "{part}"')
        at = found.end()
    if at < len(text):
        raise ValueError(f'parsing time "{text}": extra text: "{text[at:]}"')
    for name, start, highest in _RANGES:
        number = int(text[start : start + 2])
        if number > highest or (name == "month" and not number):
            raise ValueError(f'parsing time "{text}": {name} out of range')
    try:
        moment = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f'parsing time "{text}": day out of range') from error
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
