"""What both clusters show about a join when one of its tasks gives up: the material of a diagnosis.

Pure: values only, without secrets. `diagnosing` reads it from the APIs, `causes` judges it. Whatever could not be read
is left out: None, "" or no entry always means "not known".
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

HOST = "host"
MEMBER = "member"
_LONGEST_QUOTE = 200
_BEFORE_MATCH = 60


_HOSTS_WORD = ("Federated=", "JoinFederation")
"""The condition, or on 3.0 the Event, in which the host says why it cannot join a member."""


class Source(enum.Enum):
    """Who has said something; the value is how it is quoted."""

    ERROR = "the error of this task"
    REQUEST = "Airflow's own request"
    """The error of this task, where a request of Airflow got no answer."""
    CONDITION = "condition"
    EVENT = "Event"
    AGENT = "the agent's log"
    POD = "Pod"
    INSTALLER = "ks-installer's log"
    CONTROLLER = "ks-controller-manager's log"
    TOWER = "tower's log"
    ANSWER = "ks-apiserver"


HOST_SAYS = (Source.CONDITION, Source.EVENT, Source.CONTROLLER, Source.ERROR)
"""Where the host's view of a member is found; the error of a wait quotes it."""


@dataclass(frozen=True)
class Line:
    """Something that was said, redacted."""

    source: Source
    side: str
    """HOST or MEMBER: where it was said; of an error, which cluster it is about."""
    text: str
    about: str = ""
    """Type and status of a condition, the name of a Pod, the reason of an Event."""

    def quoted(self, found: re.Match[str] | None = None) -> str:
        """Return it as evidence: who said it, and of what was said the line with what was found in it, shortened."""
        at = found.start() if found else 0
        line = self.text[self.text.rfind("\n", 0, at) + 1 :].partition("\n")[0]
        at = min(at - self.text.rfind("\n", 0, at) - 1, len(line))
        start = max(0, at - _BEFORE_MATCH) if len(line) > _LONGEST_QUOTE else 0
        words = " ".join(line[start : start + _LONGEST_QUOTE].split())
        cut = ("..." if start else "", "..." if len(line) > start + _LONGEST_QUOTE else "")
        who = f"{self.source.value} {self.about}".rstrip()
        where = "" if self.source in (Source.ERROR, Source.REQUEST) else f" on the {self.side}"
        return f'{who}{where} says "{cut[0]}{words}{cut[1]}"'


class Rollout(enum.Enum):
    """How a Deployment stands."""

    AVAILABLE = "available"
    UNAVAILABLE = "not available"
    MISSING = "not there"


class Credential(enum.Enum):
    """What a kubeconfig inside a Cluster offers to whoever loads it in a pod."""

    USABLE = "a token or a client certificate"
    NONE = "neither a token nor a client certificate"
    PLUGIN = "a plugin that only some machine has"
    FILES = "files that only some machine has"
    UNREADABLE = "no kubeconfig"


@dataclass(frozen=True)
class Side:
    """One cluster."""

    name: str = ""
    """As errors name it."""
    release: str = ""
    """The minor version of KubeSphere, for example 3.4."""
    silent: str = ""
    """Why its API server gives no answer to Airflow now; "" if it answers."""
    role: str | None = None
    """In force by the ConfigMap."""
    asked_role: str | None = None
    """Asked for by the ClusterConfiguration."""
    fingerprint: str = ""
    """Of the jwtSecret in the ConfigMap."""
    cluster_name: str = ""
    """The name that a host has given to it."""
    token_age: str | None = None
    """accessTokenMaxAge in the ConfigMap; "" where the ConfigMap has none."""
    own_oauth: bool = False
    """Whether its ClusterConfiguration has oauthOptions of its own."""
    deployments: Mapping[str, Rollout] = field(default_factory=dict)
    """By name; one that could not be read is not in it."""


@dataclass(frozen=True)
class Member:
    """The Cluster object on the host, without its secrets."""

    conditions: Mapping[str, str] = field(default_factory=dict)
    """The status of the last condition of each type."""
    labelled_host: bool = False
    federates: bool = True
    """joinFederation."""
    taken_up: bool = False
    """Whether the host's controller has put its finalizer on it."""
    deleting: bool = False
    uid: str = ""
    """kube-system UID of the cluster behind it, as the host saw it."""
    server: str = ""
    """The address in its kubeconfig."""
    credential: Credential | None = None
    """None where it has no kubeconfig yet."""
    kubernetes: str = ""

    def is_true(self, kind: str) -> bool:
        """Tell whether the last condition of a type is True."""
        return self.conditions.get(kind) == "True"


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen."""

    step: str
    """Name of the step that gave up."""
    kind: str
    """Class name of its error."""
    connection: str
    """direct or proxy."""
    name: str
    """The Cluster's."""
    host: Side = Side()
    member: Side = Side()
    uid: str = ""
    """The member's kube-system UID."""
    cluster: Member | None = None
    """None if there is none, or it could not be read."""
    said: tuple[Line, ...] = ()
    address: str | None = None
    """Tower's address; "" if it has none."""
    node_port: int | None = None
    """The port of the host's nodes that leads to tower."""
    balanced: bool | None = None
    """Whether a LoadBalancer has given tower's Service an address."""
    service_missing: bool = False
    """Whether there is no Service tower."""
    agent_differences: tuple[str, ...] = ()
    """What about the agent's Deployment is not as the Cluster has it, without its token."""

    @property
    def proxy(self) -> bool:
        """Tell whether the member is joined through tower."""
        return self.connection == "proxy"

    @property
    def connected(self) -> bool:
        """Tell whether the host says that the agent is connected; that stays true when tower dies."""
        return self.cluster is not None and self.cluster.is_true("AgentAvailable")

    def find(self, pattern: str, *sources: Source, without: str = "") -> tuple[Line, re.Match[str]] | None:
        """Return the first line with *pattern* in it and not *without*, of the first of *sources* that has one.

        A program's log may be of an earlier join under the same name: it counts only where the host says nothing else.
        """
        told = any(line.about.startswith(_HOSTS_WORD) for line in self.said)
        for source in sources:
            if source is Source.CONTROLLER and told:
                continue
            for line in self.said:
                found = re.search(pattern, line.text) if line.source is source else None
                if found and not (without and re.search(without, line.text)):
                    return line, found
        return None
