"""The rules of deploy/rbac as the files have them: what each grants, and what its comment says that it is for."""

import dataclasses
import functools
import itertools
import re
from pathlib import Path

import yaml

from include.fleet import join, leave, rotation

ROOT = Path(__file__).parents[2]
SIDES = ("host", "member")
CASES = frozenset(
    {
        "3.0",
        "again",
        "dead run",
        "direct",
        "failed run",
        "no address yet",
        "not forwarded",
        "probe",
        "proxy",
        "rollback",
        "rotation",
        "shared port",
    }
)
"""What a comment may have in brackets: in which joins a rule is needed, if not in all; also as "one or another"."""
LEAVES = ("leave-host", "leave-member")
"""What a leave needs besides the files of both sides."""
LEAVE_CASES = frozenset({"controller down", "dead member", "labels", "tower down"})
TASKS = frozenset(join.STEPS) | frozenset(rotation.STEPS)
"""Of both DAGs; those of the same name do the same, and a rule for one of them is for both."""
_DOCUMENT = re.compile(r"^---\n", re.MULTILINE)
_RULE = re.compile(r"((?:^  #.*\n)*)^  - apiGroups:", re.MULTILINE)
_COMMENT = re.compile(r"(required|optional)(?: \(([^)]+)\))?: ([a-z_, ]+)\. (\S.*)")


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule of one file."""

    side: str
    role: str
    """The kind of object that it is in: Role or ClusterRole."""
    namespace: str
    """"" in a ClusterRole."""
    position: int
    """Among the rules of its object."""
    required: bool
    cases: frozenset
    tasks: frozenset
    groups: tuple
    resources: tuple
    names: tuple
    """() for any."""
    verbs: tuple

    @property
    def words(self):
        """The words in brackets, those of alternatives too."""
        return frozenset(word for case in self.cases for word in case.split(" or "))

    @property
    def parts(self):
        """Rules of one verb on one name of one resource, that grant the same together."""
        names = [(name,) for name in self.names] or [()]
        every = itertools.product(self.verbs, self.resources, names)
        return [dataclasses.replace(self, verbs=(verb,), resources=(which,), names=name) for verb, which, name in every]

    @property
    def manifest(self):
        """The rule as a Role has it."""
        fields = {"apiGroups": self.groups, "resources": self.resources, "verbs": self.verbs}
        return {key: [*values] for key, values in fields.items()} | (
            {"resourceNames": [*self.names]} if self.names else {}
        )

    def __str__(self):
        names = f"-{','.join(self.names)}" if self.names else ""
        return f"{self.side}-{','.join(self.verbs)}-{','.join(self.resources)}{names}"

    def covers(self, verb, group, resource, namespace, name):
        """Tell whether it allows a request; resource may be `plural/subresource`."""
        return (
            verb in self.verbs
            and group in self.groups
            and resource in self.resources
            and self.namespace in ("", namespace)
            and (not self.names or name in self.names)
        )


def path(side):
    """Where the rights of one side are."""
    return ROOT / "deploy" / "rbac" / f"{side}.yaml"


@functools.cache
def objects(side):
    """All objects of a file."""
    return tuple(yaml.safe_load_all(path(side).read_text()))


@functools.cache
def read(side):
    """The rules of a file; a comment that does not say what a rule is for is an AssertionError."""
    found, steps = [], leave.STEPS if side in LEAVES else TASKS
    for document in _DOCUMENT.split(path(side).read_text()):
        content = yaml.safe_load(document)
        if content["kind"] not in ("Role", "ClusterRole"):
            continue
        comments = _RULE.findall(document)
        assert len(comments) == len(content["rules"])
        for position, (comment, rule) in enumerate(zip(comments, content["rules"], strict=True)):
            words = " ".join(line.strip().lstrip("#").strip() for line in comment.splitlines())
            said = _COMMENT.fullmatch(words)
            assert said, f"{side}.yaml: {rule}: {words!r} does not say for what it is"
            need, cases, tasks, _ = said.groups()
            found.append(
                Rule(
                    side=side,
                    role=content["kind"],
                    namespace=content["metadata"].get("namespace", ""),
                    position=position,
                    required=need == "required",
                    cases=frozenset(cases.split(", ") if cases else ()),
                    tasks=frozenset(steps if tasks == "every task" else tasks.split(", ")),
                    groups=tuple(rule["apiGroups"]),
                    resources=tuple(rule["resources"]),
                    names=tuple(rule.get("resourceNames", ())),
                    verbs=tuple(rule["verbs"]),
                )
            )
    return tuple(found)


def everything():
    """The rules of both files."""
    return [rule for side in SIDES for rule in read(side)]
