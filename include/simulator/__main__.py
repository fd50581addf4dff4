"""`python -m include.simulator SCENARIO.yaml --directory DIR`: run a scenario until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
import threading
from pathlib import Path

import yaml

from include.simulator.scenario import ScenarioError
from include.simulator.simulation import Simulation


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code: 2 for a scenario that cannot be read or is refused."""
    parser = argparse.ArgumentParser(
        prog="python -m include.simulator",
        description="Run the KubeSphere clusters of a scenario. Writes kubeconfigs and Airflow connections, prints one "
        "JSON line when all is up, and runs until SIGINT or SIGTERM. Then leaves the audit logs, a line a request.",
    )
    parser.add_argument("scenario", type=Path, help="a YAML file, see include/simulator/scenario.py")
    parser.add_argument("--directory", type=Path, required=True, help="where the files are written")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    try:
        simulation = Simulation(options.scenario, directory=options.directory)
    except ScenarioError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except (OSError, yaml.YAMLError) as error:
        print(f"{options.scenario}: {error}", file=sys.stderr)
        return 2
    with simulation:
        clusters = {
            name: {"server": cluster.server, "pod_server": cluster.pod_server}
            for name, cluster in simulation.clusters.items()
        }
        directory = str(options.directory.absolute())
        print(json.dumps({"ready": True, "directory": directory, "clusters": clusters}), flush=True)
        ended.wait()
    for name, cluster in simulation.clusters.items():
        lines = [json.dumps(dataclasses.asdict(entry), default=str) for entry in cluster.audit()]
        path = options.directory / f"{name}.audit.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
