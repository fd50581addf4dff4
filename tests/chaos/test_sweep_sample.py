"""A fixed sample of the sweep; `make chaos` plays all of it."""

import functools

import pytest

from tests.chaos import cases

CONFIGURE = "patch", "clusterconfigurations ks-installer"
IMPORT = "create", "clusters m1"


@functools.cache
def expected(way):
    """What an undisturbed join writes."""
    return cases.undisturbed(way, times=1)[1]


@pytest.mark.parametrize(
    ("way", "request_", "moment"),
    [
        pytest.param("direct", cases.Request("m1", *CONFIGURE), "before the answer", id="member-configured"),
        pytest.param("direct", cases.Request("host", *IMPORT), "after the answer", id="imported"),
        pytest.param("proxy", cases.Request("host", *CONFIGURE), "after the answer", id="host-configured"),
        pytest.param(
            "proxy",
            cases.Request("m1", "create", "deployments cluster-agent"),
            "before the answer",
            id="agent-deployed",
        ),
    ],
)
def test_a_join_that_is_killed_by_a_write_is_joined_by_the_next_run(airflow_home, way, request_, moment):
    outcome = cases.killed(way, request_, moment, expected=expected(way))
    assert outcome.met
    assert outcome.problem == ""


@pytest.mark.parametrize(
    ("way", "request_", "fault"),
    [
        pytest.param("direct", cases.Request("host", "get", "namespaces kube-system"), "500", id="500"),
        pytest.param("direct", cases.Request("m1", *CONFIGURE), "reset after commit", id="reset-after-commit"),
        pytest.param("direct", cases.Request("host", *IMPORT), "stall after commit", id="stall-after-commit"),
        pytest.param("direct", cases.Request("m1", "create", "secrets before-join"), "429", id="429"),
        pytest.param("direct", cases.Request("m1", "get", "pods/proxy ks-installer-…:9115"), "503", id="503-behind"),
        pytest.param("proxy", cases.Request("host", "watch", "configmaps kubesphere-config"), "410", id="410"),
        pytest.param(
            "proxy", cases.Request("host", "watch", "clusterconfigurations ks-installer"), "cut", id="watch-cut"
        ),
        pytest.param("proxy", cases.Request("m1", "follow", "pods/log ks-installer-…"), "cut", id="log-cut"),
        pytest.param("proxy", cases.Request("host", "list", "clusters host"), "stall", id="stall"),
        pytest.param("proxy", cases.Request("m1", "get", "serviceaccounts kubesphere"), "reset", id="reset"),
    ],
)
def test_a_request_that_fails_once_leaves_the_join_to_end_as_it_must(airflow_home, way, request_, fault):
    outcome = cases.api_fails(way, request_, fault, expected=expected(way))
    assert outcome.met
    assert outcome.problem == ""


@pytest.mark.parametrize("way", cases.WAYS)
def test_the_sweep_has_a_case_for_every_write_of_a_join(airflow_home, way):
    requests, written = cases.undisturbed(way, times=1)
    swept = [f"{request.verb} {request.what}" for request in requests if request.writes]
    turns = [line for line in swept if "leases" in line]
    assert {line.split()[0] for line in turns} == {"create", "patch", "delete"}
    assert sorted(line for line in swept if line not in turns) == written
