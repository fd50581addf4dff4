"""Preflight's checks: each looks at what was seen of both clusters, and answers with what it saw and what to do.

Pure. A check is a function from one `observed.Observed` to one `findings.Finding`; what it needs and could not be read
makes it incomplete (`judge`). CHECKS is the table of them all: docs/preflight.md is made from it. The checks themselves
are in modules `checks_*`, by subject.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from include.fleet import (
    checking,
    checks_credentials,
    checks_identity,
    checks_installer,
    checks_leftovers,
    checks_rights,
    checks_running,
    checks_tower,
    checks_trust,
    checks_versions,
)
from include.fleet import conf as confs
from include.fleet.checking import Check
from include.fleet.findings import Answer, Finding
from include.fleet.observed import MissingError, Observed

CHECKS: tuple[Check, ...] = (
    *checks_versions.CHECKS,
    *checks_installer.CHECKS,
    *checks_identity.CHECKS,
    *checks_leftovers.CHECKS,
    *checks_credentials.CHECKS,
    *checks_rights.CHECKS,
    *checks_trust.CHECKS,
    *checks_tower.CHECKS,
    *checks_running.CHECKS,
)


def judge(seen: Observed, *, checks: Iterable[Check] = CHECKS) -> list[Finding]:
    """Return the answers of all checks that are about this connection type, in the table's order."""
    return [_judged(check, seen) for check in checks if applies(check, seen.conf)]


def applies(check: Check, conf: confs.Conf) -> bool:
    """Tell whether a check is about the connection type of a run."""
    return conf.connection is confs.Connection.AUTO or conf.connection in check.ways


def _judged(check: Check, seen: Observed) -> Finding:
    try:
        found = check.look(seen)
    except MissingError as error:
        return Finding(check.id, Answer.INCOMPLETE, str(error))
    if found.answer is not Answer.ERROR:
        return found
    if seen.conf.connection is confs.Connection.AUTO and check.ways != checking.BOTH:
        (way,) = check.ways
        return replace(found, answer=Answer.WARNING, evidence=f"{found.evidence} This rules out {way.value}.")
    return replace(found, waived=check.waivable and check.id in seen.conf.waive)


def waive_problems(waive: object) -> list[str]:
    """Return what is wrong with the conf's list of waived checks."""
    if not isinstance(waive, (list, tuple)):
        return []
    by_id = {check.id: check for check in CHECKS}
    unknown = [name for name in waive if name not in by_id]
    fixed = [name for name in waive if name in by_id and not by_id[name].waivable]
    return [
        *(f"waive: there is no check {name!r}; the checks are {', '.join(by_id)}" for name in unknown),
        *(f"waive: {name} cannot be waived; {by_id[name].fix}" for name in fixed),
    ]
