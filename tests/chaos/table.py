"""What `make chaos` found, as the tables of docs/reliability.md."""

import collections
import dataclasses
import os
import platform
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN = "<!-- made by make chaos, from here -->"
END = "<!-- to here -->"


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that was played: the sweep, cases on a live Airflow, joins that were measured, and the seconds of it all."""

    swept: list
    lived: list
    measured: list
    seconds: float

    @property
    def failed(self):
        return [outcome for outcome in (*self.swept, *self.lived) if outcome.problem]

    @property
    def late(self):
        """Cases whose request was never sent in any try: they show nothing."""
        return [outcome for outcome in self.swept if not outcome.met and not outcome.problem]


def write(findings, *, on):
    """Put the tables into the document, in place of those of the last time."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    tables = "\n\n".join(
        [
            summary(findings, on=on),
            kills([outcome for outcome in findings.swept if outcome.fault.startswith("killed")]),
            faults([outcome for outcome in findings.swept if not outcome.fault.startswith("killed")]),
            lives(findings.lived),
            measures(findings.measured),
        ]
    )
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}")


def summary(findings, *, on):
    groups = {
        "the process is killed by a write": [case for case in findings.swept if case.fault.startswith("killed")],
        "a request fails": [case for case in findings.swept if not case.fault.startswith("killed")],
        "Airflow fails, or a run is ended": findings.lived,
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
    played = (
        f"Played on {on:%Y-%m-%d} in {findings.seconds / 60:.0f} minutes, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}."
    )
    return f"{played}\n\n" + table(
        ["what goes wrong", "cases", "ended as they must", "failed", "request not sent in this run"], rows
    )


def kills(cases):
    moments = ("killed before the answer", "killed after the answer")
    found = collections.defaultdict(dict)
    for case in cases:
        found[case.kubesphere, case.way, str(case.request)][case.fault] = mark(case)
    rows = [(*key, *(found[key].get(moment, "") for moment in moments)) for key in sorted(found)]
    return "## Killed by each write\n\n" + table(["KubeSphere", "way", "write", *moments], rows)


def faults(cases):
    names = list(dict.fromkeys(case.fault for case in cases))
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for case in cases:
        request = f"{case.request.verb} {case.request.what}"
        found[request][case.fault].append(case)
    rows = [(request, *(share(found[request].get(name, [])) for name in names)) for request in sorted(found)]
    rows.append(("all", *(share([case for case in cases if case.fault == name]) for name in names)))
    return "## Each request fails once\n\n" + table(["request", *names], rows)


def lives(results):
    rows = [(result.name, result.way, result.problem or result.outcome, f"{result.seconds:.0f}") for result in results]
    return "## Airflow fails, or a run is ended\n\n" + table(["case", "way", "outcome", "seconds"], rows)


def measures(joins):
    rows = [
        (join.way, f"{join.run:.0f}", join.requests, f"{join.slot_seconds:.1f}", f"{join.wall_seconds:.0f}")
        for join in joins
    ]
    head = ["way", "installer run, s", "API requests", "seconds of a worker slot", "seconds in all"]
    return "## What a long wait costs\n\n" + table(head, rows)


def share(cases):
    """Say how many of the cases in which something went wrong ended as they must."""
    met = [case for case in cases if case.met or case.problem]
    return f"{sum(not case.problem for case in met)}/{len(met)}" if cases else ""


def mark(case):
    return "FAILED" if case.problem else "joined" if case.met else "not sent"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
