"""What this project knows about KubeSphere 3.x: names, readers, predicates, patches and manifests.

Pure: dictionaries in, values out. Every fact names its place in the project's fact sheet.
What differs from one KubeSphere version to the next is in `Release` and nowhere else.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from include.fleet import documents, kinds

Object = Mapping[str, Any]

NAMESPACE = "kubesphere-system"
FEDERATION_NAMESPACE = "kube-federation-system"

CONFIGURATION = kinds.Ref(kinds.CLUSTER_CONFIGURATION, "ks-installer", NAMESPACE)
CONFIG = kinds.Ref(kinds.CONFIG_MAP, "kubesphere-config", NAMESPACE)
CONFIG_KEY = "kubesphere.yaml"
SECRET = kinds.Ref(kinds.SECRET, "kubesphere-secret", NAMESPACE)
INSTALLER = kinds.Ref(kinds.DEPLOYMENT, "ks-installer", NAMESPACE)
INSTALLER_SELECTOR = "app in (ks-install, ks-installer)"
"""Label selector of the installer's pod in every version (kubesphere-facts 2.1)."""
IDENTITY = kinds.Ref(kinds.NAMESPACE, "kube-system")
BEFORE_JOIN = kinds.Ref(kinds.SECRET, "before-join", NAMESPACE)
"""What a cluster was before its first join: written once by this project, read when it leaves."""
NEXT_SECRET = kinds.Ref(kinds.SECRET, "next-jwt-secret", NAMESPACE)
"""On a host, while its jwtSecret is rotated: the new one, so that a rotation that was cut off goes on with it."""

HOST_DEPLOYMENTS = (
    kinds.Ref(kinds.DEPLOYMENT, "tower", NAMESPACE),
    kinds.Ref(kinds.DEPLOYMENT, "kubefed-controller-manager", FEDERATION_NAMESPACE),
    kinds.Ref(kinds.DEPLOYMENT, "kubefed-admission-webhook", FEDERATION_NAMESPACE),
)
"""What a run of the installer adds on a host (kubesphere-facts 2.3, 12.2)."""

PROCESSES = (
    kinds.Ref(kinds.DEPLOYMENT, "ks-apiserver", NAMESPACE),
    kinds.Ref(kinds.DEPLOYMENT, "ks-controller-manager", NAMESPACE),
)
"""What loads the ConfigMap; up to 3.2 only when it starts (kubesphere-facts 2.5)."""

API_SERVER = f"/api/v1/namespaces/{NAMESPACE}/services/:ks-apiserver:80/proxy"
"""ks-apiserver behind the service proxy, in the form that KubeSphere itself uses (kubesphere-facts 7.1)."""
API_TOKEN_HEADER = "X-KubeSphere-Authorization"  # noqa: S105 - a header's name
"""The service proxy strips Authorization; ks-apiserver takes this instead (kubesphere-facts 7.1)."""

HOST = "host"
MEMBER = "member"

_LASTING = ("0", "0s")
_SHELL_SAFE = re.compile(r"[A-Za-z0-9._-]+")

HOST_LABEL = "cluster-role.kubesphere.io/host"
GROUP_LABEL = "cluster.kubesphere.io/group"
DESCRIPTION_ANNOTATION = "kubesphere.io/description"
MEMBER_UID_ANNOTATION = "join-member-cluster/member-uid"
"""This project's mark on a Cluster that it made: the kube-system UID of the member that it stands for."""
HANDED_OVER_ANNOTATION = "join-member-cluster/handed-over"
"""This project's mark on a Cluster whose member is not known yet, as a person joins it: the run that waits for it."""
FORCED_RUN_ANNOTATION = "join-member-cluster/forced-run"
"""This project's mark on the installer's Deployment: the attempt that forced the last run."""
RENEWAL_ANNOTATION = "join-member-cluster/renews"
"""This project's mark on the agent's Pods: when the credential ends in whose place tower makes another."""
RESTART_ANNOTATION = "kubectl.kubernetes.io/restartedAt"

FEDERATED = "Federated"
READY = "Ready"
CERTIFICATE_EXPIRES = "KubeConfigCertExpiresInSevenDays"


@dataclass(frozen=True)
class Release:
    """What is particular to one minor version of KubeSphere."""

    minor: str
    reloads: bool
    """Whether processes load a changed ConfigMap by themselves; else the installer restarts them (2.5)."""
    tells_identity: bool
    """Whether the host writes the member's kube-system UID into the Cluster (5.1)."""
    refreshes_conditions: bool
    """Whether each look of the host's controller renews the time stamps of conditions (6.1)."""
    tells_failures_by_event: bool
    """Whether a failing join is an Event on the Cluster instead of Federated=False (6.1)."""
    takes_tokens: bool
    """Whether a member whose kubeconfig has no client certificate becomes Ready; on 3.3 it does not (6.3)."""
    needs_account_tokens: bool
    """Whether a member has to make token Secrets of accounts by itself, as Kubernetes does before 1.24 (6.4)."""
    kubernetes: tuple[int, int]
    """The minor versions of Kubernetes 1 that it is made for, from and to (9)."""
    installs_from: int
    """The oldest minor version of Kubernetes 1 on which a run of ks-installer does not stop at its beginning (2.6)."""
    has_webhook: bool
    """Whether the host asks itself before a Cluster is changed (6.9)."""


RELEASES = {
    "3.0": Release(
        minor="3.0",
        reloads=False,
        tells_identity=False,
        refreshes_conditions=False,
        tells_failures_by_event=True,
        takes_tokens=True,
        needs_account_tokens=True,
        kubernetes=(15, 18),
        installs_from=15,
        has_webhook=False,
    ),
    "3.4": Release(
        minor="3.4",
        reloads=True,
        tells_identity=True,
        refreshes_conditions=True,
        tells_failures_by_event=False,
        takes_tokens=True,
        needs_account_tokens=False,
        kubernetes=(20, 23),
        installs_from=19,
        has_webhook=True,
    ),
}


@dataclass(frozen=True)
class Config:
    """ConfigMap kubesphere-config, as far as a join is concerned (kubesphere-facts 3)."""

    jwt_secret: str = field(repr=False)
    role: str
    cluster_name: str
    """The name under which a host has joined this cluster; empty if none has (kubesphere-facts 3.2)."""
    host_cluster_name: str
    proxy_publish_address: str
    agent_image: str
    resync: float | None
    """Seconds between two looks of the host's controller at a Cluster, if configured."""
    token_age: str = ""
    """How long access tokens last; "" where it does not say."""

    @property
    def has_lasting_tokens(self) -> bool:
        """Tell whether access tokens never expire, as on a member (kubesphere-facts 6.6)."""
        return self.token_age in _LASTING


def version(configuration: Object) -> str:
    """Return the KubeSphere version that a ClusterConfiguration tells, for example v3.4.1, or ""."""
    labels = configuration.get("metadata", {}).get("labels") or {}
    core = (configuration.get("status") or {}).get("core") or {}
    return str(core.get("version") or labels.get("version") or "")


def release(configuration: Object) -> Release | None:
    """Return the knowledge of the version that a ClusterConfiguration tells, None if there is none."""
    match = re.match(r"v?(\d+\.\d+)", version(configuration))
    return RELEASES.get(match.group(1)) if match else None


def config(config_map: Object) -> Config | None:
    """Return the parsed kubesphere-config, or None if it has no usable YAML.

    Parsed as YAML and never by pattern: the host's controller writes the secret unquoted and in another
    order than ks-installer (kubesphere-facts 3.2, 3.4).
    """
    try:
        parsed = documents.load((config_map.get("data") or {}).get(CONFIG_KEY) or "")
    except yaml.YAMLError:
        return None
    if not isinstance(parsed, Mapping):
        return None
    authentication = parsed.get("authentication") or {}
    multicluster = parsed.get("multicluster") or {}
    return Config(
        jwt_secret=str(authentication.get("jwtSecret") or ""),
        role=_role_in_force(authentication, multicluster),
        cluster_name=str(multicluster.get("clusterName") or ""),
        host_cluster_name=str(multicluster.get("hostClusterName") or HOST),
        proxy_publish_address=str(multicluster.get("proxyPublishAddress") or ""),
        agent_image=str(multicluster.get("agentImage") or ""),
        resync=seconds(str(multicluster.get("clusterControllerResyncPeriod") or "")),
        token_age=_token_age(authentication),
    )


def _role_in_force(authentication: Object, multicluster: Object) -> str:
    """Return the role that a ConfigMap proves (kubesphere-facts 3.1).

    Up to 3.2 it names no role: a host is told by `enable`, a member by access tokens that never expire. From
    3.3 on it always names one, and then the age of tokens is no sign (kubesphere-facts 7.6).
    """
    if "clusterRole" in multicluster:
        return str(multicluster["clusterRole"] or "")
    if multicluster.get("enable") is True:
        return HOST
    return MEMBER if _token_age(authentication) in _LASTING else "none"


def _token_age(authentication: Object) -> str:
    age = (authentication.get("oauthOptions") or {}).get("accessTokenMaxAge")
    return "" if age is None else str(age)


def seconds(duration: str) -> float | None:
    """Return the seconds of a Go duration as KubeSphere writes it (2m0s, 120s), or None."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        return None
    return sum(float(number) * units[unit] for number, unit in parts)


def secret_value(secret: Object | None, key: str) -> str | None:
    """Return one decoded value of a Secret, or None."""
    encoded = ((secret or {}).get("data") or {}).get(key)
    return base64.b64decode(encoded).decode() if encoded else None


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the three numbers of a version of KubeSphere or Kubernetes, () if it has none."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(number or 0) for number in found.groups()) if found else ()


def newest(pods: Iterable[Object]) -> Object | None:
    """Return the Pod that was made last, or None; one that is being deleted does not count."""
    living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return max(living, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), default=None)


def waiting(pod: Object) -> list[Mapping[str, Any]]:
    """Return what the containers of a Pod wait for that do not run: reason and message of each."""
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    states = [(each.get("state") or {}).get("waiting") for each in containers]
    return [state for state in states if state]


def can_be_passed_on(jwt_secret: str) -> bool:
    """Tell whether ks-installer can give a member this secret: it puts it unquoted into a command (P-15)."""
    return _SHELL_SAFE.fullmatch(jwt_secret) is not None


def spec_token_age(configuration: Object) -> str:
    """Return how long access tokens are asked to last, or ""."""
    return _token_age(configuration.get("spec", {}).get("authentication") or {})


def spec_role(configuration: Object) -> str:
    """Return the role that a ClusterConfiguration asks for; none if it asks for nothing."""
    return str((configuration.get("spec", {}).get("multicluster") or {}).get("clusterRole") or "none")


def spec_secret(configuration: Object) -> str:
    """Return the jwtSecret that a ClusterConfiguration asks for; "" keeps the one in force.

    On a host it is usually empty: a generated secret is never written back (kubesphere-facts 2.4).
    """
    return str((configuration.get("spec", {}).get("authentication") or {}).get("jwtSecret") or "")


def spec_address(configuration: Object) -> str:
    """Return the proxy address that a ClusterConfiguration asks for, or ""."""
    return str((configuration.get("spec", {}).get("multicluster") or {}).get("proxyPublishAddress") or "")


def configuration_patch(
    configuration: Object, *, role: str, jwt_secret: str | None = None, address: str | None = None
) -> dict[str, Any]:
    """Return the one merge patch that makes a ClusterConfiguration ask for these; None leaves a field as it is.

    Empty if it asks already: a patch that changes nothing starts no run, and two patches are two runs
    (kubesphere-facts 2.2). The key jwtSecret is added where it is missing, since a run fails silently
    without it (kubesphere-facts 2.4); it is never removed.
    """
    spec: dict[str, Any] = {}
    multicluster: dict[str, str] = {}
    if spec_role(configuration) != role:
        multicluster["clusterRole"] = role
    if address is not None and spec_address(configuration) != address:
        multicluster["proxyPublishAddress"] = address
    if multicluster:
        spec["multicluster"] = multicluster
    authentication = configuration.get("spec", {}).get("authentication") or {}
    if jwt_secret is not None and authentication.get("jwtSecret") != jwt_secret:
        spec["authentication"] = {"jwtSecret": jwt_secret}
    elif "jwtSecret" not in authentication:
        spec["authentication"] = {"jwtSecret": ""}
    return {"spec": spec} if spec else {}


@dataclass(frozen=True)
class Trust:
    """The jwtSecret of one cluster, and whether it is in force everywhere it must be."""

    value: str = field(repr=False)
    """What the next finished run of the installer leaves in force."""
    pending: str
    """Why it is not in force yet, or ""."""


def trust(configuration: Object, config_: Config | None, secret: Object | None) -> Trust:
    """Return the secret that a cluster has or is about to have (kubesphere-facts 2.4, 3.4, 12.2).

    *secret* is kubesphere-secret, or None where it may not be read.
    """
    asked, kept = spec_secret(configuration), secret_value(secret, "secret")
    written = config_.jwt_secret if config_ else ""
    value = asked or kept or written
    pending = ""
    if kept is not None and kept != value:
        pending = f"its ClusterConfiguration asks for another jwtSecret than Secret {SECRET.name} holds"
    elif written != value:
        pending = f"ConfigMap {CONFIG.name} does not hold the jwtSecret yet that is due"
    return Trust(value, pending)


@dataclass(frozen=True)
class Snapshot:
    """What one cluster is asked for and has in force, as read at one moment."""

    configuration: Object = field(repr=False)
    """Its ClusterConfiguration."""
    config: Config | None = field(repr=False)
    """Its ConfigMap, None where there is none that can be used."""
    secret: Object | None = field(repr=False)
    """Its kubesphere-secret, None where there is none or it may not be read."""

    @property
    def trust(self) -> Trust:
        """Return the secret that the cluster has or is about to have."""
        return trust(self.configuration, self.config, self.secret)


def unmet(seen: Snapshot) -> str:
    """Return the first thing that ks-installer itself has not done of what is asked for, or "".

    With `deployments_unmet` and `host_cluster_unmet` this is `configured` of kubesphere-facts 12.2.
    """
    configuration, config_, due = seen.configuration, seen.config, seen.trust
    role = spec_role(configuration)
    if config_ is None:
        return f"there is no ConfigMap {CONFIG.name} with {CONFIG_KEY}"
    if due.pending:
        return due.pending
    if config_.role != role:
        return f"ConfigMap {CONFIG.name} says role {config_.role or 'none'}, not {role}"
    if role != HOST:
        return ""
    if config_.proxy_publish_address != spec_address(configuration):
        return f"ConfigMap {CONFIG.name} does not hold the proxyPublishAddress that is asked for"
    status = (configuration.get("status") or {}).get("multicluster") or {}
    return "" if status.get("status") == "enabled" else "its status.multicluster is not enabled"


def missing_deployments(deployments: Mapping[str, Object | None]) -> list[str]:
    """Return those of HOST_DEPLOYMENTS that are gone; no run of the installer restores them."""
    return [name for name, deployment in deployments.items() if deployment is None]


def restarted_unmet(deployments: Mapping[str, Object | None]) -> str:
    """Return which of PROCESSES has not been rolled out yet after the installer restarted it, or ""."""
    waiting = [name for name, item in deployments.items() if item is None or not is_available(item)]
    return f"Deployment {waiting[0]} is not rolled out yet" if waiting else ""


def deployments_unmet(deployments: Mapping[str, Object | None]) -> str:
    """Return which of HOST_DEPLOYMENTS, given by name, is not there or not available, or ""."""
    for name, deployment in deployments.items():
        if deployment is None:
            return f"there is no Deployment {name}"
        if not is_available(deployment):
            return f"Deployment {name} is not available"
    return ""


def host_cluster_unmet(own: Sequence[Object]) -> str:
    """Return what a host's own Cluster lacks, or ""; *own* are the Clusters with HOST_LABEL.

    One that is Ready is the best proof that the host is finished (kubesphere-facts 5.3).
    """
    if not own:
        return "the host's own Cluster does not exist yet"
    return "" if any(is_true(item, READY) for item in own) else "the host's own Cluster is not Ready yet"


def is_available(deployment: Object) -> bool:
    """Tell whether the newest template of a Deployment runs, on as many pods as asked for."""
    wanted = deployment.get("spec", {}).get("replicas", 1)
    status = deployment.get("status") or {}
    return (
        int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
        and int(status.get("updatedReplicas") or 0) >= wanted
        and int(status.get("availableReplicas") or 0) >= wanted
    )


def condition(cluster: Object, kind: str) -> Mapping[str, str]:
    """Return the last condition of a type; {} if there is none. The last one counts (kubesphere-facts 6.1)."""
    found = [item for item in conditions(cluster) if item.get("type") == kind]
    return found[-1] if found else {}


def conditions(cluster: Object) -> list[Mapping[str, str]]:
    """Return all conditions of a Cluster, as they stand."""
    return list((cluster.get("status") or {}).get("conditions") or [])


def is_host(cluster: Object) -> bool:
    """Tell whether a host takes this Cluster for itself, by its label."""
    return HOST_LABEL in (cluster["metadata"].get("labels") or {})


def annotation(item: Object, key: str) -> str:
    """Return an annotation of an object, or ""."""
    return str((item.get("metadata", {}).get("annotations") or {}).get(key) or "")


def handed_over_by(cluster: Object) -> str:
    """Return the run that waits until a person has joined the member of this Cluster, or ""."""
    return annotation(cluster, HANDED_OVER_ANNOTATION)


def is_true(cluster: Object, kind: str) -> bool:
    """Tell whether the last condition of a type is True."""
    return condition(cluster, kind).get("status") == "True"


ACCOUNT_SUFFIX = "-kubesphere"
"""What ends the names of the accounts that hosts make on members (kubesphere-facts 6.4)."""


def member_account(name: str) -> kinds.Ref:
    """Return the account that a host makes on the member that it calls *name* (kubesphere-facts 6.4)."""
    return kinds.Ref(kinds.SERVICE_ACCOUNT, f"{name}{ACCOUNT_SUFFIX}", FEDERATION_NAMESPACE)


def member_role(name: str) -> str:
    """Return what that account's ClusterRole and ClusterRoleBinding are called."""
    return f"kubefed-controller-manager:{member_account(name).name}"


def member_uid(cluster: Object) -> str:
    """Return the kube-system UID of the cluster behind a Cluster, as the host saw it, or ""."""
    return str((cluster.get("status") or {}).get("uid") or "")


def connection_type(cluster: Object) -> str:
    """Return how a Cluster is joined: direct, proxy, or "" if it does not say."""
    return str(cluster.get("spec", {}).get("connection", {}).get("type") or "")


def cluster_kubeconfig(cluster: Object) -> str:
    """Return the kubeconfig text inside a Cluster, or "" if there is none or it is not text."""
    encoded = cluster.get("spec", {}).get("connection", {}).get("kubeconfig") or ""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        return ""
