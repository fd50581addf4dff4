"""The credential that the host has for a direct member is renewed without a moment in which it has none."""

import base64
import datetime
import json
import threading
import time

import pytest
import yaml
from kubernetes import client, config

from include.fleet import errors
from include.simulator import certificates
from tests.chaos import cases, steps
from tests.joins import evidence


class Onlooker(threading.Thread):
    """Notes what the host says of a member, again and again, until it is stopped."""

    def __init__(self, host, name):
        super().__init__(daemon=True)
        self.host, self.name, self.seen, self.stopped = host, name, [], threading.Event()

    def run(self):
        while not self.stopped.wait(0.01):
            cluster = self.host.object("clusters", self.name)
            entry = (cluster["spec"]["connection"].get("kubeconfig"), evidence.is_ready(cluster))
            if not self.seen or self.seen[-1] != entry:
                self.seen.append(entry)

    def stop(self):
        self.stopped.set()
        self.join()
        return self.seen


def uid_by(kubeconfig, simulation, name):
    """The kube-system UID that a member tells whoever has the credential in a kubeconfig."""
    document = yaml.safe_load(base64.b64decode(kubeconfig))
    (own,) = simulation.connections[name]["extra"]["kube_config"]["clusters"]
    document["clusters"][0]["cluster"] = own["cluster"]
    with config.new_client_from_config_dict(document) as api:
        return client.CoreV1Api(api).read_namespace("kube-system").metadata.uid


def test_a_renewal_is_one_patch_and_both_credentials_work_all_the_while(make_fleet):
    fleet = make_fleet([{"name": "m1", "kubeconfig_days": 3}])
    member = fleet.simulation.clusters["m1"]
    (action,) = fleet.reconcile()["actions"]
    assert action["conf"]["import_conn_id"] == "m1"
    onlooker = Onlooker(fleet.host, "m1")
    onlooker.start()
    fleet.repair()
    time.sleep(0.5)
    seen = onlooker.stop()
    kubeconfigs = list(dict.fromkeys(kubeconfig for kubeconfig, _ in seen))
    assert len(kubeconfigs) == 2
    assert all(ready for _, ready in seen)
    assert evidence.writes(fleet.host) == ["patch clusters m1"]
    uid = member.object("namespaces", "kube-system")["metadata"]["uid"]
    assert [uid_by(each, fleet.simulation, "m1") for each in kubeconfigs] == [uid, uid]
    assert fleet.reconcile()["counts"] == {"healthy": 1}


def test_a_proxy_member_gets_a_new_one_by_one_restart_of_its_agent(make_fleet):
    """The one that ends is laid down by hand: tower's own last for years."""
    fleet = make_fleet([{"name": "p1", "connection": "proxy"}], host={"webhook": False})
    pair = certificates.Authority("kubesphere").issue_client(
        "kubernetes-admin", groups=["system:masters"], lifetime=datetime.timedelta(days=3)
    )
    connection = fleet.host.object("clusters", "p1")["spec"]["connection"]
    document = yaml.safe_load(base64.b64decode(connection["kubeconfig"]))
    (user,) = document["users"]
    for key, text in (("client-certificate-data", pair.certificate), ("client-key-data", pair.key)):
        user["user"][key] = base64.b64encode(text.encode()).decode()
    ending = base64.b64encode(yaml.safe_dump(document).encode()).decode()
    fleet.host.edit("clusters", "p1", {"spec": {"connection": {"kubeconfig": ending}}})
    (action,) = fleet.reconcile()["actions"]
    assert "Tower makes another when the agent connects anew." in action["reasons"][0]
    fleet.repair()
    agent = evidence.writes(fleet.simulation.clusters["p1"])
    assert agent == ["patch deployments cluster-agent"]
    assert fleet.host.object("clusters", "p1")["spec"]["connection"]["kubeconfig"] != ending
    assert fleet.reconcile()["counts"] == {"healthy": 1}
    steps.play({**action["conf"], **cases.WAITS}, run_id="again")
    assert evidence.writes(fleet.simulation.clusters["p1"]) == agent


def broken(connection):
    (user,) = connection["extra"]["kube_config"]["users"]
    user["user"] = {"token": "nobody-knows-it"}


@pytest.mark.parametrize("what", ["leads-elsewhere", "does-not-work"])
def test_a_new_credential_that_is_no_good_is_refused_and_the_host_keeps_the_one_it_has(make_fleet, monkeypatch, what):
    # The host's webhook, which tries it too, is not what refuses it.
    fleet = make_fleet([{"name": "m1"}, {"name": "m2"}], host={"webhook": False})
    before = fleet.host.object("clusters", "m1")["spec"]
    offered = json.loads(json.dumps(fleet.simulation.connections["m2" if what == "leads-elsewhere" else "m1"]))
    if what == "does-not-work":
        broken(offered)
    monkeypatch.setenv("AIRFLOW_CONN_NEW", json.dumps(offered))
    conf = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "connection": "direct", **cases.WAITS}
    conf |= {"import_conn_id": "new", "member_server": fleet.simulation.clusters["m1"].pod_server}
    wanted = "leads to another cluster" if what == "leads-elsewhere" else "401 Unauthorized"
    with pytest.raises(errors.PreflightError, match=wanted):
        steps.play(conf, run_id="renewal")
    assert fleet.host.object("clusters", "m1")["spec"] == before
    assert "patch clusters m1" not in evidence.writes(fleet.host)
