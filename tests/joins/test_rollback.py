"""Runs that fail and are rolled back: both clusters are compared with what they were, past the product."""

import json
import signal

import pytest

from include.fleet import errors, join
from include.simulator.disturbances import Act, Disturbance
from tests.chaos import cases, steps
from tests.joins import evidence, rolling

SETTINGS = {**cases.SETTINGS, "RESYNC": 0.7, "FAILED_AFTER": 1.0}
SYSTEM = "kubesphere-system"
FEDERATION = "kube-federation-system"
CONFIGURATION = ("clusterconfigurations", "ks-installer")
HOST = {"role": "host"}
JOINED = {"role": "member", "secret": "host", "joined": "m1"}
FORWARDED = "139.198.120.120:30080"
AS_BEFORE = "rolled back: both clusters are as before"
NAMED = "names the one that was in force"


@pytest.fixture(autouse=True)
def _steps(monkeypatch):
    for name, step in rolling.STEPS.items():
        monkeypatch.setitem(join.STEPS, name, step)


@pytest.fixture
def stage_of(airflow_home):
    """Start the clusters of a scenario; they end with the test."""
    running = []

    def begin(way="direct", *, host=HOST, settings=SETTINGS, **scenario):
        stage = cases.Stage(way, host=host, settings=settings, **scenario)
        stage.__enter__()
        running.append(stage)
        stage.conf["on_failure"] = "rollback"
        stage.before = photographs(stage)
        return stage

    yield begin
    for stage in running:
        said = "\n".join(stage.said)
        leaks = [secret for cluster in stage.simulation.clusters.values() for secret in cluster.secrets()]
        stage.__exit__()
        assert [secret for secret in leaks if secret in said] == []


def photographs(stage):
    return {name: rolling.photograph(cluster) for name, cluster in stage.simulation.clusters.items()}


def changed(stage):
    """What is not as it was, by cluster."""
    now = photographs(stage)
    return {name: rolling.differences(before, now[name]) for name, before in stage.before.items()}


def undo(stage, **options):
    """Roll back; the report never holds a secret."""
    report = rolling.undo(stage, **options)
    for cluster in stage.simulation.clusters.values():
        assert [secret for secret in cluster.secrets() if secret in json.dumps(report)] == []
    return report


def assert_as_before(stage, report):
    assert changed(stage) == {"host": [], "m1": []}
    assert (report["differs"], report["result"]) == ([], AS_BEFORE)
    assert all(NAMED in line for line in report["not_undone"])


BEFORE_WRITES = ("preflight", "plan", "take_turn", "fetch_jwt")
# Of 3.0 the steps that differ: it restarts its processes, and has other left-overs.
STEPS = [
    *((way, step, "v3.4.1") for way in cases.WAYS for step in steps.ORDER[way][:-1] if step not in BEFORE_WRITES),
    *((way, step, "v3.0.0") for way in cases.WAYS for step in ("configure_member", "wait_agent_ready")),
]


@pytest.mark.parametrize(("way", "step", "kubesphere"), STEPS)
def test_a_run_that_fails_after_any_step_leaves_both_clusters_as_they_were(stage_of, way, step, kubesphere):
    stage = stage_of(way, kubesphere=kubesphere)
    reports = rolling.fail(stage, after=step)
    written = changed(stage)
    report = undo(stage, reports=reports)
    assert_as_before(stage, report)
    assert bool(report["undone"]) == (written["m1"] != ["secrets/kubesphere-system/before-run"])


FAILURES = {
    "the-installer-fails": ("direct", {"member": {"installer": {"fail": "silent", "runs": 2}}}, {}, "ks-installer"),
    "the-host-does-not-reach-the-member": (
        "direct",
        {"member": {"reachable": False}},
        {},
        "cannot reach or join Cluster m1",
    ),
    "the-agent-never-connects": (
        "proxy",
        {"member": {"reaches_tower": False}},
        {"ready_timeout": 6},
        "to become Ready",
    ),
    "the-proof-fails": (
        "direct",
        {
            "host": {**HOST, "forbid": [{"verb": "get", "resource": "services/proxy"}]},
            "member": {"forbid": [{"verb": "get", "resource": "services/proxy"}]},
            "settings": {**SETTINGS, "QUIET": 60},
        },
        {"verify_timeout": 3, "waive": ["imported-rights"]},
        "to be proven",
    ),
}


@pytest.mark.parametrize("kubesphere", cases.KUBESPHERES)
@pytest.mark.parametrize(("way", "scenario", "conf", "said"), FAILURES.values(), ids=FAILURES.keys())
def test_a_join_that_fails_by_itself_is_rolled_back(stage_of, way, scenario, conf, said, kubesphere):  # noqa: PLR0917
    stage = stage_of(way, kubesphere=kubesphere, **scenario)
    former = evidence.secret_of(stage.simulation.clusters["m1"])
    stage.conf |= conf
    reports = rolling.fail(stage)
    assert said in reports["error"]
    stage.conf["ready_timeout"] = 60
    report = undo(stage, reports=reports)
    assert changed(stage) == {"host": [], "m1": []}
    assert (report["differs"], report["result"]) == ([], AS_BEFORE)
    assert evidence.secret_of(stage.simulation.clusters["m1"]) == former
    assert evidence.role_of(stage.simulation.clusters["m1"]) == "none"
    told = [line for line in report["not_undone"] if NAMED not in line]
    restarted = ["deployments/ks-installer in kubesphere-system of the member has been restarted by this run"]
    assert [line.partition(",")[0] for line in told] == (restarted if "installer" in scenario.get("member", {}) else [])


def test_the_report_says_that_a_host_stays_one(stage_of):
    stage = stage_of(host={})
    reports = rolling.fail(stage, after="wait_agent_ready")
    report = undo(stage, reports=reports)
    assert changed(stage)["m1"] == []
    assert evidence.role_of(stage.simulation.clusters["host"]) == "host"
    assert any(line.startswith("The host keeps the role host, with tower and kubefed") for line in report["not_undone"])
    role = "spec.multicluster.clusterRole of clusterconfigurations/ks-installer in kubesphere-system on the host is"
    assert f"{role} another" in report["differs"]
    assert report["result"] == "rolled back, except for what differs"
    assert not any("on the member" in line for line in report["differs"])


def test_a_member_that_was_joined_keeps_all_but_what_this_run_has_changed(stage_of):
    stage = stage_of(member=JOINED)
    stage.conf |= {"description": "another", "group": "production", "labels": {"site": "berlin"}}
    reports = rolling.fail(stage, after="wait_agent_ready")
    cluster = stage.simulation.clusters["host"].object("clusters", "m1")
    assert cluster["metadata"]["labels"]["cluster.kubesphere.io/group"] == "production"
    report = undo(stage, reports=reports)
    assert_as_before(stage, report)
    evidence.assert_joined(stage.simulation)
    assert {line.partition(" of ")[0] for line in report["undone"]} == {
        "metadata.annotations.kubesphere.io/description",
        "metadata.labels.site",
        "metadata.labels.cluster.kubesphere.io/group",
    }
    assert report["not_undone"] == []


def test_an_agent_that_was_there_has_its_former_arguments_again(stage_of):
    agent = {"name": "m1", "token": "0123456789abcdef" * 4, "server": "http://139.198.110.23:8080"}
    stage = stage_of("proxy", member={"agent": agent})
    rolling.fail(stage, after="wait_agent_ready")
    assert "deployments/kubesphere-system/cluster-agent" in changed(stage)["m1"]
    assert_as_before(stage, undo(stage))


def test_the_former_address_of_tower_is_brought_back(stage_of):
    host = {
        "role": "host",
        "published": [FORWARDED, "139.198.110.23:8080"],
        "proxy_address": "http://139.198.110.23:8080",
    }
    stage = stage_of("proxy", host=host)
    stage.conf["proxy_publish_address"] = f"http://{FORWARDED}"
    rolling.fail(stage, after="wait_agent_ready")
    assert evidence.config_of(stage.simulation.clusters["host"])["multicluster"]["proxyPublishAddress"] == (
        f"http://{FORWARDED}"
    )
    report = undo(stage)
    # The host's controller writes the file anew after a run of the installer.
    evidence.wait_for(lambda: changed(stage)["host"] == [])
    assert_as_before(stage, report)


def test_an_address_of_tower_that_was_none_is_none_again_unless_others_use_it_by_now(stage_of):
    stage = stage_of("proxy", host={"role": "host", "published": [FORWARDED]})
    stage.conf["proxy_publish_address"] = f"http://{FORWARDED}"
    rolling.fail(stage, after="resolve_tower_address")
    host = stage.simulation.clusters["host"]
    spec = {"joinFederation": True, "connection": {"type": "proxy"}}
    host.put("clusters", {"metadata": {"name": "another"}, "spec": spec})
    report = undo(stage)
    assert any("stays: another use it by now" in line for line in report["not_undone"])
    assert evidence.config_of(host)["multicluster"]["proxyPublishAddress"] == f"http://{FORWARDED}"
    assert changed(stage)["m1"] == []


def test_what_somebody_else_has_changed_since_is_left_alone_and_said(stage_of):
    stage = stage_of()
    rolling.fail(stage, after="wait_agent_ready")
    host, member = stage.simulation.clusters["host"], stage.simulation.clusters["m1"]
    member.put("serviceaccounts", {"metadata": {"name": "other-kubesphere"}}, FEDERATION)
    member.edit(*CONFIGURATION, {"spec": {"authentication": {"jwtSecret": "chosenbyaperson"}}}, SYSTEM)
    host.put("namespaces", {"metadata": {"name": "shop"}})
    report = undo(stage)
    assert evidence.secret_of(member) == "chosenbyaperson"
    assert evidence.role_of(member) == "none"
    assert member.object("serviceaccounts", "other-kubesphere", FEDERATION)
    said = "\n".join(report["not_undone"])
    assert f"namespaces/{FEDERATION} on the member stays: other-kubesphere is in it" in said
    assert "The jwtSecret of clusterconfigurations/ks-installer in kubesphere-system on the member stays" in said
    assert "namespaces/shop on the host is new" in report["differs"]
    assert [item["metadata"]["name"] for item in host.objects("clusters")] == ["host"]


def test_a_cluster_without_this_projects_mark_is_not_deleted(stage_of):
    stage = stage_of()
    rolling.fail(stage, after="wait_installer")
    host = stage.simulation.clusters["host"]
    host.put("clusters", {"metadata": {"name": "m1"}, "spec": {"connection": {"type": "direct"}}})
    report = undo(stage)
    assert host.object("clusters", "m1")
    assert any("does not bear this project's mark" in line for line in report["not_undone"])


def test_labels_of_kubefed_are_taken_from_what_was_there_before(stage_of):
    stage = stage_of()
    rolling.fail(stage, after="wait_agent_ready")
    member = stage.simulation.clusters["m1"]
    member.edit("workspaces", "system-workspace", {"metadata": {"labels": {"kubefed.io/managed": "true"}}})
    assert_as_before(stage, undo(stage))


SAMPLE = {
    "direct": {"patch clusterconfigurations ks-installer", f"delete namespaces {FEDERATION}", "delete clusters m1"},
    "proxy": {"delete deployments cluster-agent", "delete clusters m1", "delete secrets before-run"},
}
"""Where a rollback is killed by default: at writes of each kind and on both clusters, by proxy also at its last."""


@pytest.mark.parametrize(("way", "moment"), [("direct", "before the answer"), ("proxy", "after the answer")])
def test_a_rollback_that_is_killed_at_its_writes_ends_the_same(request, stage_of, way, moment):
    """At some of them; `--every-kill` has it killed at each."""
    every = request.config.getoption("--every-kill")
    stage = stage_of(way)
    rolling.fail(stage, after="wait_agent_ready")
    killed = []

    def line(call):
        return f"{call.verb} {call.resource} {call.name}"

    def kill(call):
        killed.append(line(call))
        stage.child.kill()

    def is_due(call):
        if not cases.mine(call) or call.verb not in ("create", "patch", "delete") or call.resource == cases.REVIEWS:
            return False
        return line(call) not in killed and (every or line(call) in SAMPLE[way])

    def watch():
        for cluster in stage.simulation.clusters.values():
            cluster.disturb(Disturbance(matches=is_due, kind=Act(function=kill, moment=cases.MOMENTS[moment])))

    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        watch()
        code, output = rolling.undo_in_a_process(stage)
        assert len(killed) < 20
    assert code == 0, output
    assert changed(stage) == {"host": [], "m1": []}
    if not every:
        assert set(killed) == SAMPLE[way]
        return
    assert set(killed) >= {*SAMPLE["direct"], "delete secrets before-run"}
    assert ("delete deployments cluster-agent" in killed) == (way == "proxy")


def test_a_rollback_that_cannot_finish_says_what_is_left_and_goes_on_when_it_can(stage_of):
    stage = stage_of("proxy")
    rolling.fail(stage, after="wait_agent_ready")
    host = stage.simulation.clusters["host"]
    host.scale("ks-controller-manager", 0)
    evidence.wait_for(lambda: not any("ks-controller-" in pod["metadata"]["name"] for pod in host.objects("pods")))
    # The class is lost on the way from the triggerer.
    with pytest.raises(errors.PermanentError) as caught:
        rolling.undo(stage, conf={**stage.conf, "ready_timeout": 2})
    said = str(caught.value)
    assert "clusters/m1 on the host cluster (connection host) to be gone" in said
    assert "Not undone yet: the Cluster on the host; what stands behind it there; the agent on the member" in said
    assert stage.simulation.clusters["m1"].object("deployments", "cluster-agent", SYSTEM)
    host.scale("ks-controller-manager", 1)
    assert_as_before(stage, undo(stage))


def test_without_a_record_of_this_run_nothing_is_touched(stage_of):
    stage = stage_of()
    rolling.fail(stage, after="wait_installer", run_id="dead")
    before = changed(stage)
    report = undo(stage)
    assert changed(stage) == before
    assert report["result"] == "nothing to undo: this run has recorded nothing, and so written nothing"
    assert report["not_undone"] == [
        "secrets/before-run in kubesphere-system on the member is that of run dead, which has not been rolled back."
    ]
    with pytest.raises(errors.RollbackError, match="holds what stood before run dead"):
        undo(stage, reports={"take_turn": {"recorded": rolling.RUN}})


def test_a_record_is_kept_by_its_run_and_replaced_by_another(stage_of):
    stage = stage_of()
    member = stage.simulation.clusters["m1"]

    def record(run_id):
        return steps.with_retries("record", stage.conf, run_id=run_id, reports={})

    assert record("dead") == {"recorded": "dead"}
    first = member.object("secrets", "before-run", SYSTEM)
    assert "unchanged" in record("dead")
    assert member.object("secrets", "before-run", SYSTEM) == first
    assert record("alive") == {"recorded": "alive"}
    assert evidence.decoded(member, "before-run")["run"] == "alive"


def test_a_secret_of_that_name_which_is_no_record_is_refused(stage_of):
    stage = stage_of()
    stage.simulation.clusters["m1"].put("secrets", {"metadata": {"name": "before-run"}, "data": {}}, SYSTEM)
    with pytest.raises(errors.RefusedError, match="is somebody else's"):
        rolling.fail(stage)


def forbidding(*rights):
    return {"forbid": [dict(zip(("verb", "resource"), right.split(), strict=True)) for right in rights]}


def test_who_may_not_roll_back_learns_it_before_the_first_write(stage_of):
    stage = stage_of(host={**HOST, **forbidding("delete clusters")})
    with pytest.raises(errors.RefusedError, match="on_failure: rollback has to delete clusters/m1 on the host"):
        rolling.fail(stage)
    assert changed(stage) == {"host": [], "m1": []}


def test_without_optional_rights_the_rollback_says_what_stays_and_what_was_not_compared(stage_of):
    rights = [f"delete {plural}" for plural in ("clusterroles", "clusterrolebindings", "namespaces", "serviceaccounts")]
    stage = stage_of("proxy", member=forbidding(*rights, "list workspaces"))
    reports = rolling.fail(stage, after="wait_agent_ready")
    report = undo(stage, reports=reports)
    role = "kubefed-controller-manager:m1-kubesphere"
    stays = [line for line in report["not_undone"] if "connection m1 may not delete" in line]
    assert sorted(line.partition(" on the member stays")[0] for line in stays) == [
        f"clusterrolebindings/{role}",
        f"clusterroles/{role}",
        f"namespaces/{FEDERATION}",
        f"serviceaccounts/m1-kubesphere in {FEDERATION}",
    ]
    assert any("The workspaces were not compared" in line for line in report["warnings"])
    assert report["result"] == "rolled back, except for what differs"
    assert evidence.role_of(stage.simulation.clusters["m1"]) == "none"
