"""When a Cluster counts as Ready, what is only not yet, and what no waiting will mend."""

import datetime

import pytest

from include.fleet import errors, kubesphere, membership

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)


def make_condition(kind, status="True", reason="", age=10):
    updated = (NOW - datetime.timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": kind, "status": status, "reason": reason, "message": "", "lastUpdateTime": updated}


def make_cluster(*, conditions=None, labels=None, kind="direct", **status):
    """A joined member as the host has it; each test changes one thing."""
    return {
        "metadata": {"name": "m1", "labels": labels or {}, "finalizers": ["finalizer.cluster.kubesphere.io"]},
        "spec": {"connection": {"type": kind}},
        "status": {
            "uid": "uid-m1",
            "kubernetesVersion": "v1.23.17",
            "conditions": [make_condition("Federated"), make_condition("Ready")] if conditions is None else conditions,
            **status,
        },
    }


def readiness(cluster, release="3.4"):
    return membership.readiness(cluster, uid="uid-m1", now=NOW, resync=120, release=kubesphere.RELEASES[release])


def test_a_joined_member_is_ready():
    assert readiness(make_cluster()) == ""


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        pytest.param(make_cluster(conditions=[]), "no condition Federated yet", id="no-condition"),
        pytest.param(
            make_cluster(conditions=[make_condition("Federated", "False", "dial tcp: i/o timeout")]),
            "Federated is False: dial tcp: i/o timeout",
            id="first-failure-is-not-yet-a-failure",
        ),
        pytest.param(
            make_cluster(conditions=[make_condition("Federated"), make_condition("Ready", "False", "x")]),
            "Ready is False: x",
            id="not-ready",
        ),
        pytest.param(
            make_cluster(conditions=[make_condition("Federated"), make_condition("Ready", age=301)]),
            "has not been refreshed since 2026-11-23 11:54:59Z",
            id="stale",
        ),
        pytest.param(make_cluster(uid=""), "has not read the member's version and identity", id="no-identity"),
        pytest.param(make_cluster(kubernetesVersion=""), "has not read the member's version", id="no-version"),
    ],
)
def test_what_is_only_not_yet_is_told(cluster, says):
    assert says in readiness(cluster)


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        pytest.param(make_cluster(uid="uid-x"), "reaches another cluster under the name m1", id="another-cluster"),
        pytest.param(make_cluster(labels={kubesphere.HOST_LABEL: ""}), "takes Cluster m1 for itself", id="host-label"),
        pytest.param(
            make_cluster(conditions=[make_condition("Federated", "False", "The workspace w is found in ...")]),
            "waiting changes nothing: The workspace w is found",
            id="workspace",
        ),
    ],
)
def test_what_no_waiting_mends_is_an_error(cluster, says):
    with pytest.raises(errors.NotReadyError, match=says):
        readiness(cluster)


def test_a_member_of_kubesphere_3_0_needs_neither_uid_nor_fresh_conditions():
    """3.0 writes no UID, and renews no condition that stays the same."""
    old = [make_condition("Federated", age=9999), make_condition("Ready", age=9999)]
    assert readiness(make_cluster(conditions=old, uid=""), "3.0") == ""


def test_a_proxy_member_needs_its_agent_as_well():
    connected = [make_condition("Initialized"), make_condition("AgentAvailable")]
    joined = [make_condition("Federated"), make_condition("Ready")]
    assert readiness(make_cluster(kind="proxy", conditions=[*connected, *joined])) == ""
    assert "AgentAvailable yet" in readiness(make_cluster(kind="proxy", conditions=[connected[0], *joined]))


def test_an_agent_that_is_available_by_a_word_that_nobody_renews_is_not_enough():
    """Tower died: AgentAvailable stays True, while the host's controller cannot get through any more."""
    conditions = [
        make_condition("Initialized"),
        make_condition("AgentAvailable", age=9999),
        make_condition("Federated", "False", "dial tcp 10.233.0.9:6443: connect: connection refused"),
        make_condition("Ready", "False"),
    ]
    assert "Federated is False" in readiness(make_cluster(kind="proxy", conditions=conditions))
