"""What a task costs before it does anything: Python, Airflow, the DAG file, the clients, and Airflow's own part."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import records
from include.demo import airflow, settings

NO_OP = "no_op"
DAG_FILE = settings.ROOT / "dags" / "join_member_cluster.py"
PROGRAMS = {
    "interpreter": "pass",
    "airflow.sdk": "import airflow.sdk",
    "DAG file": f"import runpy; runpy.run_path({str(DAG_FILE)!r})",
    "Kubernetes clients and steps": "import include.fleet.join",
}
"""What is imported, by name; each in a process of its own, after a first time that does not count."""

_LAUNCHER = """\
import os, sys, time
began = time.monotonic()
pid = os.posix_spawn(sys.argv[1], [sys.argv[1], "-c", sys.argv[2]], os.environ)
_, status, usage = os.wait4(pid, 0)
print(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""
"""A small process between us and the measured one: to the kernel the memory of who starts it is its own, too."""

_ENDS_WITHIN = 120.0


def imports(*, rounds: int) -> dict[str, dict[str, float]]:
    """Return by program the medians of wall seconds, CPU seconds and most memory, in MiB."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        environment = settings.environment(
            Path(home), port=8080, database_url="postgresql://127.0.0.1/none", dags=DAG_FILE.parent
        )
        found = {}
        for name, program in PROGRAMS.items():
            runs = [_run(program, environment=environment) for _ in range(rounds + 1)][1:]
            wall, cpu, memory = (statistics.median(column) for column in zip(*runs, strict=True))
            found[name] = {"seconds": round(wall, 2), "cpu_seconds": round(cpu, 2), "max_rss_mib": round(memory)}
        return found


def _run(program: str, *, environment: dict[str, str]) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and MiB of memory of a Python process."""
    command = [sys.executable, "-S", "-c", _LAUNCHER, sys.executable, program]
    finished = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    wall, cpu, kib = map(float, finished.stdout.split())
    return wall, cpu, kib / 1024


def no_op(on: airflow.LocalAirflow, *, rounds: int) -> dict[str, Any]:
    """Return the seconds for which a task that does nothing holds a worker's slot, median and all."""
    held: list[float] = []
    for _ in range(rounds + 1):
        run_id = on.trigger(NO_OP, conf={})
        state = on.wait(NO_OP, run_id=run_id, seconds=_ENDS_WITHIN)
        if state != "success":
            raise LookupError(f"run {run_id} of {NO_OP} has ended as {state}")
        held += records.slot_seconds(records.events(on, NO_OP, run_id=run_id)).values()
    return {"median": round(statistics.median(held[1:]), 2), "all": held[1:]}
