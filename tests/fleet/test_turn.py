"""Turns: one run at a time holds a Lease on the host, a dead one loses it, and who loses it stops."""

import asyncio
import json
import time

import pytest

from include.fleet import clusters, errors, kinds, settings, turn, waits
from include.simulator.disturbances import Disturbance, Moment, Refusal, Stall
from include.simulator.simulation import Simulation

NAME = turn.of_member("4711")
REF = kinds.Ref(kinds.LEASE, NAME, "kubesphere-system")
LIMITS = settings.Settings(connect_timeout=2, request_timeout=2, poll=0.2, slow_poll=0.3, turn_duration=2)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    with Simulation({"members": []}, directory=tmp_path_factory.mktemp("clusters")) as running:
        yield running


@pytest.fixture(autouse=True)
def connection(simulation, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_HOST", json.dumps(simulation.connections["host"]))


def lease(simulation):
    try:
        return simulation.clusters["host"].object("leases", NAME, "kubesphere-system")
    except KeyError:
        return None


class Runs:
    """Some runs on one event loop, each with a connection of its own."""

    def __init__(self, limits=LIMITS):
        self._limits = limits

    async def __aenter__(self):
        self._open = []
        return self

    async def __aexit__(self, *_):
        for context in self._open:
            await context.__aexit__(None, None, None)

    async def __call__(self, holder):
        context = clusters.connect("host", role="host", limits=self._limits, run=holder)
        host = await context.__aenter__()
        self._open.append(context)
        return turn.Turns(host, holder=holder, member="m1", limits=self._limits)


async def take(turns, *, seconds=20.0, leave_worker=None, name=NAME, **options):
    now = time.time()
    limit = waits.Limit(now + seconds, None if leave_worker is None else now + leave_worker)
    return await turns.take(name, limit=limit, seconds=seconds, **options)


def test_the_turn_is_a_lease_that_names_the_run_and_the_member(simulation):
    async def run():
        async with Runs() as runs:
            one = await runs("run one")
            await take(one)
            held = lease(simulation)
            await one.give_back(NAME)
            return held

    held = asyncio.run(run())
    assert held["spec"]["holderIdentity"] == "run one"
    assert held["metadata"]["annotations"]["join-member-cluster/turn-for"] == "member m1"
    assert lease(simulation) is None


def test_a_waiting_run_says_who_holds_the_turn_and_gets_it_as_soon_as_that_one_ends(caplog):
    caplog.set_level("INFO", logger="include.fleet")

    async def run():
        async with Runs(settings.Settings(turn_duration=300)) as runs:
            one, two = await runs("run one"), await runs("run two")
            await take(one)
            waiting = asyncio.create_task(take(two))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            await one.give_back(NAME)
            await asyncio.wait_for(waiting, 10)
            await two.give_back(NAME)

    asyncio.run(run())
    assert "run run one is changing member m1 since 20" in caplog.text


def test_a_wait_for_a_turn_ends_at_its_deadline_with_the_holders_name():
    async def run():
        async with Runs(settings.Settings(turn_duration=300)) as runs:
            one, two = await runs("run one"), await runs("run two")
            await take(one)
            try:
                await take(two, seconds=0.5)
            finally:
                await one.give_back(NAME)

    with pytest.raises(errors.DeadlineError, match=r"turn of this run \(run two\).*run run one is changing member m1"):
        asyncio.run(run())


def test_a_wait_for_a_turn_holds_no_worker():
    async def run():
        async with Runs(settings.Settings(turn_duration=300)) as runs:
            one, two = await runs("run one"), await runs("run two")
            await take(one)
            try:
                await take(two, leave_worker=0.3)
            finally:
                await one.give_back(NAME)

    with pytest.raises(waits.Longer):
        asyncio.run(run())


def test_the_next_step_of_the_same_run_holds_the_turn_already(simulation):
    async def run():
        async with Runs() as runs:
            one, again = await runs("run one"), await runs("run one")
            await take(one)
            first = lease(simulation)["spec"]["acquireTime"]
            await take(again)
            assert lease(simulation)["spec"]["acquireTime"] == first
            await again.give_back(NAME)

    asyncio.run(run())


def test_a_dead_run_loses_its_turn_after_its_duration_and_not_before():
    async def run():
        async with Runs() as runs:
            one, two = await runs("run one"), await runs("run two")
            await take(one)
            began = time.monotonic()
            await take(two)
            waited = time.monotonic() - began
            await two.give_back(NAME)
            return waited

    assert asyncio.run(run()) >= LIMITS.turn_duration


def test_a_run_at_work_keeps_its_turn_for_much_longer_than_the_lease_lasts():
    async def run():
        async with Runs() as runs:
            one, two = await runs("run one"), await runs("run two")
            await take(one)
            waiting = asyncio.create_task(take(two))
            await one.working(asyncio.sleep(2.5 * LIMITS.turn_duration))
            kept = not waiting.done()
            await one.give_back(NAME)
            await waiting
            await two.give_back(NAME)
            return kept

    assert asyncio.run(run())


def test_of_many_runs_at_once_one_at_a_time_is_inside():
    inside, most, order = 0, 0, []

    async def one(turns, number):
        nonlocal inside, most
        await take(turns, seconds=60)
        inside += 1
        most = max(most, inside)
        order.append(number)
        await asyncio.sleep(0.05)
        inside -= 1
        await turns.give_back(NAME)

    async def run():
        async with Runs() as runs:
            await asyncio.gather(*[one(await runs(f"run {number}"), number) for number in range(8)])

    asyncio.run(run())
    assert most == 1
    assert sorted(order) == list(range(8))


def test_a_run_whose_turn_was_taken_over_stops_where_it_is(simulation):
    async def run():
        async with Runs() as runs:
            one, two = await runs("run one"), await runs("run two")
            await take(one)
            await take(two)
            ended = False

            async def work():
                nonlocal ended
                await asyncio.sleep(30)
                ended = True

            try:
                await one.working(work())
            finally:
                assert not ended
                await two.give_back(NAME)

    with pytest.raises(errors.LostTurnError, match="held by run run two now"):
        asyncio.run(run())


@pytest.mark.parametrize(
    "kind", [Refusal(code=503), Stall(seconds=3, moment=Moment.ARRIVED)], ids=["refused", "no answer"]
)
def test_a_run_that_cannot_renew_stops_before_another_may_begin(tmp_path, monkeypatch, kind):
    async def run(simulation):
        async with Runs() as runs:
            one = await runs("run one")
            await take(one)
            began = time.monotonic()
            for _ in range(40):
                simulation.clusters["host"].disturb(
                    Disturbance(matches=lambda call: call.resource == "leases" and call.verb == "patch", kind=kind)
                )
            try:
                await one.working(asyncio.sleep(30))
            finally:
                lasted = time.monotonic() - began
                assert lasted < 2 * LIMITS.turn_duration
                await one.give_back(NAME)

    # Disturbances are left that nobody has met: no other test is to meet them.
    with Simulation({"members": []}, directory=tmp_path) as simulation:
        monkeypatch.setenv("AIRFLOW_CONN_HOST", json.dumps(simulation.connections["host"]))
        with pytest.raises(errors.LostTurnError, match="could not be renewed"):
            asyncio.run(run(simulation))


def test_who_has_nothing_to_change_needs_no_turn(simulation):
    async def run():
        async with Runs(settings.Settings(turn_duration=300)) as runs:
            one, two = await runs("run one"), await runs("run two")
            await take(one)

            async def needless():
                return True

            held = await take(two, unless=needless)
            still = turn.holder_of(lease(simulation))
            await two.give_back(NAME)
            assert lease(simulation) is not None
            await one.give_back(NAME)
            return held, still

    assert asyncio.run(run()) == (False, "run one")


def test_the_error_of_the_work_is_the_error(simulation):
    async def fail():
        raise errors.VerificationError("no proof")

    async def run():
        async with Runs() as runs:
            one = await runs("run one")
            await take(one)
            try:
                await one.working(fail())
            finally:
                await one.give_back(NAME)

    with pytest.raises(errors.VerificationError, match="no proof"):
        asyncio.run(run())
