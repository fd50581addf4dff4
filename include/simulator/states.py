"""The objects that a cluster starts with, as the real thing would have left them.

KubeSphere's pods are laid down as running already. In reality the start of the ks-installer pod is one full run; here
nothing has just started, so no run takes place until something changes.
"""

from __future__ import annotations

import base64
import datetime
import secrets
import string
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from include.simulator import clock, configuration, definitions, manifests, resources, store
from include.simulator.actors import cluster_controller, installer_log, kubelet, workloads
from include.simulator.actors.container_log import Line
from include.simulator.certificates import Authority
from include.simulator.foundation import Kubernetes
from include.simulator.manifests import FEDERATION_NAMESPACE, MONITORING_NAMESPACE, PROMETHEUS, SYSTEM_NAMESPACE
from include.simulator.proxy import KUBELET_PORT
from include.simulator.release import Release
from include.simulator.resources import Resource
from include.simulator.scenario import HOST_CLUSTER, Webhook
from include.simulator.store import Store
from include.simulator.workload_states import Workload

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The only node of a cluster, and where its pods get their addresses."""

    name: str
    address: str
    pod_prefix: str

    @classmethod
    def numbered(cls, number: int, *, cluster: str) -> Machine:
        """Return the node of the cluster of that number, whose addresses no other number has."""
        return cls(name=f"{cluster}-node1", address=f"10.20.{number}.1", pod_prefix=f"10.233.{64 + number}")


@dataclass(kw_only=True)
class State:
    """Lays objects down in the store of one cluster; `logs` is what containers wrote before, by pod name.

    `workloads` are Deployments that do not run as they should, by name.
    """

    store: Store
    machine: Machine
    authority: str
    release: Release
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    logs: dict[str, list[Line]] = field(default_factory=dict)
    _pods: int = 1

    def put(self, resource: Resource, content: Object, *, namespace: str = "") -> Object:
        """Store an object, its status included."""
        created = self.store.create(resource, content=content, namespace=namespace)
        if resource.status and "status" in content:
            created = self.store.replace(
                resource,
                name=created["metadata"]["name"],
                namespace=namespace,
                subresource="status",
                content={
                    "metadata": {"resourceVersion": created["metadata"]["resourceVersion"]},
                    "status": content["status"],
                },
            )
        return created

    def lay_kubernetes(self) -> None:
        """Lay down what every cluster has, KubeSphere or not."""
        for name in ("kube-system", "default", "kube-public", "kube-node-lease"):
            self.put(resources.NAMESPACES, {"metadata": {"name": name}})
        self.put(
            resources.CONFIGMAPS,
            namespace="kube-system",
            content={"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": self.authority}},
        )
        everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
        paths = {"nonResourceURLs": ["*"], "verbs": ["*"]}
        self.put(resources.CLUSTERROLES, {"metadata": {"name": "cluster-admin"}, "rules": [everything, paths]})
        self.put(
            resources.STORAGECLASSES,
            {
                "metadata": {
                    "name": "local",
                    "annotations": {
                        "storageclass.kubernetes.io/is-default-class": str(
                            self.kubernetes.default_storage_class
                        ).lower()
                    },
                },
                "provisioner": "openebs.io/local",
            },
        )
        now = store.timestamp()
        self.put(
            resources.NODES,
            {
                "metadata": {
                    "name": self.machine.name,
                    "labels": {
                        "kubernetes.io/hostname": self.machine.name,
                        "node-role.kubernetes.io/control-plane": "",
                    },
                },
                "spec": {"podCIDR": f"{self.machine.pod_prefix}.0/24"},
                "status": {
                    "capacity": {"cpu": "8", "memory": "16Gi", "pods": "110"},
                    "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"},
                    "addresses": [{"type": "InternalIP", "address": self.machine.address}],
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
                    "conditions": [
                        {
                            "type": "Ready",
                            "status": "True",
                            "reason": "KubeletReady",
                            "lastTransitionTime": now,
                            "lastHeartbeatTime": now,
                        }
                    ],
                    "nodeInfo": {
                        "architecture": "amd64",
                        "bootID": str(uuid.uuid4()),
                        "containerRuntimeVersion": "containerd://1.6.4",
                        "kernelVersion": "5.4.0",
                        "kubeProxyVersion": self.release.kubernetes,
                        "kubeletVersion": self.release.kubernetes,
                        "machineID": self.kubernetes.machine_id or uuid.uuid4().hex,
                        "operatingSystem": "linux",
                        "osImage": "Ubuntu 20.04.6 LTS",
                        "systemUUID": str(uuid.uuid4()),
                    },
                },
            },
        )
        self.put(
            resources.SERVICES,
            namespace="default",
            content={
                "metadata": {"name": "kubernetes"},
                "spec": {"clusterIP": "10.233.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
            },
        )

    def lay_kubesphere(self, spec: Object, *, secret: str, settings: str, webhook: Webhook = Webhook.NONE) -> None:
        """Lay down an installed KubeSphere: `spec` of its ClusterConfiguration, secret in force, ConfigMap text."""
        for name in (SYSTEM_NAMESPACE, "kubesphere-controls-system", MONITORING_NAMESPACE):
            self.put(resources.NAMESPACES, {"metadata": {"name": name}})
        for account in ("ks-installer", "kubesphere", "default"):
            self.put(resources.SERVICEACCOUNTS, {"metadata": {"name": account}}, namespace=SYSTEM_NAMESPACE)
        for account in ("ks-installer", "kubesphere"):
            self.put(resources.CLUSTERROLEBINDINGS, manifests.administrator(account))
        for kind in resources.KUBESPHERE_KINDS:
            self.put(resources.DEFINITIONS, definitions.define(kind, release=self.release))
        self.put(
            resources.USERS,
            {
                "metadata": {"name": "admin", "annotations": {"iam.kubesphere.io/globalrole": "platform-admin"}},
                "spec": {"email": "admin@kubesphere.io"},
                "status": {"state": "Active"},
            },
        )
        self.put(resources.WORKSPACES, {"metadata": {"name": "system-workspace"}, "spec": {"manager": "admin"}})
        self.put(resources.SECRETS, manifests.secret(secret, release=self.release), namespace=SYSTEM_NAMESPACE)
        self.put(resources.CONFIGMAPS, configuration.build_manifest(settings), namespace=SYSTEM_NAMESPACE)
        enabled = {"status": "enabled", "enabledTime": "2026-01-31T10:00:00UTC"}
        version = self.release.version
        recorded = {"version": version} if self.release.records_version else {}
        self.put(
            resources.CLUSTERCONFIGURATIONS,
            namespace=SYSTEM_NAMESPACE,
            content={
                "metadata": {"name": "ks-installer", "labels": {"version": version}},
                "spec": spec,
                "status": {
                    "core": {**enabled, **recorded},
                    "monitoring": enabled,
                    "clusterId": f"{uuid.uuid4()}-1769853600",
                },
            },
        )
        if self.workloads.get("ks-apiserver") is not Workload.MISSING:
            self.put(
                resources.SERVICES,
                namespace=SYSTEM_NAMESPACE,
                content=manifests.service("ks-apiserver", namespace=SYSTEM_NAMESPACE, port=80, target=9090),
            )
        if self.release.validates_clusters:
            self._lay_webhook(webhook)
        prometheus = manifests.service(PROMETHEUS, namespace=MONITORING_NAMESPACE, port=9090, target=9090)
        self.put(resources.SERVICES, namespace=MONITORING_NAMESPACE, content=prometheus)
        for name, image, account, container in (
            ("ks-apiserver", "kubesphere/ks-apiserver", "kubesphere", ""),
            ("ks-controller-manager", "kubesphere/ks-controller-manager", "kubesphere", ""),
            ("ks-installer", "kubesphere/ks-installer", "ks-installer", "installer"),
        ):
            manifest = manifests.deployment(
                name,
                namespace=SYSTEM_NAMESPACE,
                image=f"{image}:{version}",
                account=account,
                container=container,
                labels={"app": self.release.installer_app} if container else None,
            )
            self.lay_deployment(manifest, namespace=SYSTEM_NAMESPACE)
        self._log_installer(installer_log.banner(node=self.machine.address, moment=_earlier(90)), minutes=90)

    def _lay_webhook(self, webhook: Webhook) -> None:
        """Lay down what the webhook on Clusters is served with, and what makes the API server ask it."""
        authority = Authority("ks-controller-manager-ca")
        self.put(resources.SECRETS, manifests.webhook_secret(authority), namespace=SYSTEM_NAMESPACE)
        served = manifests.service(
            "ks-controller-manager", namespace=SYSTEM_NAMESPACE, port=443, target=manifests.WEBHOOK_PORT
        )
        self.put(resources.SERVICES, served, namespace=SYSTEM_NAMESPACE)
        if webhook is Webhook.STALE:
            authority = Authority("ks-controller-manager-ca")
        if webhook is not Webhook.NONE:
            self.put(resources.WEBHOOK_CONFIGURATIONS, manifests.webhook_configuration(authority.certificate))

    def lay_deployment(self, manifest: Object, *, namespace: str) -> None:
        """Lay down a Deployment with its pod running, or as the scenario says that it is."""
        workload = self.workloads.get(manifest["metadata"]["name"])
        if workload is Workload.MISSING:
            return
        if workload is Workload.STOPPED:
            manifest = {**manifest, "spec": {**manifest["spec"], "replicas": 0}}
        created = self.put(resources.DEPLOYMENTS, manifest, namespace=namespace)
        if workload is Workload.STOPPED:
            return
        self._pods += 1
        pod = workloads.build_pod(created, node=self.machine.name)
        describe = kubelet.crashing_status if workload is Workload.CRASHING else kubelet.running_status
        pod["status"] = describe(
            pod["spec"]["containers"], address=f"{self.machine.pod_prefix}.{self._pods}", host=self.machine.address
        )
        laid = self.put(resources.PODS, pod, namespace=namespace)
        status = workloads.build_status(created, pods=[laid])
        self.store.patch(
            resources.DEPLOYMENTS,
            name=created["metadata"]["name"],
            namespace=namespace,
            patch={"status": status},
            subresource="status",
        )
        for service in self.store.select(resources.SERVICES, namespace=namespace):
            subsets = workloads.build_subsets(service, pods=[laid])
            if subsets:
                self.put(
                    resources.ENDPOINTS,
                    namespace=namespace,
                    content={"metadata": {"name": service["metadata"]["name"]}, "subsets": subsets},
                )

    def lay_host(self, *, kubeconfig: str, token: str) -> None:
        """Lay down what role host adds: tower, kubefed, and the host's own Cluster."""
        self.put(resources.NAMESPACES, {"metadata": {"name": FEDERATION_NAMESPACE}})
        # Services first, so that their endpoints are known with the pods.
        for resource, namespace, manifest in reversed(manifests.multicluster(self.release)):
            if self.workloads.get(manifest["metadata"]["name"]) is Workload.MISSING:
                continue
            if resource == resources.DEPLOYMENTS:
                self.lay_deployment(manifest, namespace=namespace or "")
            else:
                self.put(resource, manifest, namespace=namespace or "")
        for kind in resources.KUBEFED_KINDS:
            self.put(resources.DEFINITIONS, definitions.define(kind, release=self.release))
        for federated in manifests.federated_types():
            self.put(resources.FEDERATEDTYPECONFIGS, federated, namespace=FEDERATION_NAMESPACE)
        self.store.patch(
            resources.CLUSTERCONFIGURATIONS,
            name="ks-installer",
            namespace=SYSTEM_NAMESPACE,
            patch={"status": {"multicluster": {"status": "enabled", "enabledTime": "2026-01-31T10:05:00UTC"}}},
        )
        self.lay_joined(self, name=HOST_CLUSTER, kubeconfig=kubeconfig, server="https://10.233.0.1:443", token=token)

    def lay_joined(
        self,
        member: State,
        *,
        name: str,
        kubeconfig: str,
        server: str,
        token: str,
        expiry: datetime.datetime | None = None,
    ) -> None:
        """Lay down a joined cluster: its Cluster and KubeFedCluster here, the accounts on the member.

        `token` is the token of the member's service account, `expiry` that of the kubeconfig's client certificate.
        """
        member.lay_membership(name, token=token)
        cluster = manifests.cluster(name, kubeconfig=kubeconfig, host=member is self)
        cluster["metadata"]["finalizers"] = [cluster_controller.FINALIZER]
        cluster["spec"]["connection"]["kubernetesAPIEndpoint"] = server
        cluster["status"] = {
            "kubernetesVersion": member.release.kubernetes,
            "nodeCount": 1,
            "conditions": _conditions(expiry if self.release.federates_by_condition else None),
        }
        if self.release.federates_by_condition:
            cluster["status"]["kubeSphereVersion"] = member.release.version
            cluster["status"]["uid"] = member.store.get(resources.NAMESPACES, name="kube-system")["metadata"]["uid"]
        self.put(resources.CLUSTERS, cluster)
        self.put(
            resources.SECRETS, manifests.federation_secret(name, token=_encode(token)), namespace=FEDERATION_NAMESPACE
        )
        self.put(
            resources.KUBEFEDCLUSTERS,
            namespace=FEDERATION_NAMESPACE,
            content=manifests.kubefed_cluster(
                name,
                endpoint=server,
                authority=_encode(member.authority),
                labels=cluster["metadata"].get("labels", {}),
            ),
        )

    def ensure_namespace(self, name: str) -> None:
        """Lay down a Namespace unless it is there."""
        if self.store.find(resources.NAMESPACES, name=name) is None:
            self.put(resources.NAMESPACES, {"metadata": {"name": name}})

    def lay_membership(self, name: str, *, token: str) -> None:
        """Lay down what joining under a name puts on the cluster itself; `token` is that of the service account."""
        self.ensure_namespace(FEDERATION_NAMESPACE)
        account, token_name = manifests.federation_account(name), secrets.token_hex(3)
        secret = manifests.federation_token_secret(name, suffix=token_name)
        secret["data"] = {
            "token": _encode(token),
            "ca.crt": _encode(self.authority),
            "namespace": _encode(FEDERATION_NAMESPACE),
        }
        self.put(
            resources.SERVICEACCOUNTS,
            namespace=FEDERATION_NAMESPACE,
            content={"metadata": {"name": account}, "secrets": [{"name": secret["metadata"]["name"]}]},
        )
        self.put(resources.SECRETS, secret, namespace=FEDERATION_NAMESPACE)
        self.put(resources.CLUSTERROLES, manifests.federation_role(name))
        self.put(resources.CLUSTERROLEBINDINGS, manifests.federation_binding(name))

    def log_failed_run(self, secret: str) -> None:
        """Lay down the log of a run that ended silently with this secret in its spec."""
        moment = _earlier(10)
        self._log_installer(installer_log.queued_lines(moment), minutes=10)
        self._log_installer(installer_log.started_lines(moment), minutes=10)
        self._log_installer(installer_log.failed_token_lines(secret, moment=moment), minutes=10)

    def _log_installer(self, text: str, *, minutes: float) -> None:
        for pod in self.store.select(resources.PODS, namespace=SYSTEM_NAMESPACE):
            if pod["metadata"]["labels"].get("app") == self.release.installer_app:
                lines = self.logs.setdefault(pod["metadata"]["name"], [])
                lines.extend((_earlier(minutes), line) for line in text.split("\n"))


def new_secret() -> str:
    """Return a jwtSecret as ks-installer generates it."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))


def build_spec(*, role: str, jwt: str = "") -> Object:
    """Return the spec of a ClusterConfiguration (kubesphere-facts 1.2)."""
    return {
        "persistence": {"storageClass": ""},
        "authentication": {"adminPassword": "", "jwtSecret": jwt},
        "local_registry": "",
        "common": {"redis": {"enabled": False}, "openldap": {"enabled": False}, "es": {"enabled": False}},
        "alerting": {"enabled": False},
        "auditing": {"enabled": False},
        "devops": {"enabled": False},
        "events": {"enabled": False},
        "logging": {"enabled": False},
        "metrics_server": {"enabled": False},
        "multicluster": {"clusterRole": role},
        "openpitrix": {"store": {"enabled": False}},
        "servicemesh": {"enabled": False},
    }


def _conditions(expiry: datetime.datetime | None) -> list[Object]:
    now = store.timestamp()
    times = {"lastUpdateTime": now, "lastTransitionTime": now}
    conditions = [
        {
            "type": "Federated",
            "status": "True",
            **times,
            "message": "Cluster has joined federation control plane successfully",
        },
        {"type": "Ready", "status": "True", "reason": "Ready", "message": "Cluster is available now", **times},
    ]
    if expiry is not None:
        kind = "KubeConfigCertExpiresInSevenDays"
        soon = expiry < clock.now() + datetime.timedelta(days=7)
        text = expiry.strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
        value = "True" if soon else "False"
        conditions.append({"type": kind, "status": value, "reason": kind, "message": text, **times})
    return conditions


def decode(text: str) -> str:
    """Return what base64 text stands for."""
    return base64.b64decode(text).decode()


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _earlier(minutes: float) -> datetime.datetime:
    return clock.now() - datetime.timedelta(minutes=minutes)
