"""Programs that we start, and stop again with everything that they started.

Each program gets a session of its own: a Ctrl-C at the terminal reaches us alone, and whatever a program
starts stays in its session, even Airflow's tasks, which move to process groups of their own. So a session
can be ended as a whole, and nothing else with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Self

import psutil

from include.demo import interruption

_TAIL_LINES = 15


class ProcessDiedError(Exception):
    """A program ended that was to keep running."""

    def __init__(self, name: str, *, code: int, log: Path) -> None:
        """Tell how it ended, and what it said last."""
        super().__init__(f"{name} ended early with exit code {code}. Its log is {log} and ends:\n{tail(log)}")


class NotReadyError(Exception):
    """A program keeps running and has not become ready in time."""

    def __init__(self, name: str, *, seconds: float, log: Path) -> None:
        """Tell how long we waited, and what it said last."""
        super().__init__(f"{name} is not ready after {seconds:.0f} seconds. Its log is {log} and ends:\n{tail(log)}")


@dataclasses.dataclass(frozen=True)
class Process:
    """A program that runs, with its log."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals

    def check(self) -> None:
        """Raise ProcessDiedError if it runs no more."""
        code = self.popen.poll()
        if code is not None:
            raise ProcessDiedError(self.name, code=code, log=self.log)

    def finish(self) -> None:
        """Wait until it has done its work; ProcessDiedError if it has failed at it."""
        code = self.popen.wait()
        if code != 0:
            raise ProcessDiedError(self.name, code=code, log=self.log)


class Processes:
    """The programs that belong together; leaving the context stops them all."""

    def __init__(self, *, grace: float) -> None:
        """Give programs `grace` seconds to end by themselves before they are killed."""
        self._grace = grace
        self._started: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        *,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str],
        stop_signal: signal.Signals = signal.SIGTERM,
        user: int | None = None,
    ) -> Process:
        """Start a program that writes to `log`; `user` is the user id to run as, if another than ours."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with deferred_signals(), log.open("ab") as output:
            popen = subprocess.Popen(
                [os.fspath(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
            process = Process(name=name, popen=popen, log=log, stop_signal=stop_signal)
            self._started.append(process)
        return process

    def check(self) -> None:
        """Raise ProcessDiedError for the first program that runs no more."""
        for process in self._started:
            process.check()

    def stop(self) -> None:
        """Ask all programs to end, and kill what is left of their sessions after the grace."""
        with deferred_signals():
            for process in self._started:
                if process.popen.poll() is None:
                    process.popen.send_signal(process.stop_signal)
            deadline = time.monotonic() + self._grace
            while self._left() and time.monotonic() < deadline:
                time.sleep(0.05)
            _kill({process.popen.pid for process in self._started})
            # One that ended just now may not have been waited for yet.
            for process in self._started:
                process.popen.wait()
            self._started.clear()

    def kill(self, name: str) -> None:
        """Kill a program with all that it started, without warning, as a machine that loses its power."""
        with deferred_signals():
            for process in [process for process in self._started if process.name == name]:
                _kill({process.popen.pid})
                process.popen.wait()
                self._started.remove(process)

    def pid(self, name: str) -> int:
        """Return the process id of a program that runs."""
        return next(process.popen.pid for process in self._started if process.name == name)

    def _left(self) -> list[int]:
        for process in self._started:
            process.popen.poll()
        return members({process.popen.pid for process in self._started})


def members(sessions: set[int]) -> list[int]:
    """List the processes that run in one of these sessions, zombies left out."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(pid) in sessions and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def _kill(sessions: set[int]) -> None:
    """Kill all of these sessions. A process may be forked while we look, so look again until none is left."""
    while left := members(sessions):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def tail(log: Path) -> str:
    """Return the last lines of a log, indented."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:]) or "    (nothing)"


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Hold back the signals that ask us to stop in here, and let them take effect on leaving.

    A KeyboardInterrupt between the start of a program and our note of it would leave the program running,
    and so would one while programs are being stopped. Signals reach Python code in the main thread only:
    elsewhere there is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    usual: dict[int, Any] = {number: signal.signal(number, note) for number in interruption.SIGNALS}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)
