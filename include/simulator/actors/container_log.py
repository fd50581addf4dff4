"""What a container has written, as the kubelet keeps it and gives it to those who read or follow it."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Iterable, Mapping

from include.simulator import clock

Line = tuple[datetime.datetime, str]


class Log:
    """The lines of a container, oldest first. A container that starts again writes on."""

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self._lines = list(lines)
        self._changed = asyncio.Event()
        self._process = 0
        self._is_closed = False

    def write(self, text: str) -> None:
        """Add lines with the present time."""
        now = clock.now()
        self._lines.extend((now, line) for line in text.split("\n"))
        self._wake()

    def end_process(self) -> None:
        """End the streams of those who follow: what wrote to it has ended, and may start again."""
        self._process += 1
        self._wake()

    def close(self) -> None:
        """End all streams, also those that begin later: the pod is gone."""
        self._is_closed = True
        self._wake()

    def read(self, query: Mapping[str, str]) -> str:
        """Return the lines that are asked for, as the kubelet prints them."""
        return "".join(_render(line, query=query) for line in _select(self._lines, query=query))

    async def follow(self, query: Mapping[str, str]) -> AsyncIterator[str]:
        """Yield what `read` returns and then each line when it is written, until the process has ended."""
        process, position = self._process, len(self._lines)
        for line in _select(self._lines, query=query):
            yield _render(line, query=query)
        while True:
            changed, fresh = self._changed, self._lines[position:]
            position += len(fresh)
            for line in fresh:
                yield _render(line, query=query)
            if not fresh:
                if self._is_closed or self._process != process:
                    return
                await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _select(lines: list[Line], *, query: Mapping[str, str]) -> list[Line]:
    if query.get("sinceSeconds"):
        earliest = clock.now() - datetime.timedelta(seconds=int(query["sinceSeconds"]))
        lines = [line for line in lines if line[0] >= earliest]
    if query.get("sinceTime"):
        earliest = datetime.datetime.fromisoformat(query["sinceTime"])
        lines = [line for line in lines if line[0] >= earliest]
    if query.get("tailLines"):
        count = int(query["tailLines"])
        return lines[-count:] if count else []
    return list(lines)


def _render(line: Line, *, query: Mapping[str, str]) -> str:
    moment, text = line
    stamped = query.get("timestamps", "false").lower() not in {"false", "0"}
    return (f"{moment.strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z " if stamped else "") + text + "\n"
