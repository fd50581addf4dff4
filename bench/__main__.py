"""`python -m bench`: join by runbook and by DAG in turn, and print what each costs, one JSON object a line.

It asks for the fleet page's data too. With all ways and installer runs it also looks at a fleet, and writes
docs/performance.md. Exit code 1 with the reason if a join fails; that a bar is not held is told in the lines and in the
document.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import fleet, joins, lines, page, start_up, table
from include.demo import airflow, interruption, processes, rest, settings

RUNS = (0.0, 15.0)
ROUNDS = 5


def main() -> int:
    """Measure what the options say and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--way", choices=joins.WAYS, action="append", help="only this way")
    parser.add_argument("--run", type=float, action="append", help="only installer runs of so many seconds")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="joins of each kind; the median counts")
    options = parser.parse_args()
    try:
        interruption.install()
        found = []
        for line in measure(options.way or joins.WAYS, options.run or RUNS, rounds=options.rounds):
            print(json.dumps(line), flush=True)
            found.append(line)
        if not options.way and not options.run:
            line = {**fleet.measure(), **lines.machine()}
            print(json.dumps(line), flush=True)
            table.write([*found, line])
    except interruption.Interrupted as interrupted:
        return 128 + interrupted.number
    except subprocess.CalledProcessError as error:
        print(f"bench: {error.stderr}", file=sys.stderr)
        return 1
    except (joins.JoinFailedError, processes.ProcessDiedError, processes.NotReadyError, rest.RefusedError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except (LookupError, TimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def measure(ways: Sequence[str], runs: Sequence[float], *, rounds: int) -> Iterator[lines.Line]:
    """Play everything on one Airflow, one join after the other: they share the cores."""
    with tempfile.TemporaryDirectory(prefix="bench-airflow-") as name:
        home, dags = Path(name), Path(name) / "dags"
        dags.mkdir()
        for file in (start_up.DAG_FILE, settings.ROOT / "bench" / "dags" / "no_op.py"):
            shutil.copy(file, dags)
        with airflow.LocalAirflow(home, port=0, connections={}, dags=dags) as running:
            for dag_id in (joins.DAG, start_up.NO_OP):
                running.await_dag(dag_id)
            imports = start_up.imports(rounds=rounds)
            yield lines.of_start_up(imports, no_op=start_up.no_op(running, rounds=rounds), on=lines.machine())
            yield {**page.measure(running), **lines.machine()}
            for way in ways:
                _pair(running, way, run=0)
                for run in runs:
                    pairs = [_pair(running, way, run=run) for _ in range(rounds)]
                    runbooks, by_dag = zip(*pairs, strict=True)
                    yield lines.of_joins(way, run, runbooks=runbooks, dags=by_dag, on=lines.machine())


def _pair(on: airflow.LocalAirflow, way: str, *, run: float) -> tuple[joins.Cost, joins.DagCost]:
    """Join by runbook, then by DAG."""
    return joins.by_runbook(way, run=run), joins.by_dag(on, way, run=run)


if __name__ == "__main__":
    sys.exit(main())
