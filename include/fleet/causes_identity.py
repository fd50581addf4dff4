"""Causes of the first rank: who is who, and objects that a server refuses in words of its own."""

from __future__ import annotations

from include.fleet import kubesphere, matching
from include.fleet.evidence import HOST, HOST_SAYS, Evidence, Source
from include.fleet.matching import Cause, Match


def _same_cluster(evidence: Evidence) -> Match | None:
    return matching.words(
        evidence,
        r"MUST not import the same cluster twice|both connections lead to the same cluster"
        r"|has this cluster already, as",
        *matching.ANYWHERE,
    )


def _other_host(evidence: Evidence) -> Match | None:
    said = matching.words(
        evidence,
        r"belongs to another host, which calls it (?P<other>[^;\s]+)|managed by another host cluster",
        *matching.ANYWHERE,
        names={"other": "another name"},
    )
    if said is not None or evidence.step != matching.PROVING:
        return said
    member = evidence.member
    differ = matching.secrets_differ(evidence)
    if not differ or not member.cluster_name or member.cluster_name in {evidence.name, HOST}:
        return None
    return Match(
        f"ConfigMap kubesphere-config of the member has clusterName {member.cluster_name}; {differ}",
        {"other": member.cluster_name},
    )


def _taken_for_host(evidence: Evidence) -> Match | None:
    if evidence.cluster is not None and evidence.cluster.labelled_host:
        return Match(f"Cluster {evidence.name} has the label cluster-role.kubesphere.io/host")
    return matching.words(evidence, r"MUST not be more than one host clusters", Source.CONTROLLER, Source.ERROR)


def _crossed(evidence: Evidence) -> Match | None:
    behind = "tower's ports of two members clash" if evidence.proxy else "the address in its kubeconfig leads there"
    mend = (
        "give spec.connection.kubernetesAPIServerPort of the Cluster a port that no other one has, or delete it and "
        "join again"
        if evidence.proxy
        else "set member_server to the member's own address and run the join again"
    )
    names = {"why": behind, "mend": mend}
    cluster = evidence.cluster
    if cluster is not None and cluster.uid and evidence.uid and cluster.uid != evidence.uid:
        seen_ = f"status.uid of Cluster {evidence.name} is {cluster.uid}, the member's kube-system has {evidence.uid}"
        return Match(seen_, names)
    pattern = (
        r"to another cluster: kube-system UID|corresponds to a different cluster|listen tcp :\d+: bind: address"
        r"|Each port of tower that was drawn for"
    )
    return matching.words(
        evidence, pattern, Source.ERROR, Source.ANSWER, Source.TOWER, Source.AGENT, *HOST_SAYS, names=names
    )


def _workspace(evidence: Evidence) -> Match | None:
    return matching.words(
        evidence, r"[Tt]he workspace (?P<workspace>\S+) is found in the target member cluster", *HOST_SAYS
    )


def _stale_webhook(evidence: Evidence) -> Match | None:
    if matching.deployment(evidence, HOST, "ks-controller-manager", how=matching.DOWN) is not None:
        return None  # It is this Deployment that answers: its being down is the cause, and known as one.
    return matching.words(
        evidence, matching.WEBHOOK + r' "?validating-cluster\.kubesphere\.io', *HOST_SAYS, Source.TOWER
    )


def _dead_member_locked(evidence: Evidence) -> Match | None:
    said = matching.words(
        evidence,
        r'"?validating-cluster\.kubesphere\.io"? denied the request(?!: (?:this kubeconfig corresponds|Unauthorized))',
        *HOST_SAYS,
        Source.TOWER,
    )
    waits = evidence.cluster is not None and evidence.cluster.deleting and evidence.step == "import_cluster"
    if said is not None or not waits:
        return said
    return Match(f"Cluster {evidence.name} on the host has a deletionTimestamp and is still there")


def _webhook(evidence: Evidence) -> Match | None:
    return matching.words(
        evidence,
        matching.WEBHOOK + r' "?(?P<webhook>[\w.-]+)',
        *HOST_SAYS,
        Source.TOWER,
        without=r"kubefed|validating-cluster\.kubesphere\.io",
    )


def _no_kubesphere(evidence: Evidence) -> Match | None:
    return matching.words(
        evidence,
        r'services "?:?(?:https?:)?ks-apiserver:?\d*"? not found|namespaces "kubesphere-system" not found'
        r"|could not find the requested resource \(\w+ workspaces"
        r'|no matches for kind "Workspace"|KubeSphere 3\.x is not installed there'
        r"|There is no serviceaccounts/kubesphere in kubesphere-system",
        *matching.ANYWHERE,
    )


def _left_over(evidence: Evidence) -> Match | None:
    return matching.words(
        evidence,
        r"already exists in joining cluster|because it is being terminated|is Terminating"
        r"|object is being deleted: (?!clusters)",
        *HOST_SAYS,
        Source.INSTALLER,
    )


def _old_kubernetes(evidence: Evidence) -> Match | None:
    said = matching.installer_says(evidence, r"The current (?:k8s|Kubernetes) version is not supported")
    return said or matching.words(
        evidence,
        r"(?:batch|policy|extensions|autoscaling|(?:apiextensions|rbac\.authorization|networking|admissionregistration)"
        r"\.k8s\.io)/v\d+(?:alpha|beta)\d",
        *HOST_SAYS,
        Source.ANSWER,
        Source.INSTALLER,
        without=r"deprecated",
    )


def _endless_token(evidence: Evidence) -> Match | None:
    if evidence.host.release != "3.0" or (evidence.proxy and not evidence.connected):
        return None
    said = matching.words(evidence, r"timed out waiting for the condition", *HOST_SAYS[:3])
    if said is None:
        return None
    kubernetes = kubesphere.version_numbers(evidence.cluster.kubernetes if evidence.cluster else "")
    return None if kubernetes and kubernetes < (1, 24) else said


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="failures-20",
        sentence="The host has this very cluster already, or is it itself.",
        shows="MUST not import the same cluster twice",
        next_step="Join it under the name that it has, or delete that Cluster first.",
        object="Cluster {cluster}",
        on="{host}",
        match=_same_cluster,
    ),
    Cause(
        id="failures-18",
        sentence="The {member} belongs to another host, which calls it {other}.",
        shows="clusterName of another host in the member's ConfigMap; the secrets differ",
        next_step="Take it out there first and set its role to none, " + matching.RUN_AGAIN + ".",
        object="ConfigMap kubesphere-config",
        on="{member}",
        match=_other_host,
    ),
    Cause(
        id="P-31",
        sentence="The host takes Cluster {cluster} for itself: nodes of both have the same machine-id, as clones have.",
        shows="label cluster-role.kubesphere.io/host on the member's Cluster",
        next_step="Give the member's nodes a machine-id of their own, delete the Cluster, run the join again.",
        object="Cluster {cluster}",
        on="{host}",
        match=_taken_for_host,
    ),
    Cause(
        id="failures-36",
        sentence="Under the name {cluster} the host reaches another cluster: {why}.",
        shows="status.uid, or a forwarded request, has another kube-system UID than the member",
        next_step="Stop using Cluster {cluster}; {mend}.",
        object="Cluster {cluster}",
        on="{host}",
        match=_crossed,
    ),
    Cause(
        id="failures-21",
        sentence="Workspace {workspace} is on the member with the label kubefed.io/managed, and on the host, placed "
        "elsewhere.",
        shows="Federated=False: The workspace ... is found in the target member cluster",
        next_step="Rename or delete it on one side, or remove the label on the member, " + matching.RUN_AGAIN + ".",
        object="Workspace {workspace}",
        on="{member}",
        match=_workspace,
    ),
    Cause(
        id="failures-28",
        sentence="Cluster {cluster} cannot be changed or removed: the host's webhook asks its dead member first.",
        shows="validating-cluster.kubesphere.io denied the request; a Cluster that stays in deletion",
        next_step="Bring the member's old address back, or have leave_member_cluster take it out with force: true, "
        "which sets the webhook aside for this Cluster and puts it back.",
        object="Cluster {cluster}",
        on="{host}",
        match=_dead_member_locked,
    ),
    Cause(
        id="failures-27",
        sentence="The webhook that checks Clusters does not answer with a certificate that the host trusts.",
        shows='failed calling webhook "validating-cluster.kubesphere.io"',
        next_step="After an upgrade to KubeSphere 4 delete ValidatingWebhookConfiguration cluster.kubesphere.io; else "
        "see that ks-controller-manager runs, " + matching.RUN_AGAIN + ".",
        object="ValidatingWebhookConfiguration cluster.kubesphere.io",
        on="{host}",
        match=_stale_webhook,
    ),
    Cause(
        id="P-34",
        sentence="Webhook {webhook} is not served, as happens while ks-installer runs.",
        shows="failed calling webhook ... x509, connection refused",
        next_step="Wait until ks-installer is done and ks-controller-manager runs, " + matching.RUN_AGAIN + ".",
        object="webhook {webhook}",
        on="{side}",
        match=_webhook,
    ),
    Cause(
        id="failures-16",
        sentence="KubeSphere is missing, or half of it, on the {side}.",
        shows='services "ks-apiserver" not found; no Workspace kind; no ClusterConfiguration',
        next_step="Install KubeSphere there with the role none, wait until it is finished, run the join again.",
        object="namespace kubesphere-system",
        on="{side}",
        match=_no_kubesphere,
    ),
    Cause(
        id="failures-24",
        sentence="The version of Kubernetes on the {side} does not fit this KubeSphere.",
        shows="The current Kubernetes version is not supported; batch/v1beta1 and its like not found",
        next_step="Compare both with KubeSphere's support matrix and upgrade the one that is too old.",
        object="the Kubernetes version",
        on="{side}",
        match=_old_kubernetes,
    ),
    Cause(
        id="P-27",
        sentence="The host's KubeSphere waits for a token that Kubernetes from 1.24 on makes for no account.",
        shows="timed out waiting for the condition, for ever, on a host with KubeSphere 3.0",
        next_step="Upgrade KubeSphere on the host to 3.3 or later.",
        object="ServiceAccount {cluster}-kubesphere in kube-federation-system",
        on="{member}",
        match=_endless_token,
    ),
    Cause(
        id="failures-22",
        sentence="Left-overs of an earlier join are in the way, or are still being deleted.",
        shows="already exists in joining cluster; because it is being terminated",
        next_step="Clean up namespace kube-federation-system there (finalizers that nobody serves), "
        + matching.RUN_AGAIN
        + ".",
        object="namespace kube-federation-system",
        on="{member}",
        match=_left_over,
    ),
)
