"""Waiting: it ends by success, by failure, by its deadline, or by leaving the worker; and it says which."""

import asyncio
import itertools
import time
import types

import pytest

from include.fleet import errors, settings, waits

LIMITS = settings.Settings(poll=0.05, slow_poll=0.07, failed_after=30)


def wait(look, *, deadline=20.0, leave_worker=None, bells=()):
    now = time.time()
    limit = waits.Limit(deadline=now + deadline, leave_worker=None if leave_worker is None else now + leave_worker)
    asyncio.run(
        waits.until(look, what="a thing", bells=bells, limit=limit, seconds=deadline, hint="Do this.", limits=LIMITS)
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


class Bell:
    """Rings each time that it is put up, then breaks with the next of these errors; without one left it is silent."""

    def __init__(self, *breaks, rings=True):
        self.put_up = 0
        self._breaks = list(breaks)
        self._rings = rings

    async def __call__(self, opened):
        self.put_up += 1
        opened.set()
        if self._rings:
            yield
        if self._breaks:
            raise self._breaks.pop(0)
        await asyncio.Event().wait()

    async def look_until_put_up_twice(self):
        """A look that finds the end only after the second time."""
        return SILENT if self.put_up < 2 else None


PENDING = waits.Pending("not yet", 0.01)
SILENT = waits.Pending("not yet")
"""What only a bell can end."""


@pytest.fixture
def pauses(monkeypatch):
    """The seconds of each wait for a bell and of each pause before one is put up again; they pass in no time."""
    chosen = types.SimpleNamespace(looks=[], bells=[])
    timeout, sleep = asyncio.timeout, asyncio.sleep

    def short_timeout(seconds):
        chosen.looks.append(seconds)
        return timeout(min(seconds, 0.01))

    async def short_sleep(seconds):
        chosen.bells.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "timeout", short_timeout)
    monkeypatch.setattr(asyncio, "sleep", short_sleep)
    return chosen


def test_a_wait_ends_when_there_is_nothing_to_wait_for():
    wait(answers(PENDING, PENDING, None))


@pytest.mark.parametrize("error", [errors.UnreachableError, errors.UnavailableError, errors.ConflictError])
def test_a_temporary_error_is_borne_and_told_once(caplog, error):
    caplog.set_level("INFO")
    wait(answers(error("busy"), error("busy"), None))
    assert caplog.text.count("busy") == 1


def test_a_server_is_asked_again_when_it_wants_to_be(pauses):
    busy = errors.UnavailableError("busy", retry_after=7)
    wait(answers(busy, errors.UnavailableError("busy"), None))
    assert pauses.looks == [LIMITS.connect_timeout, 7, LIMITS.poll]


def test_a_refused_credential_is_borne_for_a_while_and_then_raised(monkeypatch):
    """Who renews it may be late, and a server that starts can refuse everybody."""
    now = 100.0
    monkeypatch.setattr(waits, "time", types.SimpleNamespace(time=time.time, monotonic=lambda: now))
    monkeypatch.setattr(asyncio, "timeout", lambda _, timeout=asyncio.timeout: timeout(0))

    async def look():
        nonlocal now
        now += 10
        raise errors.CredentialError("401")

    with pytest.raises(errors.CredentialError):
        wait(look)
    assert now == 110 + LIMITS.failed_after


def test_a_credential_that_is_taken_again_may_be_refused_again_for_as_long(monkeypatch):
    now = 100.0
    monkeypatch.setattr(waits, "time", types.SimpleNamespace(time=time.time, monotonic=lambda: now))
    monkeypatch.setattr(asyncio, "timeout", lambda _, timeout=asyncio.timeout: timeout(0))
    refused = errors.CredentialError("401")
    found = answers(refused, PENDING, refused, refused, None)

    async def look():
        nonlocal now
        now += 0.9 * LIMITS.failed_after
        return await found()

    wait(look)


def test_a_bell_that_rings_makes_it_look_again():
    wait(answers(SILENT, None), leave_worker=60, bells=[Bell()])


@pytest.mark.parametrize("error", [errors.UnreachableError("cut"), errors.CredentialError("401")], ids=["cut", "401"])
def test_a_bell_that_breaks_is_put_up_again_and_rings_then(error):
    """What happened while it was down is seen by that look."""
    bell = Bell(error)
    wait(bell.look_until_put_up_twice, bells=[bell])


def test_a_bell_is_put_up_again_when_the_server_wants_it(pauses):
    bell = Bell(errors.UnavailableError("busy", retry_after=7))
    wait(bell.look_until_put_up_twice, bells=[bell])
    assert 7 in pauses.bells


def test_a_bell_that_breaks_every_time_is_put_up_after_growing_pauses(monkeypatch, pauses):
    """A server that ends watches at once is not asked in a loop."""
    bell = Bell(*[errors.UnreachableError("cut")] * 5)

    async def look():
        return SILENT if bell.put_up < 6 else None

    limits = settings.Settings(poll=10)
    limit = waits.Limit(deadline=time.time() + 20)
    monkeypatch.setattr(waits.random, "uniform", lambda _, most: most)
    asyncio.run(
        waits.until(look, what="a thing", bells=[bell], limit=limit, seconds=20, hint="Do this.", limits=limits)
    )
    assert [pause for pause in pauses.bells if pause >= 1][:5] == [2, 4, 8, 10, 10]


# Of a right that is missing the bell itself tells, so that is not told twice.
@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(errors.ForbiddenError("no way to watch"), 0, id="no-right"),
        pytest.param(errors.ApiRefusedError("no way to watch"), 1, id="refused"),
    ],
)
def test_without_a_bell_that_could_ring_it_looks_every_now_and_then(pauses, caplog, error, told):
    deaf = Bell(error, rings=False)
    wait(answers(SILENT, SILENT, SILENT, None), bells=[deaf, Bell(rings=False)])
    assert pauses.looks[1:] == [LIMITS.slow_poll] * 3
    assert caplog.text.count("no way to watch") == told
    assert deaf.put_up == 1


def test_a_bell_that_fails_in_a_way_nobody_thought_of_ends_the_wait():
    """Without it nothing would be seen any more until the deadline."""
    with pytest.raises(ZeroDivisionError):
        wait(answers(SILENT), bells=[Bell(ZeroDivisionError(), rings=False)])


def test_no_bell_is_put_up_where_there_is_nothing_to_wait_for():
    bell = Bell()
    wait(answers(None), leave_worker=60, bells=[bell])
    assert bell.put_up == 0


def test_in_the_triggerer_the_first_look_finds_the_bells_listening():
    """What they watch is then read from them, and asked for once."""
    bell, seen = Bell(), []

    async def look():
        seen.append(bell.put_up)

    wait(look, bells=[bell])
    assert seen == [1]


def test_a_bell_that_cannot_be_put_up_holds_up_no_look(pauses):
    async def unreachable(opened):
        await asyncio.Event().wait()
        yield

    wait(answers(None), bells=[unreachable])
    assert pauses.looks[0] == LIMITS.connect_timeout


def test_what_takes_minutes_leaves_the_worker_at_once():
    bell = Bell()
    with pytest.raises(waits.Longer):
        wait(answers(waits.Pending("a run is due", long=True)), leave_worker=60, bells=[bell])
    assert bell.put_up == 0


def test_what_takes_minutes_is_waited_for_where_there_is_no_worker():
    wait(answers(waits.Pending("a run is due", 0.01, long=True), None))


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


async def leave():
    raise waits.Longer


async def fail():
    raise errors.NotReadyError("gone")


async def wait_for_ever():
    await asyncio.Event().wait()


def test_the_first_failure_ends_the_waits_beside_it():
    ended = []

    async def endless():
        try:
            await wait_for_ever()
        finally:
            ended.append("")

    with pytest.raises(errors.NotReadyError):
        asyncio.run(waits.together(endless(), fail()))
    assert ended


# All orders: which one raises first, and which stands first, must not matter.
@pytest.mark.parametrize("order", list(itertools.permutations((leave, fail, wait_for_ever))))
def test_a_failure_counts_more_than_leaving_the_worker_and_that_more_than_being_cancelled(monkeypatch, order):
    monkeypatch.setattr(waits, "_OPENING", 0.01)
    with pytest.raises(errors.NotReadyError):
        asyncio.run(waits.together(*(each() for each in order)))
    with pytest.raises(waits.Longer):
        asyncio.run(waits.together(*(each() for each in order if each is not fail)))


def test_a_failure_counts_more_than_leaving_the_worker_a_moment_before():
    """Two waits leave in the same moment, and one of them has just found its failure."""

    async def fail_later(left):
        await left.wait()
        raise errors.NotReadyError("gone")

    async def leave_first(left):
        left.set()
        raise waits.Longer

    async def run():
        left = asyncio.Event()
        await waits.together(leave_first(left), fail_later(left))

    with pytest.raises(errors.NotReadyError):
        asyncio.run(run())
