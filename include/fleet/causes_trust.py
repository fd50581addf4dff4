"""Causes of the fourth rank: role, jwtSecret and tokens, which let a member become Ready and keep it from use."""

from __future__ import annotations

from include.fleet import matching
from include.fleet.evidence import HOST, HOST_SAYS, MEMBER, Evidence, Source
from include.fleet.matching import Cause, Match


def _other_secret(evidence: Evidence) -> Match | None:
    differ = matching.secrets_differ(evidence)
    said = matching.words(
        evidence, r"hostcluster Jwt is not equal|signature is invalid|jwtSecret of host and member differ",
        Source.ANSWER, *HOST_SAYS,
    )  # fmt: skip
    if differ and (evidence.step == matching.PROVING or said):
        return Match(f"{differ}; {said.seen}" if said and Source.ERROR.value not in said.seen else differ)
    equal = evidence.host.fingerprint and evidence.host.fingerprint == evidence.member.fingerprint
    return None if equal else said


def _old_process(evidence: Evidence) -> Match | None:
    if not evidence.host.fingerprint or evidence.host.fingerprint != evidence.member.fingerprint:
        return None
    return matching.words(
        evidence, r"signature is invalid|has not loaded the jwtSecret yet", Source.ANSWER, Source.ERROR
    )


def _wrong_role(evidence: Evidence) -> Match | None:
    said = matching.words(evidence, r"clusterRole of the member cluster must be 'member'", *matching.ANYWHERE)
    wanted = ((evidence.host, HOST), (evidence.member, MEMBER))
    names = {"side": matching.named(evidence.member, MEMBER), "role": MEMBER}
    if said is not None:
        return Match(said.seen, {**names, "is": "another one"})
    if evidence.step != matching.PROVING:
        return None
    for side, role in wanted:
        # Of an older KubeSphere the ConfigMap names no role: there only the age of tokens tells a member.
        told = side.asked_role if role == MEMBER and side.token_age is not None and side.release == "3.0" else side.role
        if told is not None and told != role:
            shown = (
                f"role {told or 'none'} is in force by ConfigMap kubesphere-config of the {matching.named(side, role)}"
            )
            return Match(shown, {"side": matching.named(side, role), "role": role, "is": told or "none"})
    return None


def _token_age(evidence: Evidence) -> str:
    """Return that the member's tokens expire, as its configuration shows it, or ""."""
    member = evidence.member
    lasting = member.token_age in {"0", "0s"}
    if member.token_age is None or lasting or (member.token_age == "" and member.release != "3.0"):
        return ""
    return f"accessTokenMaxAge is {member.token_age or 'not set'} in ConfigMap kubesphere-config of the member"


def _own_oauth(evidence: Evidence) -> Match | None:
    found = _ages(evidence) if evidence.member.own_oauth else None
    if found is None:
        return None
    return Match(f"{found.seen}; spec.authentication.oauthOptions is set in ClusterConfiguration ks-installer there")


def _ages(evidence: Evidence) -> Match | None:
    said = matching.words(evidence, r"token not found in cache", Source.ANSWER, *HOST_SAYS)
    age = _token_age(evidence)
    if age and (said or evidence.step == matching.PROVING):
        return Match(f"{age}; {said.seen}" if said else age)
    return said


def _unseen_member(evidence: Evidence) -> Match | None:
    if evidence.cluster is None or not evidence.cluster.is_true("Ready"):
        return None
    return matching.words(
        evidence, r"cluster \S+ is not ready|does not see the member as ready", Source.ANSWER, Source.ERROR
    )


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="failures-7",
        sentence="The {member} has another jwtSecret than the host, so it takes none of the host's requests.",
        shows="signature is invalid; hostcluster Jwt is not equal; fingerprints differ",
        next_step="Clear configure_member, which asks for the host's, and find out who changes it.",
        object="ConfigMap kubesphere-config",
        on="{member}",
        match=_other_secret,
    ),
    Cause(
        id="P-10",
        sentence="A ks-apiserver still runs with a former jwtSecret, although both ConfigMaps hold the same.",
        shows="signature is invalid although the fingerprints are equal",
        next_step="Restart Deployment ks-apiserver in kubesphere-system on both clusters, " + matching.RUN_AGAIN + ".",
        object="Deployment ks-apiserver in kubesphere-system",
        on="{side}",
        match=_old_process,
    ),
    Cause(
        id="failures-10",
        sentence="The {side} has role {is} in force, not {role}.",
        shows="clusterRole of the member cluster must be 'member'; ConfigMap with another role",
        next_step="Clear the task that configures it and wait_installer, and find out who changes the role.",
        object="ConfigMap kubesphere-config",
        on="{side}",
        match=_wrong_role,
    ),
    Cause(
        id="P-12",
        sentence="The {member} has oauthOptions of its own, which take the place of what a member needs.",
        shows="token not found in cache, although role and jwtSecret are right",
        next_step="Take oauthOptions out of spec.authentication there, or set accessTokenMaxAge in them to 0.",
        object="ClusterConfiguration ks-installer",
        on="{member}",
        match=_own_oauth,
    ),
    Cause(
        id="failures-8",
        sentence="Tokens expire on the {member}, and so it looks in its own cache for those of the host.",
        shows="token not found in cache; accessTokenMaxAge is not 0",
        next_step="Set accessTokenMaxAge to 0 in ConfigMap kubesphere-config there and restart ks-apiserver.",
        object="ConfigMap kubesphere-config",
        on="{member}",
        match=_ages,
    ),
    Cause(
        id="failures-33",
        sentence="The host's ks-apiserver has not noticed that Cluster {cluster} is Ready.",
        shows="cluster ... is not ready, although its condition says so",
        next_step="Restart Deployment ks-apiserver in kubesphere-system on the {host}, " + matching.RUN_AGAIN + ".",
        object="Deployment ks-apiserver in kubesphere-system",
        on="{host}",
        match=_unseen_member,
    ),
)
