"""Undoing what a run has written: what stood before is recorded, brought back in the safe order, and compared.

The record is a Secret on the member, made in one request before the run's first write, since it holds secrets of the
member that must be nowhere else. It goes when the run has succeeded or has been rolled back; Secret before-join stays
for the day on which the member leaves.

Rolling back is a step like others: it reads, compares, and writes only what differs, so that it can be cut off and
begun again. What somebody else has changed since is left alone, and said.
"""

from __future__ import annotations

import base64
import datetime
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from include.fleet import (
    attempts,
    configuring,
    connections,
    errors,
    joining,
    kinds,
    kubesphere,
    manifests,
    snapshots,
    tower,
    undoing,
)

log = logging.getLogger(__name__)

RECORD = kinds.Ref(kinds.SECRET, "before-run", kubesphere.NAMESPACE)
_FOUND = "found"
_STUCK = (
    "Check that Deployment ks-controller-manager on the host runs. On 3.4 the webhook cluster.kubesphere.io refuses to "
    "let a Cluster go whose member does not answer (kubesphere-facts 6.9)."
)


async def record(join: joining.Join) -> attempts.Report:
    """Keep what stands on both clusters before this run's first write; its own record is kept as it is.

    One that another run has left is replaced: whoever holds the turn is alone, so that run is dead.
    Raises ForbiddenError where the record may not be kept, RefusedError where rights are missing without which nothing
    can be rolled back: who asks for that must not learn it when the run has failed.
    """
    run = join.run
    secret = await join.member.read(RECORD)
    if secret is not None and kubesphere.secret_value(secret, "run") == run:
        return {"recorded": run, "unchanged": [f"{RECORD} on the member holds what stood before this run"]}
    if secret is not None and kubesphere.secret_value(secret, "record") is None:
        raise errors.RefusedError(
            join.conf.cluster, [f"{RECORD} on the member is somebody else's; rename or delete it"]
        )
    lacking = await _lacking(join)
    if lacking:
        raise errors.RefusedError(join.conf.cluster, lacking)
    host, member = await _look(join)
    values = {
        "run": run,
        "recordedAt": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "record": snapshots.Record(run=run, cluster=join.conf.cluster, host=host, member=member).dump(),
    }
    made = manifests.secret(RECORD, values)
    if secret is None:
        await join.member.create(RECORD, made)
    else:
        log.info("%s on the member was left by run %s", RECORD, kubesphere.secret_value(secret, "run"))
        version = secret["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "data": {**made["data"], _FOUND: None}}
        await join.member.patch(RECORD, body)
    return {"recorded": run}


async def _lacking(join: joining.Join) -> list[str]:
    """Return which rights are missing on which every rollback rests, a sentence each."""
    found = []
    for cluster, ref in ((join.host, kinds.Ref(kinds.CLUSTER, join.conf.cluster)), (join.member, RECORD)):
        try:
            may = await cluster.may(kinds.Right("delete", ref.kind, namespace=ref.namespace, name=ref.name))
        except errors.ForbiddenError as error:
            cluster.do_without(error, "Whether this run could be rolled back was not checked")
            continue
        if not may:
            found.append(
                f"on_failure: rollback has to delete {ref} on the {cluster}, which its user may not. Grant what "
                f"deploy/rbac/{cluster.role}.yaml has, or set on_failure: keep"
            )
    return found


async def forget(join: joining.Join) -> None:
    """Delete the record of this run; for a run that has succeeded."""
    secret = await join.member.read(RECORD)
    if secret is not None and kubesphere.secret_value(secret, "run") == join.run:
        await undoing.delete(join.member, RECORD, uid=secret["metadata"]["uid"])


@dataclass(kw_only=True)
class _Work(undoing.Work):
    """One rollback, and what stood before."""

    join: joining.Join
    before: snapshots.Record


def _begun(join: joining.Join, before: snapshots.Record) -> _Work:
    return _Work(
        join=join,
        before=before,
        name=before.cluster,
        run=before.run,
        # Another mark than that of the join's own tasks: each may force one run of ks-installer.
        attempt=f"{join.attempt}/rollback",
        limits=join.limits,
        changes=join.changes,
        patience=join.conf.ready_timeout,
        leave_worker=join.leave_worker,
    )


async def roll_back(join: joining.Join) -> attempts.Report:
    """Undo what this run has written, compare both clusters with what was recorded, and delete the record.

    `undone` has what was not as recorded when the first try began, and is now; `not_undone` a sentence for each thing
    that stays, with the reason; `differs` what is not as recorded now; `result` the sum. Without a record of this run
    nothing is touched: then it has written nothing, or has been rolled back already.
    Raises RollbackError where a part could not be done on which the others rest, with what is left to do.
    """
    secret = await join.member.read(RECORD)
    before = await _recorded(join, secret)
    if secret is None or before is None or before.run != join.run:
        return _nothing_recorded(join, before)
    found = await _found(join, secret, before)
    work = _begun(join, before)
    for number, (_, undo) in enumerate(_PARTS):
        todo = "; ".join(words for words, _ in _PARTS[number:])
        try:
            await undo(work)
        except errors.TemporaryError:
            log.warning("Not undone yet: %s", todo)
            raise
        except errors.PermanentError as error:
            raise errors.RollbackError(
                f"Rolling back {join.conf.cluster} has stopped: {error}\n  Not undone yet: {todo}. What stood before "
                f"is in {RECORD} on the {join.member}. Mend the cause, then clear this task: it goes on from here."
            ) from error
    host, member = await _look(join)
    differs = _compared(before, host, member)
    for line in differs:
        log.warning("Not as before: %s", line)
    unseen = any(None in side.sections.values() for side in (before.host, before.member, host, member))
    as_before = "all that could be compared is" if unseen else "both clusters are"
    result = "rolled back, except for what differs" if differs else f"rolled back: {as_before} as before"
    with join.changes.noted(f"{RECORD} deleted on the member: {result}{''.join(f'; {line}' for line in differs)}"):
        await undoing.delete(join.member, RECORD, uid=secret["metadata"]["uid"])
    log.info("Cluster %s: %s", join.conf.cluster, result)
    still = _compared(before, host, member, verb="was")
    undone = [line for line in found if line not in still]
    return {"result": result, "undone": undone, "not_undone": work.left, "differs": differs}


async def _found(join: joining.Join, secret: kubesphere.Object, before: snapshots.Record) -> list[str]:
    """Return what was not as recorded when the first try began, which is kept beside the record."""
    kept = kubesphere.secret_value(secret, _FOUND)
    if kept is not None:
        return list(json.loads(kept))
    found = _compared(before, *await _look(join), verb="was")
    for line in found:
        log.info("To undo, or of somebody else: %s", line)
    text = base64.b64encode(json.dumps(found).encode()).decode()
    await join.member.patch(RECORD, {"data": {_FOUND: text}})
    return found


def _compared(before: snapshots.Record, host: snapshots.Side, member: snapshots.Side, *, verb: str = "is") -> list[str]:
    found = snapshots.differences(before.host.sections, host.sections, where="host", verb=verb)
    return found + snapshots.differences(before.member.sections, member.sections, where="member", verb=verb)


def _nothing_recorded(join: joining.Join, other: snapshots.Record | None) -> attempts.Report:
    report: attempts.Report = {"undone": join.changes.notes, "not_undone": [], "differs": []}
    if join.changes.notes:
        return {**report, "result": "rolled back by an earlier try"}
    recorded = any(earlier.get("recorded") == join.run for earlier in join.reports.values())
    if recorded and other is not None:
        raise errors.RollbackError(
            f"Nothing is rolled back: {RECORD} on the {join.member}, which had what stood before this run, holds what "
            f"stood before run {other.run}. Compare both clusters with what this run says that it has changed."
        )
    if recorded:
        return {**report, "result": f"rolled back already: {RECORD} on the member is gone"}
    if other is not None:
        report["not_undone"] = [f"{RECORD} on the member is that of run {other.run}, which has not been rolled back."]
    return {**report, "result": "nothing to undo: this run has recorded nothing, and so written nothing"}


# What stands on both clusters


async def _recorded(join: joining.Join, secret: kubesphere.Object | None) -> snapshots.Record | None:
    """Return the record in a Secret, whoever made it, None if there is none; secrets in it are masked from now on."""
    text = kubesphere.secret_value(secret, "record")
    if text is None:
        return None
    found = snapshots.load(text)
    for side in (found.host, found.member):
        await undoing.keep_secrets((join.host, join.member), side.jwt_secret, side.in_force)
    await undoing.keep_secrets((join.host, join.member), *_secrets_of(found.host.kept, found.member.kept))
    return found


def _secrets_of(cluster: Mapping[str, Any] | None, agent: Mapping[str, Any] | None) -> list[str | None]:
    connection = ((cluster or {}).get("spec") or {}).get("connection") or {}
    token = tower.announced_token(agent) if agent else None
    return [connection.get("token"), connection.get("kubeconfig"), token]


async def _look(join: joining.Join) -> tuple[snapshots.Side, snapshots.Side]:
    """Return how both clusters are now: what may be changed by a join, and what is compared."""
    name = join.conf.cluster
    cluster = await join.host.read(kinds.Ref(kinds.CLUSTER, name))
    agent = await join.member.read(tower.AGENT)
    await undoing.keep_secrets((join.host, join.member), *_secrets_of(cluster, agent))
    host = await undoing.look_at(
        join.host,
        kept=snapshots.kept_cluster(cluster) if cluster else None,
        refs=(kinds.Ref(kinds.CLUSTER, name), *undoing.behind(name)),
        more={snapshots.CLUSTER: snapshots.of_cluster(cluster)},
    )
    member = await undoing.look_at(
        join.member, kept=snapshots.kept_agent(agent) if agent else None, refs=undoing.federation(name), more={}
    )
    return host, member


# Undoing, in the safe order (kubesphere-facts 12.5)


async def _undo_cluster(work: _Work) -> None:
    """Have the Cluster as it was: this run's own deleted, one that was there with its former fields."""
    host, former = work.join.host, work.before.host.kept
    present = await host.read(work.cluster)
    if former is not None and "deletionTimestamp" not in former["metadata"]:
        await _restore_cluster(work, former)
        return
    if present is None:
        return
    metadata = present["metadata"]
    mark = (metadata.get("annotations") or {}).get(kubesphere.MEMBER_UID_ANNOTATION)
    if mark != await configuring.uid(work.join.member):
        work.leave(f"{work.cluster} on the host stays: it does not bear this project's mark, so somebody else made it.")
        return
    if "deletionTimestamp" not in metadata:
        with work.join.changes.noted(f"{work.cluster} deleted on the host"):
            await undoing.delete(host, work.cluster, uid=metadata["uid"])
    await work.wait_until_gone(host, work.cluster, hint=_STUCK)


async def _restore_cluster(work: _Work, former: dict[str, Any]) -> None:
    host = work.join.host
    left = undoing.OVERTAKEN
    while True:
        left -= 1
        present = await host.read(work.cluster)
        if present is None or present["metadata"]["uid"] != former["metadata"]["uid"]:
            what = "is gone" if present is None else "is another one"
            work.leave(f"{work.cluster} on the host {what}: a join deletes none, so somebody else has.")
            return
        wanted = await _manifest(work.join, kubesphere.connection_type(former))
        patch, sentences = snapshots.restoring_cluster(present, former, wanted=wanted)
        work.leave(*sentences)
        if not patch:
            return
        version = {"resourceVersion": present["metadata"]["resourceVersion"]}
        body = {**patch, "metadata": {**patch.get("metadata", {}), **version}}
        try:
            with work.join.changes.noted(
                f"{work.cluster} changed back on the host: {', '.join(manifests.changed_fields(patch))}"
            ):
                await host.patch(work.cluster, body)
        except errors.ConflictError:
            if not left:
                raise
            continue
        return


async def _manifest(join: joining.Join, connection: str) -> dict[str, Any]:
    """Return the Cluster that this run's import_cluster asks for, of that connection type."""
    conf, prepared = join.conf, None
    if connection != "proxy":
        prepared = await connections.importable_kubeconfig(conf.imported_conn_id, server=conf.member_server)
    return manifests.cluster_manifest(
        conf.cluster,
        uid=await configuring.uid(join.member),
        kubeconfig=prepared.text if prepared else None,
        kubesphere_api_endpoint=conf.kubesphere_api_endpoint,
        provider=conf.provider,
        group=conf.group,
        labels=conf.labels,
        description=conf.description,
    )


async def _check_behind_cluster(work: _Work) -> None:
    """Wait until what goes with a Cluster is gone; what stays is for a person (kubesphere-facts 6.7)."""
    host = work.join.host
    if await host.read(work.cluster) is not None:
        return
    for ref in undoing.behind(work.name):
        if work.before.host.there[str(ref)] is not False:
            continue
        try:
            await work.wait_until_gone(host, ref, seconds=undoing.GONE / 5, hint="")
        except errors.DeadlineError:
            work.leave(f"{ref} on the host stays: ks-controller-manager or tower has not deleted it. Delete it.")


async def _undo_agent(work: _Work) -> None:
    """Have the agent as it was; nobody needs it any more where the Cluster is gone."""
    member, former, name = work.join.member, work.before.member.kept, work.before.cluster
    present = await member.read(tower.AGENT)
    if present is None:
        if former is not None:
            work.leave(f"{tower.AGENT} on the member is gone: a join deletes none, so somebody else has.")
        return
    is_ours = tower.announced_name(present) == name
    if former is None:
        if not is_ours:
            work.leave(f"{tower.AGENT} on the member stays: it is not the agent of {name}, so somebody else made it.")
            return
        if await work.join.host.read(work.cluster) is not None:
            work.leave(f"{tower.AGENT} on the member stays: {work.cluster} on the host stays too.")
            return
        await work.delete(member, tower.AGENT, present)
        return
    patch = snapshots.restoring({"spec": snapshots.kept_agent(present)["spec"]}, {"spec": former["spec"]})
    if not patch:
        return
    if not is_ours or present["metadata"]["uid"] != former["metadata"]["uid"]:
        work.leave(f"{tower.AGENT} on the member stays as it is: somebody else has changed it since.")
        return
    body = {"metadata": {"resourceVersion": present["metadata"]["resourceVersion"]}, **patch}
    with work.join.changes.noted(f"{tower.AGENT} changed back on the member"):
        await member.patch(tower.AGENT, body)


async def _undo_federation(work: _Work) -> None:
    """Delete what the host's controller has made on the member for this join: no deletion of a Cluster does (6.7)."""
    member, before = work.join.member, work.before.member.there
    found = {
        ref: await undoing.readable(member, ref) for ref in undoing.federation(work.name) if before[str(ref)] is False
    }
    new = {ref: present for ref, present in found.items() if present is not None}
    if new and await work.join.host.read(work.cluster) is not None:
        work.leave(f"{', '.join(map(str, new))} on the member: in use, since {work.cluster} on the host stays.")
        return
    await undoing.delete_federation(work, member, new)


async def _undo_labels(work: _Work) -> None:
    """Take back what kubefed has put on Workspaces and namespaces that were there before."""
    before = work.before.member.labelled or {}
    for kind in (kinds.WORKSPACE, kinds.NAMESPACE):
        for item in await undoing.listed(work.join.member, kind) or []:
            ref = kinds.Ref(kind, item["metadata"]["name"])
            patch = snapshots.restoring_labels(before[str(ref)], item) if str(ref) in before else {}
            if patch:
                version = {"resourceVersion": item["metadata"]["resourceVersion"]}
                body = {"metadata": {**patch["metadata"], **version}}
                await work.free(work.join.member, ref, body)


async def _restore_member(work: _Work) -> None:
    """Take the member's role and jwtSecret back in one patch, and wait until that is in force."""
    member, before = work.join.member, work.before.member
    seen = await configuring.snapshot(work.join.host)
    host = work.before.host
    secrets = {value for value in (host.jwt_secret, host.in_force, seen.trust.value) if value}
    patched = await work.patch_configuration(
        member,
        lambda configuration: snapshots.restoring_role_and_secret(configuration, before, secrets=secrets),
        "role and jwtSecret",
    )
    if patched or before.met:
        await work.wait_for_installer(member, seconds=work.join.conf.member_installer_timeout)
    await work.tell_restarts(member)


async def _restore_host(work: _Work) -> None:
    """Take tower's address back where nobody else depends on it; the rest of a host cannot be undone (12.5)."""
    host, before, conf = work.join.host, work.before.host, work.join.conf
    others = [
        item["metadata"]["name"]
        for item in await host.list(kinds.CLUSTER)
        if kubesphere.connection_type(item) == "proxy" and item["metadata"]["name"] != conf.cluster
    ]

    def restoring(configuration: kubesphere.Object) -> tuple[dict[str, Any], list[str]]:
        left = []
        if kubesphere.spec_role(configuration) != (before.role or "none"):
            left.append(
                f"The host keeps the role {kubesphere.spec_role(configuration)}, with tower and kubefed: ks-installer "
                "cannot take them away (docs/operations.md tells how a person does)."
            )
        address, former = kubesphere.spec_address(configuration), before.address or ""
        if address == former:
            return {}, left
        if address != conf.proxy_publish_address:
            left.append(f"proxyPublishAddress {address} of the host stays: somebody else has set it since.")
        elif others:
            left.append(f"proxyPublishAddress {address} of the host stays: {', '.join(others)} use it by now.")
        else:
            # Null takes the key out of a merge patch's target.
            return {"spec": {"multicluster": {"proxyPublishAddress": before.address}}}, left
        return {}, left

    patched = await work.patch_configuration(host, restoring, "proxyPublishAddress")
    seen = await configuring.snapshot(host)
    in_force = seen.config.proxy_publish_address if seen.config else ""
    # A role that this run has set may be why it has failed: nothing waits for that.
    if patched or (before.role == kubesphere.HOST and in_force != kubesphere.spec_address(seen.configuration)):
        await work.wait_for_installer(host, seconds=conf.host_installer_timeout)
    await work.tell_restarts(host)


async def _undo_before_join(work: _Work) -> None:
    """Delete Secret before-join where this run has made it: a cluster that was never joined has none."""
    ref = kubesphere.BEFORE_JOIN
    for cluster, before in ((work.join.host, work.before.host), (work.join.member, work.before.member)):
        present = await undoing.readable(cluster, ref) if before.there[str(ref)] is False else None
        maker = kubesphere.secret_value(present, "recordedBy") or ""
        if present is None or not maker.startswith(f"{work.before.run}/"):
            continue
        await work.delete(cluster, ref, present)


_PARTS: tuple[tuple[str, Callable[[_Work], Awaitable[None]]], ...] = (
    ("the Cluster on the host", _undo_cluster),
    ("what stands behind it there", _check_behind_cluster),
    ("the agent on the member", _undo_agent),
    ("what federation has made on the member", _undo_federation),
    ("labels of kubefed on the member", _undo_labels),
    ("role and jwtSecret of the member", _restore_member),
    ("proxyPublishAddress of the host", _restore_host),
    ("Secret before-join on both", _undo_before_join),
)
