"""Labels of a member's Cluster: the conf's are put there, and nobody else's are touched."""

from tests.joins import evidence

GROUP = "cluster.kubesphere.io/group"
HOST_OWN = {"role": "host"}
JOINED = {"role": "member", "secret": "host", "joined": "m1"}


def labels(simulation):
    return simulation.clusters["host"].object("clusters", "m1")["metadata"].get("labels", {})


def test_a_new_cluster_gets_the_labels_and_the_group(simulate, join):
    simulation = simulate(host=HOST_OWN)
    run = join(simulation, labels={"site": "berlin", "example.com/tier": ""}, group="production")
    assert run.state == "success", run.error
    assert labels(simulation) == {"site": "berlin", "example.com/tier": "", GROUP: "production"}


def test_a_joined_member_gets_only_the_labels_that_differ_and_keeps_those_of_others(simulate, join):
    simulation = simulate(host=HOST_OWN, members=[JOINED])
    theirs = {"theirs": "kept", "site": "rome", "floor": "1", GROUP: "theirs"}
    simulation.clusters["host"].edit("clusters", "m1", {"metadata": {"labels": theirs}})
    run = join(simulation, labels={"site": "berlin", "floor": "1"})
    assert run.state == "success", run.error
    assert run.reports["verify_join"]["changed"] == [
        "clusters/m1 changed on the host: metadata.labels.site",
    ]
    assert labels(simulation) == {**theirs, "site": "berlin"}
    again = join(simulation, labels={"site": "berlin", "floor": "1"})
    assert again.reports["verify_join"]["changed"] == []
    assert evidence.writes(simulation.clusters["host"]) == ["patch clusters m1"]


def test_the_plan_shows_a_label_old_and_new(simulate, join):
    simulation = simulate(host=HOST_OWN, members=[JOINED])
    simulation.clusters["host"].edit("clusters", "m1", {"metadata": {"labels": {"site": "rome"}}})
    report = join(simulation, labels={"site": "berlin"}, plan_only=True).reports["plan"]
    (entry,) = report["entries"]
    assert entry["object"] == "clusters/m1"
    assert entry["fields"] == [{"field": "metadata.labels.site", "old": "rome", "new": "berlin"}]
    assert labels(simulation) == {"site": "rome"}
