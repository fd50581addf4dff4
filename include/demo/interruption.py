"""Ctrl-C and its kin: the first one unwinds the program, the others do not keep it from stopping cleanly."""

from __future__ import annotations

import os
import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks us to stop: Ctrl-C, whoever runs us, and a terminal that is closed."""


class Interrupted(BaseException):
    """A signal asked us to stop. No Exception, like KeyboardInterrupt: nothing on the way may handle it."""

    def __init__(self, number: int) -> None:
        """Remember which."""
        super().__init__(signal.Signals(number).name)
        self.number = number


def install() -> None:
    """Raise Interrupted on the first signal that asks us to stop."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # Stopping takes seconds, and a second Ctrl-C must not end it half-way.
    for other in SIGNALS:
        signal.signal(other, _already_stopping)
    _say("\nStopping ...\n")
    raise Interrupted(number)


def _already_stopping(_number: int, _frame: FrameType | None) -> None:
    _say("\nStopping, a moment ...\n")


def _say(text: str) -> None:
    # Not print: the signal may have come in the middle of one.
    os.write(2, text.encode())
