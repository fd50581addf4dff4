"""Plays all scenes, a few at a time, in processes that are replaced now and then."""

import multiprocessing

from tests.chaos import sweep
from tests.faults import play, scenes


def run(*, jobs, only=None):
    """Play all scenes, or those whose words hold *only*; return their outcomes."""
    chosen = [case for case in scenes.plays() if only is None or only in words(case)]
    print(f"{len(chosen)} scenes, {jobs} at a time", flush=True)
    outcomes = []
    # Not concurrent.futures, see tests/chaos/sweep.py.
    with multiprocessing.get_context("spawn").Pool(jobs, sweep.prepare, maxtasksperchild=sweep.CASES_A_PROCESS) as pool:
        for outcome in pool.imap_unordered(_play, chosen):
            outcomes.append(outcome)
            result = f"NOT AS EXPECTED: {outcome.problem}" if outcome.problem else outcome.ended
            print(f"{len(outcomes)}/{len(chosen)} {words_of(outcome)}: {result}, {outcome.seconds:.0f} s", flush=True)
    return outcomes


def _play(case):
    try:
        return play.play(*case)
    except Exception as error:  # noqa: BLE001 - whatever ends a scene is what the table has to tell
        number, way, version = case
        return play.Outcome(number, way, version, "broken", (), False, f"{type(error).__name__}: {error}", "", 0.0)


def words(case):
    """Name what is played."""
    number, way, version = case
    scene = scenes.ALL_SCENES[number]
    numbers = f"{scene.number}+{scene.also}" if scene.also else str(scene.number)
    return f"[{numbers}] {scene.words}, {way}, {version}"


def words_of(outcome):
    """Name the scene of an outcome."""
    return words((outcome.scene, outcome.way, outcome.kubesphere))
