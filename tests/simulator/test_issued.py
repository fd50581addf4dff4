"""Kubeconfigs that people have got: what the cluster answers to them, and what a host makes of them."""

import json

import kubernetes
import pytest
import yaml


@pytest.fixture
def issue(simulate, tmp_path):
    """Start a host and a member with a connection `x` to it; returns host, member, and the connection's kubeconfig."""

    def start(**issued):
        simulation = simulate(
            host={"role": "host"}, members=[{"name": "m1"}], connections={"x": {"cluster": "m1", **issued}}
        )
        host, member = simulation.clusters.values()
        written = json.loads((tmp_path / "connections.json").read_text())["x"]["extra"]["kube_config"]
        assert yaml.safe_load((tmp_path / "x.kubeconfig").read_text()) == written
        return host, member, written

    return start


def ask(kubeconfig):
    with kubernetes.config.new_client_from_config_dict(kubeconfig) as client:
        try:
            kubernetes.client.CoreV1Api(client).list_namespace()
        except kubernetes.client.ApiException as error:
            return error.status, json.loads(error.body)["message"]
    return 200, ""


ANONYMOUS = 'User "system:anonymous" cannot list resource "namespaces"'


@pytest.mark.parametrize(
    ("issued", "code", "message"),
    [
        ({}, 200, ""),
        ({"identity": "certificate"}, 200, ""),
        ({"identity": "account"}, 200, ""),
        ({"identity": "certificate", "days": -1}, 401, "Unauthorized"),
        ({"identity": "account", "days": -1}, 401, "Unauthorized"),
        ({"identity": "invalid"}, 401, "Unauthorized"),
        ({"identity": "empty"}, 403, ANONYMOUS),
        ({"identity": "exec"}, 403, ANONYMOUS),
        ({"forbid": [{"verb": "list", "resource": "namespaces"}]}, 403, 'User "x" cannot list resource "namespaces"'),
        (
            {"identity": "account", "forbid": [{"verb": "list", "resource": "namespaces"}]},
            403,
            'User "system:serviceaccount:kube-system:x" cannot list resource "namespaces"',
        ),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, dict) else "",
)
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_a_cluster_answers_according_to_the_identity(issue, issued, code, message):
    _, member, kubeconfig = issue(**issued)
    kubeconfig["users"][0]["user"].pop("exec", None)
    answered, said = ask(kubeconfig)
    assert answered == code
    assert message in said
    user = kubeconfig["users"][0]["user"]
    kept = {user[key] for key in ("token", "client-key-data") if user.get(key)}
    assert kept <= set(member.secrets())


@pytest.mark.parametrize(
    ("issued", "error"),
    [
        ({"authority": "reinstalled"}, 'candidate authority certificate "m1-ca")'),
        ({"authority": "foreign"}, "x509: certificate signed by unknown authority"),
        ({"identity": "certificate", "days": -1}, "Unauthorized"),
        ({"identity": "invalid"}, "Unauthorized"),
        ({"identity": "empty"}, 'User "system:anonymous" cannot get resource "serviceaccounts"'),
        ({"identity": "exec"}, "getting credentials: exec: executable aws not found"),
        (
            {"server": "https://lb.kubesphere.local:6443"},
            "lookup lb.kubesphere.local on 169.254.25.10:53: no such host",
        ),
        ({"forbid": [{"verb": "create", "resource": "clusterroles"}]}, 'cannot create resource "clusterroles"'),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_host_that_gets_it_says_what_is_wrong_with_it(issue, create, reason, issued, error):
    host, _, kubeconfig = issue(**{"server": "pods", **issued})
    create(host, "m1", kubeconfig)
    assert error in reason(host, "m1")


@pytest.mark.parametrize("identity", ["auth-provider", "token-file", "files"])
def test_a_kubeconfig_from_which_no_client_can_be_made_gets_no_condition(issue, create, wait_for, conditions, identity):
    host, _, kubeconfig = issue(server="pods", identity=identity)
    create(host, "m1", kubeconfig)
    wait_for(lambda: host.object("clusters", "m1")["metadata"].get("finalizers"))
    assert conditions(host.object("clusters", "m1")) == {}


@pytest.mark.parametrize("authority", ["own", "insecure"])
def test_a_good_one_is_taken(issue, create, wait_for, conditions, authority):
    host, _, kubeconfig = issue(server="pods", identity="account", authority=authority)
    create(host, "m1", kubeconfig)
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")


def test_without_services_proxy_a_member_is_ready_and_its_configz_is_missing(issue, create, wait_for, conditions):
    host, _, kubeconfig = issue(server="pods", forbid=[{"verb": "get", "resource": "services/proxy"}])
    create(host, "m1", kubeconfig)
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")
    assert "configz" not in host.object("clusters", "m1")["status"]


def test_a_joined_members_kubeconfig_that_ends_soon_has_its_condition_at_the_start(simulate, conditions):
    host = simulate(
        host={"role": "host"}, members=[{"name": "m1", "role": "member", "joined": "m1", "kubeconfig_days": 3}]
    ).clusters["host"]
    found = conditions(host.object("clusters", "m1"))
    assert found == {"Federated": "True", "Ready": "True", "KubeConfigCertExpiresInSevenDays": "True"}


def test_a_joined_member_whose_kubeconfig_has_ended_is_lost_at_the_next_resync(simulate, reason):
    host = simulate(
        timing={"resync": 0.3},
        host={"role": "host"},
        members=[{"name": "m1", "role": "member", "joined": "m1", "kubeconfig_days": -3}],
    ).clusters["host"]
    assert reason(host, "m1") == "Unauthorized"
