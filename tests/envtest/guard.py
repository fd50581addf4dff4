"""Runs a program for as long as whoever started it lives: `python guard.py PROGRAM ARGUMENT...`.

Its standard input is a pipe that the starter holds. It ends when the starter does, however that comes about, and the
program is ended with it.
"""

import os
import signal
import subprocess
import sys
import threading

_GRACE = 10
"""Seconds from SIGTERM to SIGKILL."""


def main():
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    # From here on only the pipe, or the program's own end, ends this process.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: program.terminate())
    threading.Thread(target=_wait_for_starter, args=(program,), daemon=True).start()
    code = program.wait()
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)


def _wait_for_starter(program):
    while sys.stdin.buffer.read(1):
        pass
    program.terminate()
    try:
        program.wait(_GRACE)
    except subprocess.TimeoutExpired:
        program.kill()


if __name__ == "__main__":
    main()
