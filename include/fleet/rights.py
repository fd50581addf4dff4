"""The rights that a join needs, one verb on one name each: what deploy/rbac grants, as preflight asks for it.

Pure. A test holds this table and the files together; what each right is for stands there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from include.fleet import conf as confs
from include.fleet import kinds, kubesphere

HOST, MEMBER = kubesphere.HOST, kubesphere.MEMBER
_SYSTEM = kubesphere.NAMESPACE


@dataclass(frozen=True)
class Right:
    """One verb on one resource of one cluster."""

    side: str
    namespace: str
    """"" for the whole cluster."""
    verb: str
    resource: str
    """The plural, with `/` and the subresource where there is one."""
    group: str
    name: str
    """"" for any."""
    required: bool
    cases: frozenset[str] = frozenset()
    """In which joins, if not in all, in the words of the files: each of them has to hold, of "x or y" one."""

    def matters(self, absent: Collection[str]) -> bool:
        """Tell whether a join can need it to which none of the words *absent* applies."""
        return not any(set(case.split(" or ")).issubset(absent) for case in self.cases)

    @property
    def asked(self) -> kinds.Right:
        """Return it as a cluster is asked for it."""
        plural, _, subresource = self.resource.partition("/")
        kind = kinds.Kind(plural, self.group, "*" if self.group == "*" else "", "", namespaced=bool(self.namespace))
        return kinds.Right(
            self.verb, kind, namespace=self.namespace or None, name=self.name or None, subresource=subresource or None
        )

    def __str__(self) -> str:
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        name = f" ({self.name})" if self.name else ""
        return f'cannot {self.verb} resource "{self.resource}" in API group "{self.group}" {where}{name}'


def _rule(
    side: str, namespace: str, verbs: str, resource: str, names: str = "", *, required: bool, cases: tuple[str, ...]
) -> Iterator[Right]:
    """Yield the rights of one rule; *resource* is the plural, the group, and the subresource if there is one."""
    full, slash, subresource = resource.partition("/")
    plural, _, group = full.partition(".")
    for name in names.split() or [""]:
        for verb in verbs.split():
            yield Right(side, namespace, verb, plural + slash + subresource, group, name, required, frozenset(cases))


def _required(*rule: str, cases: tuple[str, ...] = ()) -> Iterator[Right]:
    return _rule(*rule, required=True, cases=cases)


def _optional(*rule: str, cases: tuple[str, ...] = ()) -> Iterator[Right]:
    return _rule(*rule, required=False, cases=cases)


ALL = (
    # deploy/rbac/host.yaml
    *_required(HOST, _SYSTEM, "get", "clusterconfigurations.installer.kubesphere.io", "ks-installer"),
    *_required(HOST, _SYSTEM, "patch", "clusterconfigurations.installer.kubesphere.io", "ks-installer"),
    *_optional(HOST, _SYSTEM, "list watch", "clusterconfigurations.installer.kubesphere.io", "ks-installer"),
    *_required(HOST, _SYSTEM, "get", "configmaps", "kubesphere-config"),
    *_optional(HOST, _SYSTEM, "list watch", "configmaps", "kubesphere-config"),
    *_optional(HOST, _SYSTEM, "get", "secrets", "kubesphere-secret"),
    *_required(HOST, _SYSTEM, "create", "secrets"),
    *_optional(HOST, _SYSTEM, "get", "secrets", "before-join", cases=("failed run or rollback",)),
    *_optional(HOST, _SYSTEM, "delete", "secrets", "before-join", cases=("rollback",)),
    *_required(HOST, _SYSTEM, "get", "secrets", "next-jwt-secret", cases=("rotation",)),
    *_required(HOST, _SYSTEM, "delete", "secrets", "next-jwt-secret", cases=("rotation",)),
    *_required(HOST, _SYSTEM, "get create patch", "leases.coordination.k8s.io"),
    *_required(HOST, _SYSTEM, "delete", "leases.coordination.k8s.io"),
    *_optional(HOST, _SYSTEM, "list watch", "leases.coordination.k8s.io", cases=("dead run",)),
    *_required(HOST, _SYSTEM, "get patch", "deployments.apps", "ks-installer", cases=("failed run",)),
    *_required(HOST, _SYSTEM, "get", "deployments.apps", "ks-apiserver ks-controller-manager", cases=("3.0",)),
    *_optional(HOST, _SYSTEM, "get", "deployments.apps", "tower"),
    *_optional(HOST, _SYSTEM, "list", "deployments.apps", cases=("rollback",)),
    *_required(HOST, _SYSTEM, "get", "services", "tower", cases=("proxy",)),
    *_optional(HOST, _SYSTEM, "list watch", "services", "tower", cases=("no address yet", "proxy")),
    *_optional(HOST, _SYSTEM, "get", "services", cases=("rollback",)),
    *_optional(HOST, _SYSTEM, "get", "endpoints", "ks-apiserver ks-controller-manager"),
    *_optional(HOST, _SYSTEM, "list", "pods"),
    *_optional(HOST, _SYSTEM, "get", "pods/log"),
    *_optional(HOST, _SYSTEM, "get", "pods/proxy"),
    *_optional(HOST, _SYSTEM, "get", "services/proxy", ":ks-apiserver:80"),
    *_optional(HOST, _SYSTEM, "create get", "jobs.batch", cases=("probe",)),
    *_optional(HOST, _SYSTEM, "list delete", "jobs.batch", cases=("probe",)),
    *_optional(HOST, "default", "list", "events", cases=("3.0", "direct")),
    *_required(HOST, "", "get", "namespaces", "kube-system"),
    *_required(HOST, "", "list", "clusters.cluster.kubesphere.io"),
    *_required(HOST, "", "get", "clusters.cluster.kubesphere.io"),
    *_optional(HOST, "", "watch", "clusters.cluster.kubesphere.io"),
    *_required(HOST, "", "create", "clusters.cluster.kubesphere.io"),
    *_required(HOST, "", "patch", "clusters.cluster.kubesphere.io", cases=("again or shared port",)),
    *_required(HOST, "", "delete", "clusters.cluster.kubesphere.io", cases=("rollback",)),
    *_optional(HOST, "", "get", "deployments.apps", "kubefed-controller-manager kubefed-admission-webhook"),
    *_optional(HOST, "", "get", "kubefedclusters.core.kubefed.io"),
    *_optional(
        HOST,
        "",
        "get",
        "federatedtypeconfigs.core.kubefed.io",
        "users.iam.kubesphere.io workspaces.tenant.kubesphere.io",
    ),
    *_optional(HOST, "", "list", "workspaces.tenant.kubesphere.io"),
    *_optional(HOST, "", "list", "namespaces", cases=("rollback",)),
    *_optional(HOST, "", "list", "federatedworkspaces.types.kubefed.io"),
    *_optional(
        HOST, "", "get", "validatingwebhookconfigurations.admissionregistration.k8s.io", "cluster.kubesphere.io"
    ),
    *_optional(HOST, "", "list", "storageclasses.storage.k8s.io"),
    *_optional(HOST, "", "list", "nodes"),
    # deploy/rbac/member.yaml
    *_required(MEMBER, _SYSTEM, "get", "clusterconfigurations.installer.kubesphere.io", "ks-installer"),
    *_required(MEMBER, _SYSTEM, "patch", "clusterconfigurations.installer.kubesphere.io", "ks-installer"),
    *_optional(MEMBER, _SYSTEM, "list watch", "clusterconfigurations.installer.kubesphere.io", "ks-installer"),
    *_required(MEMBER, _SYSTEM, "get", "configmaps", "kubesphere-config"),
    *_optional(MEMBER, _SYSTEM, "list watch", "configmaps", "kubesphere-config"),
    *_optional(MEMBER, _SYSTEM, "get", "secrets", "kubesphere-secret"),
    *_required(MEMBER, _SYSTEM, "create", "secrets"),
    *_optional(MEMBER, _SYSTEM, "get", "secrets", "before-join", cases=("failed run or rollback",)),
    *_optional(MEMBER, _SYSTEM, "delete", "secrets", "before-join", cases=("rollback",)),
    *_required(MEMBER, _SYSTEM, "get patch delete", "secrets", "before-run", cases=("rollback",)),
    *_required(MEMBER, _SYSTEM, "get patch", "deployments.apps", "ks-installer", cases=("failed run",)),
    *_required(MEMBER, _SYSTEM, "get", "deployments.apps", "ks-apiserver ks-controller-manager", cases=("3.0",)),
    *_required(MEMBER, _SYSTEM, "get", "deployments.apps", "cluster-agent", cases=("proxy or rollback",)),
    *_required(MEMBER, _SYSTEM, "create", "deployments.apps", cases=("proxy",)),
    *_required(MEMBER, _SYSTEM, "patch", "deployments.apps", "cluster-agent", cases=("again", "proxy")),
    *_optional(MEMBER, _SYSTEM, "delete", "deployments.apps", "cluster-agent", cases=("proxy", "rollback")),
    *_optional(MEMBER, _SYSTEM, "list", "deployments.apps", cases=("rollback",)),
    *_optional(MEMBER, _SYSTEM, "get", "serviceaccounts", "kubesphere", cases=("proxy",)),
    *_optional(MEMBER, _SYSTEM, "get", "endpoints", "ks-apiserver"),
    *_optional(MEMBER, _SYSTEM, "list", "pods"),
    *_optional(MEMBER, _SYSTEM, "get", "pods/log"),
    *_optional(MEMBER, _SYSTEM, "get", "pods/proxy"),
    *_optional(MEMBER, _SYSTEM, "get", "services/proxy", ":ks-apiserver:80", cases=("not forwarded",)),
    *_optional(MEMBER, _SYSTEM, "create get", "jobs.batch", cases=("probe", "proxy")),
    *_optional(MEMBER, _SYSTEM, "list delete", "jobs.batch", cases=("probe", "proxy")),
    *_required(MEMBER, "", "get", "namespaces", "kube-system"),
    *_optional(MEMBER, "", "get", "namespaces", "kube-federation-system"),
    *_optional(MEMBER, "", "delete", "namespaces", "kube-federation-system", cases=("rollback",)),
    *_optional(MEMBER, "", "list", "namespaces", cases=("rollback",)),
    *_optional(MEMBER, "", "list", "serviceaccounts"),
    *_optional(MEMBER, "", "get", "serviceaccounts", cases=("rollback",)),
    *_optional(MEMBER, "", "get delete", "clusterroles.rbac.authorization.k8s.io", cases=("rollback",)),
    *_optional(MEMBER, "", "get delete", "clusterrolebindings.rbac.authorization.k8s.io", cases=("rollback",)),
    *_optional(MEMBER, "", "list", "workspaces.tenant.kubesphere.io"),
    *_optional(MEMBER, "", "list", "storageclasses.storage.k8s.io"),
    *_optional(MEMBER, "", "list", "nodes"),
)
"""In the order of the files."""

EVERYTHING = Right(MEMBER, "", "*", "*", "*", "", required=True, cases=frozenset({"direct"}))
"""What KubeSphere needs of the credential that the host receives: it makes roles with all verbs there (6.4)."""


def of(side: str, *, absent: Collection[str] = ()) -> list[Right]:
    """Return the rights on one cluster that matter to a join to which none of the words *absent* applies."""
    return [right for right in ALL if right.side == side and right.matters(absent)]


def absent(conf: confs.Conf) -> set[str]:
    """Return the words of the files that do not apply to a join of this conf; a connection type left open may."""
    applies = {
        "direct": conf.connection is not confs.Connection.PROXY,
        "proxy": conf.connection is not confs.Connection.DIRECT,
        "probe": conf.probe,
        "rollback": conf.on_failure is confs.OnFailure.ROLLBACK,
        "rotation": False,
    }
    return {word for word, it_does in applies.items() if not it_does}
