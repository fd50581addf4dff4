import signal
import subprocess
import sys

import pytest

from include.demo import settings

PROGRAM = """
import signal, sys, time
from include.demo import interruption
interruption.install()
try:
    signal.raise_signal(int(sys.argv[1]))
except interruption.Interrupted as interrupted:
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    print("cleaned up after", interrupted)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_signals_that_follow_the_first_do_not_cut_the_cleaning_short(number):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(number.value)],
        cwd=settings.ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stdout == f"cleaned up after {number.name}\n"
    assert ended.stderr.split("\n") == [
        "",
        "Stopping ...",
        "",
        "Stopping, a moment ...",
        "",
        "Stopping, a moment ...",
        "",
    ]
