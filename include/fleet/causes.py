"""The table of causes: what is most likely wrong when a task gives up, judged on what was seen.

Pure: `diagnose` has evidence in and diagnoses out. The ids are numbers of the project's collection of failures
(`failures-7`), or of the pitfalls in its fact sheet (`P-22`, kubesphere-facts 11) where the collection has none.

The order of the table is the ranking, and all of it: the first cause that fits is the most likely one. It goes from
what explains other causes to what other causes explain:

1. who is who, and objects that a server refuses in words of its own;
2. an installer that has not done its work, and programs that are gone or cannot start;
3. words that have one meaning only, as a program or a server says them;
4. role, jwtSecret and tokens, which let a member become Ready and keep it from being used;
5. an address at which nothing answers, which can have many reasons; and what is merely unusual.

So a tower that is gone comes before an agent that is refused a connection, and an expired certificate before a
time-out. A matcher that is not sure answers None: an unknown cause shows what was seen and guesses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from include.fleet import causes_access, causes_identity, causes_network, causes_programs, causes_trust
from include.fleet.evidence import Evidence, Source
from include.fleet.matching import Cause, Match

UNKNOWN = "unknown"
_MOST_SHOWN = 3

CAUSES: tuple[Cause, ...] = (
    *causes_identity.CAUSES,
    *causes_programs.CAUSES,
    *causes_access.CAUSES,
    *causes_trust.CAUSES,
    *causes_network.CAUSES,
)
"""Most likely first, see above."""


@dataclass(frozen=True)
class Diagnosis:
    """What is most likely wrong, and by what that was seen; no secrets."""

    cause: str
    sentence: str
    object: str
    cluster: str
    evidence: str
    next_step: str

    @property
    def report(self) -> dict[str, str]:
        """Return it as Airflow keeps it."""
        return {
            "cause": self.cause,
            "sentence": self.sentence,
            "object": self.object,
            "cluster": self.cluster,
            "evidence": self.evidence,
            "next": self.next_step,
        }

    def __str__(self) -> str:
        if self.cause == UNKNOWN:
            return f"{self.sentence} Seen: {self.evidence}."
        return f"Most likely: {self.sentence} ({self.cause}) Seen: {self.evidence}. Next: {self.next_step}"


def diagnose(evidence: Evidence) -> list[Diagnosis]:
    """Return all causes that fit the evidence, the most likely one first; [] if none is known."""
    matches = [(cause, cause.match(evidence)) for cause in CAUSES]
    return [_filled(cause, match, evidence) for cause, match in matches if match is not None]


def unknown(evidence: Evidence) -> Diagnosis:
    """Return what there is to say where no cause fits: what was seen, beside the error itself."""
    own = (Source.ERROR, Source.REQUEST)
    lines = [line.quoted() for line in evidence.said if line.source not in own][:_MOST_SHOWN]
    shown = "; ".join(lines) or "nothing beside the error itself"
    return Diagnosis(UNKNOWN, "No known cause fits.", f"Cluster {evidence.name}", "", shown, "")


def _filled(cause: Cause, match: Match, evidence: Evidence) -> Diagnosis:
    names = {
        "cluster": evidence.name,
        "host": evidence.host.name or "host cluster",
        "member": evidence.member.name or "member cluster",
        "server": (evidence.cluster.server if evidence.cluster else "") or "its address",
        "address": evidence.address or "tower's address",
        **match.names,
    }
    return Diagnosis(
        cause=cause.id,
        sentence=cause.sentence.format_map(names),
        object=cause.object.format_map(names),
        cluster=cause.on.format_map(names),
        evidence=match.seen,
        next_step=cause.next_step.format_map(names),
    )
