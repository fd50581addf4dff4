"""Waiting: it ends by success, by failure, by its deadline, or by leaving the worker; and it says which."""

import asyncio
import time

import pytest

from include.fleet import errors, settings, waits

LIMITS = settings.Settings(poll=0.05)


def wait(look, *, deadline=5.0, leave_worker=None):
    now = time.time()
    limit = waits.Limit(deadline=now + deadline, leave_worker=None if leave_worker is None else now + leave_worker)
    asyncio.run(
        waits.until(look, what="a thing", bells=[], limit=limit, seconds=deadline, hint="Do this.", limits=LIMITS)
    )


def answers(*given):
    """A look that gives these answers one after the other, raising those that are errors."""
    left = list(given)

    async def look():
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


PENDING = waits.Pending("not yet", 0.01)


def test_a_wait_ends_when_there_is_nothing_to_wait_for():
    wait(answers(PENDING, PENDING, None))


def test_a_temporary_error_is_borne_and_told(caplog):
    caplog.set_level("INFO")
    wait(answers(errors.UnreachableError("refused"), errors.UnavailableError("busy"), None))
    assert "busy" in caplog.text


def test_a_permanent_error_ends_the_wait():
    with pytest.raises(errors.InstallerFailedError):
        wait(answers(PENDING, errors.InstallerFailedError(cluster="m1", missing="x", lines=[], forced=False)))


def test_a_deadline_says_what_was_waited_for_what_was_seen_and_what_to_do():
    with pytest.raises(errors.DeadlineError, match=r"a thing\. Last seen: not yet\. Do this\."):
        wait(answers(PENDING), deadline=0.05)


def test_a_wait_that_may_not_hold_the_worker_longer_asks_for_the_triggerer():
    with pytest.raises(waits.Longer):
        wait(answers(PENDING), leave_worker=0.05)


def test_the_deadline_comes_before_leaving_the_worker():
    with pytest.raises(errors.DeadlineError):
        wait(answers(PENDING), deadline=0.05, leave_worker=0.05)


def test_each_change_is_told_once(caplog):
    caplog.set_level("INFO")
    other = waits.Pending("nearly", 0.01)
    wait(answers(PENDING, PENDING, PENDING, other, other, None))
    assert [record.getMessage().split(": ")[-1] for record in caplog.records] == ["not yet", "nearly", "a thing"]


def test_the_first_failure_ends_the_waits_beside_it():
    async def fail():
        raise errors.NotReadyError("gone")

    async def run():
        began = time.monotonic()
        with pytest.raises(errors.NotReadyError):
            await waits.together(asyncio.sleep(60), fail())
        assert time.monotonic() - began < 10

    asyncio.run(run())


def test_a_failure_counts_more_than_leaving_the_worker():
    async def leave():
        raise waits.Longer

    async def fail():
        raise errors.NotReadyError("gone")

    for pair in ((leave, fail), (fail, leave)):
        with pytest.raises(errors.NotReadyError):
            asyncio.run(waits.together(*(each() for each in pair)))


def test_leaving_the_worker_is_not_mistaken_for_being_cancelled():
    """Two waits rarely leave in the same moment: the one that leaves later is cancelled."""

    async def leave():
        raise waits.Longer

    for pair in ((leave, wait_for_ever), (wait_for_ever, leave)):
        with pytest.raises(waits.Longer):
            asyncio.run(waits.together(*(each() for each in pair)))


async def wait_for_ever():
    await asyncio.Event().wait()
