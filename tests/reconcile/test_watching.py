"""What wakes a reconcile before its time, seen over real watches of simulated hosts."""

import asyncio
import contextlib
import itertools
import time

from include.fleet import inventory, settings, watching

LIMITS = settings.Settings(connect_timeout=1.5, request_timeout=5, watch_timeout=20)


def fleet_of(conn_id="host", name="europe"):
    return inventory.load(f"version: 1\nhosts: [{{name: {name}, host_conn_id: {conn_id}}}]")


def watched(fleet, happen, *, seconds=3.0, pause=0.5):
    """What was told while `happen` changed things; it is given a moment first in which the watches open."""
    told = []

    async def run():
        async def collect():
            async for hosts in watching.changes(fleet_of, limits=LIMITS, pause=pause):
                told.append((time.monotonic(), hosts))

        collecting = asyncio.ensure_future(collect())
        await asyncio.sleep(1.5)
        await asyncio.to_thread(happen)
        await asyncio.sleep(seconds)
        collecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await collecting

    asyncio.run(run())
    return told


def label(fleet, value):
    fleet.host.edit("clusters", "m1", {"metadata": {"labels": {"changed": value}}})


def test_a_changed_cluster_is_told_with_its_host(make_fleet):
    fleet = make_fleet([{"name": "m1"}])
    told = watched(fleet, lambda: label(fleet, "1"))
    assert [hosts for _, hosts in told] == [["europe"]]


def test_new_times_of_conditions_are_no_change(make_fleet):
    """The host's controller renews them at each look, here twice a second."""
    fleet = make_fleet([{"name": "m1"}])
    seen = {}

    def wait():
        seen["before"] = fleet.host.object("clusters", "m1")["metadata"]["resourceVersion"]

    assert watched(fleet, wait) == []
    assert fleet.host.object("clusters", "m1")["metadata"]["resourceVersion"] != seen["before"]


def test_many_changes_at_once_are_told_at_most_once_in_a_pause(make_fleet):
    fleet = make_fleet([{"name": "m1"}])

    def often():
        for number in range(10):
            label(fleet, str(number))

    told = watched(fleet, often, pause=1.5)
    assert 1 <= len(told) < 10
    assert all(later - sooner >= 1.5 for (sooner, _), (later, _) in itertools.pairwise(told))


def test_a_host_that_was_away_is_watched_again(make_fleet, monkeypatch):
    monkeypatch.setattr(watching, "_TRY_AGAIN", 0.3)
    fleet = make_fleet([{"name": "m1"}])

    def restart():
        fleet.host.restart_server(0.5)
        time.sleep(1.5)
        label(fleet, "1")

    assert [hosts for _, hosts in watched(fleet, restart)] == [["europe"]]
