"""The kinds of Kubernetes objects that this project touches, and how to name one object.

Pure: names and API paths only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind as the API serves it."""

    plural: str
    group: str
    version: str
    name: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return `apiVersion` as manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """Return the plural with its group, as `kubectl` and the server's messages write it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None) -> str:
        """Return the URL path of the list of this kind in *namespace*."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" if self.namespaced else f"{root}/{self.plural}"


@dataclass(frozen=True)
class Ref:
    """One object of one kind, by name."""

    kind: Kind
    name: str
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.kind.namespaced == (self.namespace is None):
            raise ValueError(f"{self.kind.plural}/{self.name}: namespace given and scope of the kind differ")

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind.plural}/{self.name}{where}"

    @property
    def path(self) -> str:
        """Return the URL path of the object."""
        return f"{self.kind.path(self.namespace)}/{self.name}"


@dataclass(frozen=True)
class Right:
    """A verb on a kind, as an authorizer is asked for it: of one object or of any, in a namespace or in all."""

    verb: str
    kind: Kind
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None

    def __str__(self) -> str:
        part = f"/{self.subresource}" if self.subresource else ""
        name = f" {self.name}" if self.name else ""
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.kind.full_name}{part}{name}{where}"


NAMESPACE = Kind("namespaces", "", "v1", "Namespace", namespaced=False)
CONFIG_MAP = Kind("configmaps", "", "v1", "ConfigMap")
SECRET = Kind("secrets", "", "v1", "Secret")
POD = Kind("pods", "", "v1", "Pod")
SERVICE = Kind("services", "", "v1", "Service")
SERVICE_ACCOUNT = Kind("serviceaccounts", "", "v1", "ServiceAccount")
NODE = Kind("nodes", "", "v1", "Node", namespaced=False)
ENDPOINTS = Kind("endpoints", "", "v1", "Endpoints")
EVENT = Kind("events", "", "v1", "Event")
LEASE = Kind("leases", "coordination.k8s.io", "v1", "Lease")
JOB = Kind("jobs", "batch", "v1", "Job")
SELF_REVIEW = Kind(
    "selfsubjectaccessreviews", "authorization.k8s.io", "v1", "SelfSubjectAccessReview", namespaced=False
)
DEPLOYMENT = Kind("deployments", "apps", "v1", "Deployment")
CLUSTER_CONFIGURATION = Kind("clusterconfigurations", "installer.kubesphere.io", "v1alpha1", "ClusterConfiguration")
USER = Kind("users", "iam.kubesphere.io", "v1alpha2", "User", namespaced=False)
WORKSPACE = Kind("workspaces", "tenant.kubesphere.io", "v1alpha1", "Workspace", namespaced=False)
KUBEFED_CLUSTER = Kind("kubefedclusters", "core.kubefed.io", "v1beta1", "KubeFedCluster")
FEDERATED_TYPE = Kind("federatedtypeconfigs", "core.kubefed.io", "v1beta1", "FederatedTypeConfig")
FEDERATED_USER = Kind("federatedusers", "types.kubefed.io", "v1beta1", "FederatedUser", namespaced=False)
FEDERATED_WORKSPACE = Kind("federatedworkspaces", "types.kubefed.io", "v1beta1", "FederatedWorkspace", namespaced=False)
CLUSTER = Kind("clusters", "cluster.kubesphere.io", "v1alpha1", "Cluster", namespaced=False)
CLUSTER_ROLE = Kind("clusterroles", "rbac.authorization.k8s.io", "v1", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDING = Kind(
    "clusterrolebindings", "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", namespaced=False
)
STORAGE_CLASS = Kind("storageclasses", "storage.k8s.io", "v1", "StorageClass", namespaced=False)
WEBHOOK = Kind(
    "validatingwebhookconfigurations",
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)
