"""Members that leave: both clusters are compared with what they were before the join, past the product."""

import concurrent.futures
import contextlib
import copy
import json
import signal
import threading

import pytest

from include.fleet import errors, triggers
from include.simulator.disturbances import Act, Disturbance
from include.simulator.status import ApiError
from tests.chaos import cases, steps
from tests.joins import evidence, rolling
from tests.leaves import leaving
from tests.leaves.leaving import FEDERATION, SYSTEM

JOINED = {"role": "member", "secret": "host", "joined": "m1"}
NEIGHBOUR = {"name": "m2", "role": "member", "secret": "host", "joined": "m2"}
LEFT_ALREADY = "left already, nothing was written"
CONFIGURATION = ("clusterconfigurations", "ks-installer")
RELEASES = pytest.mark.parametrize("kubesphere", cases.KUBESPHERES)
WAYS = pytest.mark.parametrize("way", cases.WAYS)


def deletes(call, resource):
    """Tell whether it is a deletion of the product that is more than planned."""
    return cases.mine(call) and (call.verb, call.resource) == ("delete", resource) and "dryRun" not in call.path


@RELEASES
@WAYS
def test_a_member_leaves_and_both_clusters_are_as_before_the_join(stage_of, way, kubesphere):
    stage = stage_of(way, kubesphere=kubesphere)
    stage.play()
    evidence.assert_joined(stage.simulation, identity=kubesphere == "v3.4.1")
    report = leaving.leave(stage)
    assert leaving.changed(stage) == {"host": [], "m1": []}
    assert report["result"] == "left by this run"
    assert report["differs"] == []
    assert [line.partition(" of ")[0] for line in report["restored"]] == [
        "clusterconfigurations/ks-installer in kubesphere-system"
    ]
    assert "clusters/m1 deleted on the host" in report["removed"]
    assert f"secrets/before-join in {SYSTEM} deleted on the member" in report["removed"]
    (left,) = report["left"]
    assert "names the one that was in force" in left
    before = leaving.written(stage)
    assert leaving.leave(stage, run_id="again")["result"] == LEFT_ALREADY
    assert leaving.written(stage) == before


def test_the_agent_runs_until_the_host_has_let_go(stage_of):
    stage = stage_of("proxy")
    stage.play()
    host, member = stage.simulation.clusters["host"], stage.simulation.clusters["m1"]
    seen = []
    deleting = Disturbance(
        matches=lambda call: deletes(call, "deployments"),
        kind=Act(
            function=lambda _: seen.append(leaving.names(host, "clusters")), moment=cases.MOMENTS["before the answer"]
        ),
    )
    member.disturb(deleting)
    leaving.leave(stage)
    assert seen == [["host"]]


@WAYS
def test_a_member_that_left_joins_again_with_the_same_objects(stage_of, way):
    stage = stage_of(way)
    stage.play()
    first = {name: _constant(rolling.photograph(cluster)) for name, cluster in stage.simulation.clusters.items()}
    leaving.leave(stage)
    stage.play()
    evidence.assert_joined(stage.simulation)
    for name, cluster in stage.simulation.clusters.items():
        assert rolling.differences(first[name], _constant(rolling.photograph(cluster))) == []


def _constant(photograph):
    """What is the same after each join: not tokens, nor what tower draws, nor the names and times of runs."""
    found = {}
    for (plural, namespace, name), item in copy.deepcopy(photograph).items():
        if plural == "secrets" and (namespace == FEDERATION or name == "before-join"):
            # The former jwtSecret is asked for by name by now; it is in force either way.
            kept = ("clusterRole", "secretInForce")
            item["data"] = {key: value for key, value in item["data"].items() if key in kept}
            item["metadata"] = {}
        if plural == "serviceaccounts" and namespace == FEDERATION:
            item.pop("secrets", None)
        if plural == "services":
            for drawn in ("clusterIP", "clusterIPs", "ports"):
                item["spec"].pop(drawn, None)
        if plural == "clusters" and item["spec"]["connection"]["type"] == "proxy":
            item["spec"]["connection"] = {"type": "proxy"}
        if plural == "kubefedclusters":
            item["spec"].pop("apiEndpoint", None)
        if name == "cluster-agent":
            (container,) = item["spec"]["template"]["spec"]["containers"]
            container["command"] = [word for word in container["command"] if not word.startswith("--token=")]
        if plural == "clusterconfigurations":
            item["status"] = {}
        found[plural, namespace, name.rpartition("-token-")[0] or name] = item
    return found


def test_neighbours_and_what_people_have_made_stay_as_they_are(stage_of):
    stage = stage_of(members=[NEIGHBOUR])
    stage.play()
    host, member = stage.simulation.clusters["host"], stage.simulation.clusters["m1"]
    member.put("namespaces", {"metadata": {"name": "shop"}})
    member.put("configmaps", {"metadata": {"name": "prices"}, "data": {"bread": "2"}}, "shop")
    account = {"metadata": {"name": "other-kubesphere"}}
    member.put("serviceaccounts", account, FEDERATION)
    host.put("clusters", {"metadata": {"name": "by-hand"}, "spec": {"connection": {"type": "direct"}}})
    before = leaving.written(stage)["m2"]
    report = leaving.leave(stage)
    found = leaving.changed(stage)
    # As in reality they come a moment after their namespace.
    assert [line for line in found["m1"] if "/shop" not in line and FEDERATION not in line] == []
    assert found["host"] == ["clusters//by-hand"]
    assert found["m2"] == []
    assert leaving.written(stage)["m2"] == before == []
    assert leaving.names(member, "serviceaccounts").count("other-kubesphere") == 1
    assert "m1-kubesphere" not in leaving.names(member, "serviceaccounts")
    assert member.object("configmaps", "prices", "shop")["data"] == {"bread": "2"}
    (stays,) = [line for line in report["left"] if FEDERATION in line]
    assert f"namespaces/{FEDERATION} on the member stays: other-kubesphere is in it" in stays
    assert report["differs"] == []


def test_what_was_not_touched_by_this_run_and_differs_is_said(stage_of):
    stage = stage_of()
    stage.play()
    member = stage.simulation.clusters["m1"]
    making = Disturbance(
        matches=lambda call: deletes(call, "namespaces"),
        kind=Act(
            function=lambda _: member.put("namespaces", {"metadata": {"name": "shop"}}),
            moment=cases.MOMENTS["before the answer"],
        ),
    )
    member.disturb(making)
    assert leaving.leave(stage)["differs"] == ["namespaces/shop on the member is new"]


def test_what_kubefed_has_labelled_and_stays_is_freed(stage_of):
    stage = stage_of()
    stage.play()
    member = stage.simulation.clusters["m1"]
    managed = {"metadata": {"labels": {"kubefed.io/managed": "true"}}}
    member.edit("workspaces", "system-workspace", managed)
    gone = {"apiVersion": "tenant.kubesphere.io/v1alpha1", "kind": "Workspace", "name": "gone", "uid": "1-2-3"}
    labels = {"kubefed.io/managed": "true", "kubesphere.io/workspace": "gone", "mine": "yes"}
    member.put("namespaces", {"metadata": {"name": "shop", "labels": labels, "ownerReferences": [gone]}})
    plain = {"kubesphere.io/workspace": "gone"}
    member.put("namespaces", {"metadata": {"name": "other", "labels": plain}})
    report = leaving.leave(stage)
    shop = member.object("namespaces", "shop")["metadata"]
    assert shop["labels"] == {"mine": "yes", "kubernetes.io/metadata.name": "shop"}
    assert not shop.get("ownerReferences")
    assert member.object("namespaces", "other")["metadata"]["labels"].items() >= plain.items()
    assert "kubefed.io/managed" not in (member.object("workspaces", "system-workspace")["metadata"].get("labels") or {})
    assert report["differs"] == []
    assert "namespaces/shop freed of kubefed's labels on the member" in report["restored"]


@RELEASES
def test_a_member_that_was_joined_by_hand_leaves_and_keeps_its_secret(stage_of, kubesphere):
    """There is no record of what it was, and no mark on its Cluster."""
    stage = stage_of(kubesphere=kubesphere, member=JOINED)
    host, member = stage.simulation.clusters["host"], stage.simulation.clusters["m1"]
    report = leaving.leave(stage)
    assert leaving.names(host, "clusters") == ["host"]
    assert leaving.names(host, "kubefedclusters") == ["host"]
    assert evidence.role_of(member) == "none"
    assert evidence.secret_of(member) == evidence.secret_of(host)
    assert FEDERATION not in leaving.names(member, "namespaces")
    (left,) = report["left"]
    assert left.startswith("The jwtSecret of the member stays the host's: the one before the join is not recorded")


def test_a_cluster_that_is_another_members_is_not_deleted(stage_of):
    stage = stage_of(members=[NEIGHBOUR])
    stage.play()
    before = leaving.written(stage)
    with pytest.raises(errors.PermanentError, match="Cluster m2 stands for another cluster"):
        leaving.leave(stage, cluster="m2")
    with pytest.raises(
        errors.PermanentError, match=r"the host has this cluster as m1 .* and none as m3; give that name"
    ):
        leaving.leave(stage, cluster="m3")
    assert leaving.written(stage) == before


def test_the_hosts_own_cluster_is_not_deleted(stage_of):
    stage = stage_of(host={"role": "host"}, member={"role": "none"})
    host = stage.simulation.clusters["host"]
    host.edit("clusters", "host", {"metadata": {"labels": {"cluster-role.kubesphere.io/host": None}}})
    with pytest.raises(errors.ConfError, match="cluster: expected a name"):
        leaving.leave(stage, cluster="host")
    assert "host" in leaving.names(host, "clusters")


def test_a_member_that_another_host_has_joined_since_is_left_alone(stage_of):
    """Its name is the same there, so that agent and account would be too."""
    stage = stage_of(member={"role": "member", "other_host": "m1", "left": {"accounts": ["m1"]}})
    before = leaving.written(stage)
    report = leaving.leave(stage)
    assert report["result"] == LEFT_ALREADY
    assert any("is to be taken for another host's" in line for line in report["left"])
    assert leaving.written(stage) == before
    assert leaving.changed(stage) == {"host": [], "m1": []}


@RELEASES
def test_with_a_lost_host_the_member_alone_is_cleaned(stage_of, kubesphere):
    stage = stage_of("proxy", kubesphere=kubesphere)
    stage.play()
    host = stage.simulation.clusters["host"]
    asked = len([entry for entry in host.audit() if cases.mine(entry)])
    report = leaving.leave(stage, host_lost=True, host_conn_id=None)
    assert len([entry for entry in host.audit() if cases.mine(entry)]) == asked
    assert leaving.changed(stage)["m1"] == []
    assert report["differs"] == []
    assert "m1" in leaving.names(host, "clusters")
    again = leaving.leave(stage, host_lost=True, run_id="again")
    assert again["result"] == LEFT_ALREADY


@pytest.fixture
def made_anew():
    """Have a namespace of a cluster made anew in the moment in which it is gone."""
    over = threading.Event()

    def keep(cluster, name):
        while not over.wait(0.002):
            with contextlib.suppress(ApiError):
                if name not in leaving.names(cluster, "namespaces"):
                    cluster.put("namespaces", {"metadata": {"name": name}})

    with concurrent.futures.ThreadPoolExecutor() as pool:
        yield lambda cluster, name: pool.submit(keep, cluster, name)
        over.set()


def test_a_namespace_that_a_host_makes_anew_is_not_waited_for(stage_of, made_anew):
    """One that was given up as lost and lives does that at its controller's next look at the member."""
    stage = stage_of(member=JOINED)
    member = stage.simulation.clusters["m1"]
    former = member.object("namespaces", FEDERATION)["metadata"]["uid"]
    made_anew(member, FEDERATION)
    report = leaving.leave(stage, host_lost=True, host_conn_id=None)
    assert report["result"] == "left by this run"
    assert member.object("namespaces", FEDERATION)["metadata"]["uid"] != former


def test_a_member_that_does_not_answer_is_an_error_that_names_force(stage_of, monkeypatch):
    monkeypatch.setattr("include.fleet.operators.RETRIES", 1)
    stage = stage_of(member=JOINED)
    leaving.kill_member(stage)
    with pytest.raises(errors.UnreachableError, match="If the member is dead for good, run this with force: true"):
        leaving.leave(stage)
    assert leaving.written(stage) == {"host": [], "m1": []}


DEAD = {"force": True, "remove_timeout": 60}


@WAYS
def test_a_dead_member_ends_clean_and_its_webhook_is_as_it_was(stage_of, way):
    stage = stage_of(way, member={**JOINED, "connection": way})
    host = stage.simulation.clusters["host"]
    evidence.wait_for(lambda: evidence.is_ready(host.object("clusters", "m1")))
    before, guarded = leaving.webhook_of(stage), _watched(stage)
    leaving.kill_member(stage)
    report = leaving.leave(stage, **DEAD)
    assert leaving.names(host, "clusters") == ["host"]
    assert leaving.names(host, "kubefedclusters") == ["host"]
    assert "m1-secret" not in leaving.names(host, "secrets")
    assert "mc-m1" not in leaving.names(host, "services")
    assert leaving.webhook_of(stage) == before
    # No Cluster but that of the dead member was ever unguarded for longer than its label takes.
    assert guarded.count("nobody") == 1
    assert report["differs"] == []
    assert any("does not answer: what the membership has left on it stays" in line for line in report["left"])
    assert leaving.written(stage)["m1"] == []
    leases = [name for name in leaving.names(host, "leases") if name.startswith("join-member-cluster")]
    assert leases == []
    assert leaving.leave(stage, **DEAD, run_id="again")["result"] == LEFT_ALREADY


def _watched(stage):
    """What the webhook guards after each change of it by the product, as it comes."""
    host, seen = stage.simulation.clusters["host"], []

    def look(_call):
        (hook,) = host.object(*leaving.WEBHOOK)["webhooks"]
        text = json.dumps(hook["objectSelector"])
        seen.append("nobody" if "guarded" in text else "others" if "leaving" in text else "everybody")

    for _ in range(3):
        host.disturb(
            Disturbance(
                matches=lambda call: cases.mine(call) and call.verb == "patch" and call.name == leaving.WEBHOOK[1],
                kind=Act(function=look, moment=cases.MOMENTS["before the answer"]),
            )
        )
    return seen


def test_two_dead_members_that_leave_at_once_leave_the_webhook_as_it_was(stage_of):
    stage = stage_of(member=JOINED, members=[NEIGHBOUR])
    before = leaving.webhook_of(stage)
    for name in ("m1", "m2"):
        leaving.kill_member(stage, name)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(leaving.leave, stage, run_id=name, cluster=name, member_conn_id=name, **DEAD)
            for name in ("m1", "m2")
        ]
        assert {run.result()["result"] for run in runs} == {"left by this run"}
    host = stage.simulation.clusters["host"]
    assert leaving.names(host, "clusters") == ["host"]
    assert leaving.webhook_of(stage) == before


def test_a_dead_member_that_comes_back_is_cleaned_by_another_run(stage_of):
    stage = stage_of()
    stage.play()
    leaving.kill_member(stage)
    leaving.leave(stage, **DEAD)
    leaving.revive_member(stage)
    report = leaving.leave(stage, run_id="again")
    assert leaving.changed(stage) == {"host": [], "m1": []}
    assert report["restored"] != []


def test_a_member_that_answers_is_cleaned_with_force_all_the_same(stage_of):
    stage = stage_of()
    stage.play()
    leaving.leave(stage, **DEAD)
    assert leaving.changed(stage) == {"host": [], "m1": []}
    assert not any("validatingwebhookconfigurations" in line for line in leaving.written(stage)["host"])


def test_force_takes_no_living_neighbour_out_by_a_wrong_name(stage_of):
    stage = stage_of(member=JOINED, members=[NEIGHBOUR])
    evidence.wait_for(lambda: evidence.is_ready(stage.simulation.clusters["host"].object("clusters", "m2")))
    leaving.kill_member(stage)
    with pytest.raises(errors.PermanentError, match=r"the host reaches m2 .* so it is not dead"):
        leaving.leave(stage, cluster="m2", **DEAD)
    assert leaving.written(stage)["host"] == []


@RELEASES
def test_a_cluster_that_nobody_lets_go_loses_its_finalizer_and_what_stands_behind_it(stage_of, kubesphere):
    """The host's controller is down, so that on 3.4 the webhook cannot be asked either."""
    stage = stage_of(kubesphere=kubesphere, member=JOINED)
    host = stage.simulation.clusters["host"]
    before = leaving.webhook_of(stage) if kubesphere == "v3.4.1" else None
    leaving.kill_member(stage)
    host.scale("ks-controller-manager", 0)
    evidence.wait_for(lambda: not any("ks-controller-" in pod["metadata"]["name"] for pod in host.objects("pods")))
    report = leaving.leave(stage, force=True, remove_timeout=2)
    assert leaving.names(host, "clusters") == ["host"]
    assert leaving.names(host, "kubefedclusters") == ["host"]
    assert "m1-secret" not in leaving.names(host, "secrets")
    assert "clusters/m1 freed of the controller's finalizer on the host" in report["restored"]
    if before is not None:
        assert leaving.webhook_of(stage) == before


def test_without_force_a_cluster_that_nobody_lets_go_is_an_error(stage_of):
    stage = stage_of(member=JOINED)
    host = stage.simulation.clusters["host"]
    stage.simulation.clusters["m1"].raise_firewall()
    with pytest.raises(errors.PermanentError, match="run this with force: true"):
        leaving.leave(stage, remove_timeout=2)
    assert "m1" in leaving.names(host, "clusters")
    assert evidence.role_of(stage.simulation.clusters["m1"]) == "member"


SAMPLE = {
    "direct": {"delete clusters m1", f"delete namespaces {FEDERATION}", "patch clusterconfigurations ks-installer"},
    "proxy": {"delete deployments cluster-agent", "delete secrets before-join"},
    "dead": {f"patch {leaving.WEBHOOK[0]} {leaving.WEBHOOK[1]}"},
}
"""Where a leave is killed by default: at writes of each kind and on both clusters."""


@pytest.mark.parametrize(
    ("way", "moment"), [("direct", "before the answer"), ("proxy", "after the answer"), ("dead", "after the answer")]
)
def test_a_leave_that_is_killed_at_its_writes_ends_the_same(request, stage_of, way, moment):  # noqa: C901
    """At some of them; `--every-kill` has it killed at each. With a dead member, whenever the webhook changes."""
    every = request.config.getoption("--every-kill")
    stage, conf, killed = stage_of("proxy" if way == "proxy" else "direct"), dict(leaving.CONF), []
    stage.play()
    before = leaving.webhook_of(stage)
    if way == "dead":
        leaving.kill_member(stage)
        conf |= DEAD

    def line(call):
        return f"{call.verb} {call.resource} {call.name}"

    def kill(call):
        killed.append(line(call))
        stage.child.kill()

    def is_due(call):
        if not cases.mine(call) or call.verb not in ("create", "patch", "delete") or call.resource == cases.REVIEWS:
            return False
        if "dryRun" in call.path or call.resource == "leases":
            return False
        # It changes three times, and is put back: killed at each, it is put back by whoever comes after.
        times = 3 if call.resource == leaving.WEBHOOK[0] else 1
        return killed.count(line(call)) < times and (every or line(call) in SAMPLE[way])

    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        for cluster in stage.simulation.clusters.values():
            cluster.disturb(Disturbance(matches=is_due, kind=Act(function=kill, moment=cases.MOMENTS[moment])))
        code, output = rolling.in_a_process(stage, _leave, conf)
        assert len(killed) < 20
    assert code == 0, output
    if not every:
        assert set(killed) == SAMPLE[way]
    assert leaving.webhook_of(stage) == before
    if way == "dead":
        leaving.revive_member(stage)
        leaving.leave(stage, run_id="again")
    assert leaving.changed(stage) == {"host": [], "m1": []}


def _leave(conf):
    # The same run, whose tasks are tried again.
    steps.play_leave(conf, run_id=leaving.RUN)


def test_the_webhook_that_a_run_has_set_aside_for_good_is_put_back_by_the_next(stage_of):
    stage = stage_of(member=JOINED)
    before = leaving.webhook_of(stage)
    host = stage.simulation.clusters["host"]
    (hook,) = host.object(*leaving.WEBHOOK)["webhooks"]
    aside = {
        "metadata": {"annotations": {"join-member-cluster/former-selectors": json.dumps({hook["name"]: {}})}},
        "webhooks": [{**hook, "objectSelector": {"matchLabels": {"join-member-cluster/guarded": ""}}}],
    }
    host.edit(*leaving.WEBHOOK, aside)
    leaving.leave(stage)
    assert leaving.webhook_of(stage) == before


@WAYS
def test_a_plan_tells_what_is_then_written_and_persists_nothing(stage_of, way):
    stage = stage_of(way)
    stage.play()
    before = leaving.changed(stage)
    sent = leaving.written(stage)
    report, again = leaving.plan(stage), leaving.plan(stage)
    assert json.dumps(report) == json.dumps(again)
    assert leaving.changed(stage) == before
    assert leaving.written(stage) == sent
    planned = sorted(f"{entry['verb']} {entry['object'].partition(' in ')[0]}" for entry in report["entries"])
    leaving.leave(stage)
    verbs = {"delete": "delete", "patch": "change"}
    done = []
    for name, lines in leaving.written(stage).items():
        for verb, resource, title in map(str.split, lines[len(sent[name]) :]):
            done.append(f"{verbs[verb]} {resource}/{title}")
    assert planned == sorted(done)


def test_an_approved_plan_that_is_not_true_any_more_is_refused(stage_of):
    stage = stage_of(member=JOINED)
    conf = {**leaving.CONF, "approve": True}
    report = leaving.plan(stage, approve=True)
    assert report["notes"][0] == "clusters/m1 was not made by this project, and goes all the same: it is this member."
    taken = steps.with_retries("take_turn", conf, run_id="a", reports={"plan": report}, work=triggers.LEAVE)
    assert taken["turn"]
    labels = {"metadata": {"labels": {"kubefed.io/managed": "true"}}}
    stage.simulation.clusters["m1"].edit("workspaces", "system-workspace", labels)
    with pytest.raises(errors.RefusedError, match="changed since the plan was approved") as caught:
        steps.with_retries("take_turn", conf, run_id="a", reports={"plan": report}, work=triggers.LEAVE)
    assert "change workspaces/system-workspace on the member" in str(caught.value)
    assert leaving.written(stage) == {"host": [], "m1": []}


def test_what_stands_behind_a_cluster_that_is_gone_is_deleted_and_planned(stage_of):
    """As after a finalizer that somebody has taken off."""
    stage = stage_of()
    host = stage.simulation.clusters["host"]
    spec = {"apiEndpoint": "https://10.20.1.1:6443", "secretRef": {"name": "m1-secret"}}
    host.put("secrets", {"metadata": {"name": "m1-secret"}}, FEDERATION)
    host.put("kubefedclusters", {"metadata": {"name": "m1"}, "spec": spec}, FEDERATION)
    host.put("services", {"metadata": {"name": "mc-m1"}, "spec": {"ports": [{"port": 80}]}}, SYSTEM)
    planned = [f"{entry['verb']} {entry['object']}" for entry in leaving.plan(stage)["entries"]]
    assert planned == [
        f"delete secrets/m1-secret in {FEDERATION}",
        f"delete kubefedclusters/m1 in {FEDERATION}",
        f"delete services/mc-m1 in {SYSTEM}",
    ]
    report = leaving.leave(stage, remove_timeout=1)
    assert [line.removesuffix("d on the host") for line in report["removed"]] == [
        f"{line.removeprefix('delete ')} delete" for line in planned
    ]
    assert leaving.changed(stage) == {"host": [], "m1": []}


def test_the_plan_for_a_dead_member_tells_of_the_webhook(stage_of):
    stage = stage_of(member=JOINED)
    leaving.kill_member(stage)
    report = leaving.plan(stage, **DEAD)
    assert [entry["object"] for entry in report["entries"]] == ["clusters/m1"]
    assert any("webhook lets nobody change clusters/m1" in note for note in report["notes"])


def test_the_plan_of_a_member_that_has_left_is_empty(stage_of):
    report = leaving.plan(stage_of())
    assert report["entries"] == []
    assert "Nothing would be written" in report["markdown"]
