"""The conf of a join: what is accepted, and how every problem is told at once."""

import pytest

from include.fleet import conf


def make_conf(**changes):
    """A conf as a person would trigger a run with; each test changes one thing."""
    return {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", **changes}


def test_a_conf_with_the_required_keys_has_no_problems():
    assert conf.problems(make_conf()) == []


def test_the_members_credential_is_imported_unless_another_is_named():
    assert conf.parse(make_conf()).imported_conn_id == "m1"
    assert conf.parse(make_conf(import_conn_id="m1-admin")).imported_conn_id == "m1-admin"


def test_the_connection_is_direct_unless_said_otherwise():
    assert conf.parse(make_conf()).connection is conf.Connection.DIRECT


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        pytest.param({"cluster": "M1"}, "cluster", "lower-case", id="upper-case"),
        pytest.param({"cluster": "a" * 61}, "cluster", "60 characters", id="too-long-for-the-service-mc-name"),
        pytest.param({"cluster": "m.1"}, "cluster", "lower-case", id="dot"),
        pytest.param({"cluster": "-m"}, "cluster", "lower-case", id="leading-dash"),
        pytest.param({"cluster": "m1\n"}, "cluster", "lower-case", id="line-break-at-the-end"),
        pytest.param({"host_conn_id": "host\n"}, "host_conn_id", "", id="line-break-at-the-end-of-a-connection"),
        pytest.param(
            {"member_server": "https://10.0.0.1\n"}, "member_server", "https", id="line-break-at-the-end-of-a-url"
        ),
        pytest.param({"cluster": "host"}, "cluster", "not 'host'", id="the-hosts-own-name"),
        pytest.param({"connection": "vpn"}, "connection", "direct, proxy or auto", id="unknown-connection-type"),
        pytest.param(
            {"connection": "proxy", "member_server": "https://10.0.0.1"},
            "member_server",
            "leave it out",
            id="direct-only",
        ),
        pytest.param(
            {"proxy_publish_address": "http://10.0.0.1:8080"}, "proxy_publish_address", "leave it out", id="proxy-only"
        ),
        pytest.param(
            {"connection": "proxy", "proxy_publish_address": "10.0.0.1:8080"},
            "proxy_publish_address",
            "http[s]://HOST:PORT",
            id="address-without-scheme",
        ),
        pytest.param(
            {"connection": "proxy", "proxy_publish_address": "http://10.0.0.1"},
            "proxy_publish_address",
            "http[s]://HOST:PORT",
            id="address-without-port-which-an-agent-takes-for-80",
        ),
        pytest.param({"member_server": "http://10.0.0.1"}, "member_server", "https://", id="server-without-tls"),
        pytest.param(
            {"member_server": "https://10.0.0.1/k8s"}, "member_server", "without a path", id="server-with-path"
        ),
        pytest.param({"member_server": "https://u@10.0.0.1"}, "member_server", "https://", id="server-with-user"),
        pytest.param({"kubesphere_api_endpoint": "10.0.0.1:80"}, "kubesphere_api_endpoint", "http", id="endpoint"),
        pytest.param({"ready_timeout": 0}, "ready_timeout", "seconds", id="no-time"),
        pytest.param({"ready_timeout": "soon"}, "ready_timeout", "seconds", id="time-as-text"),
        pytest.param({"group": "a b"}, "group", "label", id="group-is-a-label-value"),
        pytest.param({"labels": ["a"]}, "labels", "label keys with label values", id="labels-are-an-object"),
        pytest.param({"labels": {"a b": "c"}}, "labels", "'a b'", id="label-key"),
        pytest.param({"labels": {f"{'a' * 64}": "c"}}, "labels", "label keys", id="label-name-too-long"),
        pytest.param({"labels": {f"{'a' * 254}/b": "c"}}, "labels", "label keys", id="label-domain-too-long"),
        pytest.param({"labels": {"A.example/b": "c"}}, "labels", "A.example/b", id="label-domain"),
        pytest.param({"labels": {"a": "b c"}}, "labels", "'b c'", id="label-value"),
        pytest.param({"labels": {"a": 1}}, "labels", "got 1", id="label-value-is-a-text"),
        pytest.param(
            {"labels": {"cluster-role.kubesphere.io/host": ""}}, "labels", "none of kubesphere.io", id="host-label"
        ),
        pytest.param(
            {"labels": {"cluster.kubesphere.io/group": "a"}}, "labels", "none of kubesphere.io", id="group-label"
        ),
        pytest.param({"labels": {"kubesphere.io/managed": "true"}}, "labels", "kubesphere.io", id="managed-label"),
        pytest.param({"labels": {"kubefed.io/managed": "true"}}, "labels", "kubefed.io", id="kubefeds-label"),
        pytest.param({"member_conn_id": "host"}, "member_conn_id", "own member", id="host-joins-itself"),
        pytest.param({"membre": 1}, "membre", "unknown key", id="unknown-key"),
    ],
)
def test_a_problem_names_its_key_and_what_was_expected(changes, key, says):
    (problem,) = conf.problems(make_conf(**changes))
    assert problem.startswith(f"{key}: ")
    assert says in problem


def test_labels_are_what_kubernetes_takes():
    labels = {
        "site": "berlin",
        "empty": "",
        "app.kubernetes.io/part-of": "a.b_C",
        f"{'a' * 253}/{'b' * 63}": "c" * 63,
        "notkubesphere.io/x": "y",
    }
    assert conf.problems(make_conf(labels=labels)) == []
    assert conf.parse(make_conf(labels=labels)).labels == labels
    assert conf.parse(make_conf()).labels == {}


def test_all_problems_are_told_at_once():
    found = conf.problems({"cluster": "M1", "connection": "vpn", "member_conn_id": "m1", "colour": "blue"})
    assert [problem.split(":")[0] for problem in found] == ["cluster", "colour", "connection", "host_conn_id"]


def test_every_missing_key_is_told():
    found = conf.problems({})
    assert [problem.split(":")[0] for problem in found] == ["cluster", "host_conn_id", "member_conn_id"]


HANDED_OVER = {"cluster": "m1", "host_conn_id": "host", "connection": "proxy", "member_access": "handoff"}


def test_a_member_that_airflow_does_not_reach_needs_no_connection():
    assert conf.problems(HANDED_OVER) == []
    assert conf.parse(HANDED_OVER).is_handed_over
    assert not conf.parse(make_conf()).is_handed_over


@pytest.mark.parametrize(
    ("changes", "key", "says"),
    [
        pytest.param({"connection": "direct"}, "connection", "by proxy only", id="direct"),
        pytest.param({"connection": "auto"}, "connection", "by proxy only", id="auto"),
        pytest.param({"member_conn_id": "m1"}, "member_conn_id", "leave it out", id="connection-of-the-member"),
        pytest.param({"probe": True}, "probe", "leave it out", id="job-on-the-member"),
        pytest.param({"on_failure": "rollback"}, "on_failure", "set it to keep", id="rollback-of-the-member"),
        pytest.param({"handoff_timeout": 604801}, "handoff_timeout", "1 to 604800", id="more-than-a-week"),
        pytest.param({"member_access": "worker"}, "member_access", "airflow or handoff", id="unknown"),
    ],
)
def test_what_needs_the_member_does_not_go_with_a_handoff(changes, key, says):
    found = conf.problems({**HANDED_OVER, **changes})
    assert [says in problem for problem in found if problem.startswith(f"{key}: ")] == [True]


def test_all_that_does_not_go_with_a_handoff_is_told_at_once():
    found = conf.problems(
        {"cluster": "m1", "host_conn_id": "host", "member_access": "handoff", "member_conn_id": "m1", "probe": True}
    )
    assert [problem.split(":")[0] for problem in found] == ["connection", "member_conn_id", "probe"]


def test_time_for_a_person_is_of_no_use_where_airflow_reaches_the_member():
    (problem,) = conf.problems(make_conf(handoff_timeout=60))
    assert problem.startswith("handoff_timeout: ")


def test_a_kubeconfig_pasted_into_the_wrong_field_is_not_repeated():
    secret = "apiVersion: v1\nusers: [{name: a, user: {token: s3cr3t-t0ken}}]" + " " * 100
    (problem,) = conf.problems(make_conf(member_server=secret))
    assert "s3cr3t" not in problem


def test_every_key_has_a_title_a_description_and_an_expectation():
    for key, fields in conf.SCHEMA.items():
        assert {"type", "title", "description", "x-expected"} <= set(fields), key


def test_required_keys_stand_outside_of_sections():
    """The trigger form keeps sections closed, and a closed one would hide what is missing."""
    assert conf.REQUIRED == ("cluster", "host_conn_id")
    assert not [key for key in (*conf.REQUIRED, "member_conn_id") if "section" in conf.SCHEMA[key]]


AUTO = make_conf(connection="auto", member_server="https://10.0.0.9:6443", proxy_publish_address="http://h:1")


@pytest.mark.parametrize(
    ("reports", "connection", "left_out"),
    [
        ({}, "auto", ""),
        ({"preflight": {"connection": "auto"}}, "auto", ""),
        ({"preflight": {"connection": "direct"}, "choose_connection": None}, "direct", "proxy_publish_address"),
        ({"preflight": {"connection": "auto"}, "choose_connection": {"connection": "proxy"}}, "proxy", "member_server"),
    ],
    ids=["nothing", "undecided", "by preflight", "by choose_connection"],
)
def test_a_connection_type_that_was_found_out_takes_the_place_of_auto(reports, connection, left_out):
    found = conf.decided(AUTO, reports)
    assert found["connection"] == connection
    assert set(AUTO) - set(found) == ({left_out} if left_out else set())
    assert conf.problems(found) == []


def test_a_connection_type_that_the_conf_says_is_not_found_out():
    given = make_conf(connection="direct")
    assert conf.decided(given, {"choose_connection": {"connection": "proxy"}}) == given
