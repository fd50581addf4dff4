"""`python -m tests.faults`: play the forty failures, and write down how each join ended.

Prints each scene as it ends; the exit code is 0 only if all ended as expected, and if the right cause is named first
in enough of the runs that fail.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import sweep, table, turns


def play_scenes(options):
    """The forty failures, alone and two at once."""
    began = time.monotonic()
    outcomes = sweep.run(jobs=options.jobs, only=options.only)
    return table.of_scenes(outcomes, time.monotonic() - began)


def play_turns(_):
    """Many runs at once from two Airflow installations, whose holders are killed."""
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        return table.of_turns(turns.play(Path(directory)))


PARTS = {"scenes": play_scenes, "turns": play_turns}
"""What is played, in the order of the page: each takes the options and returns a `table.Part`."""


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--jobs", type=int, default=4, help="scenes at the same time; most of each is waiting")
    parser.add_argument("--part", choices=PARTS, action="append", help="play this part only, and write nothing")
    parser.add_argument("--only", help="play only scenes whose words hold this text, and write nothing")
    options = parser.parse_args()
    parts = [PARTS[name](options) for name in options.part or (PARTS if options.only is None else ["scenes"])]
    if options.part is not None:
        print("\n\n".join(part.text for part in parts))
    if options.only is None and options.part is None:
        table.write(parts)
        print(f"Written to {table.DOCUMENT}.")
    problems = [problem for part in parts for problem in part.problems]
    for problem in problems:
        print(f"NOT AS EXPECTED: {problem}")
    print(table.played(parts))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
