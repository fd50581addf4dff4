"""Services: addresses, ports, defaults, endpoints."""

import re

import pytest

from tests.contract.conftest import MERGE

SERVICES = "/api/v1/namespaces/default/services"
ENDPOINTS = "/api/v1/namespaces/default/endpoints"


def service(name, **spec):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"app": name}, **spec}}


def test_a_service_gets_an_address_and_defaults(send, name):
    spec = send("POST", SERVICES, service(name)).body["spec"]
    assert re.fullmatch(r"10\.233\.\d+\.\d+", spec.pop("clusterIP"))
    assert len(spec.pop("clusterIPs")) == 1
    assert spec == {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "selector": {"app": name},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }


@pytest.mark.parametrize("type_", ["NodePort", "LoadBalancer"])
def test_services_for_others_get_node_ports(send, name, type_):
    created = send("POST", SERVICES, service(name, type=type_)).body
    assert 30000 <= created["spec"]["ports"][0]["nodePort"] <= 32767
    assert created["spec"]["externalTrafficPolicy"] == "Cluster"
    assert created["status"] == {"loadBalancer": {}}


def test_a_service_keeps_its_address_and_loses_its_node_ports_with_its_type(send, name):
    created = send("POST", SERVICES, service(name, type="NodePort")).body
    replaced = send("PUT", f"{SERVICES}/{name}", service(name)).body
    assert replaced["spec"]["clusterIP"] == created["spec"]["clusterIP"]
    assert "nodePort" not in replaced["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in replaced["spec"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"type": "Nonsense"},
            'spec.type: Unsupported value: "Nonsense": supported values: "ClusterIP", "ExternalName"',
        ),
        ({"ports": []}, "spec.ports: Required value"),
        ({"ports": [{"port": 80}, {"port": 81}]}, "spec.ports[0].name: Required value"),
        ({"clusterIP": "10.233.0.1"}, 'spec.clusterIPs: Invalid value: []string{"10.233.0.1"}: failed to allocate IP'),
    ],
    ids=["type", "no ports", "ports without names", "address that is taken"],
)
def test_a_service_that_could_not_work_is_422_invalid(send, name, spec, words):
    answer = send("POST", SERVICES, service(name, **spec))
    assert answer.refusal == (422, "Invalid")
    assert words in answer.body["message"]


def test_the_address_of_a_service_stays(send, name):
    send("POST", SERVICES, service(name))
    answer = send("PATCH", f"{SERVICES}/{name}", {"spec": {"clusterIP": "10.233.5.5"}}, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert "may not change once set" in answer.body["message"]


def test_a_service_without_an_address_has_none(send, name):
    spec = send("POST", SERVICES, service(name, clusterIP="None")).body["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


def test_a_load_balancer_is_told_by_the_status_of_a_service(send, name):
    send("POST", SERVICES, service(name, type="LoadBalancer"))
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    path = f"{SERVICES}/{name}"
    assert send("PATCH", path, status, content_type=MERGE).body["status"] == {"loadBalancer": {}}
    assert send("PATCH", f"{path}/status", status, content_type=MERGE).body["status"] == status["status"]


def test_a_service_that_is_deleted_is_told_as_it_was(send, name):
    """Where most kinds answer with a Status."""
    created = send("POST", SERVICES, service(name)).body
    assert send("DELETE", f"{SERVICES}/{name}").body["spec"] == created["spec"]


def test_a_service_gets_endpoints_of_its_name(send, name, eventually):
    send("POST", SERVICES, service(name))
    path = f"{ENDPOINTS}/{name}"
    found = eventually(lambda: send("GET", path), lambda answer: answer.code == 200).body
    assert not found.get("subsets")
    send("DELETE", f"{SERVICES}/{name}")
    eventually(lambda: send("GET", path), lambda answer: answer.code == 404)
