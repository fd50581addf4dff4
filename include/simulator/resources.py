"""The kinds of objects that a simulated cluster can serve, and how their names are validated.

Custom kinds are served only while their CustomResourceDefinition exists in that cluster, as by a real API server:
a bare cluster has no ClusterConfiguration, and a host has no KubeFedCluster before its installer put kubefed there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SERVICE: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One kind, as discovery shows it.

    `generation` says what raises metadata.generation: "none" for kinds without one, "spec" where a status subresource
    (or Kubernetes itself) keeps status apart, "content" for custom kinds without a status subresource, where every
    change outside metadata counts. `columns` are the additionalPrinterColumns of a custom kind: name, type, path.
    `categories` are names for several kinds at once, as in `kubectl get all`. Of a kind without other verbs than
    `create` nothing is ever stored. `versioned` says that an update has to tell the version that it replaces, which
    holds for custom kinds as well; `upserted` that it makes an object that is not there.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    status: bool = False
    generation: str = "none"
    custom: bool = False
    subresources: tuple[str, ...] = field(default=())
    columns: tuple[tuple[str, str, str], ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    versioned: bool = False
    upserted: bool = False

    @property
    def singular(self) -> str:
        """Return the lower-case singular name."""
        return self.kind.lower()

    @property
    def api_version(self) -> str:
        """Return `group/version`, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Return `plural.group`, the form that error messages and definitions use."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """Return `Kind.group`, the form that validation messages use."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def base(self) -> str:
        """Return the path of the group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, name: str | None = None, *, namespace: str | None = None, subresource: str = "") -> str:
        """Return the path of one object, or of the collection when no name is given."""
        parts = [self.base]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def _core(
    plural: str,
    kind: str,
    *,
    short: str = "",
    namespaced: bool = True,
    status: bool = False,
    subresources: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
) -> Resource:
    return Resource(
        group="",
        version="v1",
        plural=plural,
        kind=kind,
        namespaced=namespaced,
        status=status,
        short_names=(short,) if short else (),
        subresources=subresources,
        categories=categories,
    )


NAMESPACES: Final = _core(
    "namespaces", "Namespace", short="ns", namespaced=False, status=True, subresources=("finalize",)
)
NODES: Final = _core("nodes", "Node", short="no", namespaced=False, status=True)
PODS: Final = _core("pods", "Pod", short="po", status=True, subresources=("log", "proxy"), categories=("all",))
SERVICES: Final = _core("services", "Service", short="svc", status=True, subresources=("proxy",), categories=("all",))
ENDPOINTS: Final = _core("endpoints", "Endpoints", short="ep")
CONFIGMAPS: Final = _core("configmaps", "ConfigMap", short="cm")
SECRETS: Final = _core("secrets", "Secret")
SERVICEACCOUNTS: Final = _core("serviceaccounts", "ServiceAccount", short="sa")
EVENTS: Final = _core("events", "Event", short="ev")
DEPLOYMENTS: Final = Resource(
    group="apps",
    version="v1",
    plural="deployments",
    kind="Deployment",
    namespaced=True,
    short_names=("deploy",),
    status=True,
    generation="spec",
    subresources=("scale",),
    categories=("all",),
)
JOBS: Final = Resource(
    group="batch",
    version="v1",
    plural="jobs",
    kind="Job",
    namespaced=True,
    status=True,
    generation="spec",
    categories=("all",),
)
CLUSTERROLES: Final = Resource(
    group="rbac.authorization.k8s.io", version="v1", plural="clusterroles", kind="ClusterRole", namespaced=False
)
CLUSTERROLEBINDINGS: Final = Resource(
    group="rbac.authorization.k8s.io",
    version="v1",
    plural="clusterrolebindings",
    kind="ClusterRoleBinding",
    namespaced=False,
)
STORAGECLASSES: Final = Resource(
    group="storage.k8s.io",
    version="v1",
    plural="storageclasses",
    kind="StorageClass",
    namespaced=False,
    short_names=("sc",),
)
LEASES: Final = Resource(
    group="coordination.k8s.io",
    version="v1",
    plural="leases",
    kind="Lease",
    namespaced=True,
    versioned=True,
    upserted=True,
)
SELF_REVIEWS: Final = Resource(
    group="authorization.k8s.io",
    version="v1",
    plural="selfsubjectaccessreviews",
    kind="SelfSubjectAccessReview",
    namespaced=False,
    verbs=("create",),
)
WEBHOOK_CONFIGURATIONS: Final = Resource(
    group="admissionregistration.k8s.io",
    version="v1",
    plural="validatingwebhookconfigurations",
    kind="ValidatingWebhookConfiguration",
    namespaced=False,
    generation="content",
    categories=("api-extensions",),
    versioned=True,
)
DEFINITIONS: Final = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    generation="spec",
    status=True,
    categories=("api-extensions",),
)

CLUSTERCONFIGURATIONS: Final = Resource(
    group="installer.kubesphere.io",
    version="v1alpha1",
    plural="clusterconfigurations",
    kind="ClusterConfiguration",
    namespaced=True,
    short_names=("cc",),
    custom=True,
    generation="content",
)
CLUSTERS: Final = Resource(
    group="cluster.kubesphere.io",
    version="v1alpha1",
    plural="clusters",
    kind="Cluster",
    namespaced=False,
    custom=True,
    generation="content",
    columns=(
        ("Federated", "boolean", ".spec.joinFederation"),
        ("Provider", "string", ".spec.provider"),
        ("Active", "boolean", ".spec.enable"),
        ("Version", "string", ".status.kubernetesVersion"),
    ),
)
USERS: Final = Resource(
    group="iam.kubesphere.io",
    version="v1alpha2",
    plural="users",
    kind="User",
    namespaced=False,
    custom=True,
    generation="spec",
    status=True,
    columns=(("Email", "string", ".spec.email"), ("Status", "string", ".status.state")),
)
WORKSPACES: Final = Resource(
    group="tenant.kubesphere.io",
    version="v1alpha1",
    plural="workspaces",
    kind="Workspace",
    namespaced=False,
    custom=True,
    generation="content",
)
KUBEFEDCLUSTERS: Final = Resource(
    group="core.kubefed.io",
    version="v1beta1",
    plural="kubefedclusters",
    kind="KubeFedCluster",
    namespaced=True,
    custom=True,
    status=True,
    generation="spec",
    columns=(
        ("age", "date", ".metadata.creationTimestamp"),
        ("ready", "string", ".status.conditions[?(@.type=='Ready')].status"),
    ),
)
FEDERATEDWORKSPACES: Final = Resource(
    group="types.kubefed.io",
    version="v1beta1",
    plural="federatedworkspaces",
    kind="FederatedWorkspace",
    namespaced=False,
    custom=True,
    status=True,
    generation="spec",
)

FEDERATEDUSERS: Final = Resource(
    group="types.kubefed.io",
    version="v1beta1",
    plural="federatedusers",
    kind="FederatedUser",
    namespaced=False,
    custom=True,
    status=True,
    generation="spec",
)
FEDERATEDTYPECONFIGS: Final = Resource(
    group="core.kubefed.io",
    version="v1beta1",
    plural="federatedtypeconfigs",
    kind="FederatedTypeConfig",
    namespaced=True,
    short_names=("ftc",),
    custom=True,
    status=True,
    generation="spec",
)

KUBESPHERE_KINDS: Final = (CLUSTERCONFIGURATIONS, CLUSTERS, USERS, WORKSPACES)
KUBEFED_KINDS: Final = (KUBEFEDCLUSTERS, FEDERATEDTYPECONFIGS, FEDERATEDUSERS, FEDERATEDWORKSPACES)
ALL: Final = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    ENDPOINTS,
    CONFIGMAPS,
    SECRETS,
    SERVICEACCOUNTS,
    EVENTS,
    DEPLOYMENTS,
    JOBS,
    CLUSTERROLES,
    CLUSTERROLEBINDINGS,
    STORAGECLASSES,
    LEASES,
    SELF_REVIEWS,
    WEBHOOK_CONFIGURATIONS,
    DEFINITIONS,
    *KUBESPHERE_KINDS,
    *KUBEFED_KINDS,
)


def find(plural: str) -> Resource:
    """Return the kind of that plural name; no two kinds here share one. Raises KeyError."""
    for resource in ALL:
        if resource.plural == plural:
            return resource
    raise KeyError(plural)


def name_problem(resource: Resource, *, name: str) -> str | None:
    """Return why a real API server would refuse this name, in its words, or None."""
    if resource.group == "rbac.authorization.k8s.io":
        return None if name not in {".", ".."} and not set(name) & {"/", "%"} else "may not contain '/' or '%'"
    if resource == SERVICES:
        if len(name) <= 63 and SERVICE.fullmatch(name):
            return None
        return (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
            "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    if resource == NAMESPACES:
        if len(name) > 63:
            return "must be no more than 63 characters"
        if LABEL.fullmatch(name):
            return None
        return (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
            "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        )
    if len(name) > 253:
        return "must be no more than 253 characters"
    if SUBDOMAIN.fullmatch(name):
        return None
    return (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    )
