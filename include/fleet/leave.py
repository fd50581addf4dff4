"""The steps of a leave, named like the tasks. Each reads, compares, writes only what differs, and waits.

In the order of kubesphere-facts 12.5: the host's side while the member and its agent still answer, then what federation
has left on the member, then role and jwtSecret as they were. A step is safe to repeat and to cut off: nothing is
remembered but what stands on the clusters.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from include.fleet import (
    attempts,
    clusters,
    connections,
    errors,
    journal,
    kinds,
    kubesphere,
    leave_conf,
    leaving,
    plans,
    settings,
    snapshots,
    tower,
    turn,
    undoing,
    webhook,
)

log = logging.getLogger(__name__)

FINALIZER = "finalizer.cluster.kubesphere.io"
"""What keeps a Cluster until the host's controller has let go of it (kubesphere-facts 5.1)."""
_STUCK = (
    "Check that Deployment ks-controller-manager on the host runs. On 3.4 the webhook cluster.kubesphere.io refuses to "
    "let a Cluster go whose member the host does not reach: if that is dead, run this with force: true."
)
_DEAD = (
    "The member does not answer: what the membership has left on it stays, which are Deployment cluster-agent, the "
    "account, roles and namespace of kubefed, role and jwtSecret. If it comes back, run this again without force."
)


async def conf_problems(raw: Mapping[str, Any]) -> list[str]:
    """Return every problem of a conf that can be found without asking a cluster, each with its key."""
    return [*leave_conf.problems(raw), *await connections.problems(raw, ("host_conn_id", "member_conn_id"))]


async def plan(leave: leaving.Leave) -> attempts.Report:
    """Return every object and field that the leave would delete or change; nothing is persisted.

    Its own steps are run dry, so that they cannot disagree with the plan. The report is as that of a join's plan.
    """
    await leaving.answering(leave)
    leave = dataclasses.replace(leave, changes=journal.Journal())
    notes: list[str] = []
    for step in (remove_cluster, clean_member, restore_member):
        report = await step(leave)
        notes += [line for key in ("notes", "left") for line in report.get(key, ()) if line not in notes]
    if leave.host is not None and await webhook.is_aside(leave.host):
        notes.append(f"{webhook.CONFIGURATION} on the host is set aside by a leave that was cut off; it is put back.")

    def hide(text: str) -> str:
        for side in leave.sides:
            text = side.redacted(text)
        return text

    entries = [plans.entry(side.role, write, hide=hide) for side in leave.sides for write in side.planned]
    heading = f"Plan to take {leave.conf.cluster} out of its host"
    report = plans.report(heading, entries, plans.leaving_consequences(entries, name=leave.conf.cluster), notes)
    for line in plans.told(heading, report):
        log.info("%s", line)
    return report


async def take_turn(leave: leaving.Leave) -> attempts.Report:
    """Wait until no other run changes this member, hold its turn from here to `end_turn`, and see what stands.

    The Lease is that of a join. Where the host, on which it would be, is lost, there is none. A plan that a person has
    approved is made again, and has to be the same; raises RefusedError if it is not.
    """
    member = await leaving.answering(leave)
    report: attempts.Report = {}
    if leave.turns is not None:
        # A Cluster that tells no UID, or is gone, has a name at least.
        report["turn"] = turn.of_member(await leaving.uid_of(leave, member) or leave.conf.cluster)
        await attempts.take_turn(leave, report["turn"])
    if leave.conf.approve:
        await _refuse_changed_plan(leave)
    await leaving.proven(leave, member)
    return {**report, "before": await leaving.look(leave, member)}


async def _refuse_changed_plan(leave: leaving.Leave) -> None:
    async with _connected(leave.conf, limits=leave.limits, run=leave.run, dry=True) as (host, member):
        now = await plan(dataclasses.replace(leave, host=host, member=member, dry=True))
    reasons = plans.changed(leave.reports["plan"], now)
    if reasons:
        raise errors.RefusedError(leave.conf.cluster, reasons, to="take out")


async def remove_cluster(leave: leaving.Leave) -> attempts.Report:
    """Have the host let go of the member: its Cluster is deleted and waited for, with all that stands behind it.

    The member is still as it was meanwhile, its agent too: tower and the webhook of 3.4 need it (12.5). With `force`
    the webhook is set aside for this Cluster where it refuses, and a finalizer that nobody takes off is taken off.
    Raises RefusedError for a Cluster that may be another's.
    """
    host = leave.host
    if host is None:
        return {"unchanged": ["the host is lost, and was asked for nothing"]}
    work = leave.work()
    cluster = await leaving.proven(leave, await leaving.answering(leave))
    if leave.dry and cluster is not None:
        return {"notes": await _try_to_delete(leave, work, host, cluster)}
    by_hand = await _delete_cluster(leave, work, host, cluster) if cluster is not None else False
    await _delete_behind(work, host, at_once=by_hand)
    if not leave.dry:
        await _put_webhook_back(leave, host)
    report: attempts.Report = {"left": work.left} if work.left else {}
    if not leave.changes.notes:
        report["unchanged"] = [f"{work.cluster} is not on the host"]
    return report


async def _try_to_delete(
    leave: leaving.Leave, work: undoing.Work, host: clusters.Cluster, cluster: kubesphere.Object
) -> list[str]:
    """Have the deletion tried, and return what is to be known about it, a sentence each."""
    notes = []
    if "deletionTimestamp" in cluster["metadata"]:
        notes.append(f"{work.cluster} on the host is being deleted already.")
    else:
        await undoing.delete(host, work.cluster, uid=cluster["metadata"]["uid"])
    if kubesphere.MEMBER_UID_ANNOTATION not in (cluster["metadata"].get("annotations") or {}):
        notes.append(f"{work.cluster} was not made by this project, and goes all the same: it is this member.")
    if leave.conf.force and await webhook.denies(host, work.cluster):
        # Who may not change it learns that before the first write.
        await host.try_patch(webhook.CONFIGURATION, {"metadata": {}})
        notes.append(
            f"The host's webhook lets nobody change {work.cluster}, since the member does not answer: it is set aside "
            "for this Cluster alone, and put back."
        )
    return notes


async def _delete_cluster(
    leave: leaving.Leave, work: undoing.Work, host: clusters.Cluster, cluster: kubesphere.Object
) -> bool:
    """Delete the Cluster and wait until it is gone; return whether its finalizer had to be taken off."""
    if "deletionTimestamp" not in cluster["metadata"]:
        with leave.changes.noted(f"{work.cluster} deleted on the host"):
            await undoing.delete(host, work.cluster, uid=cluster["metadata"]["uid"])
    if leave.conf.force:
        await _set_webhook_aside(leave, host)
    try:
        await work.wait_until_gone(host, work.cluster, hint=_STUCK, seconds=leave.conf.remove_timeout)
    except errors.DeadlineError:
        if not leave.conf.force:
            raise
    else:
        return False
    await _take_finalizer_off(work, host)
    return True


async def _set_webhook_aside(leave: leaving.Leave, host: clusters.Cluster) -> None:
    """Have the webhook overlook the Cluster where it lets nobody change it, and hold the turn for that."""

    async def is_needless() -> bool:
        # Set aside by a run that was killed, it lets everything through that is asked now.
        return not await webhook.is_aside(host) and not await webhook.denies(host, leave.cluster)

    if await is_needless() or not await attempts.take_turn(leave, turn.WEBHOOK, unless=is_needless):
        return
    await webhook.set_aside(host, leave.cluster, changes=leave.changes)


async def _put_webhook_back(leave: leaving.Leave, host: clusters.Cluster) -> None:
    """Have the webhook as it was, whichever run has set it aside, once no other run needs it so."""

    async def is_back() -> bool:
        return not await webhook.is_aside(host)

    if not await is_back() and await attempts.take_turn(leave, turn.WEBHOOK, unless=is_back):
        await webhook.put_back(host, changes=leave.changes)
    if leave.turns is not None:
        await leave.turns.give_back(turn.WEBHOOK)


async def _take_finalizer_off(work: undoing.Work, host: clusters.Cluster) -> None:
    """Let a Cluster go that its controller does not let go (kubesphere-facts 12.5, 6.9)."""
    left = undoing.OVERTAKEN
    while True:
        left -= 1
        cluster = await host.read(work.cluster)
        if cluster is None:
            return
        metadata = cluster["metadata"]
        kept = [each for each in metadata.get("finalizers") or [] if each != FINALIZER]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": kept}}
        try:
            with work.changes.noted(f"{work.cluster} freed of the controller's finalizer on the host"):
                await host.patch(work.cluster, body)
        except errors.ConflictError:
            if not left:
                raise
            continue
        except errors.NotFoundError:
            return
        break
    await work.wait_until_gone(host, work.cluster, hint="See its finalizers: they are somebody else's.", seconds=30)


async def _delete_behind(work: undoing.Work, host: clusters.Cluster, *, at_once: bool) -> None:
    """Wait until what goes with a Cluster is gone, and delete what stays: nobody uses it (kubesphere-facts 6.7)."""
    for ref in undoing.behind(work.name):
        if await undoing.readable(host, ref) is None:
            continue
        if not at_once:
            with contextlib.suppress(errors.DeadlineError):
                await work.wait_until_gone(host, ref, seconds=undoing.GONE / 5, hint="")
        present = await undoing.readable(host, ref)
        if present is None:
            continue
        if ref.kind is kinds.KUBEFED_CLUSTER:
            # Before that which tells of it.
            await _delete_token(work, host, present)
        await work.delete(host, ref, present)


async def _delete_token(work: undoing.Work, host: clusters.Cluster, kubefed: kubesphere.Object) -> None:
    """Delete the Secret with the host's token for the member, unread: whoever may read it is the member's master."""
    name = ((kubefed.get("spec") or {}).get("secretRef") or {}).get("name")
    if not name:
        return
    ref = kinds.Ref(kinds.SECRET, name, kubesphere.FEDERATION_NAMESPACE)
    try:
        with work.changes.noted(f"{ref} deleted on the host"):
            await host.delete(ref)
    except errors.NotFoundError:
        log.debug("%s on the host is gone already", ref)
    except errors.ForbiddenError as error:
        work.leave(f"{ref} on the host stays, with a token that the member does not know any more: {error.lacking}.")


async def clean_member(leave: leaving.Leave) -> attempts.Report:
    """Take off the member what the membership of this name has brought: the agent, federation, and kubefed's labels.

    What may be another host's stays, and is said: the agent of another name, accounts of other names and the namespace
    that they are in.
    """
    member = await leaving.answering(leave)
    if member is None:
        return {"left": [_DEAD]}
    work = leave.work()
    found = await leaving.owned(leave, member)
    if found.others:
        work.leave(f"{found.others}.")
        return {"left": work.left}
    await _delete_agent(leave, work, member, found)
    refs = {ref: await undoing.readable(member, ref) for ref in undoing.federation(work.name)}
    names = await leaving.other_names(leave, member)
    is_host = found.config is not None and found.config.role == kubesphere.HOST
    namespace = kinds.Ref(kinds.NAMESPACE, kubesphere.FEDERATION_NAMESPACE)
    shared = _shared(names, is_host) or (await undoing.other_accounts(work, member) if refs[namespace] else "")
    if shared and refs.pop(namespace):
        work.leave(f"{namespace} on the member stays: {shared}.")
    await undoing.delete_federation(work, member, {ref: item for ref, item in refs.items() if item is not None})
    if not shared:
        await _free(work, member)
    report: attempts.Report = {"left": work.left} if work.left else {}
    if not leave.changes.notes:
        report["unchanged"] = ["there is nothing on the member that the membership has brought"]
    return report


def _shared(names: list[str], is_host: bool) -> str:
    """Return why the member's federation is still in use, or ""."""
    if names:
        return f"the host has this member as {', '.join(names)} too"
    return "the member is a host itself" if is_host else ""


async def _delete_agent(
    leave: leaving.Leave, work: undoing.Work, member: clusters.Cluster, found: leaving.Owned
) -> None:
    agent = await member.read(tower.AGENT)
    if agent is None:
        return
    await undoing.keep_secrets(leave.sides, tower.announced_token(agent))
    why = await leaving.keeps_agent(leave, found, agent)
    if why:
        work.leave(f"{tower.AGENT} on the member stays: {why}.")
        return
    await work.delete(member, tower.AGENT, agent)


async def _free(work: undoing.Work, member: clusters.Cluster) -> None:
    """Take kubefed's label off the Workspaces and namespaces that stay."""
    workspaces = await undoing.listed(member, kinds.WORKSPACE)
    for kind in (kinds.WORKSPACE, kinds.NAMESPACE):
        items = workspaces if kind is kinds.WORKSPACE else await undoing.listed(member, kind)
        for item in items or []:
            ref = kinds.Ref(kind, item["metadata"]["name"])
            if workspaces is None or "deletionTimestamp" in item["metadata"]:
                continue
            patch = snapshots.freeing(item, workspaces=workspaces)
            if patch:
                version = {"resourceVersion": item["metadata"]["resourceVersion"]}
                await work.free(member, ref, {"metadata": {**patch["metadata"], **version}})


async def restore_member(leave: leaving.Leave) -> attempts.Report:
    """Have the member's role and jwtSecret as Secret before-join tells, in one patch; wait, and delete that Secret.

    Without that Secret, as after a join by hand, the role becomes none and the jwtSecret stays (12.5, P-36).
    """
    member = await leaving.answering(leave)
    if member is None:
        return {"left": [_DEAD]}
    work = leave.work()
    found = await leaving.owned(leave, member)
    names = await leaving.other_names(leave, member)
    why = found.others or (f"Role and jwtSecret of the member stay: {_shared(names, False)}" if names else "")
    if why or found.config is None:
        work.leave(f"{why or 'KubeSphere is not installed on the member'}.")
        return {"left": work.left}
    is_member = found.config.role == kubesphere.MEMBER
    patched = await _restore(work, member, found)
    if patched or found.record is not None or is_member:
        await work.wait_for_installer(member, seconds=leave.conf.member_installer_timeout)
        await work.tell_restarts(member)
    if found.record is not None:
        await work.delete(member, kubesphere.BEFORE_JOIN, found.record)
    elif found.config.jwt_secret in found.secrets:
        work.leave(
            "The jwtSecret of the member stays the host's: the one before the join is not recorded in Secret "
            "before-join, as after a join by hand."
        )
    await _tell_name(leave, work, member)
    report: attempts.Report = {"left": work.left} if work.left else {}
    if not leave.changes.notes:
        report["unchanged"] = ["the member has the role and the jwtSecret that it is to have"]
    return report


async def _restore(work: undoing.Work, member: clusters.Cluster, found: leaving.Owned) -> bool:
    def restoring(configuration: kubesphere.Object) -> tuple[dict[str, Any], list[str]]:
        if found.record is not None:
            before = snapshots.of_before_join(found.record)
            return snapshots.restoring_role_and_secret(configuration, before, secrets=found.secrets)
        if kubesphere.spec_role(configuration) != kubesphere.MEMBER:
            return {}, []
        before = snapshots.unrecorded(configuration)
        return snapshots.restoring_role_and_secret(configuration, before, secrets=found.secrets)

    return await work.patch_configuration(member, restoring, "role and jwtSecret")


async def _tell_name(leave: leaving.Leave, work: undoing.Work, member: clusters.Cluster) -> None:
    """Say it if the host's name for the member stays in its ConfigMap: nobody but ks-installer may write that."""
    if leave.dry:
        return
    config_map = await member.read(kubesphere.CONFIG)
    config = kubesphere.config(config_map) if config_map is not None else None
    if config is not None and config.cluster_name == leave.conf.cluster:
        work.leave(
            f"{kubesphere.CONFIG} of the member names {config.cluster_name} until the next run of ks-installer, which "
            "was not needed otherwise."
        )


async def verify_leave(leave: leaving.Leave) -> attempts.Report:
    """See that the host has let go and that nothing else was touched, and report what was removed, restored and left.

    `differs` is what is not as `take_turn` has seen it, and was no part of the leave: somebody else's work meanwhile.
    Raises VerificationError if a Cluster of that name is there again.
    """
    name = leave.conf.cluster
    if leave.host is not None and await leave.host.read(leave.cluster) is not None:
        raise errors.VerificationError(
            f"{leave.cluster} is on the {leave.host} again: somebody has made it anew since remove_cluster."
        )
    reports = leave.reports.values()
    changed = [line for report in reports for line in report.get("changed", ())]
    left = list(dict.fromkeys(line for report in reports for line in report.get("left", ())))
    differs = await _untouched(leave, changed)
    for line in changed:
        log.info("This run has written: %s", line)
    for line in left:
        log.warning("Left: %s", line)
    for line in differs:
        log.warning("Not as before: %s", line)
    removed = [line for line in changed if " deleted on the " in line]
    result = "left by this run" if changed else "left already, nothing was written"
    log.info("Cluster %s: %s", name, result)
    return {
        "cluster": name,
        "result": result,
        "removed": removed,
        "restored": [line for line in changed if line not in removed],
        "left": left,
        "differs": differs,
        "warnings": attempts.warnings(*reports),
    }


async def _untouched(leave: leaving.Leave, changed: list[str]) -> list[str]:
    """Return what is not as it was and this leave has not changed."""
    before = leave.reports.get("take_turn", {}).get("before", {})
    now = await leaving.look(leave, await leaving.answering(leave))
    own = (*leaving.expected(leave.conf.cluster), *(line.partition(" freed of ")[0] + " on the " for line in changed))
    return [
        line
        for side in before
        if side in now
        for line in snapshots.differences(before[side], now[side], where=side)
        if not line.startswith(own)
    ]


async def end_turn(leave: leaving.Leave) -> attempts.Report:
    """Put the host's webhook back if a run has set it aside; `run` lets the next run in afterwards."""
    if leave.host is not None:
        await _put_webhook_back(leave, leave.host)
    return {}


STEPS: Mapping[str, attempts.Step[leaving.Leave]] = {
    step.__name__: step
    for step in (plan, take_turn, remove_cluster, clean_member, restore_member, verify_leave, end_turn)
}


@contextlib.asynccontextmanager
async def _opened(step: str, raw: Mapping[str, Any], given: attempts.Given) -> AsyncIterator[leaving.Leave]:
    """Check the conf of the run, and open its clusters; raises ConfError with every problem of the conf."""
    dry = step == plan.__name__
    problems = await conf_problems(raw) if dry else leave_conf.problems(raw)
    if problems:
        raise errors.ConfError(problems)
    conf = leave_conf.parse(raw)
    async with _connected(conf, limits=given.limits, run=given.run, dry=dry) as (host, member):
        turns = None
        if host is not None:
            turns = turn.Turns(host, holder=given.run, member=conf.cluster, limits=given.limits)
        yield leaving.Leave(**vars(given), conf=conf, host=host, member=member, turns=turns, dry=dry)


@contextlib.asynccontextmanager
async def _connected(
    conf: leave_conf.Conf, *, limits: settings.Settings, run: str, dry: bool
) -> AsyncIterator[tuple[clusters.Cluster | None, clusters.Cluster | None]]:
    """Open the clusters of a conf: a lost host is not asked for anything."""
    async with contextlib.AsyncExitStack() as stack:

        async def opened(conn_id: str | None, role: str) -> clusters.Cluster | None:
            if conn_id is None:
                return None
            grant = (
                f"Grant this right to the connection's user: deploy/rbac/{role}.yaml or deploy/rbac/leave-{role}.yaml "
                "has it."
            )
            return await stack.enter_async_context(
                clusters.connect(conn_id, role=role, limits=limits, grant=grant, run=run, dry=dry)
            )

        host = await opened(None if conf.host_lost else conf.host_conn_id, kubesphere.HOST)
        yield host, await opened(conf.member_conn_id, kubesphere.MEMBER)


async def _in_turn(step: str, leave: leaving.Leave, held: str | None) -> attempts.Report:
    """Do the step while the run holds its turn, and let the next run in after the last one."""
    if step != end_turn.__name__:
        return await attempts.in_turn(STEPS[step], leave, held=held)
    return await attempts.in_turn(STEPS[step], leave, held=None, last=(turn.WEBHOOK, held))


run = functools.partial(attempts.run, opened=_opened, doing=_in_turn)
"""Run one step of a leave by its name: see `attempts.run`."""
