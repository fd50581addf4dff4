"""What `make faults` found, as a part of docs/reliability.md."""

import collections
import dataclasses
import datetime
import os
import platform
from pathlib import Path

from bench import markdown
from tests.faults import scenes

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN = "<!-- made by make faults, from here -->"
ENDS = {"stopped by preflight": "stopped", "survived": "survived", "failed": "named"}
WANTED = 0.95
"""Of the runs that fail, the share that has to name the right cause first."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What one part of the suite has found: `text` for the page, `problems` what is not as it must be."""

    name: str
    text: str
    problems: list
    seconds: float


def write(parts):
    """Put the parts into the document, in place of those of the last time."""
    text = "\n\n".join([played(parts), *(part.text for part in parts)])
    markdown.replace(DOCUMENT, begin=BEGIN, text=text)


def played(parts):
    """Say when and where the parts were played, and how long it took."""
    times = ", ".join(f"{part.name} {part.seconds / 60:.0f} minutes" for part in parts)
    day = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    return f"Played on {day}, {os.cpu_count()} cores, Python {platform.python_version()}: {times}."


def of_scenes(outcomes, seconds):
    """Return the part about the scenes."""
    problems = [f"{words(outcome)}: {outcome.problem}" for outcome in outcomes if outcome.problem]
    right, failing = named_first(outcomes)
    if failing and right / failing < WANTED:
        problems.append(f"the right cause is named first in {right} of {failing} runs that fail")
    return Part("scenes", f"{summary(outcomes)}\n\n{by_number(outcomes)}\n\n{combined(outcomes)}", problems, seconds)


def named_first(outcomes):
    """Return how many of the runs that fail name the right check or cause first, and how many these are."""
    failing = [outcome for outcome in outcomes if outcome.ended != "survived"]
    return sum(outcome.named for outcome in failing), len(failing)


def summary(outcomes):
    right, failing = named_first(outcomes)
    after_start = [outcome for outcome in outcomes if outcome.ended == "failed"]
    share = f"{right}/{failing}, {right / failing:.1%}" if failing else "none failed"
    rows = [
        ("runs", len(outcomes)),
        ("as expected", sum(not outcome.problem for outcome in outcomes)),
        ("stopped by preflight, nothing written", sum(outcome.ended == "stopped by preflight" for outcome in outcomes)),
        ("survived: joined", sum(outcome.ended == "survived" for outcome in outcomes)),
        ("failed with a cause", len(after_start)),
        ("the right check or cause first, of the runs that fail", share),
        (
            "the right cause first, of those that fail after preflight",
            f"{sum(outcome.named for outcome in after_start)}/{len(after_start)}",
        ),
    ]
    return markdown.table(["what", "runs"], rows)


def of_turns(outcome):
    """Return the part about runs that want the same turn."""
    joined = sum(state == "success" for state in outcome.states.values())
    rows = [
        ("runs, in two Airflow installations at once", len(outcome.states)),
        ("ended joined", joined),
        ("parts of Airflow killed while a Lease was held", outcome.kills),
        ("turns taken", outcome.turns),
        ("turns taken over from a run that was dead", outcome.taken_over),
        ("writes of runs", outcome.writes),
        ("two inside at once, writes from outside a turn, objects made twice", len(outcome.problems) or "none"),
    ]
    text = "## One at a time\n\n" + markdown.table(["what", "count"], rows)
    return Part("turns", text, outcome.problems, outcome.seconds)


def by_number(outcomes):
    """Return the table of all forty failures."""
    rows = []
    for number, title in scenes.TITLES.items():
        own = [(place, scene) for place, scene in enumerate(scenes.SCENES) if scene.number == number]
        if not own:
            rows.append((number, title, "", "", "", f"not yet: {scenes.NOT_YET[number]}", ""))
            continue
        runs = [outcome for outcome in outcomes if outcome.scene in dict(own)]
        rows.append(
            (
                number,
                title,
                exists_on(scene for _, scene in own),
                len(own),
                "; ".join(expected(scene) for _, scene in own),
                counts(runs),
                "yes"
                if not any(run.problem for run in runs)
                else "; ".join(run.problem for run in runs if run.problem),
            )
        )
    head = ["no.", "failure", "exists on", "scenes", "expected", "runs that ended so", "as expected"]
    return "## The forty failures\n\n" + markdown.table(head, rows)


def combined(outcomes):
    """Return the table of two failures at once."""
    rows = []
    for place, scene in enumerate(scenes.ALL_SCENES):
        runs = [outcome for outcome in outcomes if outcome.scene == place]
        if scene.also and runs:
            told = sorted({", ".join(run.told) for run in runs})
            right = (
                "yes" if not any(run.problem for run in runs) else "; ".join(run.problem for run in runs if run.problem)
            )
            rows.append((f"{scene.number} and {scene.also}", expected(scene), counts(runs), "; ".join(told), right))
    head = ["no.", "expected", "runs that ended so", "named", "as expected"]
    return "## Two failures at once\n\n" + markdown.table(head, rows)


def expected(scene):
    """Say how a scene has to end."""
    ends = {
        scenes.End.STOPPED: f"stopped by {', '.join(scene.by)}",
        scenes.End.SURVIVED: "survived" + (f", and {', '.join(scene.by)} tells" if scene.by else ""),
        scenes.End.NAMED: f"named {' or '.join(scene.by)}",
    }
    return f"{scene.words}: {ends[scene.end]}"


def exists_on(of):
    """Say on which versions and by which connection types a failure is played."""
    found = {
        (version.removeprefix("v").rpartition(".")[0], way)
        for scene in of
        for version in scene.versions
        for way in scene.ways
    }
    versions = sorted({version for version, _ in found}, reverse=True)
    ways = sorted({way for _, way in found})
    return f"{' and '.join(versions)}, {' and '.join(ways)}"


def counts(runs):
    found = collections.Counter(ENDS.get(run.ended, run.ended) for run in runs)
    return ", ".join(f"{found[end]} {end}" for end in dict.fromkeys([*ENDS.values(), *found]) if found[end])


def words(outcome):
    """Name the scene of an outcome."""
    scene = scenes.ALL_SCENES[outcome.scene]
    numbers = f"{scene.number} and {scene.also}" if scene.also else str(scene.number)
    return f"{numbers}: {scene.words}, {outcome.way}, KubeSphere {outcome.kubesphere}"
