"""The table of causes: each is recognised in different words and states, and not in what only looks like it."""

import collections
import dataclasses
import json
import re
import string

import pytest

from include.fleet import causes
from include.fleet.evidence import HOST, MEMBER, Credential, Evidence, Line, Member, Rollout, Side, Source
from tests.fleet import diagnosis_page

UP = dict.fromkeys(
    (
        "ks-installer",
        "ks-apiserver",
        "ks-controller-manager",
        "tower",
        "kubefed-controller-manager",
        "kubefed-admission-webhook",
        "cluster-agent",
    ),
    Rollout.AVAILABLE,
)
SECRET, OTHER = "sha256:0123456789ab", "sha256:ba9876543210"
H = Side(
    name="host cluster (connection h)",
    release="3.4",
    role="host",
    asked_role="host",
    fingerprint=SECRET,
    deployments=UP,
    token_age="0s",
)
M = Side(
    name="member cluster (connection m)",
    release="3.4",
    role="member",
    asked_role="member",
    fingerprint=SECRET,
    cluster_name="m1",
    deployments=UP,
    token_age="0s",
)
FAILING = {"Federated": "False", "Ready": "False"}
JOINED = {"Federated": "True", "Ready": "True"}
URL = "https://10.20.1.1:6443/api/v1/namespaces/kube-federation-system/serviceaccounts/m1-kubesphere"


def said(source, side=HOST, about=""):
    return lambda text, at=side: Line(source, at, text, about)


condition = said(Source.CONDITION, about="Federated=False")
event = said(Source.EVENT, about="JoinFederation")
controller = said(Source.CONTROLLER)
tower = said(Source.TOWER)
agent = said(Source.AGENT, MEMBER)
installer = said(Source.INSTALLER, MEMBER)
answer = said(Source.ANSWER)
error = said(Source.ERROR)
request = said(Source.REQUEST, MEMBER)


def pod(name, text, side=HOST):
    return Line(Source.POD, side, text, name)


def direct(*lines, step="wait_agent_ready", kind="NotReadyError", conditions=FAILING, host=(), member=(), **changes):
    """A member that is to be joined directly; without a change nothing is wrong but that it is not Ready."""
    of_cluster = changes.pop("cluster", {})
    cluster = {
        "conditions": conditions,
        "taken_up": True,
        "server": "https://10.20.1.1:6443",
        "credential": Credential.USABLE,
        **(of_cluster or {}),
    }
    return Evidence(
        **{
            "step": step,
            "kind": kind,
            "connection": "direct",
            "name": "m1",
            "host": dataclasses.replace(H, **dict(host)),
            "member": dataclasses.replace(M, **dict(member)),
            "uid": "uid-m1",
            "cluster": None if of_cluster is None else Member(**cluster),
            "said": lines,
            **changes,
        }
    )


def proxy(*lines, connected=False, **changes):
    """A member that is to be joined through tower."""
    conditions = {"Initialized": "True", **({"AgentAvailable": "True"} if connected else {})}
    fields = {
        "connection": "proxy",
        "kind": "DeadlineError",
        "conditions": conditions,
        "address": "http://139.198.110.23:8080",
        "balanced": True,
        "node_port": 30721,
    }
    return direct(*lines, **{**fields, **changes})


def installing(*lines, step="wait_installer", kind="InstallerFailedError", **changes):
    """ks-installer has given up on one side."""
    return direct(*lines, step=step, kind=kind, **{"cluster": None, **changes})


def proving(*lines, kind="DeadlineError", **changes):
    """A Ready member that is not proven as joined."""
    return direct(*lines, step="verify_join", kind=kind, conditions=JOINED, **changes)


def down(name, state=Rollout.UNAVAILABLE):
    return {"deployments": {**UP, name: state}}


REFUSED = f'Get "{URL}": dial tcp 10.20.1.1:6443: connect: connection refused'
GONE = Rollout.MISSING
INSTALLER_LOG = "ks-installer on {} cluster (connection x) ended without finishing: y. Its log says:\n    "

CASES = {
    "failures-20": [
        direct(error("cluster new already exists (old), MUST not import the same cluster twice")),
        direct(
            error("Refused to join m1: the host has this cluster already, as other (kube-system UID u); join it so"),
            step="import_cluster",
            kind="RefusedError",
        ),
    ],
    "failures-18": [
        direct(
            error("Refused to join m1: the member belongs to another host, which calls it theirs; take it out there"),
            step="import_cluster",
            kind="RefusedError",
        ),
        proving(member={"cluster_name": "site-7", "fingerprint": OTHER}),
    ],
    "P-31": [
        direct(cluster={"labelled_host": True}, conditions=JOINED),
        direct(
            controller(
                "Error create host cluster, error there MUST not be more than one host clusters, while there are 2"
            ),
            kind="DeadlineError",
        ),
    ],
    "failures-36": [
        proxy(connected=True, cluster={"uid": "uid-m2", "conditions": JOINED}),
        proxy(
            error("Each port of tower that was drawn for Cluster m1 is another member's; the last one, 6100, is m2's."),
            kind="NotReadyError",
            step="deploy_agent",
        ),
        proving(
            error(
                "The host's ks-apiserver forwards requests for m1 to another cluster: kube-system UID a instead of b"
            ),
            kind="VerificationError",
        ),
        direct(
            error("this kubeconfig corresponds to a different cluster than the previous one, you need to make sure")
        ),
    ],
    "failures-21": [
        direct(
            condition(
                "The workspace w1 is found in the target member cluster m1, which is conflict with "
                "the workspace on host"
            )
        ),
        direct(
            error("Cluster m1 cannot join: The workspace blue-team is found in the target member cluster m1, which")
        ),
    ],
    "failures-28": [
        direct(
            controller(
                'syncing cluster m1: admission webhook "validating-cluster.kubesphere.io" denied the request: Get '
                '"https://10.20.1.1:6443/api/v1/namespaces/kube-system": dial tcp 10.20.1.1:6443: i/o timeout'
            )
        ),
        direct(
            error("Waited 60 s for Cluster m1 of an earlier join to be gone. Last seen: it is being deleted."),
            step="import_cluster",
            kind="DeadlineError",
            cluster={"deleting": True},
        ),
    ],
    "failures-27": [
        direct(
            condition(
                'Internal error occurred: failed calling webhook "validating-cluster.kubesphere.io": '
                'Post "https://ks-controller-manager.kubesphere-system.svc:443/x": x509: certificate signed '
                "by unknown authority"
            )
        ),
        direct(
            error(
                "patch clusters/m1: 500: failed calling webhook validating-cluster.kubesphere.io: "
                "service ks-controller-manager not found"
            ),
            step="import_cluster",
            kind="UnavailableError",
        ),
    ],
    "P-34": [
        direct(
            error(
                'create clusters/m1: 500: failed calling webhook "users.iam.kubesphere.io": Post "https://x": x509: y'
            ),
            step="import_cluster",
            kind="UnavailableError",
        ),
        direct(
            error(
                '500: failed calling webhook "networkpolicies.network.kubesphere.io": dial tcp '
                "10.233.1.1:443: connect: connection refused"
            ),
            step="configure_host",
            kind="UnavailableError",
        ),
    ],
    "failures-16": [
        proving(answer('404 services "ks-apiserver" not found')),
        direct(condition("the server could not find the requested resource (get workspaces.tenant.x)")),
        proxy(
            error(
                "There is no serviceaccounts/kubesphere in kubesphere-system on the member cluster (connection m)",
                MEMBER,
            ),
            step="deploy_agent",
            kind="UnsupportedError",
        ),
    ],
    "failures-24": [
        installing(error(INSTALLER_LOG.format("member") + "The current Kubernetes version is not supported !", MEMBER)),
        installing(installer('fatal: [localhost]: FAILED! => {"msg": "The current k8s version is not supported"}')),
        direct(controller("error syncing cluster m1: failed to fetch group version resources batch/v1beta1")),
    ],
    "P-27": [
        direct(event("timed out waiting for the condition"), host={"release": "3.0"}),
        direct(
            event("error creating: timed out waiting for the condition"),
            host={"release": "3.0"},
            cluster={"kubernetes": "v1.26.4"},
        ),
    ],
    "failures-22": [
        direct(condition("service account: m1-host already exists in joining cluster m1")),
        direct(
            event(
                'serviceaccounts "m1-kubesphere" is forbidden: unable to create new content in namespace '
                "kube-federation-system because it is being terminated"
            ),
            host={"release": "3.0"},
        ),
    ],
    "failures-23": [
        proxy(
            pod("cluster-agent-5d9f-x", 'ImagePullBackOff: Back-off pulling image "kubesphere/tower:v9"', MEMBER),
            member=down("cluster-agent"),
        ),
        installing(
            pod("tower-77-abc", "ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image"),
            kind="DeadlineError",
        ),
    ],
    "failures-29": [
        installing(
            error(INSTALLER_LOG.format("host") + "Task 'multicluster' failed:\n    fatal: [localhost]: FAILED!")
        ),
        installing(
            installer("task multicluster status is failed  (4/4)", HOST),
            error(
                "Waited 60 s for ks-installer on the host cluster (connection h). Last seen: status.multicluster is not"
            ),
            kind="DeadlineError",
        ),
        installing(
            error(
                "Waited 60 s for ks-installer on the host cluster (connection h). Last seen: the installer is running"
            ),
            kind="DeadlineError",
            host=down("kubefed-admission-webhook"),
        ),
    ],
    "P-15": [
        installing(
            installer(
                'fatal: FAILED! => {"cmd": "/root/jwt-script/jwt.sh <sha256:1>", "stderr": "/bin/sh: 1: Syntax error: '
                '\\"(\\" unexpected"}'
            )
        ),
        direct(
            error(
                "The jwtSecret of the host cluster (connection h) has characters that ks-installer cannot pass on to a"
            ),
            step="configure_member",
            kind="UnsupportedError",
        ),
    ],
    "P-14": [
        installing(
            installer("fatal: FAILED! => {'msg': \"AnsibleUndefined: 'dict object' has no attribute 'clusterRole'\"}")
        ),
        installing(
            error(
                INSTALLER_LOG.format("member")
                + "An option with an undefined variable. The error was: 'dict object' has no attribute "
                "'clusterRole'",
                MEMBER,
            )
        ),
    ],
    "P-37": [
        proxy(agent("Connection error: dial tcp 1.2.3.4:8080: connect: connection refused"), host=down("tower", GONE)),
        proxy(step="resolve_tower_address", service_missing=True, address="", balanced=None),
        installing(
            error(
                "On the host cluster (connection h) there is no Deployment tower, and ks-installer does not restore it"
            ),
            kind="NotReadyError",
        ),
    ],
    "P-6": [
        direct(condition('no matches for kind "KubeFedCluster" in version "core.kubefed.io/v1beta1"')),
        direct(event("x: connection refused"), host=down("kubefed-controller-manager", GONE)),
        direct(
            condition(
                'Internal error occurred: failed calling webhook "kubefedclusters.core.kubefed.io": '
                'Post "https://kubefed-admission-webhook.kube-federation-system.svc:443": no endpoints available'
            )
        ),
        installing(
            error(
                "On the host cluster (connection h) there is no Deployment kubefed-controller-manager, and ks-installer"
            ),
            kind="NotReadyError",
        ),
    ],
    "P-5": [
        installing(error(INSTALLER_LOG.format("member") + "localhost : ok=23 changed=18 failed=1 skipped=11", MEMBER)),
        installing(installer("Default StorageClass was not found !")),
        installing(
            error("Waited 60 s for ks-installer on the member cluster (connection m).", MEMBER),
            kind="DeadlineError",
            member=down("ks-installer"),
        ),
        installing(error(INSTALLER_LOG.format("host") + "Traceback\n    KeyError: 'es'\n    Failed count is 5")),
    ],
    "P-7": [
        installing(
            error("clusterconfigurations/ks-installer of the host cluster (connection h) is being made anew."),
            step="configure_host",
            kind="UnavailableError",
        ),
        installing(
            error("Waited 60 s for ks-installer. Last seen: its ClusterConfiguration is being made anew. See the log."),
            kind="DeadlineError",
        ),
    ],
    "failures-26": [
        direct(host=down("ks-controller-manager", GONE), conditions={}, kind="DeadlineError"),
        direct(
            error("The host's controller has not touched Cluster m1 on the host cluster (connection h) in 360 s."),
            conditions={},
            cluster={"taken_up": False},
        ),
        proving(error("Waited 9 s. Last seen: Ready is True, but has not been refreshed since 2026-11-23 11:54:59Z.")),
    ],
    "failures-37": [
        proxy(agent("Connection error: Unauthorized agent (Attempt: 11)")),
        proxy(agent_differences=("--token",)),
        proxy(agent("Connection error: EOF"), agent_differences=("--name",)),
    ],
    "P-17": [
        proxy(agent('parse "139.198.110.23:8080": first path segment in URL cannot contain colon')),
        proxy(
            agent("Connection error: tls: first record does not look like a TLS handshake (Attempt: 2)"),
            address="https://tower.example.com:8080",
            member=down("cluster-agent"),
        ),
        proxy(agent("Connection error: http: server gave HTTP response to HTTPS client")),
    ],
    "failures-4": [
        proxy(
            error(
                "Waited 300 s for an address of tower on the host. Last seen: tower has no address. Its LoadBalancer is"
            ),
            step="resolve_tower_address",
            address="",
            balanced=False,
        ),
        proxy(step="deploy_agent", address="", balanced=False),
    ],
    "failures-35": [
        proxy(agent("Connection error: websocket: bad handshake"), host=down("tower")),
        proxy(agent("Connection error: A session already allocated for this client. (Attempt: 4)")),
        proxy(member=down("cluster-agent")),
        installing(
            error("Waited 60 s for ks-installer on the host. Last seen: Deployment tower is not available."),
            kind="DeadlineError",
            host=down("tower"),
        ),
    ],
    "failures-17": [
        proving(answer('503 no endpoints available for service ":ks-apiserver:"')),
        proving(member=down("ks-apiserver")),
        installing(
            error("Waited 60 s. Last seen: Deployment ks-apiserver is not rolled out yet.", MEMBER),
            kind="DeadlineError",
        ),
    ],
    "failures-14": [
        direct(condition("getting credentials: exec: executable aws not found")),
        direct(condition('Get "x": no Auth Provider found for name "gcp"')),
        direct(cluster={"credential": Credential.FILES}, conditions={}),
    ],
    "failures-13": [
        direct(
            condition('User "system:anonymous" cannot create resource "namespaces" in API group ""'),
            cluster={"credential": Credential.NONE},
        ),
        direct(condition("Unauthorized"), cluster={"credential": Credential.NONE}),
    ],
    "P-25": [
        direct(
            error("The host's controller has taken up Cluster m1 and written no condition in 120 s."),
            conditions={},
            cluster={"credential": Credential.UNREADABLE},
        ),
        direct(
            controller(
                "error syncing cluster m1: failed to create cluster config for m1: couldn't get version/kind; json"
            ),
            conditions={},
        ),
    ],
    "failures-15": [
        direct(
            condition(
                'clusterroles.rbac is forbidden: User "joiner" cannot create resource '
                '"clusterroles" in API group "rbac.authorization.k8s.io" at the cluster scope'
            )
        ),
        direct(
            error(
                'patch deployments/x on the member cluster (connection m): 403 Forbidden: deployments.apps "x" is '
                'forbidden: User "airflow" cannot patch resource "deployments" in API group "apps"',
                MEMBER,
            ),
            step="deploy_agent",
            kind="ForbiddenError",
        ),
        direct(
            condition(
                'services ":ks-apiserver:" is forbidden: User "system:anonymous" cannot get '
                'resource "services/proxy" in API group ""'
            )
        ),
    ],
    "failures-38": [
        proxy(condition("Unauthorized"), connected=True),
        proxy(
            condition("the server has asked for the client to provide credentials (get namespaces)"),
            connected=True,
        ),
    ],
    "failures-9": [
        proving(answer("401 Unauthorized: token used before issued")),
        direct(
            condition(
                "x509: certificate has expired or is not yet valid: current time 2026-11-23T10:00:00Z is "
                "before 2026-11-23T11:00:00Z"
            )
        ),
    ],
    "failures-11": [
        proxy(agent("Connection error: x509: certificate has expired (Attempt: 2)"), address="https://t.example.com"),
        direct(condition("the server has asked for the client to provide credentials")),
        direct(
            event(
                f'"{URL}": x509: certificate has expired or is not yet valid: current time 2026-11-23T10:00Z is after '
                "2026-01-01T00:00:00Z"
            )
        ),
        direct(
            error("read clusters/m1 on the host cluster (connection h): 401 Unauthorized: Unauthorized. Renew it."),
            kind="CredentialError",
        ),
    ],
    "failures-2": [
        direct(condition(f'Get "{URL}": x509: certificate is valid for 10.233.0.1, 127.0.0.1, not 1.2.3.4')),
        direct(
            event(
                f'"{URL}": tls: failed to verify certificate: x509: cannot validate certificate for 1.2.3.4 because it '
                "doesn't contain any IP SANs"
            )
        ),
        direct(
            request(
                "list clusters on the host cluster (connection h): no answer: Cannot connect to host api:6443 ssl:True "
                "[SSLCertVerificationError: Hostname mismatch, certificate is not valid for 'api'.]",
                HOST,
            ),
            kind="UnreachableError",
        ),
    ],
    "failures-3": [
        direct(condition(f'Get "{URL}": x509: certificate signed by unknown authority')),
        direct(
            condition(
                'x509: certificate signed by unknown authority (possibly because of "crypto/rsa: '
                'verification error" while trying to verify candidate authority certificate "kubernetes")'
            )
        ),
        direct(
            request(
                "read namespaces/kube-system on the member cluster (connection m): no answer: Cannot connect to host "
                "1.2.3.4:6443 [certificate verify failed: self-signed certificate in certificate chain]"
            ),
            step="prepare_kubeconfig",
            kind="UnreachableError",
        ),
    ],
    "failures-1": [
        direct(condition(f'Get "{URL}": dial tcp: lookup lb.kubesphere.local on 169.254.25.10:53: no such host')),
        direct(event("dial tcp: lookup api.corp on 10.0.0.2:53: read udp 10.1.1.1:3->10.0.0.2:53: i/o timeout")),
        proxy(agent("Connection error: dial tcp: lookup tower.internal: no such host (Attempt: 7)")),
    ],
    "failures-6": [
        proxy(agent("Connection error: websocket: bad handshake (Attempt: 1)")),
        proxy(agent("Connection error: bad handshake"), address="http://proxy.example.com"),
    ],
    "failures-34": [
        direct(cluster={"federates": False}, conditions={}, kind="DeadlineError"),
        proxy(cluster={"federates": False}, conditions={}, step="deploy_agent"),
    ],
    "failures-7": [
        proving(member={"fingerprint": OTHER}, kind="VerificationError"),
        proving(answer("401 Unauthorized: signature is invalid"), member={"fingerprint": OTHER}),
        proving(
            answer("400 failed to validate: hostcluster Jwt is not equal to member cluster jwt, please edit"),
            member={"fingerprint": ""},
        ),
    ],
    "P-10": [
        proving(answer("401 Unauthorized: signature is invalid")),
        proving(error("Waited 300 s. Last seen: a ks-apiserver has not loaded the jwtSecret yet.")),
    ],
    "failures-10": [
        proving(member={"role": "none", "asked_role": "none"}),
        proving(answer("400 err: the clusterRole of the member cluster must be 'member'"), member={"role": None}),
        proving(host={"role": "none"}),
    ],
    "P-12": [
        proving(
            answer("401 Unauthorized: token not found in cache"), member={"own_oauth": True, "token_age": "2h0m0s"}
        ),
        proving(member={"own_oauth": True, "token_age": "1h"}),
    ],
    "failures-8": [
        proving(answer("401 Unauthorized: token not found in cache"), member={"token_age": "2h0m0s"}),
        proving(member={"token_age": "", "release": "3.0", "role": "none"}, host={"release": "3.0"}),
    ],
    "failures-33": [
        proving(answer("500 cluster m1 is not ready")),
        proving(error("Waited 30 s. Last seen: the host's ks-apiserver does not see the member as ready yet.")),
    ],
    "P-32": [
        direct(condition(REFUSED), member={"silent": "Connect call failed ('10.20.1.1', 6443)"}),
        proving(
            error("Waited 9 s. Last seen: Ready is True, but has not been refreshed since 2026-11-23 11:54:59Z."),
            member={"silent": "no answer in time"},
        ),
        direct(
            request(
                "read namespaces/kube-system on the member cluster (connection m): no answer: Cannot connect to host "
                "10.20.1.1:6443 ssl:default [Connect call failed ('10.20.1.1', 6443)]."
            ),
            kind="UnreachableError",
        ),
    ],
    "P-22": [
        proxy(error("Waited 60 s for Cluster m1 to be initialised"), step="deploy_agent", conditions={}),
        proxy(
            condition("dial tcp 10.233.0.9:6443: connect: connection refused"),
            connected=True,
        ),
    ],
    "failures-5": [
        proxy(agent("Connection error: dial tcp 139.198.110.23:8081: connect: connection refused (Attempt: 1)")),
        proxy(
            agent("Connection error: dial tcp 10.0.0.7:8080: i/o timeout (Attempt: 23)"),
            address="http://10.0.0.7:8080",
            balanced=False,
        ),
    ],
    "P-24": [
        direct(condition(REFUSED)),
        direct(event(f'Get "{URL}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)')),
        direct(
            error("The host cannot reach Cluster m1: Federated is False: dial tcp 127.0.0.1:6443: no route to host")
        ),
    ],
    "failures-25": [
        proving(host={"release": "3.0", "role": "host"}),
        direct(member={"release": "3.0"}, kind="DeadlineError", conditions={}),
    ],
}
"""By cause: what must have it as its first diagnosis."""

NEAR_MISSES = {
    "failures-20": [direct(error("the object has been modified; the same cluster twice a day"))],
    "failures-18": [
        proving(member={"cluster_name": "m1", "fingerprint": OTHER}),
        direct(member={"cluster_name": "of-an-earlier-join", "fingerprint": OTHER}),
    ],
    "P-31": [direct(conditions=JOINED)],
    "failures-36": [direct(cluster={"uid": "uid-m1"}), direct(cluster={"uid": ""})],
    "failures-21": [direct(condition("the workspace controller is not found"))],
    "failures-28": [
        direct(
            error(
                'admission webhook "validating-cluster.kubesphere.io" denied the request: this kubeconfig corresponds'
            )
        ),
        direct(error('admission webhook "validating-cluster.kubesphere.io" denied the request: Unauthorized.')),
        direct(controller('failed calling webhook "validating-cluster.kubesphere.io": x509')),
        direct(error("clusters/m1 was deleted while it was waited for."), cluster={"deleting": True}),
    ],
    "failures-27": [
        direct(controller('failed calling webhook "kubefedclusters.core.kubefed.io": x509: y')),
        direct(
            controller('failed calling webhook "validating-cluster.kubesphere.io": no endpoints available'),
            host={"deployments": {"ks-controller-manager": Rollout.UNAVAILABLE}},
        ),
    ],
    "P-34": [direct(condition('failed calling webhook "federatedtypeconfigs.core.kubefed.io": x509: y'))],
    "failures-16": [
        direct(condition("the server could not find the requested resource")),
        proving(answer('404 namespaces "kube-system" not found')),
    ],
    "failures-24": [
        direct(controller("W1126 m1: policy/v1beta1 PodSecurityPolicy is deprecated in v1.21+, unavailable in v1.25+")),
        direct(condition('no matches for kind "KubeFedCluster" in version "core.kubefed.io/v1beta1"')),
    ],
    "P-27": [
        direct(condition("timed out waiting for the condition")),
        direct(
            event("timed out waiting for the condition"), host={"release": "3.0"}, cluster={"kubernetes": "v1.18.6"}
        ),
    ],
    "failures-22": [direct(condition('secrets "m1-secret" already exists'))],
    "failures-23": [
        proxy(pod("cluster-agent-x", "CrashLoopBackOff: back-off 5m0s restarting failed container", MEMBER))
    ],
    "failures-29": [
        installing(installer("task multicluster status is successful  (4/4)", HOST)),
        direct(installer("Task 'multicluster' failed:", HOST)),
        installing(
            error(INSTALLER_LOG.format("member") + "failed=1", MEMBER), installer("Task 'multicluster' failed:", HOST)
        ),
    ],
    "P-15": [
        installing(installer('{"cmd": "/root/jwt-script/jwt.sh <sha256:1>", "stderr": "/bin/sh: openssl: not found"}'))
    ],
    "P-14": [installing(installer("'dict object' has no attribute 'jwtSecret'"))],
    "P-37": [
        direct(host=down("tower", GONE)),
        installing(step="wait_installer", kind="DeadlineError", host=down("tower", GONE)),
        proxy(error("no Deployment cluster-agent")),
    ],
    "P-6": [
        proving(host=down("kubefed-controller-manager")),
        installing(kind="DeadlineError", host=down("kubefed-controller-manager", GONE)),
    ],
    "P-5": [
        direct(installer("fatal: [localhost]: FAILED!")),
        installing(error("Waited 60 s", MEMBER), kind="DeadlineError", host=down("ks-installer")),
        installing(error("Waited 60 s for ks-installer. Last seen: the installer is running"), kind="DeadlineError"),
    ],
    "P-7": [direct(error("Cluster m1 is being deleted"), kind="DeadlineError")],
    "failures-26": [
        installing(kind="DeadlineError", host=down("ks-controller-manager")),
        proving(
            error("Last seen: Ready is True, but has not been refreshed since 2026-11-23"),
            member={"silent": "no answer"},
        ),
    ],
    "failures-37": [
        proxy(agent("Connection error: Unauthorized agent"), connected=True),
        proxy(agent("Connection error: Unauthorized (401)")),
        proxy(agent_differences=("--proxy-server",)),
    ],
    "P-17": [proxy(agent("Connection error: net/http: TLS handshake timeout"))],
    "failures-4": [
        proxy(step="deploy_agent", address="http://10.0.0.7:30721", balanced=False),
        installing(connection="proxy", address="", balanced=False, kind="DeadlineError"),
    ],
    "failures-35": [
        direct(host=down("tower")),
        installing(error("Waited 60 s for the installer", MEMBER), kind="DeadlineError", host=down("tower")),
        proxy(member=down("cluster-agent"), connected=True),
        proxy(member=down("cluster-agent"), step="deploy_agent"),
    ],
    "failures-17": [
        direct(member=down("ks-apiserver")),
        proving(answer('503 no endpoints available for service "tower"')),
    ],
    "failures-14": [
        direct(cluster={"credential": Credential.PLUGIN}, conditions=JOINED),
        direct(condition("exec format error")),
    ],
    "failures-13": [
        direct(condition('User "system:anonymous" cannot get path "/"')),
        proxy(cluster={"credential": Credential.NONE}),
    ],
    "P-25": [proxy(cluster={"credential": Credential.UNREADABLE}), direct(cluster={"credential": None}, conditions={})],
    "failures-15": [direct(condition('pods "x" is forbidden: exceeded quota: compute'))],
    "failures-38": [
        direct(condition("Unauthorized")),
        proxy(agent("Connection error: Unauthorized agent")),
    ],
    "failures-9": [
        direct(
            condition(
                "x509: certificate has expired or is not yet valid: current time 2026-11-23T"
                "10:00:00Z is after 2026-01-01T00:00:00Z"
            )
        )
    ],
    "failures-11": [
        proxy(agent("Connection error: Unauthorized agent")),
        proving(answer("401 Unauthorized: token not found in cache")),
        direct(
            condition(
                "x509: certificate has expired or is not yet valid: current time 2026-11-23T10:00:00Z "
                "is before 2026-11-24T00:00:00Z"
            )
        ),
    ],
    "failures-2": [direct(condition("x509: certificate signed by unknown authority"))],
    "failures-3": [
        direct(
            controller('m1: failed calling webhook "x.kubesphere.io": x509: certificate signed by unknown authority')
        ),
        direct(condition("x509: certificate is valid for a, not b")),
    ],
    "failures-1": [
        direct(condition("dial tcp 10.0.0.2:53: connect: connection refused")),
        proxy(agent("Connection error: lookup x: no such host"), connected=True),
    ],
    "failures-6": [
        direct(agent("Connection error: websocket: bad handshake")),
        proxy(agent("bad handshake"), connected=True),
    ],
    "failures-34": [direct(cluster={"federates": False}, step="wait_installer")],
    "failures-7": [
        direct(member={"fingerprint": OTHER}),
        proving(answer("401 Unauthorized: signature is invalid")),
        proving(member={"fingerprint": ""}),
    ],
    "P-10": [proving(answer("401 Unauthorized: signature is invalid"), member={"fingerprint": OTHER})],
    "failures-10": [
        direct(member={"role": "none"}),
        proving(member={"role": None}),
        proving(member={"role": "none", "release": "3.0", "token_age": "2h"}),
    ],
    "P-12": [
        proving(member={"own_oauth": True, "token_age": "0s"}),
        direct(member={"own_oauth": True, "token_age": "2h"}),
    ],
    "failures-8": [
        proving(member={"token_age": ""}),
        proving(member={"token_age": None}),
        direct(member={"token_age": "2h"}),
    ],
    "failures-33": [direct(answer("500 cluster m1 is not ready"))],
    "P-32": [
        direct(member={"silent": "no answer in time"}, kind="DeadlineError"),
        direct(request("list clusters on the host: Connect call failed", HOST), kind="UnreachableError"),
    ],
    "P-22": [
        direct(conditions={}),
        proxy(condition("something else"), connected=True),
        proxy(step="resolve_tower_address", conditions={}),
    ],
    "failures-5": [
        proxy(agent("Connection error: dial tcp 1.1.1.1:1: i/o timeout"), connected=True),
        direct(agent("Connection error: dial tcp 1.1.1.1:1: i/o timeout")),
        proxy(agent("Connection error: dial tcp: lookup x on 10.0.0.2:53: i/o timeout")),
    ],
    "P-24": [
        proxy(condition("connection refused")),
        direct(condition(REFUSED), step="wait_installer"),
        direct(controller('m1: failed calling webhook "x.io": connection refused')),
    ],
    "failures-25": [proving(), direct(host={"release": ""}), installing(host={"release": "3.0"})],
}
"""By cause: what looks like it and is not."""

FITTING = [
    pytest.param(cause, evidence, id=f"{cause}-{number}")
    for cause, listed in CASES.items()
    for number, evidence in enumerate(listed)
]


@pytest.mark.parametrize(("cause", "evidence"), FITTING)
def test_a_cause_is_named_first_in_its_different_words_and_states(cause, evidence):
    found = causes.diagnose(evidence)
    assert [diagnosis.cause for diagnosis in found][:1] == [cause]
    first = found[0]
    assert first.evidence
    assert str(first) == (f"Most likely: {first.sentence} ({cause}) Seen: {first.evidence}. Next: {first.next_step}")
    assert "\n" not in str(first)
    assert not re.search(r"[{}]", first.sentence + first.next_step + first.object + first.cluster)


@pytest.mark.parametrize(
    ("cause", "evidence"),
    [
        pytest.param(cause, evidence, id=f"{cause}-{number}")
        for cause, listed in NEAR_MISSES.items()
        for number, evidence in enumerate(listed)
    ],
)
def test_what_only_looks_like_a_cause_is_not_taken_for_it(cause, evidence):
    assert cause not in [diagnosis.cause for diagnosis in causes.diagnose(evidence)]


def test_every_cause_has_an_id_of_its_own_a_sentence_and_a_next_step():
    ids = collections.Counter(cause.id for cause in causes.CAUSES)
    assert set(ids.values()) == {1}
    for cause in causes.CAUSES:
        assert re.fullmatch(r"failures-([1-9]|[1-3]\d|40)|P-([1-9]|[1-3]\d|40)", cause.id)
        for text in (cause.sentence, cause.next_step):
            assert re.fullmatch(r"[A-Z{].*[.]", text), cause.id
        assert cause.shows
        assert {cause.object, cause.on} != {""}


def test_every_cause_is_tried_with_two_evidences_and_a_near_miss():
    ids = {cause.id for cause in causes.CAUSES}
    assert ids == CASES.keys() == NEAR_MISSES.keys()
    assert all(len(set(map(repr, listed))) >= 2 for listed in CASES.values())


def test_a_cause_that_explains_another_comes_before_it():
    order = [cause.id for cause in causes.CAUSES]
    for root, consequence in (
        ("P-37", "failures-5"),
        ("P-37", "P-22"),
        ("failures-29", "P-6"),
        ("P-6", "P-24"),
        ("failures-23", "failures-35"),
        ("failures-35", "failures-5"),
        ("failures-2", "P-24"),
        ("failures-9", "failures-11"),
        ("failures-7", "failures-8"),
        ("P-12", "failures-8"),
        ("P-32", "P-24"),
    ):
        assert order.index(root) < order.index(consequence)


@pytest.mark.parametrize(
    ("evidence", "first"),
    [
        pytest.param(
            proxy(
                agent("Connection error: dial tcp 1.1.1.1:8080: connect: connection refused"), host=down("tower", GONE)
            ),
            "P-37",
            id="tower-gone-and-the-agent-refused",
        ),
        pytest.param(
            direct(condition(REFUSED), host=down("kubefed-controller-manager", GONE)),
            "P-6",
            id="kubefed-gone-and-dial-error",
        ),
        pytest.param(
            proving(
                answer("401 Unauthorized: token not found in cache"), member={"fingerprint": OTHER, "token_age": "2h"}
            ),
            "failures-7",
            id="other-secret-and-tokens-that-expire",
        ),
        pytest.param(
            direct(condition(REFUSED), event("x509: certificate is valid for a, not b")),
            "failures-2",
            id="certificate-and-refused",
        ),
        pytest.param(
            direct(
                condition(REFUSED), controller("Failed to join cluster m1: x509: certificate is valid for a, not b")
            ),
            "P-24",
            id="refused-now-and-another-reason-in-an-old-log",
        ),
    ],
)
def test_of_two_faults_the_root_comes_first(evidence, first):
    assert causes.diagnose(evidence)[0].cause == first


@pytest.mark.parametrize(
    "evidence",
    [
        pytest.param(direct(condition("something nobody has seen before")), id="unknown-words"),
        pytest.param(proving(), id="nothing-unusual"),
        pytest.param(
            installing(error("Waited 60 s. Last seen: the installer is running"), kind="DeadlineError"), id="slow"
        ),
    ],
)
def test_an_unknown_cause_shows_what_was_seen_and_guesses_nothing(evidence):
    assert causes.diagnose(evidence) == []
    diagnosis = causes.unknown(evidence)
    assert str(diagnosis).startswith("No known cause fits. Seen: ")
    assert "Most likely" not in str(diagnosis)
    told = [line.text for line in evidence.said if line.source is not Source.ERROR]
    assert all(text in diagnosis.evidence for text in told)
    assert diagnosis.next_step == ""


def test_a_report_is_plain_and_has_all_fields():
    report = causes.diagnose(direct(condition(REFUSED)))[0].report
    assert json.loads(json.dumps(report)) == report
    assert report.keys() == {"cause", "sentence", "object", "cluster", "evidence", "next"}
    assert report["cluster"] == "host cluster (connection h)"
    assert report["object"] == "Cluster m1"


def test_evidence_is_quoted_shortly_around_what_was_found():
    text = "before " * 60 + "connection refused" + " after" * 60
    seen = causes.diagnose(direct(condition(text)))[0].evidence
    assert "connection refused" in seen
    assert len(seen) < 300


def test_the_texts_of_a_cause_name_only_what_is_there():
    known = {"cluster", "host", "member", "server", "address", "side"}
    for cause in causes.CAUSES:
        for text in (cause.sentence, cause.next_step, cause.object, cause.on):
            names = {name for _, name, _, _ in string.Formatter().parse(text) if name}
            assert all(name.isidentifier() for name in names)
            assert cause.on in ("{host}", "{member}", "{side}")
            assert names - known <= {
                "other",
                "why",
                "mend",
                "workspace",
                "webhook",
                "pod",
                "how",
                "port",
                "name",
                "kind",
                "user",
                "verb",
                "what",
                "whose",
                "at",
                "who",
                "of",
                "object",
                "is",
                "role",
                "theirs",
                "ours",
            }


def test_the_page_of_causes_is_the_table():
    assert diagnosis_page.FILE.read_text() == diagnosis_page.text(), "python -m tests.fleet.diagnosis_page"
