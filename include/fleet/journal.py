"""What a step changes on clusters, noted so that it is known even if the process dies in the middle of it.

Pure. A note is made before the write is sent: of a write whose answer was lost nobody knows whether it happened, and
the try that follows finds it done and has nothing to write. A note is taken back only where the server has refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

from include.fleet import errors


class Journal:
    """The notes of one step, a sentence each and without secrets.

    *known* are those of earlier tries; *keep* is given all of them whenever there is a new one.
    """

    def __init__(self, known: Iterable[str] = (), *, keep: Callable[[list[str]], None] | None = None) -> None:
        self._notes = list(known)
        self._keep = keep

    @property
    def notes(self) -> list[str]:
        """Return all notes, oldest first."""
        return list(self._notes)

    def add(self, notes: Iterable[str]) -> None:
        """Add what another process has noted."""
        for note in notes:
            self._change(self._notes.append, note)

    @contextlib.contextmanager
    def noted(self, note: str) -> Iterator[None]:
        """Note what the write in the context does; a write that is tried again is noted once."""
        if note in self._notes:
            yield
            return
        self._change(self._notes.append, note)
        try:
            yield
        except (errors.PermanentError, errors.ConflictError):
            self._change(self._notes.remove, note)
            raise

    def _change(self, change: Callable[[str], None], note: str) -> None:
        change(note)
        if self._keep is not None:
            self._keep(self.notes)
