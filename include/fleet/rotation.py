"""The steps of a rotation of the jwtSecret, named like the tasks. Each reads, compares, writes what differs, and waits.

Host and members are asked for the new secret in the same moment, and their installers are waited for together: what the
host forwards to a member is refused only while the one has loaded it and the other has not (kubesphere-facts 6.6). A
step is safe to repeat and to cut off: the new secret is kept on the host before anything has it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from include.fleet import (
    attempts,
    clusters,
    configuring,
    errors,
    installer,
    installer_log,
    inventories,
    inventory,
    journal,
    kinds,
    kubesphere,
    membership,
    plans,
    proofs,
    redaction,
    rotating,
    rotation_conf,
    settings,
    turn,
    waits,
)

log = logging.getLogger(__name__)

_ASK_AGAIN = 1.0
"""Seconds after which a ks-apiserver that is about to load the secret is asked again."""
_ASKED_PER_SECOND = 25
"""So many of them are asked at most."""
_GRANT = "Grant this right to the connection's user: deploy/rbac/member.yaml has it."
_LOOK = "Look at ks-installer there and mend the cause; then reconcile_fleet, or a join, gives it the host's jwtSecret."


async def plan(rotation: rotating.Rotation) -> attempts.Report:
    """Return which clusters would change, and what users would notice; nothing is persisted.

    The report is as that of a join's plan. Raises RefusedError with everything for which the rotation would not begin.
    """
    rotation = dataclasses.replace(rotation, changes=journal.Journal())
    found = await rotating.find(rotation)
    secret = await rotating.kept(rotation)
    await _refuse(rotation, found, secret)
    notes = list(found.notes)
    if secret is not None:
        notes.insert(0, await _told_of_kept(rotation, found, secret))
    for name, side in _sides(rotation, found).items():
        if await _is_running(side):
            notes.append(f"ks-installer on the {name} is at work: the run waits for it before it changes anything.")
    due = secret or await rotating.keep_new(rotation, rotating.NEW)
    await rotating.ask(rotation, rotation.host, due)
    await rotation.at_once(lambda follower: rotating.ask(rotation, follower.cluster, due), found)
    entries = [_entry(rotation, side, write) for side in rotation.sides for write in side.planned]
    heading = f"Plan to rotate the jwtSecret of {rotation.conf.host}"
    report = plans.report(heading, entries, _consequences(rotation, found, entries), notes)
    for line in plans.told(heading, report):
        log.info("%s", line)
    return report


def _entry(rotation: rotating.Rotation, side: clusters.Cluster, write: plans.Write) -> plans.Entry:
    """Return what a write would change; a secret that is not made yet is called new."""

    def hide(text: str) -> str:
        for each in rotation.sides:
            text = each.redacted(text)
        return text

    entry = plans.entry(side.role, write, hide=hide)
    placeholder = redaction.fingerprint(rotating.NEW)
    for change in entry["fields"]:
        if change["new"] == placeholder:
            change["new"] = rotating.NEW
    return entry


def _consequences(rotation: rotating.Rotation, found: rotating.Found, entries: list[plans.Entry]) -> list[str]:
    """Return what KubeSphere and its users notice of it (kubesphere-facts 2.3, 2.5, 6.6)."""
    if not entries:
        return []
    members = f"{len(found.followers)} of its members" if found.followers else "none of its members"
    return [
        (
            f"Everybody is logged out of host {rotation.conf.host} and of {members}, and logs in again. Tokens that "
            "programs have got by logging in are refused from then on. Workloads, and kubectl with credentials of "
            "Kubernetes itself, notice nothing."
        ),
        "ks-installer runs on each of these clusters, for minutes; KubeSphere there restarts or reloads.",
        (
            "What the host forwards to a member is refused with 401 while the one has loaded the new secret and the "
            "other has not: most often 1 to 3 minutes. By so much their runs of ks-installer differ and, from 3.3 on, "
            "their kubelets' looks at ConfigMaps, up to 2 minutes apart. The report has what it was for each."
        ),
        (
            "Nothing else may change these clusters meanwhile: start no join or leave, and no upgrade of KubeSphere. "
            "reconcile_fleet starts nothing on this host by itself."
        ),
        (
            "It cannot be undone: another secret, the former one too, logs everybody out once more. A run that is cut "
            "off is run again, and goes on."
        ),
    ]


async def _refuse(rotation: rotating.Rotation, found: rotating.Found, secret: str | None) -> None:
    """Raise RefusedError with every reason not to begin."""
    reasons = list(found.refusals)
    host = await configuring.snapshot(rotation.host)
    role = kubesphere.spec_role(host.configuration)
    if role != kubesphere.HOST:
        reasons.append(f"its ClusterConfiguration asks for role {role}, not {kubesphere.HOST}")
    followers = {f"member {follower.name}": follower.seen for follower in found.followers}
    for name, seen in {"host": host, **followers}.items():
        unmet = kubesphere.unmet(seen)
        if unmet and kubesphere.spec_secret(seen.configuration) != secret:
            reasons.append(
                f"ks-installer on the {name} has not done what it was asked for: {unmet}. Wait until it is idle, or "
                "mend what has stopped it"
            )
    if reasons:
        raise errors.RefusedError(rotation.conf.host, reasons, to=rotating.TO)


async def _told_of_kept(rotation: rotating.Rotation, found: rotating.Found, secret: str) -> str:
    """Return what is to be said of a rotation that was begun before."""
    ref = kubesphere.NEXT_SECRET
    stored = await rotation.host.read(ref)
    begun_by, at = (kubesphere.secret_value(stored, key) or "unknown" for key in ("recordedBy", "recordedAt"))
    host = await configuring.asked(rotation.host)
    asking = [host, *(follower.seen.configuration for follower in found.followers)]
    have = sum(kubesphere.spec_secret(each) == secret for each in asking)
    return (
        f"This goes on with the rotation that run {begun_by} has begun at {at}, whose secret "
        f"({redaction.fingerprint(secret)}) is kept in {ref} on the host: {have} of {len(asking)} clusters ask for it "
        "already. For another secret delete that Secret first."
    )


async def _is_running(side: clusters.Cluster) -> bool:
    """Tell whether the installer's queue says that it runs; False where it does not tell."""
    with contextlib.suppress(errors.FleetError):
        pod = await side.newest_pod(kubesphere.NAMESPACE, label_selector=kubesphere.INSTALLER_SELECTOR)
        return pod is not None and await installer.ask_queue(side, pod) is installer_log.Activity.RUNNING
    return False


def _sides(rotation: rotating.Rotation, found: rotating.Found) -> dict[str, clusters.Cluster]:
    return {"host": rotation.host, **{f"member {each.name}": each.cluster for each in found.followers}}


async def take_turn(rotation: rotating.Rotation) -> attempts.Report:
    """Wait until no other run changes the host or one of its members, and hold all their turns until `end_turn`.

    A plan that a person has approved is made again, and has to be the same; raises RefusedError if it is not, or if
    there is a reason not to begin by now.
    """
    found = await rotating.find(rotation)
    try:
        names = await rotating.take_turns(rotation, found)
        if rotation.conf.approve:
            await _refuse_changed_plan(rotation)
        else:
            await _refuse(rotation, found, await rotating.kept(rotation))
    except errors.PermanentError:
        await rotating.give_turns_back(rotation, await _leases_of(rotation))
        raise
    return {"turn": turn.ROTATION, "turns": names}


async def _leases_of(rotation: rotating.Rotation) -> list[str]:
    """Return the names of all Leases that this run holds; the usual two where they may not be listed."""
    try:
        leases = await rotation.host.list(kinds.LEASE, namespace=kubesphere.NAMESPACE)
    except errors.FleetError:
        return [turn.HOST, turn.ROTATION]
    return [lease["metadata"]["name"] for lease in leases if turn.holder_of(lease) == rotation.run]


async def _refuse_changed_plan(rotation: rotating.Rotation) -> None:
    async with _connected(rotation.declared, rotation.conf, limits=rotation.limits, run=rotation.run, dry=True) as pair:
        host, members = pair
        now = await plan(dataclasses.replace(rotation, host=host, members=members))
    reasons = plans.changed(rotation.reports["plan"], now)
    if reasons:
        raise errors.RefusedError(rotation.conf.host, reasons, to=rotating.TO)


@dataclass
class _Seen:
    """When a cluster was seen to work with the new secret."""

    at: float | None = None
    """In seconds of `time.time`; None where it did already when it was looked at first."""
    by: str = "ks-apiserver"
    """What showed it."""
    problem: str = ""
    """Why it does not follow; "" if it does."""


async def rotate(rotation: rotating.Rotation) -> attempts.Report:
    """Have host and members ask for the new secret in the same moment, and wait until all of them work with it.

    First every ks-installer has to be idle; then the host is patched, and with its answer all members. A member that
    fails stops no other: `members` has its problem, and of the others for how many seconds host and member differed,
    as it was seen from here. Raises what stops the host.
    """
    found = await rotating.find(rotation)
    secret = await rotating.kept(rotation)
    sides = _sides(rotation, found)
    host = await configuring.asked(rotation.host)
    asking = [host, *(follower.seen.configuration for follower in found.followers)]
    if secret is None or not any(kubesphere.spec_secret(each) == secret for each in asking):
        await waits.together(*(_wait_for_installer(rotation, side) for side in sides.values()))
        secret = secret or await rotating.keep_new(rotation)
    await rotating.ask(rotation, rotation.host, secret)
    due = secret

    async def ask(follower: rotating.Follower) -> None:
        try:
            await rotating.ask(rotation, follower.cluster, due)
        except errors.FleetError as error:
            log.info("Member %s is asked again: %s", follower.name, error)

    await rotation.at_once(ask, found)
    if rotation.leave_worker is not None and rotation.changes.notes:
        # Runs of the installer are due, which take minutes.
        raise waits.Longer
    again = min(rotation.limits.poll, max(_ASK_AGAIN, len(sides) / _ASKED_PER_SECOND))
    seen = await waits.together(*(_follow(rotation, side, due, again=again) for side in sides.values()))
    (first, *others) = seen
    members = [_told(each.name, first, one) for each, one in zip(found.followers, others, strict=True)]
    members += [{"cluster": name, "problem": f"{why} {_LOOK}"} for name, why in sorted(found.cut_off.items())]
    for line in map(_line, members):
        log.info("%s", line)
    return {"jwt_secret": redaction.fingerprint(due), "members": members, "exact_to_seconds": again}


async def _wait_for_installer(rotation: rotating.Rotation, side: clusters.Cluster) -> kubesphere.Snapshot:
    return await attempts.wait_for_installer(rotation, side, seconds=_patience(rotation, side))


def _patience(rotation: rotating.Rotation, side: clusters.Cluster) -> int:
    conf = rotation.conf
    return conf.host_installer_timeout if side is rotation.host else conf.member_installer_timeout


async def _follow(rotation: rotating.Rotation, side: clusters.Cluster, secret: str, *, again: float) -> _Seen:
    """Wait until a cluster works with the secret; a member's failure is returned, the host's is raised."""
    try:
        _, seen = await waits.together(
            _until_in_force(rotation, side, secret), _until_loaded(rotation, side, secret, again=again)
        )
    except errors.FleetError as error:
        if side is rotation.host:
            raise
        return _Seen(problem=str(error))
    if not isinstance(seen, _Seen):
        raise TypeError("the second wait returns what was seen")
    return seen


async def _until_in_force(rotation: rotating.Rotation, side: clusters.Cluster, secret: str) -> None:
    """Wait until ks-installer has given a cluster the secret; ask again where that was lost (kubesphere-facts 2.3)."""
    seconds = _patience(rotation, side)

    async def look() -> waits.Pending | None:
        await rotating.ask(rotation, side, secret)
        return None

    while True:
        await waits.until(
            look,
            what=f"the {side} to take the new jwtSecret",
            bells=[],
            limit=rotation.limit(seconds),
            seconds=seconds,
            hint="Does its API server answer?",
            limits=rotation.limits,
        )
        snapshot = await _wait_for_installer(rotation, side)
        if kubesphere.spec_secret(snapshot.configuration) == secret:
            return


async def _until_loaded(rotation: rotating.Rotation, side: clusters.Cluster, secret: str, *, again: float) -> _Seen:
    """Wait until the ks-apiserver of a cluster takes a token of the secret, and return since when.

    Where it may not be asked, since when the ConfigMap holds the secret: the proof in `verify_rotation` waits for more.
    """
    seen = _Seen(by="")
    looks = 0
    in_config: float | None = None

    async def look() -> waits.Pending | None:
        nonlocal looks, in_config
        looks += 1
        config_map = await side.read(kubesphere.CONFIG)
        config = kubesphere.config(config_map) if config_map else None
        await side.keep_secret(config.jwt_secret if config else None)
        if config is None or config.jwt_secret != secret:
            return waits.Pending(f"ConfigMap {kubesphere.CONFIG.name} does not hold the new jwtSecret yet")
        in_config = in_config or time.time()
        why = await proofs.not_loaded(side, await proofs.static_token(side))
        if why:
            return waits.Pending(why, again)
        seen.by = "ks-apiserver" if why == "" else "ConfigMap"
        seen.at = None if looks == 1 else time.time() if why == "" else in_config
        return None

    seconds = _patience(rotation, side) + rotation.conf.verify_timeout
    await waits.until(
        look,
        what=f"the {side} to load the new jwtSecret",
        bells=[waits.changes(side, kubesphere.CONFIG)],
        limit=rotation.limit(seconds),
        seconds=seconds,
        hint="Look at the log of ks-apiserver there.",
        limits=rotation.limits,
    )
    return seen


def _told(name: str, host: _Seen, member: _Seen) -> dict[str, Any]:
    """Return what is reported of one member."""
    if member.problem:
        return {"cluster": name, "problem": f"{member.problem} {_LOOK}"}
    if host.at is None or member.at is None:
        return {"cluster": name, "seconds": None}
    first = "host" if host.at < member.at else "member"
    return {"cluster": name, "seconds": round(abs(host.at - member.at), 1), "first": first, "by": member.by}


def _line(member: Mapping[str, Any]) -> str:
    if "problem" in member:
        return f"Member {member['cluster']} does not follow: {member['problem']}"
    if member["seconds"] is None:
        return f"Member {member['cluster']}: host and member have it; since when they do was not seen"
    return (
        f"Member {member['cluster']}: host and member differed for {member['seconds']} s, the {member['first']} first"
    )


async def verify_rotation(rotation: rotating.Rotation) -> attempts.Report:
    """Prove that each member takes what the host forwards with the new secret, and let go of the kept one.

    Raises VerificationError with every member for which that fails; then the new secret stays kept, and a run that
    follows goes on with it.
    """
    found = await rotating.find(rotation)
    secret = await rotating.kept(rotation)
    host = await configuring.in_force(rotation.host)
    if secret is not None and host.jwt_secret != secret:
        raise errors.VerificationError(
            f"The {rotation.host} does not have the new jwtSecret in force. Clear rotate: it goes on with it."
        )
    release = await configuring.release(rotation.host)
    rotated = rotation.reports.get(rotate.__name__, {})
    told = {each["cluster"]: each for each in rotated.get("members", ())}
    results = await waits.together(*(_prove(rotation, each, host, release) for each in found.followers))
    problems = {name: f"{why} {_LOOK}" for name, why in found.cut_off.items()}
    members = []
    for follower, (proof, why) in zip(found.followers, results, strict=True):
        earlier = told.get(follower.name, {})
        if why:
            problems[follower.name] = str(earlier.get("problem") or f"{why} {_LOOK}")
        times = {key: earlier[key] for key in ("seconds", "first", "by") if key in earlier}
        members.append({"cluster": follower.name, "proof": proof, **times})
    proven = {each["cluster"] for each in members if each["cluster"] not in problems}
    for name, earlier in told.items():
        if "problem" in earlier and name not in proven:
            problems.setdefault(name, earlier["problem"])
    if problems:
        named = ", ".join(sorted(proven)) or "none"
        raise errors.VerificationError(
            f"The jwtSecret of {rotation.conf.host} is rotated ({redaction.fingerprint(host.jwt_secret)}), but not all "
            "members follow: "
            + "".join(f"\n  - {name}: {why}" for name, why in sorted(problems.items()))
            + f"\n  Proven: {named}. Clear this task when they are mended, or run the DAG "
            "again, with leave_out for those that will not be: it goes on with the same secret, kept in "
            f"{kubesphere.NEXT_SECRET}."
        )
    await _let_go(rotation, secret)
    for line in found.notes:
        log.warning("%s", line)
    return {
        "host": rotation.conf.host,
        "jwt_secret": redaction.fingerprint(host.jwt_secret),
        "members": members,
        "left": found.notes,
        "warnings": attempts.warnings(*rotation.reports.values()),
    }


async def _prove(
    rotation: rotating.Rotation, follower: rotating.Follower, host: kubesphere.Config, release: kubesphere.Release
) -> tuple[str, str]:
    """Return how it is proven that the host reaches a member with the secret in force, and "" or why it is not."""
    who = membership.Membership(
        host=rotation.host,
        member=follower.cluster,
        name=follower.name,
        uid=follower.uid,
        resync=host.resync or rotation.limits.resync,
        release=release,
        limits=rotation.limits,
    )
    look, seconds = proofs.ProofLook(who), rotation.conf.verify_timeout
    bells = [waits.changes(rotation.host, who.ref)]
    bells += [waits.changes(side, kubesphere.CONFIG) for side in (rotation.host, follower.cluster)]
    try:
        await waits.until(
            look.look,
            what=f"Cluster {follower.name} on the {rotation.host} to be proven with the new jwtSecret",
            bells=bells,
            limit=rotation.limit(seconds),
            seconds=seconds,
            hint="",
            limits=rotation.limits,
        )
    except errors.FleetError as error:
        return "", str(error)
    return look.proof.value, ""


async def _let_go(rotation: rotating.Rotation, secret: str | None) -> None:
    """Delete the kept secret: everything has it."""
    if secret is None:
        return
    try:
        with rotation.changes.noted(f"{kubesphere.NEXT_SECRET} deleted on the host"):
            await rotation.host.delete(kubesphere.NEXT_SECRET)
    except errors.NotFoundError:
        log.debug("%s on the host is gone already", kubesphere.NEXT_SECRET)


async def end_turn(rotation: rotating.Rotation) -> attempts.Report:
    """Let the next run in, however this one has ended."""
    taken = rotation.reports.get(take_turn.__name__, {}).get("turns")
    await rotating.give_turns_back(rotation, taken or await _leases_of(rotation))
    return {}


STEPS: Mapping[str, attempts.Step[rotating.Rotation]] = {
    step.__name__: step for step in (plan, take_turn, rotate, verify_rotation, end_turn)
}


@contextlib.asynccontextmanager
async def _opened(step: str, raw: Mapping[str, Any], given: attempts.Given) -> AsyncIterator[rotating.Rotation]:
    """Check the conf of the run, read the inventory, and open the clusters.

    Raises ConfError with every problem of the conf, and InventoryError.
    """
    problems = rotation_conf.problems(raw)
    if problems:
        raise errors.ConfError(problems)
    conf = rotation_conf.parse(raw)
    fleet = await asyncio.to_thread(inventories.read, given.limits.inventory)
    declared = _declared(fleet, conf.host)
    dry = step == plan.__name__
    async with _connected(declared, conf, limits=given.limits, run=given.run, dry=dry) as (host, members):
        turns = turn.Turns(host, holder=given.run, member=conf.host, limits=given.limits)
        yield rotating.Rotation(**vars(given), conf=conf, declared=declared, host=host, members=members, turns=turns)


def _declared(fleet: inventory.Inventory, name: str) -> inventory.Host:
    found = next((host for host in fleet.hosts if host.name == name), None)
    if found is None:
        known = ", ".join(host.name for host in fleet.hosts) or "none"
        raise errors.ConfError([f"host: there is no host {name!r} in the inventory; there are {known}"])
    return found


@contextlib.asynccontextmanager
async def _connected(
    declared: inventory.Host, conf: rotation_conf.Conf, *, limits: settings.Settings, run: str, dry: bool
) -> AsyncIterator[tuple[clusters.Cluster, dict[str, clusters.Cluster | str]]]:
    """Open the host and those of its members that may follow, or say why one cannot be opened."""
    async with contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(
            clusters.connect(declared.conn_id, role=kubesphere.HOST, limits=limits, run=run, dry=dry)
        )
        members: dict[str, clusters.Cluster | str] = {}
        for member in declared.members:
            if member.paused or member.cluster in conf.leave_out:
                continue
            # With its name: there are many.
            role = f"{kubesphere.MEMBER} {member.cluster}"
            opening = clusters.connect(
                member.conf["member_conn_id"], role=role, limits=limits, grant=_GRANT, run=run, dry=dry
            )
            try:
                members[member.cluster] = await stack.enter_async_context(opening)
            except errors.FleetError as error:
                members[member.cluster] = " ".join(str(error).split())
        yield host, members


async def _in_turn(step: str, rotation: rotating.Rotation, held: str | None) -> attempts.Report:
    """Do the step while the run holds its turns, of which there are many: `end_turn` itself gives them back."""
    if held is not None and step != end_turn.__name__:
        await rotating.hold(rotation, await rotating.find(rotation))
    return await STEPS[step](rotation)


run = functools.partial(attempts.run, opened=_opened, doing=_in_turn)
"""Run one step of a rotation by its name: see `attempts.run`."""
