"""The simulated clusters of the demonstration, in a process of their own as real ones would be."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from include.demo import processes, settings

_READY_WITHIN = 60.0
"""Seconds; it is a matter of three, most of them Python's imports."""


@contextlib.contextmanager
def simulated(scenario: Path, *, directory: Path, log: Path) -> Iterator[dict[str, Any]]:
    """Run the simulator; the value tells each cluster's addresses.

    Kubeconfigs and connections are then in `directory`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with processes.Processes(grace=5) as running:
        simulator = running.start(
            "the simulator",
            command=[sys.executable, "-m", "include.simulator", scenario, "--directory", directory],
            log=log,
            environment=os.environ | {"PYTHONPATH": str(settings.ROOT), "PYTHONUNBUFFERED": "1"},
        )
        deadline = time.monotonic() + _READY_WITHIN
        while (ready := _announcement(log)) is None:
            simulator.check()
            if time.monotonic() > deadline:
                raise processes.NotReadyError(simulator.name, seconds=_READY_WITHIN, log=log)
            time.sleep(0.1)
        yield ready["clusters"]


def connections(directory: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the connections that the simulator has written for Airflow."""
    return dict(json.loads((directory / "connections.json").read_text()))


def _announcement(log: Path) -> dict[str, Any] | None:
    """Find the line with which the simulator says that it is ready."""
    for line in log.read_text().splitlines(keepends=True):
        if line.startswith('{"ready": true') and line.endswith("\n"):
            return dict(json.loads(line))
    return None
