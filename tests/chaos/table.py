"""What `make chaos` found, as the tables of docs/reliability.md."""

import collections
import dataclasses
import datetime
import os
import platform
from pathlib import Path

from bench import markdown
from tests.chaos import measure

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN = "<!-- made by make chaos, from here -->"


@dataclasses.dataclass(frozen=True)
class Part:
    """What one part has found, in how many seconds, and when."""

    results: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    ended: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True)
class Findings:
    """The sweep, cases on a live Airflow, and joins that were measured."""

    sweep: Part = Part()
    live: Part = Part()
    measure: Part = Part()

    @property
    def failed(self):
        return [case for case in (*self.sweep.results, *self.live.results) if case.problem]


def write(findings):
    """Put the tables into the document, in place of those of the last time."""
    swept = findings.sweep.results
    tables = "\n\n".join(
        [
            summary(findings),
            kills([outcome for outcome in swept if outcome.fault.startswith("killed")]),
            faults([outcome for outcome in swept if not outcome.fault.startswith("killed")]),
            lives(findings.live.results),
            measures(findings.measure.results),
        ]
    )
    markdown.replace(DOCUMENT, begin=BEGIN, text=tables)


def summary(findings):
    swept = findings.sweep.results
    groups = {
        "the process is killed by a write": [case for case in swept if case.fault.startswith("killed")],
        "a request fails": [case for case in swept if not case.fault.startswith("killed")],
        "Airflow fails, or a run is ended": findings.live.results,
    }
    rows = [
        (
            what,
            len(cases),
            sum(not case.problem and getattr(case, "met", True) for case in cases),
            sum(bool(case.problem) for case in cases),
            sum(not case.problem and not getattr(case, "met", True) for case in cases),
        )
        for what, cases in groups.items()
    ]
    rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    parts = [(name, getattr(findings, name)) for name in ("sweep", "live", "measure")]
    times = ", ".join(f"{name} {part.seconds / 60:.0f} minutes" for name, part in parts)
    days = sorted({f"{part.ended:%Y-%m-%d}" for _, part in parts if part.ended})
    played = f"Played on {' and '.join(days)}, {os.cpu_count()} cores, Python {platform.python_version()}: {times}."
    return f"{played}\n\n" + markdown.table(
        ["what goes wrong", "cases", "ended as they must", "failed", "request not sent in this run"], rows
    )


def kills(cases):
    moments = ("killed before the answer", "killed after the answer")
    found = collections.defaultdict(dict)
    for case in cases:
        found[case.kubesphere, case.way, str(case.request)][case.fault] = mark(case)
    rows = [(*key, *(found[key].get(moment, "") for moment in moments)) for key in sorted(found)]
    return "## Killed by each write\n\n" + markdown.table(["KubeSphere", "way", "write", *moments], rows)


def faults(cases):
    names = list(dict.fromkeys(case.fault for case in cases))
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for case in cases:
        request = f"{case.request.verb} {case.request.what}"
        found[request][case.fault].append(case)
    rows = [(request, *(share(found[request].get(name, [])) for name in names)) for request in sorted(found)]
    rows.append(("all", *(share([case for case in cases if case.fault == name]) for name in names)))
    return "## Each request fails once\n\n" + markdown.table(["request", *names], rows)


def lives(results):
    rows = [(result.name, result.way, result.problem or result.outcome, f"{result.seconds:.0f}") for result in results]
    return "## Airflow fails, or a run is ended\n\n" + markdown.table(["case", "way", "outcome", "seconds"], rows)


def measures(joins):
    rows = [
        (join.way, f"{join.run:.0f}", join.requests, f"{join.slot_seconds:.1f}", f"{join.wall_seconds:.0f}")
        for join in joins
        if isinstance(join, measure.Cost)
    ]
    head = ["way", "installer run, s", "API requests", "seconds of a worker slot", "seconds in all"]
    return "## What a long wait costs\n\n" + markdown.table(head, rows)


def share(cases):
    """Say how many of the cases in which something went wrong ended as they must."""
    met = [case for case in cases if case.met or case.problem]
    return f"{sum(not case.problem for case in met)}/{len(met)}" if cases else ""


def mark(case):
    return "FAILED" if case.problem else "joined" if case.met else "not sent"
