"""Deployments that do not run as they should at the start: part of a scenario."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from include.simulator.release import Release

PANIC: Final = """panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x18 pc=0x17e8f2c]

goroutine 1 [running]:"""
_OF_KUBESPHERE: Final = ("ks-apiserver", "ks-controller-manager", "ks-installer")
_OF_HOSTS: Final = ("tower", "kubefed-controller-manager", "kubefed-admission-webhook")
_AGENT: Final = "cluster-agent"
_NO_CRON_JOBS: Final = (
    "failed to fetch group version resources batch/v1beta1: the server could not find the requested resource"
)
"""What ks-apiserver says at its start where batch/v1beta1 is not served any more (failures 24)."""


class Workload(enum.Enum):
    """A Deployment is scaled to 0, is not there (nor the Service of its name), or has a pod that crashes."""

    STOPPED = "stopped"
    MISSING = "missing"
    CRASHING = "crashing"


def find_problem(name: str, workload: Workload, *, is_host: bool, has_agent: bool) -> str | None:
    """Return why a Deployment of a cluster cannot be so, or None."""
    laid = [*_OF_KUBESPHERE, *(_OF_HOSTS if is_host else ()), *((_AGENT,) if has_agent else ())]
    known = [*_OF_KUBESPHERE, *_OF_HOSTS, _AGENT]
    if name not in known:
        return f"expected one of {', '.join(known)}"
    if workload is not Workload.CRASHING and name not in laid:
        return "is not there at the start anyway"
    return None


def crashing(workloads: Mapping[str, Workload], *, release: Release) -> dict[str, str]:
    """Return what the containers of a cluster's Deployments say when they crash, by the Deployment's name."""
    found = {name: PANIC for name, workload in workloads.items() if workload is Workload.CRASHING}
    if minor_version(release.kubernetes) >= 25:
        found["ks-apiserver"] = _NO_CRON_JOBS
    return found


def minor_version(kubernetes: str) -> int:
    """Return the second number of a version like v1.22.12."""
    return int(kubernetes.split(".")[1])
