"""Preflight's checks, one by one: everything is in order, and then one thing is not."""

import base64
import dataclasses
import datetime

import pytest
import yaml

from include.fleet import (
    checks,
    checks_credentials,
    errors,
    findings,
    installer_log,
    kubeconfig,
    kubesphere,
    observed,
    rights,
)
from include.fleet import conf as confs
from tests.fleet import preflight_page

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
SERVER = "https://10.20.1.1:6443"
OK, WARNING, ERROR, INCOMPLETE = (
    findings.Answer.OK,
    findings.Answer.WARNING,
    findings.Answer.ERROR,
    findings.Answer.INCOMPLETE,
)
UNREAD = observed.Unread("It could not be read.")
REFUSED = observed.Unread("401 Unauthorized", errors.CredentialError("401 Unauthorized"))
TOKEN = "t" * 64


def days(number):
    return NOW + datetime.timedelta(days=number)


def make_conf(**changes):
    raw = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "connection": "direct", **changes}
    assert confs.problems(raw) == []
    return confs.parse(raw)


def named(name, **content):
    metadata = {"name": name, **content.pop("metadata", {})}
    return {"metadata": metadata, **content}


def configuration(*, role, version="v3.4.1", secret="", status=None, **spec):
    multicluster = {"clusterRole": role}
    return named(
        "ks-installer",
        metadata={"labels": {"version": version}},
        spec={"multicluster": multicluster, "authentication": {"jwtSecret": secret}, **spec},
        status={"core": {"version": version}, "multicluster": status or {}},
    )


def config_map(*, role, secret="HostSecret", **content):
    parsed = {
        "authentication": {"jwtSecret": secret, **content.pop("authentication", {})},
        "multicluster": {"clusterRole": role, **content},
    }
    return named("kubesphere-config", data={"kubesphere.yaml": yaml.safe_dump(parsed)})


def running(name, *, replicas=1, available=1):
    status = {"observedGeneration": 1, "updatedReplicas": available, "availableReplicas": available}
    return named(name, metadata={"generation": 1}, spec={"replicas": replicas}, status=status)


def endpoints(number=1):
    return named("ks-apiserver", subsets=[{"addresses": [{"ip": "10.1.1.1"}] * number}] if number else [])


def node(machine, *, address="10.20.0.1"):
    status = {"nodeInfo": {"machineID": machine}, "addresses": [{"type": "InternalIP", "address": address}]}
    return named("node", status=status)


def pod(*, phase="Running", waiting=None):
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return named("ks-installer-1", status={"phase": phase, "containerStatuses": [{"state": state}]})


STORAGE = named("local", metadata={"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}})


def workspace(name, *, managed=False):
    return named(name, metadata={"labels": {"kubefed.io/managed": "true"} if managed else {}})


def make_side(role, **changes):
    is_host = role == "host"
    names = [
        "ks-installer",
        "tower",
        "kubefed-controller-manager",
        "kubefed-admission-webhook",
        "ks-controller-manager",
    ]
    fields = {
        "kubernetes": "v1.22.12",
        "clock": observed.Clock(0.2, 0.6),
        "uid": f"uid-{role}",
        "configuration": configuration(role="host", status={"status": "enabled"})
        if is_host
        else configuration(role="none"),
        "config_map": config_map(role="host") if is_host else config_map(role="none", secret="OwnSecret"),
        "secret": {"data": {"secret": base64.b64encode(b"HostSecret" if is_host else b"OwnSecret").decode()}},
        "deployments": {name: running(name) for name in (names if is_host else names[:1])},
        "installer_pod": pod(),
        "installer_doing": installer_log.Activity.IDLE,
        "storage_classes": [STORAGE],
        "nodes": [node(f"machine-of-{role}")],
        "workspaces": [workspace("system-workspace")],
        "endpoints": {"ks-apiserver": endpoints(), "ks-controller-manager": endpoints()},
        "reviews": dict.fromkeys(rights.of(role), True),
        "credential": observed.Credential("certificate", days(300)),
        **changes,
    }
    return observed.Side(role, "host" if is_host else "m1", **fields)


def make_kubeconfig(*, server=SERVER, warnings=(), **cluster):
    document = {
        "clusters": [{"name": "member", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "member", "user": {"token": "t0ken"}}],
        "contexts": [{"name": "member", "context": {"cluster": "member", "user": "member"}}],
        "current-context": "member",
    }
    return kubeconfig.Kubeconfig(document, server, tuple(warnings))


def handshake(**changes):
    fields = {
        "address": SERVER,
        "name": "10.20.1.1",
        "untrusted": "",
        "names": ("kubernetes", "10.20.1.1"),
        "begins": days(-30),
        "expires": days(300),
        "issuer": "CN=kubernetes",
        **changes,
    }
    return observed.Handshake(**fields)


def tower_service(*, address="139.198.1.1"):
    ingress = [{"ip": address}] if address else []
    return named(
        "tower",
        spec={"ports": [{"port": 8080, "nodePort": 30721}]},
        status={"loadBalancer": {"ingress": ingress}},
    )


def make(connection="direct", *, host=None, member=None, imported=None, conf=None, **changes):
    proxy = connection == "proxy"
    fields = {
        "conf": make_conf(connection=connection, **(conf or {})),
        "host": make_side("host", **(host or {})),
        "member": make_side("member", **(member or {})),
        "imported": observed.Imported(
            "m1",
            **{
                "kubeconfig": None if proxy else make_kubeconfig(),
                "uid": "uid-member",
                "may_everything": True,
                "credential": observed.Credential("token", None),
                **(imported or {}),
            },
        ),
        "now": NOW,
        "clusters": [named("host", metadata={"labels": {kubesphere.HOST_LABEL: ""}})],
        "tower": tower_service(),
        "federated_workspaces": [],
        "webhook": None,
        "agent": None,
        "account": named("kubesphere"),
        "federation": None,
        "federation_accounts": [],
        "handshake": handshake(),
        **changes,
    }
    return observed.Observed(**fields)


def cluster(name, *, kind="direct", uid=None, ready=False, labels=None, server=SERVER, **connection):
    text = yaml.safe_dump(make_kubeconfig(server=server).document)
    conditions = [{"type": kind_, "status": "True"} for kind_ in ("Federated", "Ready")] if ready else []
    return named(
        name,
        metadata={"labels": labels or {}},
        spec={
            "joinFederation": True,
            "connection": {"type": kind, "kubeconfig": base64.b64encode(text.encode()).decode(), **connection},
        },
        status={"conditions": conditions, **({"uid": uid} if uid else {})},
    )


def agent(name="m1", token=TOKEN):
    command = ["/agent", f"--name={name}", f"--token={token}", "--proxy-server=http://139.198.1.1:8080"]
    containers = [{"name": "agent", "command": command}]
    return named("cluster-agent", spec={"template": {"spec": {"containers": containers}}})


def webhook(name="ks-controller-manager"):
    service = {"namespace": "kubesphere-system", "name": name}
    hook = {"name": "validating-cluster.kubesphere.io", "clientConfig": {"service": service}}
    return named("cluster.kubesphere.io", webhooks=[hook])


HOST_CLUSTER = named("host", metadata={"labels": {kubesphere.HOST_LABEL: ""}})
UNMET_HOST = {"config_map": config_map(role="none"), "installer_says": ("fatal: no StorageClass",)}
JOINED_MEMBER = {
    "configuration": configuration(role="member", secret="HostSecret"),
    "config_map": config_map(role="member", secret="HostSecret"),
}
ROLLBACK, PROBE = {"on_failure": "rollback"}, {"probe": True}
FRESH_HOST = {"configuration": configuration(role="none"), "config_map": config_map(role="none")}


def without(side, **match):
    """The rights of a side, without those that match."""
    return {right: not all(getattr(right, key) == value for key, value in match.items()) for right in rights.of(side)}


def case(check, answer, says, connection="direct", **changes):
    label = "-".join(word for word in says.split()[:5] if word.isalnum())
    return pytest.param(check, answer, says, connection, changes, id=f"{check}-{answer.value}-{label}")


CASES = [
    case("host-kubesphere", ERROR, "is not installed", host={"configuration": None}),
    case("host-kubesphere", ERROR, "v3.3.2", host={"configuration": configuration(role="host", version="v3.3.2")}),
    case("host-kubesphere", ERROR, "no usable kubesphere.yaml", host={"config_map": named("x", data={})}),
    case("member-kubesphere", ERROR, "is not installed", member={"configuration": None}),
    case("member-kubesphere", INCOMPLETE, "could not be read", member={"configuration": UNREAD}),
    case(
        "member-version",
        ERROR,
        "must not be newer",
        member={"configuration": configuration(role="none", version="v3.4.2")},
    ),
    case(
        "member-version",
        ERROR,
        "one minor version",
        member={"configuration": configuration(role="none", version="v3.0.0")},
    ),
    case("host-kubernetes", WARNING, "v1.26.1", host={"kubernetes": "v1.26.1"}),
    case("host-kubernetes", WARNING, "v1.18.8", host={"kubernetes": "v1.18.8"}),
    case("host-kubernetes", ERROR, "stops at its beginning", host={"kubernetes": "v1.18.8", **FRESH_HOST}),
    case("member-kubernetes", WARNING, "v1.19.0", member={"kubernetes": "v1.19.0"}),
    case("member-kubernetes", ERROR, "stops at its beginning", member={"kubernetes": "v1.18.8"}),
    case(
        "member-kubernetes",
        ERROR,
        "no token by themselves",
        host={"configuration": configuration(role="host", version="v3.0.0")},
        member={"kubernetes": "v1.24.17"},
    ),
    case("host-installer", WARNING, "no StorageClass", host=UNMET_HOST),
    case("host-installer", ERROR, "nothing does what", host={"deployments": {"ks-installer": None}, **FRESH_HOST}),
    case("host-installer", WARNING, "needs no run", host={"deployments": {"ks-installer": None}}),
    case("member-installer", ERROR, "nothing does what", member={"deployments": {"ks-installer": None}}),
    case("member-installer", ERROR, "scaled to 0", member={"deployments": {"ks-installer": running("x", replicas=0)}}),
    case("member-installer", ERROR, "ImagePullBackOff", member={"installer_pod": pod(waiting="ImagePullBackOff")}),
    case("member-installer", WARNING, "has no Pod", member={"installer_pod": None}),
    case("member-installer", OK, "at work", member={"installer_doing": installer_log.Activity.RUNNING}),
    case("member-installer", INCOMPLETE, "is doing", member={"installer_doing": installer_log.Activity.UNKNOWN}),
    case("host-storage-class", WARNING, "the next run", host={"storage_classes": []}),
    case(
        "host-storage-class", ERROR, "stops at its beginning", host={"storage_classes": [named("slow")], **FRESH_HOST}
    ),
    case("member-storage-class", ERROR, "it has slow", member={"storage_classes": [named("slow")]}),
    case(
        "member-storage-class",
        OK,
        "names slow",
        member={
            "storage_classes": [named("slow")],
            "configuration": configuration(role="none", persistence={"storageClass": "slow"}),
        },
    ),
    case("same-cluster", ERROR, "cannot be its own member", member={"uid": "uid-host"}),
    case("imported-cluster", ERROR, "leads to another cluster", imported={"uid": "uid-other"}),
    case("imported-cluster", INCOMPLETE, "could not", imported={"uid": UNREAD}),
    case("imported-cluster", ERROR, "401 Unauthorized", imported={"uid": REFUSED}),
    case("host-name", ERROR, "the host itself", clusters=[cluster("m1", labels={kubesphere.HOST_LABEL: ""})]),
    case(
        "host-name",
        ERROR,
        "name of the host cluster",
        host={"config_map": config_map(role="host", hostClusterName="m1")},
    ),
    case("name-taken", ERROR, "belongs to another cluster", clusters=[HOST_CLUSTER, cluster("m1", uid="uid-other")]),
    case("name-taken", ERROR, "connection type proxy", clusters=[HOST_CLUSTER, cluster("m1", kind="proxy")]),
    case("name-taken", OK, "already", clusters=[HOST_CLUSTER, cluster("m1", uid="uid-member")]),
    case("other-name", ERROR, "already, as old", clusters=[HOST_CLUSTER, cluster("old", uid="uid-member")]),
    case(
        "other-name",
        ERROR,
        "holds the token of the host's Cluster old",
        "proxy",
        agent=agent("old"),
        clusters=[HOST_CLUSTER, cluster("old", kind="proxy", token=TOKEN)],
    ),
    case(
        "other-host",
        ERROR,
        "belongs to another host",
        member={"config_map": config_map(role="member", secret="Theirs", clusterName="theirs")},
    ),
    case(
        "host-clusters", ERROR, "host, m2", clusters=[HOST_CLUSTER, cluster("m2", labels={kubesphere.HOST_LABEL: ""})]
    ),
    case("machine-id", ERROR, "machine-of-host", member={"nodes": [node("machine-of-host")]}),
    case(
        "machine-id",
        OK,
        "see check same-cluster",
        member={"nodes": [node("machine-of-host")], "uid": "uid-host"},
    ),
    case("member-role", OK, "is no host cluster"),
    case("member-role", ERROR, "would lose their host", member={"config_map": config_map(role="host")}),
    case(
        "member-role",
        OK,
        "see check same-cluster",
        member={"config_map": config_map(role="host"), "uid": "uid-host"},
    ),
    case("machine-id", OK, "2 on the member", member={"nodes": [node("machine-of-host"), node("b")]}),
    case("machine-id", INCOMPLETE, "could not", member={"nodes": UNREAD}),
    case(
        "cluster-deletion",
        WARNING,
        "is being deleted",
        clusters=[named("m1", metadata={"deletionTimestamp": "2026-06-01T00:00:00Z"}, spec={"joinFederation": True})],
    ),
    case(
        "cluster-federation",
        WARNING,
        "takes no notice",
        clusters=[named("m1", spec={"connection": {"type": "direct"}})],
    ),
    case("federation-namespace", ERROR, "is being deleted", federation=named("x", status={"phase": "Terminating"})),
    case("federation-namespace", OK, "can be used", federation=named("x", status={"phase": "Active"})),
    case(
        "federation-accounts",
        WARNING,
        "old-kubesphere",
        federation_accounts=[named("old-kubesphere"), named("default")],
    ),
    case("federation-accounts", OK, "no account", federation_accounts=[named("m1-kubesphere"), named("default")]),
    case("agent", WARNING, "announces itself as old", "proxy", agent=agent("old")),
    case("agent", WARNING, "does not use", agent=agent("m1")),
    case(
        "agent",
        WARNING,
        "an earlier Cluster",
        "proxy",
        agent=agent("m1", "x" * 64),
        clusters=[cluster("m1", kind="proxy", token=TOKEN)],
    ),
    case(
        "agent",
        OK,
        "name and the token",
        "proxy",
        agent=agent("m1"),
        clusters=[cluster("m1", kind="proxy", token=TOKEN)],
    ),
    case("agent-account", ERROR, "which the agent runs as", "proxy", account=None),
    case(
        "workspace-conflict",
        ERROR,
        "Workspaces sales",
        member={"workspaces": [workspace("sales", managed=True)]},
        federated_workspaces=[named("sales", spec={"placement": {"clusters": [{"name": "m2"}]}})],
    ),
    case(
        "workspace-conflict",
        WARNING,
        "an earlier membership",
        member={"workspaces": [workspace("sales", managed=True)]},
        federated_workspaces=[named("sales", spec={"placement": {"clusterSelector": {"matchLabels": {}}}})],
    ),
    case(
        "workspace-conflict",
        OK,
        "in the federation already",
        member={"workspaces": [workspace("sales", managed=True)]},
        clusters=[HOST_CLUSTER, cluster("m1", uid="uid-member", ready=True)],
    ),
    case(
        "workspace-names",
        WARNING,
        "workspaces sales",
        host={"workspaces": [workspace("sales"), workspace("system-workspace")]},
        member={"workspaces": [workspace("sales"), workspace("system-workspace")]},
    ),
    case(
        "server-address",
        WARNING,
        "proxy-url",
        imported={"kubeconfig": make_kubeconfig(warnings=["its proxy-url is left out"])},
    ),
    case("server-trust", ERROR, "self-signed", handshake=handshake(untrusted="self-signed certificate")),
    case(
        "server-trust",
        WARNING,
        "not verify",
        imported={"kubeconfig": make_kubeconfig(**{"insecure-skip-tls-verify": True})},
    ),
    case("server-trust", WARNING, "stands in between", handshake=handshake(untrusted="x"), own_handshake=handshake()),
    case("server-trust", INCOMPLETE, "could not be read", handshake=UNREAD),
    case(
        "server-name",
        ERROR,
        "no entry for the IP address 10.20.1.1",
        handshake=handshake(names=("kubernetes", "10.0.0.1")),
    ),
    case("server-name", ERROR, "no entry for the name api.example.com", handshake=handshake(name="api.example.com")),
    # Where Airflow runs, something else answers at the host's address: only the other one can be the member's.
    case(
        "server-name",
        OK,
        "is for",
        handshake=handshake(untrusted="x", names=("proxy.example.com",)),
        own_handshake=handshake(untrusted="y"),
    ),
    case("server-name", ERROR, "its entries are: none", handshake=UNREAD, own_handshake=handshake(names=())),
    case(
        "server-name",
        WARNING,
        "calls the member Ready",
        handshake=handshake(names=()),
        clusters=[HOST_CLUSTER, cluster("m1", uid="uid-member", ready=True)],
    ),
    case("server-expiry", ERROR, "and not now", handshake=handshake(expires=days(-1))),
    case("server-expiry", ERROR, "and not now", handshake=handshake(begins=days(1))),
    case("server-expiry", WARNING, "less than 30 days", handshake=handshake(expires=days(29))),
    case("host-credential", ERROR, "which is past", host={"credential": observed.Credential("token", days(-1))}),
    case("host-credential", WARNING, "less than 30 days", host={"credential": observed.Credential("token", days(1))}),
    case(
        "member-credential", ERROR, "which is past", member={"credential": observed.Credential("certificate", days(-1))}
    ),
    case(
        "imported-credential",
        WARNING,
        "less than 30 days",
        imported={"credential": observed.Credential("token", days(29))},
    ),
    case(
        "imported-credential", ERROR, "which is past", imported={"credential": observed.Credential("token", days(-1))}
    ),
    case(
        "host-rights",
        ERROR,
        'cannot create resource "clusters"',
        host={"reviews": without("host", verb="create", resource="clusters")},
    ),
    case(
        "host-rights",
        OK,
        "all rights",
        host={"reviews": without("host", verb="patch", resource="clusterconfigurations")},
    ),
    case(
        "host-rights",
        ERROR,
        'cannot patch resource "clusterconfigurations"',
        host={"reviews": without("host", verb="patch", resource="clusterconfigurations"), **FRESH_HOST},
    ),
    case(
        "host-rights", INCOMPLETE, "It could not be read.", host={"reviews": dict.fromkeys(rights.of("host"), UNREAD)}
    ),
    case(
        "member-rights", ERROR, "deploy/rbac/member.yaml", member={"reviews": without("member", resource="namespaces")}
    ),
    case(
        "member-rights",
        ERROR,
        "deployments",
        "proxy",
        member={"reviews": without("member", verb="create", resource="deployments")},
    ),
    case(
        "member-rights", OK, "all rights", member={"reviews": without("member", verb="create", resource="deployments")}
    ),
    case(
        "member-rights",
        ERROR,
        'patch resource "deployments"',
        member={
            "reviews": without("member", verb="patch", resource="deployments", name="ks-installer"),
            "config_map": config_map(role="member", secret="OwnSecret"),
        },
    ),
    case("host-rights", ERROR, 'patch resource "leases"', host={"reviews": without("host", verb="patch")}),
    case("host-rights", OK, "all rights", host={"reviews": without("host", verb="delete", resource="clusters")}),
    case(
        "host-rights",
        ERROR,
        'delete resource "clusters"',
        host={"reviews": without("host", verb="delete", resource="clusters")},
        conf=ROLLBACK,
    ),
    case("member-rights", OK, "all rights", member={"reviews": without("member", name="cluster-agent")}),
    case(
        "member-rights",
        ERROR,
        "(cluster-agent)",
        member={"reviews": without("member", verb="get", name="cluster-agent")},
        conf=ROLLBACK,
    ),
    case(
        "member-rights",
        ERROR,
        'create resource "secrets"',
        # With nothing to change but what a rollback needs to know.
        member={"reviews": without("member", verb="create", resource="secrets"), **JOINED_MEMBER},
        conf=ROLLBACK,
    ),
    case("host-optional-rights", OK, "as well", host={"reviews": without("host", resource="jobs")}),
    case("host-optional-rights", WARNING, "jobs", host={"reviews": without("host", resource="jobs")}, conf=PROBE),
    case("host-optional-rights", WARNING, 'list resource "nodes"', host={"reviews": without("host", resource="nodes")}),
    case("host-optional-rights", OK, "as well", host={"reviews": without("host", resource="events")}),
    case("member-optional-rights", WARNING, "pods/log", member={"reviews": without("member", resource="pods/log")}),
    case("imported-rights", ERROR, "is not cluster-admin", imported={"may_everything": False}),
    case("clock-skew", ERROR, "12 s apart", member={"clock": observed.Clock(-11.8, 0.6)}),
    case("clock-skew", WARNING, "8 s apart", member={"clock": observed.Clock(8.2, 0.6)}),
    case("clock-skew", OK, "12 s apart", member={"clock": observed.Clock(12.2, 8.0)}),
    case("clock-skew", INCOMPLETE, "could not", member={"clock": UNREAD}),
    case(
        "jwt-secret",
        ERROR,
        "cannot pass on",
        host={"config_map": config_map(role="host", secret="a b$c"), "secret": None},
    ),
    case(
        "jwt-secret", ERROR, "has no jwtSecret", host={"config_map": config_map(role="host", secret=""), "secret": None}
    ),
    case("jwt-secret", WARNING, "about to change", host={"configuration": configuration(role="host", secret="Next")}),
    case(
        "access-tokens",
        ERROR,
        "accessTokenMaxAge to 2h",
        member={
            "configuration": named(
                "ks-installer",
                metadata={"labels": {"version": "v3.4.1"}},
                spec={"authentication": {"jwtSecret": "", "oauthOptions": {"accessTokenMaxAge": "2h"}}},
            )
        },
    ),
    case(
        "access-tokens",
        WARNING,
        "that is due",
        member={"config_map": config_map(role="member", secret="OwnSecret")},
    ),
    case(
        "access-tokens",
        ERROR,
        "token not found in cache",
        member={
            "configuration": configuration(role="member", secret="HostSecret"),
            "config_map": config_map(role="member", secret="HostSecret"),
            "secret": None,
        },
    ),
    case("tower-address", WARNING, "pending", "proxy", tower=tower_service(address="")),
    case("tower-address", WARNING, "first run", "proxy", host=FRESH_HOST, tower=None),
    case(
        "tower-address",
        ERROR,
        "not of the form",
        "proxy",
        host={"config_map": config_map(role="host", proxyPublishAddress="1.2.3.4:8080")},
    ),
    case("tower-address", ERROR, "loopback", "proxy", conf={"proxy_publish_address": "http://127.0.0.1:8080"}),
    case(
        "tower-port",
        ERROR,
        "nodePort is 30721, not 8080",
        "proxy",
        conf={"proxy_publish_address": "http://10.20.0.1:8080"},
    ),
    case("tower-port", OK, "tower's nodePort", "proxy", conf={"proxy_publish_address": "http://10.20.0.1:30721"}),
    case(
        "tower-port",
        ERROR,
        "one of 30000-32767",
        "proxy",
        conf={"proxy_publish_address": "http://10.20.0.1:8080"},
        tower=None,
    ),
    case(
        "tower-port",
        ERROR,
        "port 8080 and not 8081",
        "proxy",
        conf={"proxy_publish_address": "http://139.198.1.1:8081"},
    ),
    case(
        "address-change",
        ERROR,
        "for m2",
        "proxy",
        conf={"proxy_publish_address": "http://139.198.1.2:8080"},
        host={"config_map": config_map(role="host", proxyPublishAddress="http://139.198.1.1:8080")},
        clusters=[HOST_CLUSTER, cluster("m2", kind="proxy")],
    ),
    case(
        "tower-ports",
        WARNING,
        "in common with m2 (6001, 16001)",
        "proxy",
        clusters=[
            cluster(name, kind="proxy", kubernetesAPIServerPort=6001, kubesphereAPIServerPort=16001)
            for name in ("m1", "m2")
        ],
    ),
    case("tower-running", ERROR, "no Deployment tower", host={"deployments": {"tower": None}}),
    case(
        "tower-running",
        ERROR,
        "scaled to 0",
        host={"deployments": {"tower": running("tower", replicas=0, available=0)}},
    ),
    case("tower-running", WARNING, "not available", host={"deployments": {"tower": running("tower", available=0)}}),
    case("tower-running", OK, "next run", host={**FRESH_HOST, "deployments": {}}),
    case(
        "host-processes",
        ERROR,
        "no Deployment kubefed-controller-manager",
        host={"deployments": {**make_side("host").deployments, "kubefed-controller-manager": None}},
    ),
    case("host-processes", INCOMPLETE, "not asked for", host={"deployments": {}}),
    case("host-apiserver", WARNING, "No pod is ready", host={"endpoints": {"ks-apiserver": endpoints(0)}}),
    case("member-apiserver", ERROR, "no endpoints available", member={"endpoints": {"ks-apiserver": endpoints(0)}}),
    case("member-apiserver", ERROR, "No pod is ready", member={"endpoints": {"ks-apiserver": None}}),
    case(
        "host-webhook",
        ERROR,
        "left over",
        webhook=webhook(),
        host={"configuration": configuration(role="host", version="v3.0.0")},
    ),
    case(
        "host-webhook",
        ERROR,
        "cannot write its conditions",
        webhook=webhook(),
        host={"endpoints": {"ks-controller-manager": None}},
    ),
    case("host-webhook", WARNING, "is answered by kubesphere-system/ks-core", webhook=webhook("ks-core")),
    case(
        "host-webhook",
        ERROR,
        "x509",
        webhook=webhook(),
        trial=observed.Unread('500 failed calling webhook "validating-cluster.kubesphere.io": x509: unknown authority'),
    ),
    case("host-webhook", OK, "can answer", webhook=webhook(), trial=observed.Unread("may not patch clusters")),
    case("host-webhook", OK, "can answer", webhook=webhook()),
]


def judged(check, connection, changes):
    (found,) = [item for item in checks.judge(make(connection, **changes)) if item.check == check]
    return found


@pytest.mark.parametrize(("check", "answer", "says", "connection", "changes"), CASES)
def test_a_check_answers(check, answer, says, connection, changes):
    found = judged(check, connection, changes)
    assert says in f"{found.evidence} {found.fix}"
    assert found.answer is answer
    assert found.evidence
    # Who is who is told with what to do in one sentence.
    assert found.fix or answer in (OK, INCOMPLETE) or "; " in found.evidence


@pytest.mark.parametrize("connection", ["direct", "proxy", "auto"])
def test_where_everything_is_in_order_every_check_is_ok(connection):
    found = checks.judge(make(connection))
    assert [str(finding) for finding in found if finding.answer is not OK] == []
    ways = confs.Connection(connection)
    assert {item.check for item in found} == {
        check.id for check in checks.CHECKS if connection == "auto" or ways in check.ways
    }


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.id)
def test_every_check_has_a_case_in_which_it_gives_its_worst_answer(check):
    assert check.answer in {param.values[1] for param in CASES if param.values[0] == check.id}


def test_there_are_many_checks_and_no_two_of_one_name():
    ids = [check.id for check in checks.CHECKS]
    assert len(ids) == len(set(ids)) >= 25


@pytest.mark.parametrize("connection", ["direct", "proxy", "auto"])
def test_where_nothing_could_be_read_every_check_is_incomplete_and_says_why(connection):
    conf = make_conf(connection=connection)
    sides = [observed.Side(role, role) for role in ("host", "member")]
    imported = observed.Imported("m1", kubeconfig=UNREAD)
    found = checks.judge(observed.Observed(conf, *sides, imported, NOW))
    assert {finding.answer for finding in found} == {INCOMPLETE}
    assert all(finding.evidence for finding in found)


def test_what_is_an_error_for_one_connection_type_only_rules_that_out_where_it_is_open():
    found = judged("server-name", "auto", {"handshake": handshake(names=())})
    assert (found.answer, found.stops) == (WARNING, False)
    assert "This rules out direct." in found.evidence
    assert judged("clock-skew", "auto", {"member": {"clock": observed.Clock(60, 0.6)}}).stops


def test_an_error_that_is_waived_stops_nothing_and_still_tells():
    changes = {"member": {"clock": observed.Clock(60, 0.6)}}
    assert judged("clock-skew", "direct", changes).stops
    waived = judged("clock-skew", "direct", {**changes, "conf": {"waive": ["clock-skew"]}})
    assert (waived.answer, waived.waived, waived.stops) == (ERROR, True, False)


def test_what_would_mix_up_clusters_cannot_be_waived():
    fixed = {check.id for check in checks.CHECKS if not check.waivable}
    assert {"same-cluster", "imported-cluster", "name-taken", "other-name", "other-host", "host-name"} <= fixed
    changes = {"member": {"uid": "uid-host"}, "conf": {"waive": ["same-cluster"]}}
    assert judged("same-cluster", "direct", changes).stops


@pytest.mark.parametrize(
    ("waive", "says"),
    [
        pytest.param(["clock-skew"], [], id="known"),
        pytest.param(["clocks"], ["waive: there is no check 'clocks'; the checks are host-kubesphere"], id="unknown"),
        pytest.param(
            ["same-cluster"], ["waive: same-cluster cannot be waived; Clusters would be mixed up"], id="fixed"
        ),
        pytest.param("clock-skew", [], id="no-list"),
    ],
)
def test_the_confs_list_of_waived_checks_is_checked(waive, says):
    found = checks.waive_problems(waive)
    assert [problem[: len(start)] for problem, start in zip(found, says, strict=True)] == says


@pytest.mark.parametrize(
    ("names", "name", "covered"),
    [
        pytest.param(["api.example.com"], "API.example.com", True, id="same"),
        pytest.param(["*.example.com"], "api.example.com", True, id="wildcard"),
        pytest.param(["*.example.com"], "a.b.example.com", False, id="wildcard-is-one-label"),
        pytest.param(["*.example.com"], "example.com", False, id="wildcard-is-not-none"),
        pytest.param(["10.0.0.1"], "10.0.0.1", True, id="address"),
        pytest.param(["fd00::1"], "fd00:0::1", True, id="address-in-another-form"),
        pytest.param(["10.0.0.1"], "10.0.0.2", False, id="another-address"),
        pytest.param(["*.0.0.1"], "10.0.0.1", False, id="no-wildcards-for-addresses"),
    ],
)
def test_a_certificate_is_for_a_name_as_clients_see_it(names, name, covered):
    assert checks_credentials.covers(names, name) is covered


def test_no_evidence_holds_a_secret():
    seen = make(
        "proxy",
        agent=agent("old"),
        clusters=[HOST_CLUSTER, cluster("old", kind="proxy", token=TOKEN), cluster("m1", kind="proxy", token="y" * 64)],
        host={"config_map": config_map(role="host", secret="Host Secret"), "secret": None},
    )
    text = " ".join(str(finding) for finding in checks.judge(seen))
    assert not any(secret in text for secret in (TOKEN, "y" * 64, "Host Secret", "OwnSecret"))
    assert not any(secret in f"{seen!r} {seen.host!r} {seen.imported!r}" for secret in (TOKEN, "HostSecret", "t0ken"))


def test_a_finding_names_its_check():
    for check in checks.CHECKS:
        seen = make("auto")
        assert check.look(seen).check == check.id
        assert check.look.__doc__
    assert dataclasses.is_dataclass(checks.CHECKS[0])


def test_the_page_has_the_table_of_the_checks():
    page = preflight_page.PAGE.read_text()
    assert page == preflight_page.written(page), "run python -m tests.fleet.preflight_page"
