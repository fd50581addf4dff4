"""Who is who: same name, same cluster, another host; each told apart from the others."""

import base64
import datetime

import pytest
import yaml

from include.fleet import identity, kubesphere

SERVER = "https://10.20.1.1:6443"


def make_kubeconfig(server):
    return yaml.safe_dump(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "c", "user": {"token": "t0ken"}}],
        }
    )


def make_cluster(name, *, uid=None, mark=None, server=SERVER, kind="direct", labels=None, kubeconfig=None):
    """A Cluster as the host has it; *uid* is what its controller saw, *mark* what an earlier run left."""
    text = make_kubeconfig(server) if kubeconfig is None else kubeconfig
    return {
        "metadata": {
            "name": name,
            "labels": labels or {},
            "annotations": {kubesphere.MEMBER_UID_ANNOTATION: mark} if mark else {},
        },
        "spec": {"connection": {"type": kind, "kubeconfig": base64.b64encode(text.encode()).decode()}},
        "status": {"uid": uid} if uid else {},
    }


def make_config(role, *, name=""):
    return kubesphere.Config(
        jwt_secret="x",
        role=role,
        cluster_name=name,
        host_cluster_name="host",
        proxy_publish_address="",
        agent_image="",
        resync=None,
    )


def refusals(*clusters, member=None, in_use=False, **changes):
    sides = {
        "name": "m1",
        "host_uid": "uid-host",
        "member_uid": "uid-m1",
        "host_config": make_config("host"),
        "member_config": member or make_config("none"),
        "host_secret_in_use": in_use,
        "clusters": clusters,
        "connection": "direct",
        "server": SERVER,
        "agent_name": "",
        **changes,
    }
    return identity.refusals(identity.Sides(**sides))


def test_a_free_name_is_granted():
    assert refusals(make_cluster("other", uid="uid-other", server="https://10.9.9.9:6443")) == []


def test_a_joined_member_is_recognised_under_its_name():
    assert refusals(make_cluster("m1", uid="uid-m1")) == []


def test_a_half_made_cluster_of_an_earlier_run_is_recognised_by_its_mark():
    assert refusals(make_cluster("m1", mark="uid-m1", server="https://wrong:6443")) == []


def test_a_half_made_cluster_by_hand_is_recognised_by_its_server():
    assert refusals(make_cluster("m1")) == []


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        pytest.param(make_cluster("m1", uid="uid-x"), "belongs to another cluster (kube-system UID uid-x)", id="uid"),
        pytest.param(make_cluster("m1", mark="uid-x"), "belongs to another cluster", id="mark"),
        pytest.param(make_cluster("m1", server="https://x:1"), "server https://x:1", id="server"),
        pytest.param(make_cluster("m1", kubeconfig="junk"), "never becomes Ready", id="kubeconfig-that-is-none"),
        pytest.param(make_cluster("m1", kind="proxy"), "connection type proxy", id="joined-by-proxy"),
        pytest.param(make_cluster("m1", labels={kubesphere.HOST_LABEL: ""}), "of the host itself", id="host"),
        pytest.param(make_cluster("m2", uid="uid-m1"), "already, as m2", id="same-cluster-other-name"),
        pytest.param(make_cluster("m2", mark="uid-m1"), "already, as m2", id="same-cluster-half-made-elsewhere"),
        pytest.param(make_cluster("m2"), "already, as m2", id="same-server-other-name"),
    ],
)
def test_a_clash_is_refused_with_its_reason(cluster, says):
    (reason,) = refusals(cluster)
    assert says in reason


def test_the_hosts_name_is_refused():
    assert "name of the host cluster" in refusals(name="host")[0]


def test_a_host_cannot_be_its_own_member():
    assert "its own member" in refusals(member_uid="uid-host")[0]


def test_a_member_of_another_host_is_refused_with_the_name_it_has_there():
    (reason,) = refusals(member=make_config("member", name="theirs"))
    assert "belongs to another host, which calls it theirs" in reason


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"member": make_config("none", name="theirs")}, id="role-is-none-now"),
        pytest.param({"member": make_config("member", name="m1"), "in_use": True}, id="it-has-this-hosts-secret"),
    ],
)
def test_what_an_earlier_membership_left_behind_is_no_other_host(options):
    assert refusals(**options) == []


def test_a_member_whose_secret_changed_is_still_ours_if_the_host_has_it():
    assert refusals(make_cluster("m1", uid="uid-m1"), member=make_config("member", name="m1")) == []


def test_every_reason_is_told():
    assert len(refusals(make_cluster("m1", uid="uid-x"), make_cluster("m2", uid="uid-m1"))) == 2


BY_PROXY = {"connection": "proxy", "server": None}


def test_a_proxy_cluster_that_no_agent_has_reached_is_taken_over():
    assert refusals(make_cluster("m1", kind="proxy", kubeconfig=""), **BY_PROXY) == []


def make_connected(name):
    """A proxy Cluster of KubeSphere 3.0 with its agent: there is no UID in its status."""
    cluster = make_cluster(name, kind="proxy", kubeconfig="")
    cluster["status"]["conditions"] = [{"type": "AgentAvailable", "status": "True"}]
    return cluster


def test_a_name_under_which_an_agent_elsewhere_is_connected_is_refused():
    (reason,) = refusals(make_connected("m1"), **BY_PROXY)
    assert "the agent that is connected runs elsewhere" in reason


def test_a_connected_cluster_is_recognised_by_the_agent_on_the_member():
    assert refusals(make_connected("m1"), agent_name="m1", **BY_PROXY) == []


def test_a_direct_member_is_not_joined_by_proxy_over_it():
    (reason,) = refusals(make_cluster("m1", uid="uid-m1"), **BY_PROXY)
    assert "connection type direct, this run asks for proxy" in reason


def test_a_name_that_leads_elsewhere_is_refused_whatever_its_cluster_says():
    found = make_cluster("m1", uid="uid-m1", mark="uid-m1")
    (reason,) = refusals(found, leads_to="uid-m2", leads_to_evidence="it was seen")
    assert "kube-system UID uid-m2 instead of uid-m1; it was seen" in reason
    assert refusals(found, leads_to="uid-m1") == []


def make_account(name):
    return {"metadata": {"name": f"{name}-kubesphere"}}


def test_a_cluster_that_does_not_tell_what_it_is_may_be_the_member_if_the_member_has_its_account():
    found = [
        make_cluster("asked"),
        make_cluster("without-account"),
        make_cluster("told", uid="uid-told"),
        make_cluster("marked", mark="uid-marked"),
        make_cluster("hq", labels={kubesphere.HOST_LABEL: ""}),
        make_cluster("m1"),
    ]
    accounts = [make_account(name) for name in ("asked", "told", "marked", "hq", "m1", "of-another-host")]
    assert identity.may_be_untold(found, name="m1", accounts=accounts) == ["asked"]


@pytest.mark.parametrize(("uid", "refused"), [("uid-m1", True), ("uid-other", False)])
def test_by_proxy_a_member_under_another_name_is_told_by_what_answers_there(uid, refused):
    other = make_cluster("second", kind="proxy", kubeconfig="")
    said = refusals(other, connection="proxy", server=None, leads_others_to={"second": uid})
    assert [line.partition(" (")[0] for line in said] == (
        ["the host has this cluster already, as second"] if refused else []
    )


def test_only_what_is_new_and_has_not_been_looked_at_is_waited_for():
    def made(name, *, seconds=0, **fields):
        cluster = make_cluster(name, **fields)
        cluster["metadata"]["creationTimestamp"] = f"2026-11-26T12:00:{seconds:02}Z"
        return cluster

    ready = made("ready")
    ready["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    found = [made("new", seconds=50), made("old"), ready, made("told", uid="u"), made("marked", mark="u"), made("m1")]
    now = datetime.datetime(2026, 11, 26, 12, 1, tzinfo=datetime.UTC)
    assert identity.unseen(found, name="m1", now=now, since=30) == ["new"]
    assert identity.unseen(found, name="m1", now=now, since=90) == ["new", "old"]


def leaving(**fields):
    """What is seen where member `m` leaves host `h`, with what is special."""
    seen = {"name": "m1", "others": [], "host_uid": "h", "host_name": "host", "member_uid": "m", "leads_to": ""}
    return identity.Leaving(**{"named": None, "evidence": "it is not Ready", "answers": False, **seen, **fields})


def told(*, uid=None, mark=None, label=False, deleting=False):
    """A Cluster that tells whose it is, or does not."""
    metadata = {"name": "m1", "annotations": {kubesphere.MEMBER_UID_ANNOTATION: mark} if mark else {}}
    metadata["labels"] = {kubesphere.HOST_LABEL: ""} if label else {}
    metadata |= {"deletionTimestamp": "2026-11-26T20:00:00Z"} if deleting else {}
    return {"metadata": metadata, "spec": {}, "status": {"uid": uid} if uid else {}}


@pytest.mark.parametrize(
    "seen",
    [
        leaving(),
        leaving(named=told(uid="m")),
        leaving(named=told(mark="m")),
        leaving(named=told(), leads_to="m"),
        # The host takes a member for itself whose machine is a copy of its own (kubesphere-facts P-31).
        leaving(named=told(uid="m", label=True)),
        # Whoever deletes it has decided whose it is.
        leaving(named=told(deleting=True)),
        leaving(named=told(uid="m"), member_uid=""),
        leaving(named=told(), member_uid=""),
    ],
    ids=["none", "read", "marked", "answers", "taken-for-the-host", "being-deleted", "dead", "dead-and-untold"],
)
def test_a_cluster_that_is_this_members_may_leave(seen):
    assert identity.leaving_refusals(seen) == []


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (leaving(member_uid="h"), "both connections lead to the same cluster"),
        (leaving(others=["m2"]), "the host has this cluster as m2"),
        (leaving(named=told(uid="h")), "m1 is the Cluster of the host itself"),
        (leaving(named=told(label=True)), "m1 is the Cluster of the host itself"),
        (leaving(named=told(mark="m"), host_name="m1"), "m1 is the Cluster of the host itself"),
        (leaving(named=told(uid="x")), "Cluster m1 stands for another cluster (kube-system UID x)"),
        (leaving(named=told(mark="m", uid="x")), "Cluster m1 stands for another cluster (kube-system UID x)"),
        (leaving(named=told(mark="m"), leads_to="x"), "Cluster m1 stands for another cluster (kube-system UID x)"),
        (leaving(named=told()), "nothing proves that Cluster m1 is this member"),
        (leaving(named=told(uid="m"), leads_to="m", member_uid="", answers=True), "the member connection does not"),
        (leaving(named=told(uid="m", mark="x"), member_uid=""), "Cluster m1 tells two kube-system UIDs (m, x)"),
    ],
)
def test_a_cluster_that_may_be_anothers_may_not_leave(seen, reason):
    (found,) = identity.leaving_refusals(seen)
    assert found.startswith(reason)
