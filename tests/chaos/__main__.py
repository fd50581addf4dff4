"""`python -m tests.chaos`: let everything go wrong in turn, and write down how each join ended."""

import argparse
import sys
import time

from tests.chaos import sweep


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=4, help="cases at the same time; most of each is waiting")
    parser.add_argument("--only", help="play only cases whose name holds this text, and write nothing")
    options = parser.parse_args()
    began = time.monotonic()
    outcomes = sweep.run(jobs=options.jobs, only=options.only)
    failed = [outcome for outcome in outcomes if outcome.problem]
    unmet = [outcome for outcome in outcomes if not outcome.met and not outcome.problem]
    print(
        f"{len(outcomes)} cases in {time.monotonic() - began:.0f} s: {len(failed)} failed, {len(unmet)} did not come up"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
