"""What a reconcile finds on a simulated fleet, and what it starts."""

from tests.joins import evidence


def members(*names, **more):
    return [{"name": name, **more} for name in names]


def test_a_fleet_that_is_as_declared_is_healthy_and_nothing_is_written(make_fleet):
    fleet = make_fleet([*members("m1", "m2"), *members("p1", "p2", connection="proxy")])
    evidence.wait_for(lambda: all(map(evidence.is_ready, fleet.host.objects("clusters"))))
    record = fleet.reconcile()
    assert record["counts"] == {"healthy": 4}
    assert record["actions"] == record["findings"] == []
    assert not any(fleet.writes().values())
