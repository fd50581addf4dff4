"""What preflight's table is made of: its rows.

Pure. The rows stand beside their functions, by subject, in modules `checks_*`; `checks` has the whole table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from include.fleet import conf as confs
from include.fleet.findings import Answer, Finding
from include.fleet.observed import Observed

BOTH = frozenset({confs.Connection.DIRECT, confs.Connection.PROXY})
DIRECT = frozenset({confs.Connection.DIRECT})
PROXY = frozenset({confs.Connection.PROXY})


@dataclass(frozen=True)
class Check:
    """One row of the table."""

    look: Callable[[Observed], Finding]
    title: str
    """What it looks at, as one line."""
    answer: Answer
    """The worst that it answers."""
    fix: str
    """What to do when it fails, in general; a finding says it for the case at hand."""
    about: str
    """Numbers of the collection of failures, and P-n of kubesphere-facts, that it is about."""
    ways: frozenset[confs.Connection] = BOTH
    """The connection types that it is about."""
    waivable: bool = True
    """Whether the conf may say to go on in spite of its error; never where clusters would be mixed up."""

    @property
    def id(self) -> str:
        """Return its name, as the conf and reports have it."""
        return self.look.__name__.replace("_", "-")
