"""Causes of the second rank: an installer that has not done its work, and programs that are gone or cannot start."""

from __future__ import annotations

from include.fleet import matching
from include.fleet.evidence import HOST, HOST_SAYS, MEMBER, Evidence, Rollout, Source
from include.fleet.matching import Cause, Match

_KUBEFED = ("kubefed-controller-manager", "kubefed-admission-webhook")


def _multicluster_failed(evidence: Evidence) -> Match | None:
    said = matching.installer_says(
        evidence, r'Task .multicluster. failed|task multicluster status is failed|"?kubefed"? has no deployed releases'
    )
    if said is not None or not matching.waits_for_host(evidence):
        return said
    return matching.deployment(evidence, HOST, *_KUBEFED, how=(Rollout.UNAVAILABLE,))


def _unsafe_secret(evidence: Evidence) -> Match | None:
    said = matching.words(evidence, r"characters that ks-installer cannot pass on", Source.ERROR)
    return said or matching.installer_says(
        evidence, r"(?is)(?:jwt\.sh|init-token|kubesphere token).*(?:syntax error|unterminated quoted|unexpected EOF)"
    )


def _no_role_key(evidence: Evidence) -> Match | None:
    return matching.installer_says(evidence, r"(?:has no attribute|undefined)[^\n]*'?clusterRole")


_INSTALLER_HINTS = (
    (r"StorageClass was not found", "there is no default StorageClass", "Make one StorageClass the default"),
    (
        r"has no attribute '?jwtSecret",
        "the key spec.authentication.jwtSecret is missing",
        'Set it to "" (that keeps the secret in force)',
    ),
    (r"Failed count is \d+|Will retry after delay|Traceback|has crashed", "its hook crashes each time", "Mend that"),
    (r"fatal:|failed=[1-9]|Failed to ansible-playbook|Task '.+' failed:|Error:", "a task of it failed", "Mend that"),
)


def _installer_died(evidence: Evidence) -> Match | None:
    for side in (HOST, MEMBER):
        about = any(line.side == side for line in evidence.said if line.source is Source.ERROR)
        down = matching.deployment(evidence, side, "ks-installer", how=matching.DOWN) if about else None
        if down is not None and matching.installer_ended(evidence):
            return Match(down.seen, {**down.names, "why": "it does not run", "mend": "Bring its Deployment back"})
    for pattern, why, mend in _INSTALLER_HINTS:
        said = matching.installer_says(evidence, pattern)
        if said is not None:
            return Match(said.seen, {**said.names, "why": why, "mend": mend})
    return None


def _made_anew(evidence: Evidence) -> Match | None:
    return matching.words(
        evidence, r"ks-installer (?:of|on) the .* is being made anew|is being made anew", Source.ERROR
    )


def _image(evidence: Evidence) -> Match | None:
    hit = evidence.find(r"ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull", Source.POD)
    if hit is None:
        return None
    line, found = hit
    return Match(line.quoted(found), {"pod": line.about, "side": matching.side_of(evidence, line)})


def _no_tower(evidence: Evidence) -> Match | None:
    said = matching.words(evidence, r"no Deployment (?:[\w, -]*, )?tower\b|There is no services/tower", Source.ERROR)
    if said is not None or not evidence.proxy or evidence.step in matching.INSTALLING:
        return said
    gone = matching.deployment(evidence, HOST, "tower", how=(Rollout.MISSING,))
    if gone is None and evidence.service_missing:
        return Match("there is no Service tower in kubesphere-system on the host")
    return gone


def _no_kubefed(evidence: Evidence) -> Match | None:
    said = matching.words(
        evidence,
        r'no matches for kind "(?:KubeFedCluster|Federated\w+)"|' + matching.WEBHOOK + r' "?[^"]*kubefed'
        r"|could not find the requested resource \(\w+ (?:kubefedclusters|federated)"
        r"|Deployments? (?:[\w, -]*, )?kubefed-[\w-]+(?: is not available)?(?=[ ,.;])",
        *HOST_SAYS,
    )
    if said is not None or evidence.step not in matching.IMPORTED or not _host_is_stuck(evidence):
        return said
    return matching.deployment(evidence, HOST, *_KUBEFED, how=matching.DOWN)


def _host_is_stuck(evidence: Evidence) -> bool:
    """Tell whether the host itself has not got the member federated."""
    return evidence.cluster is not None and not evidence.cluster.is_true("Federated")


def _no_controller(evidence: Evidence) -> Match | None:
    if evidence.step in matching.IMPORTED:
        down = matching.deployment(evidence, HOST, "ks-controller-manager", how=matching.DOWN)
        if down is not None:
            return down
    untouched = r"controller has not touched Cluster|Deployment ks-controller-manager is not rolled out"
    if not evidence.member.silent and not evidence.proxy:
        untouched += r"|has not been refreshed since"
    return matching.words(evidence, untouched, Source.ERROR, names={"how": "not at work"})


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="failures-23",
        sentence="The image of Pod {pod} cannot be pulled on the {side}.",
        shows="ErrImagePull or ImagePullBackOff of KubeSphere's pods or the agent's",
        next_step="Make the image available there; the agent's can be named in the conf (agent_image). "
        "Then clear this task.",
        object="Pod {pod} in kubesphere-system",
        on="{side}",
        match=_image,
    ),
    Cause(
        id="failures-29",
        sentence="No host could be made of the {host}: component multicluster failed, most often the kubefed chart.",
        shows="Task 'multicluster' failed; status.multicluster is not enabled",
        next_step="Mend what the log names (a failed helm release kubefed is to be deleted), "
        + matching.RUN_AGAIN
        + ".",
        object="Deployment ks-installer in kubesphere-system",
        on="{host}",
        match=_multicluster_failed,
    ),
    Cause(
        id="P-15",
        sentence="The jwtSecret has characters that break ks-installer's shell command.",
        shows="a shell's syntax error in init-token; or a refusal before anything is written",
        next_step="Give the host a jwtSecret of letters and digits (spec.authentication.jwtSecret).",
        object="ClusterConfiguration ks-installer",
        on="{side}",
        match=_unsafe_secret,
    ),
    Cause(
        id="P-14",
        sentence="The key clusterRole is missing under spec.multicluster, without which ks-installer fails.",
        shows="Failed to ansible-playbook ks-config.yaml",
        next_step="Set spec.multicluster.clusterRole, " + matching.RUN_AGAIN + ".",
        object="ClusterConfiguration ks-installer",
        on="{side}",
        match=_no_role_key,
    ),
    Cause(
        id="P-37",
        sentence="Tower is gone from the {host}, and ks-installer does not restore it by itself.",
        shows="no Deployment or Service tower; proxy Clusters without conditions, agents refused",
        next_step="Set status.multicluster of ClusterConfiguration ks-installer to null there and restart Deployment "
        "ks-installer, " + matching.RUN_AGAIN + ".",
        object="Deployment tower in kubesphere-system",
        on="{host}",
        match=_no_tower,
    ),
    Cause(
        id="P-6",
        sentence="Kubefed is missing or not at work on the {host}, so it can federate no cluster.",
        shows='no matches for kind "KubeFedCluster"; its webhook fails; its Deployments are not available',
        next_step="See the pods of kube-federation-system there; if they are gone, set status.multicluster of "
        "ClusterConfiguration ks-installer to null and restart Deployment ks-installer, " + matching.RUN_AGAIN + ".",
        object="Deployments kubefed-* in kube-federation-system",
        on="{host}",
        match=_no_kubefed,
    ),
    Cause(
        id="P-5",
        sentence="The installer on the {side} does not finish: {why}.",
        shows="fatal: or failed=1 in its log and no banner; no default StorageClass; a hook that crashes; no Pod",
        next_step="{mend}, " + matching.RUN_AGAIN + ": it forces a new run.",
        object="Deployment ks-installer in kubesphere-system",
        on="{side}",
        match=_installer_died,
    ),
    Cause(
        id="P-7",
        sentence="The ClusterConfiguration stays away: ks-installer has deleted it and not made it anew.",
        shows="404 for clusterconfigurations/ks-installer while Deployment ks-installer is there",
        next_step="See the log of Pod ks-installer on the {side}; apply the ClusterConfiguration again if it crashed.",
        object="ClusterConfiguration ks-installer",
        on="{side}",
        match=_made_anew,
    ),
    Cause(
        id="failures-26",
        sentence="Nobody on the host looks at Cluster {cluster}: ks-controller-manager is {how}.",
        shows="a Cluster without conditions, or with old ones, and no reason",
        next_step="See Deployment ks-controller-manager in kubesphere-system on the {host}, its pods and its log.",
        object="Deployment ks-controller-manager in kubesphere-system",
        on="{host}",
        match=_no_controller,
    ),
)
