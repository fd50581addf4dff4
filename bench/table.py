"""The tables of docs/performance.md, made of the JSON lines. `python -m bench.table FILE` makes them of a file."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import lines, markdown, page

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN = "<!-- made by make bench, from here -->"


def write(found: Sequence[lines.Line]) -> None:
    """Put the tables into the page, in place of those of the last time."""
    markdown.replace(DOCUMENT, begin=BEGIN, text=text(found, day=datetime.datetime.now(datetime.UTC).date()))


def text(found: Sequence[lines.Line], *, day: datetime.date) -> str:
    """Return the part of the page that is made of the lines."""
    joins = [line for line in found if "way" in line]
    (start_up,) = (line for line in found if "start_up" in line)
    return "\n\n".join(
        [
            played(found, day=day),
            compared(joins),
            bars(joins),
            "## Where the seconds of a join by DAG go",
            *(by_task(line) for line in joins),
            "## What a task costs before it does anything",
            before_anything(start_up),
            *(
                part
                for line in found
                if "reconcile" in line
                for part in ("## What a look at a fleet costs", look(line))
            ),
            *(part for line in found if "page" in line for part in ("## What the fleet page costs", shown(line))),
        ]
    )


def played(found: Sequence[lines.Line], *, day: datetime.date) -> str:
    """Say when and on what it was measured."""
    line = found[0]
    rounds = sorted({line["rounds"] for line in found if "rounds" in line})
    loads = [line["load"] for line in found]
    return (
        f"Measured on {day:%Y-%m-%d}, medians of {', '.join(map(str, rounds))}: {line['cores']} cores with a load of "
        f"{min(loads)} to {max(loads)}, Python {line['python']}, Airflow {line['airflow']}, kubectl {line['kubectl']}."
    )


def compared(joins: Sequence[lines.Line]) -> str:
    """Compare DAG and runbook."""
    head = [
        "way",
        "installer run, s",
        "runbook, s",
        "DAG, s",
        "ratio",
        "requests, runbook",
        "requests, DAG",
        "of these outside checks",
        "seconds of a worker slot",
    ]
    rows = [
        (
            line["way"],
            f"{line['installer_seconds']:g}",
            _spread(line["runbook"]["seconds"]),
            _spread(line["dag"]["seconds"]),
            line["ratio"],
            f"{line['runbook']['requests']['median']:g}",
            f"{line['dag']['requests']['median']:g}",
            f"{line['dag']['requests_outside_checks']['median']:g}",
            f"{line['dag']['slot_seconds']['median']:.1f}",
        )
        for line in joins
    ]
    return markdown.table(head, rows)


def bars(joins: Sequence[lines.Line]) -> str:
    """Say which bars are held."""
    rows = [
        (line["way"], f"{line['installer_seconds']:g}", bar["what"], bar["bar"], "yes" if bar["holds"] else "NO")
        for line in joins
        for bar in line["bars"]
    ]
    return markdown.table(["way", "installer run, s", "bar", "at most", "held"], rows)


def by_task(line: lines.Line) -> str:
    """Tell where the seconds of one line's joins went."""
    dag = line["dag"]
    together = [name for name in dag["requests_by_task"] if name not in dag["tasks"]]
    overlapping = {task_id for name in together for task_id in name.split("+")}
    rows = [
        (
            task_id,
            *(
                f"{seconds[part]:.1f}" if part in seconds else ""
                for part in ("idle", "start_up", "slot", "to_first_request", "deferred")
            ),
            "" if task_id in overlapping else f"{dag['requests_by_task'].get(task_id, 0):g}",
        )
        for task_id, seconds in dag["tasks"].items()
    ]
    rows += [(name.replace("+", " and "), *[""] * 5, f"{dag['requests_by_task'][name]:g}") for name in together]
    rows.append(("end of the run", f"{dag['after_last_task']:.1f}", "", "", "", "", ""))
    head = [
        "task",
        "before it is scheduled",
        "until it runs",
        "in a worker",
        "of these before its first request",
        "in the triggerer",
        "requests",
    ]
    return f"{line['way']}, installer run of {line['installer_seconds']:g} s:\n\n" + markdown.table(head, rows)


def before_anything(line: lines.Line) -> str:
    """Tell what imports and an empty task cost."""
    rows = [
        (name, f"{cost['seconds']:.2f}", f"{cost['cpu_seconds']:.2f}", f"{cost['max_rss_mib']:g}")
        for name, cost in line["start_up"].items()
    ]
    held = line["no_op_slot_seconds"]["median"]
    table = markdown.table(["imported", "seconds", "CPU seconds", "most memory, MiB"], rows)
    return f"{table}\n\nA task that does nothing holds a worker's slot for {held:.2f} s."


def look(line: lines.Line) -> str:
    """Tell what it costs to look at a fleet in which there is nothing to do."""
    head = ["fleet", "seconds", "CPU seconds", "most memory, MiB", "observation, bytes"]
    head += ["requests of the host", "of a member"]
    rows = [
        (
            f"{fleet}{', one after the other' if way == 'one_at_a_time' else ''}",
            *(cost[way][key] for key in ("seconds", "cpu_seconds", "max_rss_mib", "observation_bytes")),
            cost["requests_of_the_host"],
            f"{cost['most_requests_of_a_member']:g}",
        )
        for fleet, cost in line["reconcile"].items()
        for way in ("at_once", "one_at_a_time")
        if way in cost
    ]
    return (
        f"{markdown.table(head, rows)}\n\n"
        f"One after the other takes {line['ratio_to_one_at_a_time']:g} times as long; {line['members_ratio']:g} times "
        f"as many members take {line['ratio_to_few']:g} times as long. At most 10 requests for a host and 3 for a "
        f"member: {'held' if line['holds'] else 'NOT held'}."
    )


def shown(line: lines.Line) -> str:
    """Tell what the fleet page costs."""
    rows = [
        (fleet, f"{cost['seconds'] * 1000:.0f}", cost["bytes_sent"], cost["bytes"], f"{cost['appears']:.1f}")
        for fleet, cost in line["page"].items()
    ]
    head = ["fleet", "data, milliseconds", "bytes sent", "bytes unpacked", "seconds until all rows are there"]
    return (
        f"{markdown.table(head, rows)}\n\n"
        f"The data of {line['members_ratio']:g} times as many members take {line['ratio_to_few']:g} times as long "
        f"(bar: {page.RATIO_BAR}), and all of them are on the page within {line['appears']:g} s "
        f"(bar: {page.APPEARS_BAR:g}): {'held' if line['holds'] else 'NOT held'}."
    )


def _spread(seconds: dict[str, Any]) -> str:
    """Return the median, and the shortest and longest if there are several."""
    shown = f"{seconds['median']:.1f}"
    each = seconds["all"]
    return f"{shown} ({min(each):.1f} to {max(each):.1f})" if len(each) > 1 else shown


if __name__ == "__main__":
    write([json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()])
