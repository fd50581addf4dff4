"""`python -m tests.chaos`: let everything go wrong in turn, and write down how each join ended.

Prints each case that does not end as it must, and a line now and then; the exit code is 0 only if all did.
"""

import argparse
import datetime
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import live, measure, sweep, table

PARTS = ("sweep", "live", "measure")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--jobs", type=int, default=4, help="cases of the sweep at the same time; most of each is waiting"
    )
    parser.add_argument("--part", choices=PARTS, help="play this part only, and write nothing")
    parser.add_argument("--only", help="play only cases whose name holds this text, and write nothing")
    options = parser.parse_args()
    parts = (options.part,) if options.part else PARTS
    began, on = time.monotonic(), datetime.datetime.now(datetime.UTC)
    swept = sweep.run(jobs=options.jobs, only=options.only) if "sweep" in parts else []
    lived = play_live(only=options.only) if "live" in parts else []
    measured = measure.run() if "measure" in parts and options.only is None else []
    findings = table.Findings(swept, lived, measured, time.monotonic() - began)
    if parts == PARTS and options.only is None:
        table.write(findings, on=on)
        print(f"Written to {table.DOCUMENT}.")
    held = measure.problems(measured)
    for problem in [*(f"{sweep.words_of(case)}: {case.problem}" for case in findings.failed), *held]:
        print(f"NOT AS IT MUST: {problem}")
    print(table.summary(findings, on=on))
    return 1 if findings.failed or held else 0


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
