"""Objects that KubeSphere's parts create, as manifests: shared by the actors and the states a scenario starts from."""

from __future__ import annotations

import base64
import secrets
from typing import Any, Final

from include.simulator import resources, tokens
from include.simulator.release import Release
from include.simulator.resources import Resource

Object = dict[str, Any]

SYSTEM_NAMESPACE: Final = "kubesphere-system"
FEDERATION_NAMESPACE: Final = "kube-federation-system"
KUBEFED_DEPLOYMENTS: Final = ("kubefed-controller-manager", "kubefed-admission-webhook")


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
    for name in KUBEFED_DEPLOYMENTS:
        created.append((resources.SERVICEACCOUNTS, FEDERATION_NAMESPACE, {"metadata": {"name": name}}))
        kubefed = deployment(name, namespace=FEDERATION_NAMESPACE, image=release.kubefed_image, account=name)
        created.append((resources.DEPLOYMENTS, FEDERATION_NAMESPACE, kubefed))
    return created


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
