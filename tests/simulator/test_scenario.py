"""Scenarios that are refused, and what is read from those that are not."""

import pytest

from include.simulator import loading, scenario
from include.simulator.access import Rule

AGENT = {"name": "a", "token": "old", "server": "http://1.2.3.4:8080"}
BEHIND_TOWER = {"name": "a", "joined": "a", "connection": "proxy"}
REFUSED = [
    ({"hosts": {}}, "scenario.hosts: unknown"),
    ({"kubesphere": "v3.1.1"}, "kubesphere: expected v3.4.1 or v3.0.0"),
    ({"timing": {"run": -1}}, "timing.run: expected seconds"),
    ({"timing": {"resync": 0}}, "timing.resync: expected seconds"),
    ({"host": {"role": "member"}}, "host.role: expected none or host"),
    ({"host": {"jwt_in_spec": ""}}, "host.jwt_in_spec: expected letters and digits"),
    ({"host": {"forbid": [{"verb": "fly", "resource": "pods"}]}}, "host.forbid[0].verb: expected one of"),
    ({"host": {"forbid": [{"verb": "get", "resource": "wheels"}]}}, "host.forbid[0].resource: not a resource"),
    ({"host": {"installer": {"fail": "loudly"}}}, "host.installer.fail: expected silent or component or crash"),
    ({"host": {"installer": {"fail": "crash", "runs": 0}}}, "host.installer.runs: expected a number of runs"),
    ({"members": [{}]}, "members[0].name: required"),
    ({"members": [{"name": "M_1"}]}, "members[0].name: expected a cluster name"),
    ({"members": [{"name": "host"}]}, "members[0].name: 'host' is another cluster's name already"),
    ({"members": [{"name": "a"}, {"name": "a"}]}, "members[1].name: 'a' is another cluster's name already"),
    ({"members": [{"name": "a", "joined": "a"}]}, "members[0].joined: nothing can be joined while host.role is none"),
    ({"host": {"role": "host"}, "members": [{"name": "a", "joined": "host"}]}, "is the name of the host's own Cluster"),
    (
        {"host": {"role": "host"}, "members": [{"name": "a", "joined": "x"}, {"name": "b", "joined": "x"}]},
        "members[1].joined: another member is joined as 'x'",
    ),
    ({"members": [{"name": "a", "role": "member", "secret": "host", "spec_ahead": True}]}, "so nothing is ahead"),
    ({"members": [{"name": "a", "other_host": "x"}]}, "a member of another host has role member"),
    (
        {"kubesphere": "v3.0.0", "members": [{"name": "a", "role": "member", "other_host": "x"}]},
        "members[0].other_host: KubeSphere v3.0.0 writes no clusterName anywhere",
    ),
    (
        {"members": [{"name": "a", "role": "member", "secret": "host", "other_host": "x"}]},
        "the secret of another host is not this host's",
    ),
    (
        {"members": [{"name": "a", "installed": False, "role": "member"}]},
        "members[0].role: cannot be set where KubeSphere is not installed",
    ),
    ({"host": {"load_balancer": 8080}}, "host.load_balancer: expected an address, or a mapping"),
    ({"host": {"load_balancer": "10.0.0.1:8080"}}, "host.load_balancer: expected an address without a port"),
    ({"host": {"load_balancer": {"address": "x", "after": -1}}}, "host.load_balancer: expected seconds in after"),
    ({"host": {"published": ["10.0.0.1"]}}, "host.published: expected a list of host:port"),
    ({"host": {"tower_ports": [5999]}}, "host.tower_ports: expected a list of ports from 6000 to 7000, got [5999]"),
    ({"host": {"tower_ports": 6000}}, "host.tower_ports: expected a list of ports from 6000 to 7000, got 6000"),
    ({"host": {"proxy_address": "1.2.3.4:80", "role": "host"}}, "host.proxy_address: expected http[s]://host:port"),
    ({"host": {"proxy_address": "http://1.2.3.4:80"}}, "host.proxy_address: is that of a host in force"),
    ({"members": [{"name": "a", "connection": "ssh"}]}, "members[0].connection: expected direct or proxy"),
    ({"members": [{"name": "a", "connection": "proxy"}]}, "members[0].connection: says how a member is joined"),
    ({"members": [{"name": "a", "agent": {"name": "a"}}]}, "members[0].agent: expected a mapping with name, token"),
    ({"members": [{"name": "a", "agent": AGENT, "installed": False}]}, "members[0].agent: cannot be set where"),
    (
        {"host": {"role": "host"}, "members": [{**BEHIND_TOWER, "reaches_tower": False}]},
        "members[0].connection: its agent is connected at the start, and it does not reach tower",
    ),
    (
        {"host": {"role": "host"}, "members": [{**BEHIND_TOWER, "agent": AGENT}]},
        "members[0].agent: a member that is joined by proxy has that Cluster's agent",
    ),
    (
        {"host": {"role": "host", "proxy_address": "http://1.2.3.4:80"}, "members": [BEHIND_TOWER]},
        "members[0].connection: nothing leads from host.proxy_address to tower at the start",
    ),
    ({"host": {"kubernetes": {"speed": 1}}}, "host.kubernetes: expected a mapping with certificate"),
    ({"host": {"kubernetes": {"clock": "late"}}}, "host.kubernetes: clock: expected seconds"),
    ({"host": {"kubernetes": {"certificate": {"days": 0}}}}, "host.kubernetes: certificate: days: expected days"),
    ({"host": {"kubernetes": {"certificate": {"issuer": "me"}}}}, "issuer: expected own or reinstalled or"),
    (
        {"members": [{"name": "a", "kubernetes": {"certificate": {"shown_to": "everybody"}}}]},
        "members[0].kubernetes: certificate: is that of any cluster; say what differs",
    ),
    (
        {"members": [{"name": "a", "kubeconfig_days": 3}]},
        "members[0].kubeconfig_days: nothing was imported of a member that is not joined",
    ),
    (
        {"host": {"role": "host"}, "members": [{**BEHIND_TOWER, "kubeconfig_days": 3}]},
        "members[0].kubeconfig_days: tower makes the kubeconfig of a member that is joined by proxy",
    ),
    ({"connections": {"x": {}}}, "connections.x.cluster: there is no cluster ''"),
    ({"connections": {"host": {"cluster": "host"}}}, "connections.host.cluster: that connection id is taken"),
    ({"connections": {"x": {"cluster": "host", "identity": "me"}}}, "connections.x.identity: expected certificate or"),
    ({"connections": {"x": {"cluster": "host", "authority": "me"}}}, "connections.x.authority: expected own or"),
    (
        {"connections": {"x": {"cluster": "host", "days": 3}}},
        "x.days: nothing ends in a kubeconfig with identity",
    ),
    (
        {
            "connections": {
                "x": {"cluster": "host", "identity": "empty", "forbid": [{"verb": "get", "resource": "pods"}]}
            }
        },
        "connections.x.forbid: nobody is known by identity empty",
    ),
    ({"members": [{"name": "a", "left": {"accounts": "x"}}]}, "members[0].left.accounts: expected a list of names"),
    (
        {"host": {"role": "host"}, "members": [{"name": "a", "joined": "a", "left": {"accounts": ["a"]}}]},
        "members[0].left.accounts: it is joined as 'a'",
    ),
    (
        {"host": {"role": "host"}, "members": [{"name": "a", "joined": "a", "left": {"namespace_terminating": True}}]},
        "left.namespace_terminating: a joined member's service account is in that namespace",
    ),
    (
        {"members": [{"name": "a", "installed": False, "left": {"workspaces": ["x"]}}]},
        "members[0].left.workspaces and cluster_name: are KubeSphere's, which is not installed",
    ),
    (
        {"members": [{"name": "a", "role": "member", "other_host": "x", "left": {"cluster_name": "x"}}]},
        "left.cluster_name: the ConfigMap holds one host's name for the cluster",
    ),
    (
        {"kubesphere": "v3.0.0", "members": [{"name": "a", "left": {"cluster_name": "x"}}]},
        "members[0].left.cluster_name: KubeSphere v3.0.0 writes no clusterName anywhere",
    ),
    ({"host": {"workspaces": {"x": []}}}, "host.workspaces: are federated, and host.role is none"),
    ({"host": {"kubernetes": {"version": "1.22"}}}, "host.kubernetes: version: expected a version like v1.22.12"),
    ({"host": {"kubernetes": {"machine_id": "x"}}}, "host.kubernetes: machine_id: expected 32 hexadecimal digits"),
    ({"host": {"kubernetes": {"default_storage_class": "x"}}}, "default_storage_class: expected true or false"),
    ({"host": {"kubernetes": {"unpullable": "tower"}}}, "unpullable: expected a list of images"),
    ({"host": {"workloads": {"tower": "stopped"}}}, "host.workloads.tower: is not there at the start anyway"),
    ({"host": {"workloads": {"tower": "slow"}}}, "host.workloads.tower: expected stopped or missing or crashing"),
    ({"host": {"workloads": {"etcd": "stopped"}}}, "host.workloads.etcd: expected one of ks-apiserver"),
    (
        {"host": {"role": "host", "workloads": {"tower": "missing"}}, "members": [BEHIND_TOWER]},
        "members[0].connection: without tower's Service and host.proxy_address its agent has no address",
    ),
    ({"members": [{"name": "a", "kubesphere": "v3.2.1"}]}, "members[0].kubesphere: expected v3.4.1 or v3.0.0"),
    ({"members": [{"name": "a", "access_token_max_age": "2h"}]}, "access_token_max_age: without a 0 there"),
    (
        {"members": [{"name": "a", "role": "member", "access_token_max_age": "0"}]},
        "members[0].access_token_max_age: expected a duration like 2h",
    ),
    (
        {"host": {"role": "host"}, "members": [{"name": "a", "role": "host", "joined": "a"}]},
        "members[0].role: a host with tower and kubefed of its own is nobody's member",
    ),
    ({"host": {"kubernetes": {"firewall": "x"}}}, "host.kubernetes: firewall: expected true or false"),
    ({"host": {"elsewhere": {"1.2.3.4": "website"}}}, "host.elsewhere: expected a list of host:port"),
    ({"host": {"elsewhere": {"1.2.3.4:80": "cat"}}}, "host.elsewhere: expected website or gateway or firewall"),
    (
        {"host": {"elsewhere": {"1.2.3.4:80": "website"}, "published": ["1.2.3.4:80"]}},
        "host.elsewhere: what answers at an address of host.published is tower",
    ),
    ({"host": {"clusters": {"x": {}}}}, "host.clusters: were made by hand on a host, and host.role is none"),
    (
        {"host": {"role": "host", "clusters": {"a": {}}}, "members": [{"name": "m", "joined": "a"}]},
        "host.clusters.a: there is a Cluster of that name",
    ),
    ({"host": {"role": "host", "clusters": {"a": {"of": "b"}}}}, "host.clusters.a.of: there is no cluster 'b'"),
    ({"aliases": {"other": "nobody"}}, "aliases.other: there is no cluster 'nobody'"),
    ({"members": [{"name": "a"}], "aliases": {"a": "host"}}, "aliases.a: is a cluster's own connection id"),
]


@pytest.mark.parametrize(("source", "problem"), REFUSED, ids=[problem for _, problem in REFUSED])
def test_an_impossible_scenario_is_refused_with_the_path(source, problem):
    with pytest.raises(scenario.ScenarioError) as raised:
        loading.load(source)
    assert any(problem in text for text in raised.value.problems)


def test_all_problems_are_reported_at_once():
    with pytest.raises(scenario.ScenarioError) as raised:
        loading.load({"speed": 1, "host": {"role": "x"}, "members": [{"name": "a", "other_host": "x"}]})
    assert len(raised.value.problems) == 3


def test_an_empty_scenario_is_one_host_without_a_role():
    loaded = loading.load({})
    assert (loaded.host.name, loaded.host.role, loaded.members) == ("host", "none", ())


def test_a_scenario_is_read_from_a_file(tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text(
        "members: [{name: m1, secret: host, forbid: [{verb: get, resource: pods/proxy}]}]\ntiming: {run: 3}\n"
    )
    loaded = loading.load(path)
    assert loaded.members[0].secret is scenario.Origin.HOST
    assert loaded.members[0].forbid == (Rule(verb="get", resource="pods/proxy"),)
    assert loaded.timing == scenario.Timing(run=3)
