"""Tower's address by KubeSphere's own rule, the agent's Deployment as KubeSphere makes it, and its complaints."""

from pathlib import Path

import pytest
import yaml

from include.fleet import tower

RECORDED = Path(__file__).parents[1] / "data" / "recordings" / "agent-deployment.yaml"
ADDRESS = "http://139.198.110.23:8080"


def make_service(*ingress):
    """Service tower as the installer makes it; *ingress* is what a LoadBalancer has given it."""
    return {
        "spec": {"ports": [{"port": 8080, "nodePort": 30721}]},
        "status": {"loadBalancer": {"ingress": list(ingress)} if ingress else {}},
    }


@pytest.mark.parametrize(
    ("ingress", "address"),
    [
        pytest.param([], "", id="pending"),
        pytest.param([{"ip": "139.198.110.23"}], ADDRESS, id="ip"),
        pytest.param([{"hostname": "lb.example.com"}], "http://lb.example.com:8080", id="hostname"),
        pytest.param([{"hostname": "lb.example.com", "ip": "139.198.110.23"}], ADDRESS, id="ip-over-hostname"),
        pytest.param([{"ip": "10.0.0.1"}, {"ip": "139.198.110.23"}], ADDRESS, id="the-last-one"),
    ],
)
def test_the_address_of_a_load_balancer_is_made_as_kubesphere_makes_it(ingress, address):
    assert tower.load_balancer_address(make_service(*ingress)) == address


def test_the_port_on_the_nodes_is_the_one_to_forward_to():
    assert tower.node_port(make_service()) == 30721


def make_agent(**changes):
    options = {"token": "<token>", "address": ADDRESS, "image": "kubesphere/tower:v0.2.1", **changes}
    return tower.agent_deployment("v1", **options)


def without_noise(value):
    """Drop what Go prints of empty fields: they mean nothing to the API server."""
    if not isinstance(value, dict):
        return [without_noise(item) for item in value] if isinstance(value, list) else value
    kept = {key: without_noise(item) for key, item in value.items() if key != "creationTimestamp"}
    return {key: item for key, item in kept.items() if item != {}}


def test_the_agents_deployment_is_what_ks_apiserver_hands_out():
    (recorded,) = [item for item in yaml.safe_load_all(RECORDED.read_text()) if item]
    assert without_noise(make_agent()) == without_noise(recorded)


def test_an_agent_as_wanted_has_no_differences():
    assert tower.agent_differences(make_agent(), make_agent()) == []


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        pytest.param({"token": "0ld-t0ken"}, "--token", id="token-of-an-earlier-import"),
        pytest.param({"address": "http://10.0.0.1:1"}, "--proxy-server", id="address"),
        pytest.param({"image": "old"}, "image old -> kubesphere/tower:v0.2.1", id="image"),
    ],
)
def test_what_differs_about_an_agent_is_named_without_its_token(changes, difference):
    differences = tower.agent_differences(make_agent(**changes), make_agent())
    assert differences == [difference]
    assert "t0ken" not in str(differences)


def test_an_agent_scaled_to_nothing_is_scaled_up():
    stopped = make_agent()
    stopped["spec"]["replicas"] = 0
    assert tower.agent_differences(stopped, make_agent()) == ["replicas 0 -> 1"]


@pytest.mark.parametrize(
    "line",
    [
        "Connection error: Unauthorized agent (Attempt: 3)",
        "Connection error: dial tcp 10.0.0.1:8080: connect: connection refused (Attempt: 1)",
        "Connection error: websocket: bad handshake",
        "invalid proxy server url: ",
    ],
)
def test_what_the_agent_complains_of_is_its_last_complaint_in_its_own_words(line):
    log = f"W1123 Token set to t0ken\nW1123 Connection error: EOF\nW1123 {line}\nW1123 Retrying in 1.2s..."
    assert tower.complaint(log) == line.strip()


def test_an_agent_that_says_nothing_has_no_complaint():
    assert tower.complaint("I1123 starting") == ""


def make_proxied(name, port, **changes):
    """A proxy Cluster as tower leaves it; each test changes one thing."""
    connection = {"type": "proxy", "kubernetesAPIServerPort": port, "kubesphereAPIServerPort": port + 10000}
    conditions = [{"type": "Initialized", "status": "True"}, {"type": "Other", "status": "True"}]
    return {
        "metadata": {"name": name, "resourceVersion": "7", **changes.pop("metadata", {})},
        "spec": {"connection": {**connection, **changes}},
        "status": {"conditions": conditions},
    }


@pytest.mark.parametrize(
    ("clusters", "shared"),
    [
        pytest.param([make_proxied("a", 6100), make_proxied("b", 6101)], [], id="none"),
        pytest.param([make_proxied("b", 6100), make_proxied("a", 6100)], [("a", "b", 6100)], id="both"),
        pytest.param(
            [make_proxied("a", 6100), make_proxied("b", 6200, kubesphereAPIServerPort=16100)],
            [("a", "b", 16100)],
            id="one-of-the-two",
        ),
        pytest.param(
            [make_proxied(name, 6100) for name in "abc"],
            [("a", "b", 6100), ("a", "c", 6100), ("b", "c", 6100)],
            id="three",
        ),
        pytest.param([make_proxied("a", 6100), make_proxied("b", 6100, type="direct")], [], id="direct"),
        pytest.param(
            [make_proxied("a", 6100), make_proxied("b", 6100, metadata={"deletionTimestamp": "x"})], [], id="going"
        ),
        pytest.param(
            [{"metadata": {"name": name}, "spec": {"connection": {"type": "proxy"}}} for name in "ab"],
            [],
            id="not-drawn",
        ),
    ],
)
def test_members_that_share_a_port_are_found(clusters, shared):
    assert tower.shared_ports(clusters) == shared


def test_ports_are_drawn_anew_once_they_and_their_condition_are_taken_away():
    assert tower.redraw_patch(make_proxied("a", 6100)) == {
        "metadata": {"resourceVersion": "7"},
        "spec": {"connection": {"kubernetesAPIServerPort": None, "kubesphereAPIServerPort": None}},
        "status": {"conditions": [{"type": "Other", "status": "True"}]},
    }
