"""`python -m tests.chaos`: let everything go wrong in turn, and write down how each join ended.

Prints each case that does not end as it must, and a line now and then; the exit code is 0 only if all did. What a part
has found is kept in the folder .chaos, so that a part can be played alone and the tables be made from the newest of
each.
"""

import argparse
import datetime
import logging
import pickle
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import live, measure, sweep, table

KEPT = Path(__file__).parents[2] / ".chaos"
PARTS = ("sweep", "live", "measure")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--jobs", type=int, default=6, help="cases of the sweep at the same time; most of each is waiting"
    )
    parser.add_argument("--part", choices=PARTS, action="append", help="play this part only")
    parser.add_argument("--only", help="play only cases whose name holds this text, and keep nothing")
    options = parser.parse_args()
    play = {
        "sweep": lambda: sweep.run(jobs=options.jobs, only=options.only),
        "live": lambda: play_live(only=options.only),
        "measure": measure_all,
    }
    found = {}
    for part in options.part or PARTS:
        began = time.monotonic()
        found[part] = table.Part(play[part](), time.monotonic() - began, datetime.datetime.now(datetime.UTC))
        if options.only is None:
            KEPT.mkdir(exist_ok=True)
            (KEPT / part).write_bytes(pickle.dumps(found[part]))
    if options.only is None:
        found = {part: pickle.loads((KEPT / part).read_bytes()) for part in PARTS if (KEPT / part).exists()}
    findings = table.Findings(**found)
    if options.only is None and len(found) == len(PARTS):
        table.write(findings)
        print(f"Written to {table.DOCUMENT}.")
    problems = [f"{sweep.words_of(case)}: {case.problem}" for case in findings.failed]
    problems += measure.problems(findings.measure.results)
    for problem in problems:
        print(f"NOT AS IT MUST: {problem}")
    print(table.summary(findings))
    return 1 if problems else 0


def measure_all():
    """Measure what a long wait costs, and say it."""
    results = []
    with tempfile.TemporaryDirectory(prefix="chaos-measure-") as home:
        for result in measure.play(Path(home)):
            results.append(result)
            print(result, flush=True)
    return results


def play_live(*, only):
    """Play the cases on a live Airflow, one after the other, and go on when one fails."""
    results = []
    names = [name for name in live.CASES if only is None or only in name]
    if not names:
        return results
    with tempfile.TemporaryDirectory(prefix="chaos-live-") as directory, live.stage(Path(directory), names=names) as on:
        for name in names:
            began = time.monotonic()
            try:
                result = live.play(on, name)
            except Exception as error:
                logging.getLogger(__name__).exception("Case %s", name)
                problem = f"{type(error).__name__}: {error}"
                result = live.Result(name, live.CASES[name].connection, "", time.monotonic() - began, problem)
            results.append(result)
            print(f"{name}, {result.way}: {result.problem or result.outcome} in {result.seconds:.0f} s", flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
