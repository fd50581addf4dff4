"""`python -m include.simulator SCENARIO.yaml --directory DIR`: run a scenario until SIGINT or SIGTERM.

With `--address NAME`, other machines that know this one by that name reach the clusters' API servers.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import threading
from pathlib import Path

import yaml

from include.simulator.scenario import ScenarioError
from include.simulator.simulation import LOOPBACK, Simulation


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code: 2 for what cannot be read, used or begun, with the reason on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m include.simulator",
        description="Run the KubeSphere clusters of a scenario. Writes kubeconfigs and Airflow connections, prints one "
        "JSON line when all is up, and runs until SIGINT or SIGTERM. Then leaves the audit logs, a line a request.",
    )
    parser.add_argument("scenario", type=Path, help="a YAML file, see include/simulator/scenario.py")
    parser.add_argument("--directory", type=Path, required=True, help="where the files are written")
    parser.add_argument(
        "--address",
        default=LOOPBACK,
        metavar="HOST",
        help="this machine's name or IPv4 address at which the API servers listen and are called; default: %(default)s",
    )
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    try:
        simulation = Simulation(options.scenario, directory=options.directory, address=options.address)
    except ScenarioError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except (OSError, yaml.YAMLError) as error:
        print(f"{options.scenario}: {error}", file=sys.stderr)
        return 2
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(simulation)
        except OSError as error:
            print(f"cannot begin at {options.address} with {options.directory}: {error}", file=sys.stderr)
            return 2
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
