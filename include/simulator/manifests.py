"""Objects that KubeSphere's parts create, as manifests: shared by the actors and the states a scenario starts from."""

from __future__ import annotations

import base64
import secrets
from typing import Any, Final

from include.simulator import resources, tokens
from include.simulator.certificates import Authority
from include.simulator.release import Release
from include.simulator.resources import Resource

Object = dict[str, Any]

SYSTEM_NAMESPACE: Final = "kubesphere-system"
FEDERATION_NAMESPACE: Final = "kube-federation-system"
WEBHOOK_PATH: Final = "/validate-cluster-kubesphere-io-v1alpha1"
WEBHOOK_PORT: Final = 8443
WEBHOOK_SECRET: Final = "ks-controller-manager-webhook-cert"  # noqa: S105 - a name
MONITORING_NAMESPACE: Final = "kubesphere-monitoring-system"
PROMETHEUS: Final = "prometheus-operated"
KUBEFED_COMMANDS: Final = {
    "kubefed-controller-manager": ("/hyperfed/controller-manager", "--v=2"),
    "kubefed-admission-webhook": ("/hyperfed/webhook", "--v=8"),
}
KUBEFED_DEPLOYMENTS: Final = tuple(KUBEFED_COMMANDS)


_KUBEFED_ROLE: Final[Object] = {
    "metadata": {"name": "kubefed-role"},
    "rules": [
        {"apiGroups": ["core.kubefed.io", "types.kubefed.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]},
    ],
}
"""What the kubefed chart grants its controller manager, as far as it is needed here."""
_KUBEFED_BINDING: Final[Object] = {
    "metadata": {"name": "kubefed-rolebinding"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubefed-role"},
    "subjects": [{"kind": "ServiceAccount", "name": "kubefed-controller-manager", "namespace": FEDERATION_NAMESPACE}],
}


def deployment(
    name: str,
    *,
    namespace: str,
    image: str,
    account: str,
    container: str = "",
    labels: dict[str, str] | None = None,
    command: list[str] | None = None,
) -> Object:
    """Return a Deployment of one replica and one container."""
    labels = labels or {"app": name}
    described: Object = {"name": container or name, "image": image}
    if command:
        described["command"] = command
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [described], "serviceAccountName": account},
            },
        },
    }


def service(
    name: str, *, namespace: str, port: int, target: int, labels: dict[str, str] | None = None, type_: str = "ClusterIP"
) -> Object:
    """Return a Service with one unnamed port."""
    labels = labels or {"app": name}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"type": type_, "selector": labels, "ports": [{"port": port, "targetPort": target, "protocol": "TCP"}]},
    }


def webhook_secret(authority: Authority) -> Object:
    """Return the Secret with the certificate that ks-controller-manager serves its webhooks with."""
    name = f"ks-controller-manager.{SYSTEM_NAMESPACE}"
    pair = authority.issue_server("ks-core-admission-webhook", names=[name, f"{name}.svc"], addresses=[])
    data = {"ca.crt": authority.certificate, "tls.crt": pair.certificate, "tls.key": pair.key}
    return {
        "metadata": {"name": WEBHOOK_SECRET, "namespace": SYSTEM_NAMESPACE},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def webhook_configuration(authority: str) -> Object:
    """Return what makes the API server ask ks-controller-manager about Clusters (kubesphere-facts 6.9).

    The authority is the PEM of who has signed the certificate that is to be trusted.
    """
    service = {"name": "ks-controller-manager", "namespace": SYSTEM_NAMESPACE, "path": WEBHOOK_PATH, "port": 443}
    rule = {
        "apiGroups": [resources.CLUSTERS.group],
        "apiVersions": [resources.CLUSTERS.version],
        "operations": ["UPDATE"],
        "resources": [resources.CLUSTERS.plural],
        "scope": "*",
    }
    hook = {
        "name": "validating-cluster.kubesphere.io",
        "admissionReviewVersions": ["v1beta1"],
        "clientConfig": {"caBundle": base64.b64encode(authority.encode()).decode(), "service": service},
        "failurePolicy": "Fail",
        "matchPolicy": "Exact",
        "rules": [rule],
        "sideEffects": "None",
        "timeoutSeconds": 30,
    }
    return {"metadata": {"name": "cluster.kubesphere.io"}, "webhooks": [hook]}


def secret(value: str, *, release: Release) -> Object:
    """Return Secret `kubesphere-secret` for a jwtSecret (kubesphere-facts 2.4)."""
    data = {"secret": value, "token": tokens.static_admin_token(value)}
    if release.reloads:
        data["initAdminPassword"] = f"$2a$10${secrets.token_hex(24)}"
    return {
        "metadata": {"name": "kubesphere-secret", "namespace": SYSTEM_NAMESPACE},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def multicluster(release: Release) -> list[tuple[Resource, str | None, Object]]:
    """Return what role ks-multicluster puts on a host: tower and kubefed (kubesphere-facts 2.3, 4)."""
    tower_labels = {"app": "tower", "app.kubernetes.io/name": "tower"}
    tower = deployment(
        "tower",
        namespace=SYSTEM_NAMESPACE,
        image=release.tower_image,
        account="kubesphere",
        labels=tower_labels,
        command=list(release.tower_command),
    )
    published = service("tower", namespace=SYSTEM_NAMESPACE, port=8080, target=8080, type_="LoadBalancer")
    published["spec"]["externalTrafficPolicy"] = "Cluster"
    created: list[tuple[Resource, str | None, Object]] = [
        (resources.DEPLOYMENTS, SYSTEM_NAMESPACE, tower),
        (resources.SERVICES, SYSTEM_NAMESPACE, published),
    ]
    created += [(resources.CLUSTERROLES, None, _KUBEFED_ROLE), (resources.CLUSTERROLEBINDINGS, None, _KUBEFED_BINDING)]
    for name, command in KUBEFED_COMMANDS.items():
        created.append((resources.SERVICEACCOUNTS, FEDERATION_NAMESPACE, {"metadata": {"name": name}}))
        kubefed = deployment(
            name, namespace=FEDERATION_NAMESPACE, image=release.kubefed_image, account=name, command=list(command)
        )
        created.append((resources.DEPLOYMENTS, FEDERATION_NAMESPACE, kubefed))
    return created


def federated_type(federated: Resource, *, target: Resource) -> Object:
    """Return the FederatedTypeConfig that has kubefed bring objects of a kind to the clusters."""

    def describe(kind: Resource) -> Object:
        scope = "Namespaced" if kind.namespaced else "Cluster"
        described = {"version": kind.version, "kind": kind.kind, "pluralName": kind.plural, "scope": scope}
        return {"group": kind.group, **described} if kind.group else described

    return {
        "metadata": {"name": target.qualified, "namespace": FEDERATION_NAMESPACE},
        "spec": {"federatedType": describe(federated), "targetType": describe(target), "propagation": "Enabled"},
    }


def federated_types() -> list[Object]:
    """Return the FederatedTypeConfigs of the kinds that there are here; in reality there are more than thirty."""
    return [
        federated_type(resources.FEDERATEDUSERS, target=resources.USERS),
        federated_type(resources.FEDERATEDWORKSPACES, target=resources.WORKSPACES),
    ]


def cluster(name: str, *, kubeconfig: str, host: bool = False) -> Object:
    """Return a Cluster with a direct connection; for the host the one that its controller creates."""
    labels = {"cluster-role.kubesphere.io/host": "", "kubesphere.io/managed": "true"}
    return {
        "metadata": {"name": name, "labels": labels} if host else {"name": name},
        "spec": {
            "joinFederation": True,
            "enable": True,
            **({"provider": "kubesphere"} if host else {}),
            "connection": {"type": "direct", "kubeconfig": base64.b64encode(kubeconfig.encode()).decode()},
        },
    }


def administrator(account: str, *, namespace: str = SYSTEM_NAMESPACE) -> Object:
    """Return the ClusterRoleBinding that makes an account, by default of KubeSphere's, a cluster administrator.

    `kubesphere` is one (kubesphere-facts 8); ks-installer has a long list of rights instead, which is none shorter.
    """
    return {
        "metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def federation_account(name: str) -> str:
    """Return the name of the service account that federation uses on a joined cluster; the suffix is a constant."""
    return f"{name}-kubesphere"


def federation_role(name: str) -> Object:
    """Return the ClusterRole of that account."""
    return {
        "metadata": {"name": f"kubefed-controller-manager:{federation_account(name)}"},
        "rules": [
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
            {"nonResourceURLs": ["*"], "verbs": ["get"]},
        ],
    }


def federation_binding(name: str) -> Object:
    """Return the ClusterRoleBinding of that account."""
    role = f"kubefed-controller-manager:{federation_account(name)}"
    return {
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": federation_account(name), "namespace": FEDERATION_NAMESPACE}],
    }


def federation_token_secret(name: str, *, suffix: str) -> Object:
    """Return the Secret that is to receive the account's token."""
    account = federation_account(name)
    return {
        "metadata": {
            "name": f"{account}-token-{suffix}",
            "namespace": FEDERATION_NAMESPACE,
            "annotations": {"kubernetes.io/service-account.name": account},
        },
        "type": "kubernetes.io/service-account-token",
    }


def federation_secret(name: str, *, token: str) -> Object:
    """Return the host's Secret with a joined cluster's token; the token is base64 text."""
    return {"metadata": {"name": f"{name}-secret", "namespace": FEDERATION_NAMESPACE}, "data": {"token": token}}


def kubefed_cluster(name: str, *, endpoint: str, authority: str, labels: dict[str, str]) -> Object:
    """Return the KubeFedCluster of a joined cluster; the authority is base64 text."""
    return {
        "metadata": {"name": name, "namespace": FEDERATION_NAMESPACE, "labels": labels},
        "spec": {"apiEndpoint": endpoint, "caBundle": authority, "secretRef": {"name": f"{name}-secret"}},
    }
