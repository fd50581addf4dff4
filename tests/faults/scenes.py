"""What really breaks when people join clusters: forty failures, as scenes to be played, or why one is not yet.

A scene says beforehand how the run has to end: stopped by checks of preflight, survived, or failed with a cause that
is named. Its words are what is different about it: each failure has scenes that differ in wording and in timing, as a
fault that is there from the beginning, and one that comes or is waived, so that preflight does not stop it.
"""

import base64
import copy
import dataclasses
import enum
import json
import os
import re

import yaml
from kubernetes import client, config

from include.simulator import configuration
from include.simulator.access import Rule
from include.simulator.issued import Identity, Kubeconfig
from tests.joins import evidence

BOTH = ("direct", "proxy")
DIRECT, PROXY = ("direct",), ("proxy",)
ALL = ("v3.4.1", "v3.0.0")
NEW, OLD = ("v3.4.1",), ("v3.0.0",)
LOAD_BALANCER = "139.198.110.23"
KS = "kubesphere-system"
FED = "kube-federation-system"
HOST = {"role": "host"}
"""A host that is one already."""


class End(enum.Enum):
    """How a run can end as it must."""

    STOPPED = "stopped by preflight"
    SURVIVED = "survived"
    NAMED = "named"


@dataclasses.dataclass(frozen=True)
class Scene:
    """One failure, or two at once, and how the run has to end.

    `by` are ids: of the checks that must stop it, all of them and no other; of the causes of which one must be named
    first; or, of a run that survives, of the checks before and after the join that must tell of it. `conf` is what the
    conf has beside what every conf has; None leaves a key out, a function is called with the simulation. `before` is
    what somebody does in the middle of the join, right before a step.
    """

    number: int
    words: str
    end: End
    by: tuple = ()
    ways: tuple = BOTH
    versions: tuple = ALL
    host: dict = dataclasses.field(default_factory=dict)
    member: dict = dataclasses.field(default_factory=dict)
    others: tuple = ()
    connections: dict = dataclasses.field(default_factory=dict)
    aliases: dict = dataclasses.field(default_factory=dict)
    conf: dict = dataclasses.field(default_factory=dict)
    before: dict = dataclasses.field(default_factory=dict)
    also: int = 0
    """The number of a second failure at the same time."""
    perhaps: tuple = ()
    """Ids of checks that may stop it as well: of one connection type or version, or what they look at follows later."""


def stopped(number, words, *by, **more):
    return Scene(number, words, End.STOPPED, by, **more)


def survived(number, words, *by, **more):
    return Scene(number, words, End.SURVIVED, by, **more)


def named(number, words, *by, **more):
    return Scene(number, words, End.NAMED, by or (f"failures-{number}",), **more)


TITLES = {
    1: "Internal name in the kubeconfig",
    2: "Certificate without the address (SAN)",
    3: "Certificate of an unknown authority",
    4: "Tower's address is pending",
    5: "Wrong port published",
    6: "A proxy or firewall breaks websockets",
    7: "jwtSecret differs",
    8: "accessTokenMaxAge on a member",
    9: "Clock skew",
    10: "Wrong clusterRole",
    11: "Client certificate has expired",
    12: "empty CertData loop",
    13: "Token of the recipe is empty",
    14: "exec, auth-provider or files in the kubeconfig",
    15: "Token lacks services/proxy",
    16: "KubeSphere is missing on the member",
    17: "ks-apiserver of the member is down",
    18: "Managed by another host already",
    19: "The host's own name",
    20: "Same cluster twice, or the host as its own member",
    21: "Workspaces deleted on a join",
    22: "Left-overs of an earlier join",
    23: "Images cannot be pulled",
    24: "Kubernetes too new or too old",
    25: "Host and member of different versions",
    26: "Waiting for the cluster to join, with no reason",
    27: "Stale webhook on the host",
    28: "Dead member cannot be removed",
    29: "Enabling the host role fails",
    30: "Side effects of enabling multicluster",
    31: "One failed core install is final",
    32: "15 minutes of blindness",
    33: "The host's ks-apiserver has lost the member",
    34: "Traps of a minimal Cluster",
    35: "Tower or agent crash",
    36: "Two members on one port of tower",
    37: "Unauthorized agent",
    38: "The agent's token is frozen at its start",
    39: "Trust model of tower",
    40: "Tower's kubeconfig is of no use elsewhere",
}

NOT_YET = {
    12: "Only KubeSphere 3.3 has it (kubesphere-facts 6.3, step 12), which is not supported yet. Preflight's check "
    "imported-credential knows it.",
    31: "Only KubeSphere 4 installs KubeSphere on members; 4 is not supported yet.",
    32: "A default of KubeSphere 4 (900 s). 3.x looks every 120 s, and all waits are made for that.",
    38: "It shows when a token has been used for 90 days or a year. The agent of a new join has a new one; watching a "
    "fleet would meet it.",
    39: "It is how tower 0.2 works, whatever the join does: no state of a cluster shows it.",
}
"""Why there is nothing to play."""


# What people do in the middle of a join


def edit(side, plural, name, patch, namespace=None):
    """Merge-patch an object."""
    return lambda simulation: simulation.clusters[side].edit(plural, name, patch, namespace)


def scale(side, name, replicas=0, namespace=KS):
    """Scale a Deployment, by default to nothing, and wait until it is."""

    def act(simulation):
        cluster = simulation.clusters[side]
        cluster.scale(name, replicas, namespace)
        evidence.wait_for(
            lambda: cluster.object("deployments", name, namespace)["status"].get("availableReplicas", 0) == replicas
        )

    return act


def delete(side, *names, namespace=KS):
    """Delete Deployments, and the Services of their names."""

    def act(simulation):
        with config.new_client_from_config_dict(simulation.clusters[side].kubeconfig("admin")) as api:
            for name in names:
                client.AppsV1Api(api).delete_namespaced_deployment(name, namespace)
                client.CoreV1Api(api).delete_namespaced_service(name, namespace)

    return act


def delete_cluster(simulation):
    """Delete Cluster m1, as in the dashboard."""
    evidence.delete(simulation.clusters["host"], "m1")


def edit_settings(former, latter):
    """Replace what a pattern finds in the member's ConfigMap, by hand; "" is its jwtSecret."""

    def act(simulation):
        member = simulation.clusters["m1"]
        text = member.object("configmaps", "kubesphere-config", KS)["data"]["kubesphere.yaml"]
        changed_text, found = re.subn(former or evidence.secret_of(member), latter, text)
        assert found
        changed = {"data": {"kubesphere.yaml": changed_text}}
        member.edit("configmaps", "kubesphere-config", changed, KS)

    return act


def all_of(*acts):
    """Do one after the other."""

    def act(simulation):
        for each in acts:
            each(simulation)

    return act


def old_token(simulation):
    """Apply the manifest of an earlier import again: the agent has another token."""
    member = simulation.clusters["m1"]
    container = copy.deepcopy(
        member.object("deployments", "cluster-agent", KS)["spec"]["template"]["spec"]["containers"][0]
    )
    container["command"] = ["--token=0ld" if word.startswith("--token=") else word for word in container["command"]]
    member.edit("deployments", "cluster-agent", {"spec": {"template": {"spec": {"containers": [container]}}}}, KS)


def made_anew(change=lambda spec: None):
    """Delete Cluster m1 and make it anew at once, as a person does whose join takes too long."""

    def act(simulation):
        host = simulation.clusters["host"]
        former = host.object("clusters", "m1")
        delete_cluster(simulation)
        evidence.wait_for(lambda: not [item for item in host.objects("clusters") if item["metadata"]["name"] == "m1"])
        spec = copy.deepcopy(former["spec"])
        if spec["connection"]["type"] == "proxy":
            spec["connection"] = {"type": "proxy"}
        change(spec)
        host.put("clusters", {"metadata": {"name": "m1"}, "spec": spec})

    return act


def import_again(name="second"):
    """Import the member under another name, as a colleague does."""

    def act(simulation):
        host, member = simulation.clusters["host"], simulation.clusters["m1"]
        text = yaml.safe_dump(member.kubeconfig("admin", server=member.pod_server))
        connection = {"type": "direct", "kubeconfig": base64.b64encode(text.encode()).decode()}
        host.put("clusters", {"metadata": {"name": name}, "spec": {"joinFederation": True, "connection": connection}})

    return act


def lay_workspace(simulation):
    """A workspace of a former federation is restored on the member, and is placed elsewhere on the host."""
    labels = {"metadata": {"labels": {"kubefed.io/managed": "true"}}}
    simulation.clusters["m1"].edit("workspaces", "system-workspace", labels)
    spec = {"placement": {"clusters": [{"name": "other"}]}}
    simulation.clusters["host"].put("federatedworkspaces", {"metadata": {"name": "system-workspace"}, "spec": spec})


def _described(*, identity, forbid=(), **more):
    rules = tuple(Rule(**rule) for rule in forbid)
    return Kubeconfig(cluster="m1", identity=Identity(identity), forbid=rules, **more)


def reconnect(name, **issued):
    """Somebody changes an Airflow connection: it gets another kubeconfig of the member."""

    def act(simulation):
        described = _described(**issued)
        document = simulation.clusters["m1"].issue_kubeconfig(f"{name}-changed", described)
        connection = {"conn_type": "kubernetes", "extra": {"kube_config": document}}
        os.environ[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)

    return act


def give_cluster(**issued):
    """Somebody replaces the kubeconfig in Cluster m1."""

    def act(simulation):
        described = _described(server="pods", **issued)
        text = yaml.safe_dump(simulation.clusters["m1"].issue_kubeconfig("by-hand", described))
        kubeconfig = base64.b64encode(text.encode()).decode()
        simulation.clusters["host"].edit("clusters", "m1", {"spec": {"connection": {"kubeconfig": kubeconfig}}})

    return act


def taken_over(simulation):
    """Another host takes the member: its name and its jwtSecret are in the member's ConfigMap now."""
    member = simulation.clusters["m1"]
    data = member.object("configmaps", "kubesphere-config", KS)
    text = configuration.rewrite(configuration.parse(data), cluster_name="theirs")
    text = text.replace(evidence.secret_of(member), "TheSecretOfAnotherHost0123456789")
    member.edit("configmaps", "kubesphere-config", {"data": {configuration.KEY: text}}, KS)


def firewall(simulation):
    """The network is closed between the host's pods and the member."""
    simulation.clusters["m1"].raise_firewall()


def member_spec(**spec):
    """Somebody changes the member's ClusterConfiguration."""
    return edit("m1", "clusterconfigurations", "ks-installer", {"spec": spec}, KS)


def tower_service(simulation):
    """Return the address in the kubeconfig that tower writes: that of a Service of the host."""
    address = simulation.clusters["host"].object("services", "mc-m1", KS)["spec"]["clusterIP"]
    return f"https://{address}:6443"


def _imported(**more):
    """The host receives a credential of its own."""
    return {"connections": {"imported": {"cluster": "m1", **more}}, "conf": {"import_conn_id": "imported"}}


def _changed(before, **issued):
    """... which is good at the beginning, and changed before a step."""
    return {**_imported(identity="token"), "before": {before: reconnect("imported", **issued)}}


def _certificate(**more):
    return {"kubernetes": {"certificate": more}}


OWN_SECRET = "AnotherSecretOfTheMembersOwn0123"
NO_BALANCER = {"load_balancer": None}
PUBLISHED = "139.198.120.120"


def _published(port, listener, **host):
    """Something answers at the address that is taken for tower's."""
    return {
        "host": {**NO_BALANCER, "elsewhere": {f"{PUBLISHED}:{port}": listener}, **host},
        "conf": {"proxy_publish_address": f"http://{PUBLISHED}:{port}"},
        "ways": PROXY,
    }


UNANSWERED = ("forwarded-kubernetes", "forwarded-kubesphere", "forwarded-watch", "metrics")
"""The checks of acceptance that a ks-apiserver has to answer."""
SHARED = {"name": "m2", "role": "member", "secret": "host", "joined": "m2", "connection": "proxy"}
JOINED = {"role": "member", "secret": "host", "joined": "m1"}
CHOSEN_CLASH = [6100] * 30

SCENES = (
    # Names that only some machine knows.
    stopped(
        1,
        "the kubeconfig says lb.kubesphere.local",
        "import_conn_id",
        ways=DIRECT,
        connections={"imported": {"cluster": "m1", "server": "https://lb.kubesphere.local:6443"}},
        conf={"member_server": None, "import_conn_id": "imported"},
    ),
    named(
        1,
        "only Airflow's network knows the name, and the certificate's lack of it is waived",
        ways=DIRECT,
        conf={"member_server": "https://m1.corp.example:6443", "waive": ["server-name"]},
    ),
    named(
        1, "a firewall drops what the host's pods send", "P-24", ways=DIRECT, member={"kubernetes": {"firewall": True}}
    ),
    named(1, "the host's pods are refused", "P-24", ways=DIRECT, member={"reachable": False}),
    stopped(
        2,
        "everybody sees it",
        "server-name",
        ways=DIRECT,
        member=_certificate(names_address=False, shown_to="everybody"),
    ),
    named(2, "only the host's pods see it", ways=DIRECT, member=_certificate(names_address=False)),
    stopped(
        3,
        "the kubeconfig is from before a reinstallation",
        "server-trust",
        ways=DIRECT,
        **_imported(authority="reinstalled"),
    ),
    named(3, "a proxy that looks into TLS is between the clusters", ways=DIRECT, member=_certificate(issuer="foreign")),
    named(
        3, "the host's pods reach a cluster of the same name", ways=DIRECT, member=_certificate(issuer="reinstalled")
    ),
    # Tower's address.
    stopped(
        4,
        "the host is configured with an address of its own machine",
        "tower-address",
        ways=PROXY,
        host={**HOST, **NO_BALANCER, "proxy_address": "http://localhost:8080"},
    ),
    named(4, "a host that is one already has none", ways=PROXY, host={**HOST, **NO_BALANCER}),
    named(4, "the LoadBalancer of a new host stays pending", ways=PROXY, host=NO_BALANCER),
    survived(
        4,
        "the address comes late",
        ways=PROXY,
        host={**HOST, "load_balancer": {"address": LOAD_BALANCER, "after": 5}},
    ),
    stopped(
        5,
        "the Service's port at the address of a node",
        "tower-port",
        ways=PROXY,
        host=NO_BALANCER,
        conf={"proxy_publish_address": "http://10.20.0.1:8080"},
    ),
    named(
        5,
        "the Service's port at the address of a node, waived",
        ways=PROXY,
        host=NO_BALANCER,
        conf={"proxy_publish_address": "http://10.20.0.1:8080", "waive": ["tower-port"]},
    ),
    named(5, "a web server answers at the address", "failures-6", **_published(80, "website")),
    named(6, "a gateway lets plain HTTP through and breaks websockets", **_published(8080, "gateway")),
    named(6, "a firewall drops what the agent sends", "failures-5", **_published(8081, "firewall")),
    # jwtSecret, role, tokens.
    survived(7, "the member has a secret of its own"),
    survived(7, "the member was a member with another secret", member={"role": "member"}),
    named(
        7,
        "somebody changes the member's secret before the proof",
        before={"verify_join": edit_settings("", OWN_SECRET)},
    ),
    stopped(
        8,
        "written into the ConfigMap by hand",
        "access-tokens",
        versions=NEW,
        member={"role": "member", "secret": "host", "access_token_max_age": "2h"},
    ),
    survived(
        8,
        "written into the ConfigMap by hand, and a run of ks-installer is due that writes it anew",
        "access-tokens",
        versions=NEW,
        member={"role": "member", "access_token_max_age": "30m"},
    ),
    # No task fails of it: the member is Ready and the host's static token is taken. Only acceptance tells.
    survived(
        8,
        "written into the ConfigMap in the middle",
        "login-tokens",
        versions=NEW,
        before={"verify_join": edit_settings(r"accessTokenMaxAge: 0s?", "accessTokenMaxAge: 2h")},
    ),
    stopped(9, "the member's clock is two minutes ahead", "clock-skew", member={"kubernetes": {"clock": 120}}),
    stopped(9, "the host's clock is half a minute behind", "clock-skew", host={"kubernetes": {"clock": -30}}),
    survived(9, "the clocks differ by 9 s", "clock-skew", member={"kubernetes": {"clock": 9}}),
    # The member takes whatever is older than that: its certificates, the accounts' tokens, and the static token of the
    # host, which is what all requests of the proof and of acceptance have.
    survived(
        9,
        "the member's clock is ten minutes behind, waived",
        "clock-skew",
        member={"kubernetes": {"clock": -600}},
        conf={"waive": ["clock-skew"]},
    ),
    survived(10, "the member has no role"),
    survived(
        10, "the role is asked for, and the installer has died over it", "member-installer", member={"spec_ahead": True}
    ),
    named(
        10,
        "somebody takes the member's role away before the proof",
        versions=NEW,
        before={"verify_join": edit_settings("clusterRole: member", "clusterRole: none")},
    ),
    # Credentials.
    stopped(
        11,
        "the client certificate has expired",
        "imported-credential",
        ways=DIRECT,
        **_imported(identity="certificate", days=-1),
    ),
    survived(
        11, "it expires in three days", "imported-credential", ways=DIRECT, **_imported(identity="certificate", days=3)
    ),
    named(
        11, "the host's pods are shown a server certificate that has expired", ways=DIRECT, member=_certificate(days=-3)
    ),
    named(
        11,
        "the connection is given an expired one in the middle",
        ways=DIRECT,
        **_changed("import_cluster", identity="certificate", days=-1),
    ),
    stopped(13, "the token is empty", "import_conn_id", ways=DIRECT, **_imported(identity="empty")),
    # To the member it is a credential like one that has expired: 401.
    named(13, "the member does not know the token", "failures-11", ways=DIRECT, **_imported(identity="invalid")),
    named(
        13,
        "somebody puts an empty token into the Cluster",
        ways=DIRECT,
        versions=OLD,
        before={"wait_agent_ready": give_cluster(identity="empty")},
    ),
    stopped(14, "exec", "import_conn_id", ways=DIRECT, **_imported(identity="exec")),
    stopped(14, "auth-provider", "import_conn_id", ways=DIRECT, **_imported(identity="auth-provider")),
    stopped(14, "a token in a file", "import_conn_id", ways=DIRECT, **_imported(identity="token-file")),
    named(
        14,
        "somebody puts exec into the Cluster",
        ways=DIRECT,
        versions=OLD,
        before={"wait_agent_ready": give_cluster(identity="exec")},
    ),
    stopped(
        15,
        "an account without services/proxy",
        "imported-rights",
        ways=DIRECT,
        **_imported(identity="account", forbid=[{"verb": "get", "resource": "services/proxy"}]),
    ),
    stopped(
        15,
        "a user who may create nothing",
        "imported-rights",
        ways=DIRECT,
        **_imported(identity="token", forbid=[{"verb": "create", "resource": "*"}]),
    ),
    named(
        15,
        "the connection is given a user who may create nothing, in the middle",
        ways=DIRECT,
        **_changed("import_cluster", identity="token", forbid=[{"verb": "create", "resource": "*"}]),
    ),
    # The member.
    stopped(
        16,
        "KubeSphere was never installed",
        "member-kubesphere",
        "member-apiserver",
        perhaps=("agent-account",),
        member={"installed": False},
    ),
    stopped(16, "ks-apiserver is gone", "member-apiserver", member={"workloads": {"ks-apiserver": "missing"}}),
    # The host calls it Ready all the same (6.3), and without ks-apiserver the proof rests on both configurations.
    survived(
        16,
        "ks-apiserver is deleted before the proof",
        *UNANSWERED,
        before={"verify_join": delete("m1", "ks-apiserver")},
    ),
    stopped(17, "scaled to nothing", "member-apiserver", member={"workloads": {"ks-apiserver": "stopped"}}),
    stopped(17, "crashing", "member-apiserver", member={"workloads": {"ks-apiserver": "crashing"}}),
    survived(
        17, "scaled to nothing before the proof", *UNANSWERED, before={"verify_join": scale("m1", "ks-apiserver")}
    ),
    stopped(
        18,
        "the member belongs to another host",
        "other-host",
        versions=NEW,
        member={"role": "member", "other_host": "theirs"},
    ),
    stopped(18, "the member is a host itself", "member-role", member={"role": "host"}),
    # The host's controller has put its own name back by then (6.3), so that only the secret tells.
    named(
        18,
        "another host takes the member before the proof",
        "failures-7",
        versions=NEW,
        before={"verify_join": taken_over},
    ),
    stopped(19, "the name host is asked for", "cluster", conf={"cluster": "host"}),
    stopped(
        19,
        "the host has another name for itself",
        "host-name",
        "host-clusters",
        host={**HOST, "clusters": {"hq": {"of": "host", "host_label": True}}},
        conf={"cluster": "hq"},
    ),
    stopped(
        20, "the member is there under another name", "other-name", host=HOST, member={**JOINED, "joined": "first"}
    ),
    stopped(
        20,
        "both connections lead to the host",
        "same-cluster",
        ways=DIRECT,
        aliases={"again": "host"},
        conf={"member_conn_id": "again", "member_server": lambda simulation: simulation.clusters["host"].pod_server},
    ),
    stopped(20, "another member has the name", "name-taken", host=HOST, others=({**JOINED, "name": "m2"},)),
    named(20, "a colleague imports it under another name meanwhile", before={"import_cluster": import_again()}),
    stopped(
        21,
        "a workspace of an earlier membership is the host's",
        "workspace-conflict",
        host={**HOST, "workspaces": {"dev": ["host"]}},
        member={"left": {"workspaces": ["dev"]}},
    ),
    named(
        21,
        "a workspace of an earlier membership is the host's, waived",
        versions=NEW,
        host={**HOST, "workspaces": {"dev": ["host"]}},
        member={"left": {"workspaces": ["dev"]}},
        conf={"waive": ["workspace-conflict"]},
    ),
    named(21, "a workspace is restored in the middle", versions=NEW, before={"import_cluster": lay_workspace}),
    survived(22, "an account of another host is left", "federation-accounts", member={"left": {"accounts": ["old"]}}),
    stopped(
        22,
        "kube-federation-system is Terminating",
        "federation-namespace",
        member={"left": {"accounts": ["old"], "namespace_terminating": True}},
    ),
    named(
        22,
        "kube-federation-system is Terminating, waived",
        member={"left": {"accounts": ["old"], "namespace_terminating": True}},
        conf={"waive": ["federation-namespace"]},
    ),
    named(
        23, "the agent's image on the member", ways=PROXY, member={"kubernetes": {"unpullable": ["kubesphere/tower"]}}
    ),
    named(
        23,
        "tower's image on a new host",
        host={"kubernetes": {"unpullable": ["kubesphere/tower"]}},
        conf={"host_installer_timeout": 8},
    ),
    stopped(
        24,
        "Kubernetes 1.18 under KubeSphere 3.4",
        "member-kubernetes",
        versions=NEW,
        member={"kubernetes": {"version": "v1.18.8"}},
    ),
    named(
        24,
        "Kubernetes 1.18 under KubeSphere 3.4, waived",
        versions=NEW,
        member={"kubernetes": {"version": "v1.18.8"}},
        conf={"waive": ["member-kubernetes"]},
    ),
    stopped(
        24,
        "Kubernetes 1.25 serves no batch/v1beta1",
        "member-apiserver",
        perhaps=("member-kubernetes",),
        member={"kubernetes": {"version": "v1.25.3"}},
    ),
    stopped(
        24,
        "Kubernetes 1.24 for a host of KubeSphere 3.0",
        "member-kubernetes",
        versions=OLD,
        member={"kubernetes": {"version": "v1.24.3"}},
    ),
    named(
        24,
        "Kubernetes 1.24 for a host of KubeSphere 3.0, waived",
        "P-27",
        versions=OLD,
        member={"kubernetes": {"version": "v1.24.3"}},
        conf={"waive": ["member-kubernetes"]},
    ),
    stopped(25, "an older member", "member-version", versions=NEW, member={"kubesphere": "v3.0.0"}),
    stopped(
        25, "a member that is newer than its host", "member-version", versions=OLD, member={"kubesphere": "v3.4.1"}
    ),
    # The host's machinery.
    stopped(
        26,
        "ks-controller-manager is scaled to nothing",
        "host-processes",
        perhaps=("host-webhook",),
        host={**HOST, "workloads": {"ks-controller-manager": "stopped"}},
    ),
    named(
        26, "it is scaled to nothing in the middle", before={"import_cluster": scale("host", "ks-controller-manager")}
    ),
    stopped(
        27, "left behind by an earlier KubeSphere", "host-webhook", versions=NEW, host={**HOST, "webhook": "stale"}
    ),
    named(
        27,
        "left behind by an earlier KubeSphere, waived",
        versions=NEW,
        host={**HOST, "webhook": "stale"},
        conf={"waive": ["host-webhook"]},
    ),
    named(
        28,
        "a join finds the name Terminating",
        versions=NEW,
        ways=DIRECT,
        host=HOST,
        member={**JOINED, "kubernetes": {"firewall": True}},
        before={"preflight": delete_cluster},
    ),
    named(
        28,
        "the network closes, and a join cannot be rolled back",
        versions=NEW,
        ways=DIRECT,
        before={"verify_join": all_of(firewall, edit_settings("", OWN_SECRET))},
        conf={"on_failure": "rollback", "ready_timeout": 30},
    ),
    named(
        29,
        "kubefed's webhook crashes",
        host={"workloads": {"kubefed-admission-webhook": "crashing"}},
        conf={"host_installer_timeout": 8},
    ),
    named(29, "the installer's own words", host={"installer": {"fail": "component"}}),
    survived(
        30,
        "kubefed is stopped before the proof",
        "users-synchronise",
        "workspaces-synchronise",
        before={"verify_join": scale("host", "kubefed-controller-manager", namespace=FED)},
    ),
    # ks-controller-manager federates the member without it (6.3, 6.4).
    survived(
        30,
        "kubefed is stopped before the import",
        "users-synchronise",
        "workspaces-synchronise",
        before={"import_cluster": scale("host", "kubefed-controller-manager", namespace=FED)},
    ),
    named(
        33,
        "the host's ks-apiserver is down from the beginning",
        "failures-17",
        host={**HOST, "workloads": {"ks-apiserver": "stopped"}},
    ),
    named(
        33,
        "the host's ks-apiserver is scaled to nothing before the proof",
        "failures-17",
        before={"verify_join": scale("host", "ks-apiserver")},
    ),
    survived(
        34,
        "a proxy Cluster without joinFederation",
        "cluster-federation",
        ways=PROXY,
        host={**HOST, "clusters": {"m1": {"joins": False}}},
    ),
    survived(
        34,
        "a direct Cluster without joinFederation",
        "cluster-federation",
        ways=DIRECT,
        host={**HOST, "clusters": {"m1": {"of": "m1", "joins": False}}},
    ),
    named(
        34,
        "somebody makes the Cluster anew without joinFederation",
        before={"wait_agent_ready": made_anew(lambda spec: spec.pop("joinFederation", None))},
    ),
    # Tower and agents.
    named(
        35,
        "tower crashes",
        host={**HOST, "workloads": {"tower": "crashing"}},
        conf={"host_installer_timeout": 8},
    ),
    stopped(35, "tower was deleted", "tower-running", host={**HOST, "workloads": {"tower": "missing"}}),
    named(
        35, "tower is scaled to nothing in the middle", ways=PROXY, before={"import_cluster": scale("host", "tower")}
    ),
    named(35, "the agent is scaled to nothing", ways=PROXY, before={"wait_agent_ready": scale("m1", "cluster-agent")}),
    survived(
        36,
        "the port of another member is drawn",
        ways=PROXY,
        host={**HOST, "tower_ports": [6100, 6100, 6200]},
        others=(SHARED,),
    ),
    named(36, "it is drawn again and again", ways=PROXY, host={**HOST, "tower_ports": CHOSEN_CLASH}, others=(SHARED,)),
    survived(
        37,
        "an agent of an earlier import",
        "agent",
        ways=PROXY,
        member={"agent": {"name": "m1", "token": "0ld", "server": f"http://{LOAD_BALANCER}:8080"}},
    ),
    named(37, "the manifest of an earlier import is applied again", ways=PROXY, before={"wait_agent_ready": old_token}),
    named(37, "the Cluster is made anew in the middle", ways=PROXY, before={"wait_agent_ready": made_anew()}),
    stopped(
        40,
        "the kubeconfig that tower writes, by the name of its Service",
        "import_conn_id",
        ways=DIRECT,
        connections={"imported": {"cluster": "m1", "server": "https://mc-m1.kubesphere-system.svc:6443"}},
        conf={"member_server": None, "import_conn_id": "imported"},
    ),
    # Its certificate is genuine (6.5), but not for that address, where Airflow gets no answer, or somebody else's.
    stopped(
        40,
        "the address in the kubeconfig that tower writes, that of a Service of the host",
        "server-name",
        ways=DIRECT,
        conf={"member_server": "https://10.233.0.77:6443"},
    ),
    named(
        40,
        "the address of a Service, waived",
        "P-24",
        ways=DIRECT,
        conf={"member_server": "https://10.233.0.77:6443", "waive": ["server-name"]},
    ),
)

COMBINED = (
    stopped(
        9,
        "a clock two minutes ahead, and ks-apiserver scaled to nothing",
        "clock-skew",
        "member-apiserver",
        also=17,
        member={"kubernetes": {"clock": 120}, "workloads": {"ks-apiserver": "stopped"}},
    ),
    stopped(
        21,
        "a workspace of the host's, and kube-federation-system Terminating",
        "workspace-conflict",
        "federation-namespace",
        also=22,
        host={**HOST, "workspaces": {"dev": ["host"]}},
        member={"left": {"workspaces": ["dev"], "namespace_terminating": True}},
    ),
    stopped(
        26,
        "neither ks-controller-manager nor tower runs",
        "host-processes",
        "tower-running",
        also=35,
        perhaps=("host-webhook",),
        host={**HOST, "workloads": {"ks-controller-manager": "stopped", "tower": "stopped"}},
    ),
    stopped(
        25,
        "an older member with a wrong clock",
        "member-version",
        "clock-skew",
        also=9,
        versions=NEW,
        member={"kubesphere": "v3.0.0", "kubernetes": {"clock": -60}},
    ),
    stopped(
        8,
        "tokens that expire, and a credential without rights",
        "access-tokens",
        "imported-rights",
        also=15,
        versions=NEW,
        ways=DIRECT,
        member={"role": "member", "secret": "host", "access_token_max_age": "2h"},
        **_imported(identity="account", forbid=[{"verb": "get", "resource": "services/proxy"}]),
    ),
    named(
        7,
        "secret and role are changed before the proof",
        "failures-7",
        "failures-10",
        also=10,
        versions=NEW,
        before={
            "verify_join": all_of(
                edit_settings("clusterRole: member", "clusterRole: none"), edit_settings("", OWN_SECRET)
            )
        },
    ),
    named(
        2,
        "the certificate has expired and lacks the address",
        "failures-2",
        "failures-11",
        also=11,
        ways=DIRECT,
        member=_certificate(days=-3, names_address=False),
    ),
    named(
        5,
        "a wrong port, and an image that cannot be pulled",
        "failures-5",
        "failures-23",
        also=23,
        ways=PROXY,
        host=NO_BALANCER,
        member={"kubernetes": {"unpullable": ["kubesphere/tower"]}},
        conf={"proxy_publish_address": "http://10.20.0.1:8080", "waive": ["tower-port"]},
    ),
    named(
        3,
        "a certificate of nobody's, and nobody who looks at it",
        "failures-3",
        "failures-26",
        also=26,
        ways=DIRECT,
        member=_certificate(issuer="foreign"),
        before={"import_cluster": scale("host", "ks-controller-manager")},
    ),
    named(
        6,
        "a gateway breaks websockets, and the agent has an old token",
        "failures-6",
        "failures-37",
        also=37,
        before={"wait_agent_ready": old_token},
        **_published(8080, "gateway"),
    ),
    named(
        35,
        "tower and ks-controller-manager are scaled to nothing in the middle",
        "failures-35",
        "failures-26",
        also=26,
        ways=PROXY,
        before={"import_cluster": all_of(scale("host", "tower"), scale("host", "ks-controller-manager"))},
    ),
)

ALL_SCENES = (*SCENES, *COMBINED)


def plays(chosen=ALL_SCENES):
    """Return (place of the scene, connection type, version) of everything that is to be played."""
    return [
        (number, way, version)
        for number, scene in enumerate(ALL_SCENES)
        if scene in chosen
        for way in scene.ways
        for version in scene.versions
    ]
