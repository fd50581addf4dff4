"""Members that are taken out of the inventory, by mistake and on purpose, with `prune: true` on their host."""

import pytest

from include.fleet import deciding, records
from tests.joins import evidence
from tests.reconcile.conftest import TIMING

NAMES = {**{f"m{number}": "direct" for number in range(1, 8)}, **{f"p{number}": "proxy" for number in range(1, 6)}}
GONE = ("m6", "m7", "p1", "p2", "p3")


@pytest.fixture
def fleet(make_fleet):
    """Twelve members, all healthy and known to a record."""
    members = [{"name": name, "connection": connection} for name, connection in NAMES.items()]
    # A host that looks at a dozen members twice a second has no time for anything else.
    fleet = make_fleet(members, timing={**TIMING, "resync": 5}, declared={"prune": True})
    assert fleet.reconcile()["counts"] == {"healthy": 12}, records.lines(fleet.records[-1])
    return fleet


def declare(fleet, names):
    """Declare these members and no others; return what was declared before."""
    (host,) = fleet.declared["hosts"]
    before, host["members"] = host["members"], [member for member in host["members"] if member["cluster"] in names]
    return before


def test_five_of_twelve_that_are_removed_by_mistake_stay_and_the_record_says_why(fleet):
    before = declare(fleet, NAMES.keys() - set(GONE))
    record = fleet.reconcile()
    assert record["actions"] == []
    assert record["counts"] == {"healthy": 7, "undeclared": 5}
    told = records.lines(record)
    for name in GONE:
        (line,) = [line for line in told if line.startswith(f"europe/{name}, undeclared: ")]
        assert "It is not in the inventory any more. It leaves when 2 reconciles in a row do not find it" in line
        assert "Put it back if that is a mistake." in line

    fleet.declared["hosts"][0]["members"] = before
    record = fleet.reconcile()
    assert record["counts"] == {"healthy": 12}, records.lines(record)
    assert record["actions"] == []
    assert {item["metadata"]["name"] for item in fleet.host.objects("clusters")} == {"host", *NAMES}
    assert not any(fleet.writes().values())


def test_of_five_that_two_reconciles_do_not_find_one_leaves_and_the_others_wait(fleet):
    """At most one in ten, and three at the most: of twelve, one."""
    declare(fleet, NAMES.keys() - set(GONE))
    assert fleet.reconcile()["actions"] == []
    (action,) = fleet.reconcile()["actions"]
    name = action["cluster"]
    assert name in GONE
    assert action["dag_id"] == deciding.LEAVE_DAG
    others = [other for other in GONE if other != name]
    for other in others:
        assert fleet.row(other)["waits"].startswith(
            "5 of 12 members have been taken out of the inventory; at most 1 leave in one reconcile."
        )
    assert not any(fleet.writes().values())

    fleet.repair()
    assert {item["metadata"]["name"] for item in fleet.host.objects("clusters")} == {"host", *NAMES} - {name}
    assert evidence.role_of(fleet.simulation.clusters[name]) == "none"
    assert {cluster for cluster, written in fleet.writes().items() if written} == {"host", name}
    assert all(line.endswith(name) for line in fleet.writes()["host"])
    record = fleet.reconcile(dry_run=True)
    assert record["counts"] == {"healthy": 7, "left": 1, "undeclared": 4}, records.lines(record)
    assert fleet.row(name)["sentence"] == f"It has left by run {action['run_id']}."
