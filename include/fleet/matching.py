"""What the table of causes is made of: its rows, what a match tells, and the ways to look for one in the evidence.

Pure. The rows stand beside their matchers, by rank, in modules `causes_*`; `causes` has the whole table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from include.fleet import evidence as seen
from include.fleet.evidence import HOST, HOST_SAYS, MEMBER, Evidence, Line, Rollout, Source

RUN_AGAIN = "then clear this task"
WEBHOOK = r"failed calling (?:admission )?webhook"
ANYWHERE = (*HOST_SAYS[:3], Source.AGENT, Source.ANSWER, Source.REQUEST, Source.ERROR)
DOWN = (Rollout.UNAVAILABLE, Rollout.MISSING)
PROVING = "verify_join"
IMPORTED = ("import_cluster", "deploy_agent", "wait_agent_ready", PROVING)
"""The steps that rest on the host's machinery."""
INSTALLING = ("configure_host", "configure_member", "wait_installer")


@dataclass(frozen=True)
class Match:
    """That a cause fits, by what, and what its sentences are to be filled with."""

    seen: str
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cause:
    """One thing that can be wrong. `{names}` in its texts are filled in from the evidence."""

    id: str
    sentence: str
    """What is wrong."""
    shows: str
    """How it shows, for the page of causes."""
    next_step: str
    object: str
    """The object that is wrong."""
    on: str
    """The cluster that it is on: {host}, {member}, or {side} where the evidence tells."""
    match: Callable[[Evidence], Match | None]


def words(
    evidence: Evidence, pattern: str, *sources: Source, without: str = "", names: Mapping[str, str] | None = None
) -> Match | None:
    """Match what somebody said; named groups of *pattern* are names, and so is {side}."""
    hit = evidence.find(pattern, *sources, without=without)
    if hit is None:
        return None
    line, found = hit
    groups = {key: value for key, value in found.groupdict().items() if value}
    return Match(line.quoted(found), {"side": side_of(evidence, line), **(names or {}), **groups})


def named(side: seen.Side, role: str) -> str:
    """Return what a cluster is called, which is its role where nothing else is known."""
    return side.name or f"{role} cluster"


def side_of(evidence: Evidence, line: Line) -> str:
    """Return what the cluster is called that a line is about."""
    return named(evidence.host if line.side == HOST else evidence.member, line.side)


def agent(evidence: Evidence, pattern: str, *, without: str = "") -> Match | None:
    """Match what the agent complains of; one that is connected has got over it."""
    if not evidence.proxy or evidence.connected:
        return None
    return words(evidence, pattern, Source.AGENT, without=without)


def deployment(evidence: Evidence, side: str, *names: str, how: tuple[Rollout, ...]) -> Match | None:
    """Match the first of some Deployments that stands in one of these ways."""
    of = evidence.host if side == HOST else evidence.member
    for name in names:
        state = of.deployments.get(name)
        if state in how:
            where = of.name or f"{side} cluster"
            said = _pod_line(evidence, name)
            text = f"Deployment {name} on the {where} is {state.value}"
            return Match(f"{text}; {said}" if said else text, {"name": name, "how": state.value, "side": where})
    return None


def _pod_line(evidence: Evidence, name: str) -> str:
    pods = [line for line in evidence.said if line.source is Source.POD and line.about.startswith(f"{name}-")]
    return pods[0].quoted() if pods else ""


def installer_ended(evidence: Evidence) -> bool:
    """Tell whether the error is that a run of ks-installer failed, or did not end in time."""
    return evidence.kind == "InstallerFailedError" or (evidence.kind == "DeadlineError" and evidence.step in INSTALLING)


def installer_says(evidence: Evidence, pattern: str) -> Match | None:
    """Match the words of the installer that the error is about; the other one's may be of an earlier run."""
    if not installer_ended(evidence):
        return None
    about = {line.side for line in evidence.said if line.source is Source.ERROR} or {HOST, MEMBER}
    lines = tuple(line for line in evidence.said if line.source is not Source.INSTALLER or line.side in about)
    return words(replace(evidence, said=lines), pattern, Source.ERROR, Source.INSTALLER)


def waits_for_host(evidence: Evidence) -> bool:
    """Tell whether the time was up while ks-installer was making a host."""
    about = any(line.side == HOST for line in evidence.said if line.source is Source.ERROR)
    return evidence.kind == "DeadlineError" and evidence.step in INSTALLING and about


def secrets_differ(evidence: Evidence) -> str:
    """Return that host and member have different jwtSecrets in force, or "" where they do not or it is not known."""
    host, member = evidence.host.fingerprint, evidence.member.fingerprint
    if not host or not member or host == member:
        return ""
    return f"jwtSecret in ConfigMap kubesphere-config is {host} on the host and {member} on the member"
