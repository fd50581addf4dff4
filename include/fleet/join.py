"""The steps of a join, named like the tasks. Each reads, compares, writes only what differs, and waits.

A step is safe to repeat and to cut off: nothing is remembered but what stands on the clusters. It returns a
small report without secrets, which is what Airflow keeps.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from include.fleet import (
    acceptance,
    attempts,
    certificates,
    checks,
    choosing,
    clusters,
    configuring,
    connections,
    diagnosing,
    errors,
    findings,
    handoff,
    identity,
    joining,
    journal,
    kinds,
    kubeconfig,
    kubesphere,
    manifests,
    membership,
    observed,
    plans,
    probe,
    proofs,
    redaction,
    rollback,
    settings,
    tower,
    tunnel,
    turn,
    waits,
)
from include.fleet import conf as confs
from include.fleet import preflight as preflights

log = logging.getLogger(__name__)

_GRANT_IMPORTED = "The host receives this credential, and KubeSphere needs it to be cluster-admin on the member."


async def conf_problems(raw: Mapping[str, Any]) -> list[str]:
    """Return every problem of a conf that can be found without asking a cluster, each with its key."""
    found = [*confs.problems(raw), *checks.waive_problems(raw.get("waive"))]
    found += await connections.problems(raw, ("host_conn_id", "member_conn_id", "import_conn_id"))
    wrong = {problem.partition(":")[0] for problem in found}
    key = "import_conn_id" if raw.get("import_conn_id") else "member_conn_id"
    direct = raw.get("connection", confs.Connection.DIRECT.value) == confs.Connection.DIRECT.value
    if direct and not wrong & {key, "connection", "member_server"}:
        try:
            await connections.importable_kubeconfig(raw[key], server=raw.get("member_server"))
        except kubeconfig.KubeconfigError as error:
            found += [f"{key}: connection {raw[key]}: {problem}" for problem in error.problems]
    return found


async def preflight(join: joining.Join) -> attempts.Report:
    """Look at both clusters for all that would stop or trouble the join, before anything is written.

    Raises PreflightError with every error that is not waived, and otherwise what made it impossible to tell who is who.
    """
    join = await choosing.narrowed(join)
    seen = await preflights.observe(join)
    found = checks.judge(seen)
    for finding in found:
        if finding.answer is findings.Answer.OK:
            log.debug("%s", finding)
        elif finding.waived:
            log.warning("Waived by the conf of this run, which goes on: %s", finding)
        else:
            log.warning("Preflight, %s: %s", finding.answer.value, finding)
    counts = collections.Counter(finding.answer.value for finding in found)
    log.info("Preflight: %s", ", ".join(f"{counts[answer.value]} {answer.value}" for answer in findings.Answer))
    stopping = findings.stopping(found)
    if stopping:
        raise errors.PreflightError(join.conf.cluster, [str(finding) for finding in stopping])
    failed = preflights.unread(seen)
    if failed is not None:
        raise failed
    probed = await probe.probes(join) if join.conf.probe else []
    return {
        **probe.report(probed),
        "cluster": join.conf.cluster,
        "connection": choosing.after(probed, join.conf).value,
        "host_uid": observed.known(seen.host.uid),
        "member_uid": seen.sides.member_uid if join.conf.is_handed_over else observed.known(seen.member.uid),
        "findings": [finding.report for finding in (*found, *probed)],
    }


async def plan(join: joining.Join) -> attempts.Report:
    """Return every object and field that the join would create or change; nothing is persisted.

    The join's own steps are run dry, so that they cannot disagree with the plan. What these cannot know yet, as the
    token that tower makes for a new Cluster, is named. The report has `entries` (see plans.Entry), `consequences` and
    `notes`, lists of sentences, `digest` and `markdown`.
    """
    conf, notes = join.conf, list[str]()
    join = dataclasses.replace(join, changes=journal.Journal())
    await joining.ask_host(join, address=conf.proxy_publish_address)
    if not conf.is_handed_over:
        await joining.ask_member(join, configuring.trust(join.host, await configuring.snapshot(join.host)))
    if conf.connection is confs.Connection.AUTO:
        notes.append("The Cluster and the agent depend on the connection type, which the run finds out later.")
    else:
        notes += await _plan_import(join)
    entries = [
        plans.entry(side.role, write, hide=lambda text: join.member.redacted(join.host.redacted(text)))
        for side in (join.host, join.member)
        for write in side.planned
    ]
    consequences = plans.consequences(entries, name=conf.cluster, connection=conf.connection.value)
    heading = f"Plan to join {conf.cluster} ({conf.connection.value})"
    report = plans.report(heading, entries, consequences, notes)
    for line in plans.told(heading, report):
        log.info("%s", line)
    return report


async def _plan_import(join: joining.Join) -> list[str]:
    """Run dry what brings the Cluster and the agent; return what cannot be known yet."""
    notes = []
    sides = await joining.sides_of(join)
    if sides.is_being_deleted:
        # Not even in a dry run does a server make what is still there.
        notes.append(f"Cluster {join.conf.cluster} is being deleted; it is made anew when that is over.")
        sides = dataclasses.replace(sides, clusters=[item for item in sides.clusters if item is not sides.named])
        _refuse(join.conf, sides)
    else:
        await _bring_cluster(join, sides)
    if join.conf.is_handed_over:
        return [*notes, handoff.PLANNED]
    if join.conf.connection is not confs.Connection.PROXY:
        return notes
    config = await configuring.in_force(join.host)
    address = join.conf.proxy_publish_address or await tunnel.address(join.host, config)
    connection = (sides.named or {}).get("spec", {}).get("connection", {})
    token = str(connection.get("token") or "")
    for side in (join.host, join.member):
        await side.keep_secret(token)
    if not address:
        notes.append("Tower has no address yet: the agent gets the one that it has by then.")
    if not token:
        notes.append("The agent's token is made by tower when the Cluster is there.")
    token = token or "(made by tower)"
    wanted = tower.agent_deployment(
        join.conf.cluster,
        token=token,
        address=address or "(not known yet)",
        image=join.conf.agent_image or config.agent_image,
        renews=_ends_soon(join, sides.named) if sides.named else "",
    )
    await _bring_agent(join, wanted, token=token)
    return notes


async def take_turn(join: joining.Join) -> attempts.Report:
    """Wait until no other run changes this member, and hold its turn from here to `end_turn`.

    A plan that a person has approved is made again, and has to be the same. Raises RefusedError if it is not. Where a
    failed run is to be rolled back, what stands now is recorded.
    """
    name = await joining.turn_of(join)
    await attempts.take_turn(join, name)
    if join.conf.approve:
        await _refuse_changed_plan(join)
    recorded = await rollback.record(join) if join.conf.on_failure is confs.OnFailure.ROLLBACK else {}
    return {**recorded, "turn": name}


async def _refuse_changed_plan(join: joining.Join) -> None:
    """Make the plan again, and raise RefusedError if a person has approved another one."""
    conf, approved = join.conf, join.reports["plan"]
    async with _connected(conf, limits=join.limits, run=join.run, dry=True) as (host, member):
        now = await plan(dataclasses.replace(join, host=host, member=member))
    reasons = plans.changed(approved, now)
    if reasons:
        raise errors.RefusedError(conf.cluster, reasons)


async def end_turn(join: joining.Join) -> attempts.Report:
    """Undo what a run that failed has written, where the conf says so; `run` lets the next run in afterwards.

    A run has succeeded if `verify_join` has reported. What `rollback.roll_back` returns and raises. Where a member was
    handed over, the file is deleted: see `handoff.end`.
    """
    if join.conf.is_handed_over:
        return await handoff.end(join, proven=join.reports.get(verify_join.__name__))
    if join.conf.on_failure is not confs.OnFailure.ROLLBACK:
        return {}
    if verify_join.__name__ not in join.reports:
        return await rollback.roll_back(join)
    await rollback.forget(join)
    return {}


async def fetch_jwt(join: joining.Join) -> attempts.Report:
    """Find the host's jwtSecret and return where it is and its fingerprint, never the secret itself.

    From the ConfigMap, cross-checked with Secret kubesphere-secret where that may be read; the host's
    ClusterConfiguration usually does not hold it (kubesphere-facts 2.4, 3.4).
    """
    trust = configuring.trust(join.host, await configuring.snapshot(join.host))
    reference = f"{kubesphere.CONFIG}, {kubesphere.CONFIG_KEY}, authentication.jwtSecret"
    if trust.pending:
        log.warning("The host's jwtSecret is about to change: %s. configure_host sees to it first.", trust.pending)
    return {
        "reference": reference,
        "fingerprint": redaction.fingerprint(trust.value),
        "pending": trust.pending,
    }


async def configure_host(join: joining.Join) -> attempts.Report:
    """Have the host's ClusterConfiguration ask for the role host, and tower's address where the conf has one.

    One patch, since two would be two runs of the installer. The jwtSecret stays as it is. ks-apiserver is not
    restarted, as the guide does it: the installer or the process itself sees to that, and this project renders
    the agent's manifest without it (kubesphere-facts 4.2).
    Where the jwtSecret that is asked for is not in force yet, this waits until it is, since the member must
    get the one that stays.
    """
    address = join.conf.proxy_publish_address
    report = await _ask_host_in_turn(join, address=address)
    if join.reports.get("fetch_jwt", {}).get("pending") != "" and (await configuring.snapshot(join.host)).trust.pending:
        await attempts.wait_for_installer(join, join.host, seconds=join.conf.host_installer_timeout)
    return report


async def _ask_host_in_turn(join: joining.Join, *, address: str | None) -> attempts.Report:
    """Ask the host's ClusterConfiguration as `joining.ask_host` does, while no other run changes it."""

    async def asked() -> bool:
        return await configuring.asks_for(join.host, role=kubesphere.HOST, address=address)

    # A ClusterConfiguration that is away is no reason to wait for a turn: asked before, it fails this try.
    bells = [waits.changes(join.host, kubesphere.CONFIGURATION)]
    if await asked() or not await attempts.take_turn(join, turn.HOST, unless=asked, bells=bells):
        return {"unchanged": [joining.asks_already(join.host, kubesphere.HOST)]}
    if address:
        reasons = joining.address_refusals(join.conf, await joining.sides_of(join))
        if reasons:
            raise errors.RefusedError(join.conf.cluster, reasons)
    return await joining.ask_host(join, address=address)


async def configure_member(join: joining.Join) -> attempts.Report:
    """Have the member's ClusterConfiguration ask for the role member and the host's jwtSecret, in one patch.

    Where Airflow does not reach the member, a person does that later: see `hand_over`.
    """
    if join.conf.is_handed_over:
        return {"unchanged": ["the member's ClusterConfiguration: Airflow does not reach it, see hand_over"]}
    fetched = join.reports.get("fetch_jwt", {})
    config = await configuring.in_force(join.host)
    if fetched.get("pending") == "" and fetched["fingerprint"] == redaction.fingerprint(config.jwt_secret):
        return await joining.ask_member(join, kubesphere.Trust(config.jwt_secret, ""))
    seen = await configuring.snapshot(join.host)
    if seen.trust.pending:
        seen = await attempts.wait_for_installer(join, join.host, seconds=join.conf.host_installer_timeout)
    trust = configuring.trust(join.host, seen)
    if fetched.get("fingerprint") not in (None, redaction.fingerprint(trust.value)):
        log.warning("The host's jwtSecret has changed since fetch_jwt; the one in force now is used")
    return await joining.ask_member(join, trust)


async def wait_installer(join: joining.Join) -> attempts.Report:
    """Wait until ks-installer has done its work on both clusters at once; on the host alone where that is reached.

    Then both have to ask for what they asked for before, or they are asked again and waited for again: an installer
    that makes a ClusterConfiguration anew has read it before, and loses what was patched in between
    (kubesphere-facts 2.3).
    """
    await join.turns.keep(turn.HOST)
    while True:
        sides = [(join.host, join.conf.host_installer_timeout)]
        if not join.conf.is_handed_over:
            sides.append((join.member, join.conf.member_installer_timeout))
        host, *members = await waits.together(
            *(attempts.wait_for_installer(join, side, seconds=seconds) for side, seconds in sides)
        )
        # Only where there is none: two runs that want different addresses must not ask against each other for ever.
        address = None if kubesphere.spec_address(host.configuration) else join.conf.proxy_publish_address
        trust = configuring.trust(join.host, host)
        reports = [await joining.ask_member(join, trust, seen=member) for member in members]
        if kubesphere.configuration_patch(host.configuration, role=kubesphere.HOST, address=address):
            reports.append(await _ask_host_in_turn(join, address=address))
        if all("unchanged" in report for report in reports):
            await join.turns.give_back(turn.HOST)
            where = "the host" if join.conf.is_handed_over else "host and member"
            return {"unchanged": [f"ks-installer is idle on {where}, with all that is asked for in force"]}


async def choose_connection(join: joining.Join) -> attempts.Report:
    """Return the connection type, and why it is this one.

    Where the conf says it, no cluster is asked for it; with `probe` a proxy connection is tried beforehand, which stops
    nothing. Raises UndecidedError where it is to be found out and cannot be, or where neither type works.
    """
    choice = await choosing.choose(join)
    log.info("Connection type %s: %s", choice.connection.value, choice.why)
    return {**probe.report(choice.probed), "connection": choice.connection.value, "why": choice.why}


async def prepare_kubeconfig(join: joining.Join) -> attempts.Report:
    """Check that the credential for the host leads to this member, and return its server and fingerprint.

    Asked with the connection's own address, since Airflow need not reach *member_server*.
    """
    conf = join.conf
    try:
        prepared = await connections.importable_kubeconfig(conf.imported_conn_id, server=conf.member_server)
    except kubeconfig.KubeconfigError as error:
        raise errors.ConfError([f"connection {conf.imported_conn_id}: {text}" for text in error.problems]) from None
    for warning in prepared.warnings:
        log.warning("Connection %s: %s", conf.imported_conn_id, warning)
    uid = await configuring.uid(join.member)
    async with clusters.connect(
        conf.imported_conn_id, role=kubesphere.MEMBER, limits=join.limits, grant=_GRANT_IMPORTED
    ) as imported:
        other = await configuring.uid(imported)
    if other != uid:
        raise errors.RefusedError(
            conf.cluster,
            [
                (
                    f"connection {conf.imported_conn_id} leads to another cluster (kube-system UID {other}) than "
                    f"connection {conf.member_conn_id} ({uid})"
                )
            ],
        )
    return {
        "server": prepared.server,
        "fingerprint": redaction.fingerprint(prepared.text),
        "warnings": list(prepared.warnings),
    }


async def resolve_tower_address(join: joining.Join) -> attempts.Report:
    """Wait until tower has an address at which agents find it, and return it; raises what `tower_address` raises."""
    found = await joining.tower_address(join)
    return {"address": found, "unchanged": [f"tower is reached at {found}"]}


async def import_cluster(join: joining.Join) -> attempts.Report:
    """Create the Cluster on the host, or bring into it what differs; never replace it.

    Raises RefusedError for a name or a cluster that is taken, also by what others have only just made. A Cluster that
    has never become Ready gets the conf's kubeconfig; in a joined one it is replaced only if the conf names another.
    """
    sides = await joining.sides_of(join)
    if sides.is_being_deleted:
        await joining.wait_until_gone(join, kinds.Ref(kinds.CLUSTER, join.conf.cluster))
        sides = await joining.sides_of(join)
    report = await _bring_cluster(join, await joining.after_strangers(join, sides))
    if join.conf.is_handed_over:
        return {**report, **await handoff.prepare(join)}
    return report


async def _bring_cluster(join: joining.Join, sides: identity.Sides) -> attempts.Report:
    conf, ref = join.conf, kinds.Ref(kinds.CLUSTER, join.conf.cluster)
    _refuse(conf, sides)
    prepared = await joining.importable(conf)
    wanted = manifests.cluster_manifest(
        conf.cluster,
        uid="" if sides.handed_over else sides.member_uid,
        handed_over=join.run if sides.handed_over and sides.named is None else "",
        kubeconfig=prepared.text if prepared else None,
        kubesphere_api_endpoint=conf.kubesphere_api_endpoint,
        provider=conf.provider,
        group=conf.group,
        labels=conf.labels,
        description=conf.description,
    )
    existing = sides.named
    if existing is None:
        with join.changes.noted(f"{ref} created on the host, {_described(prepared)}"):
            await join.host.create(ref, wanted)
        return {}
    worth = manifests.worth_changing(
        existing, wanted, server=conf.member_server, replace=conf.import_conn_id is not None
    )
    patch = manifests.difference(existing, worth)
    if not patch:
        return {"unchanged": [f"{ref} is on the host as it must be"]}
    with join.changes.noted(f"{ref} changed on the host: {', '.join(manifests.changed_fields(patch))}"):
        await join.host.patch(ref, patch)
    return {}


def _refuse(conf: confs.Conf, sides: identity.Sides) -> None:
    reasons = identity.refusals(sides)
    if reasons:
        raise errors.RefusedError(conf.cluster, reasons)


async def deploy_agent(join: joining.Join) -> attempts.Report:
    """Bring the agent onto the member, with the token of the Cluster as it is now: see `joining.initialised`.

    Where the credential that tower has made for the host ends soon (`expires_soon`), the agent connects anew, upon
    which tower makes another one (kubesphere-facts 8), and that is waited for.
    """
    cluster, warnings = await joining.initialised(join)
    token = str(cluster["spec"]["connection"]["token"])
    ends = _ends_soon(join, cluster)
    report = await _bring_agent(join, await joining.agent_manifest(join, token, renews=ends), token=token)
    if ends:
        await _await_renewal(join, ends)
    return {**report, "warnings": warnings} if warnings else report


def _ends_soon(join: joining.Join, cluster: kubesphere.Object) -> str:
    """Return when the credential in a Cluster's kubeconfig ends if that is soon, or ""."""
    end = certificates.ends(kubesphere.cluster_kubeconfig(cluster))
    return f"{end:%Y-%m-%dT%H:%MZ}" if end and end.timestamp() - time.time() <= join.limits.expires_soon else ""


async def _await_renewal(join: joining.Join, ends: str) -> None:
    ref = kinds.Ref(kinds.CLUSTER, join.conf.cluster)

    async def look() -> waits.Pending | None:
        same = _ends_soon(join, await join.host.get(ref)) == ends
        return waits.Pending(f"it still has the credential that ends at {ends}") if same else None

    await joining.until_joined(
        join,
        look,
        what="to get a new credential from tower",
        seconds=join.conf.ready_timeout,
        hint="Tower makes it when the agent connects: see the agent's log on the member.",
    )


async def hand_over(join: joining.Join) -> attempts.Report:
    """Make the file with which a person joins the member, and wait until its agent has connected to the host.

    What `handoff.hand_over` returns and raises.
    """
    return await handoff.hand_over(join)


async def _bring_agent(join: joining.Join, wanted: kubesphere.Object, *, token: str) -> attempts.Report:
    if await tunnel.apply_agent(join.member, dict(wanted), token=token, changes=join.changes):
        return {}
    return {"unchanged": [f"{tower.AGENT} is on the member as it must be"]}


async def wait_agent_ready(join: joining.Join) -> attempts.Report:
    """Wait until the host calls the member Ready, freshly, and with the member's own identity.

    A first Federated=False is no failure yet: the host's controller looks again (kubesphere-facts 6.2).
    """
    look = membership.ReadyLook(await joining.membership_of(join))
    await joining.until_joined(join, look.look, what="to become Ready", seconds=join.conf.ready_timeout)
    return {"unchanged": [f"Cluster {join.conf.cluster} is Ready on the host"]}


async def verify_join(join: joining.Join) -> attempts.Report:
    """Prove the join: secret, role, identity, connection, and no second name; then see what works, and report.

    What does not work after the proof is a warning: the member is joined, and a user will meet it.
    """
    who = await joining.membership_of(join)
    name = who.name
    look = proofs.HostLook(who, await configuring.uid(join.host)) if join.conf.is_handed_over else proofs.ProofLook(who)
    sides = (join.host,) if join.conf.is_handed_over else (join.host, join.member)
    await joining.until_joined(
        join,
        look.look,
        what="to be proven as joined",
        seconds=join.conf.verify_timeout,
        bells=[waits.changes(side, kubesphere.CONFIG) for side in sides],
    )
    who = look.proven
    await joining.refuse_doubles(join, who.uid)
    accepted = await acceptance.ask(who)
    reports = join.reports.values()
    changed = [line for report in reports for line in report.get("changed", ())]
    for line in changed:
        log.info("This run has written: %s", line)
    warnings = attempts.warnings(*reports)
    for line in warnings:
        log.warning("%s", line)
    identity_proof = look.identity or proofs.Identity.FORWARDED
    log.info("Cluster %s is joined. Proof: %s. Identity: %s", name, look.proof.value, identity_proof.value)
    return {
        "cluster": name,
        "connection": join.conf.connection.value,
        "result": "joined by this run" if changed else "joined already, nothing was written",
        "member_uid": who.uid,
        "proof": look.proof.value,
        "identity": identity_proof.value,
        "acceptance": [finding.report for finding in accepted],
        **({"not_seen": look.not_seen} if look.not_seen else {}),
        "changed": changed,
        "unchanged": [line for report in reports for line in report.get("unchanged", ())],
        "warnings": [*warnings, *acceptance.warnings(accepted)],
        "phase_seconds": {step: report["seconds"] for step, report in join.reports.items() if "seconds" in report},
    }


STEPS: Mapping[str, attempts.Step[joining.Join]] = {
    step.__name__: step
    for step in (
        preflight,
        plan,
        take_turn,
        fetch_jwt,
        configure_host,
        configure_member,
        wait_installer,
        choose_connection,
        resolve_tower_address,
        prepare_kubeconfig,
        import_cluster,
        deploy_agent,
        hand_over,
        wait_agent_ready,
        verify_join,
        end_turn,
    )
}


_OF_ONE_TYPE = frozenset(
    step.__name__
    for step in (
        resolve_tower_address,
        prepare_kubeconfig,
        import_cluster,
        deploy_agent,
        hand_over,
        wait_agent_ready,
        verify_join,
    )
)
"""The steps that have to know the connection type."""


@contextlib.asynccontextmanager
async def _opened(step: str, raw: Mapping[str, Any], given: attempts.Given) -> AsyncIterator[joining.Join]:
    """Check the conf of the run, and open its clusters.

    A connection type that the conf leaves open is the one that earlier reports tell. Raises ConfError with every
    problem of the conf, and UndecidedError for a step that needs the connection type where nobody has found it.
    """
    raw = confs.decided(raw, given.reports)
    problems = confs.problems(raw)
    if step == preflight.__name__:
        problems = [*await conf_problems(raw), *handoff.problems(raw, given.limits)]
    if problems:
        raise errors.ConfError(problems)
    conf = confs.parse(raw)
    if conf.connection is confs.Connection.AUTO and step in _OF_ONE_TYPE:
        raise errors.UndecidedError(f"{step} needs the connection type, which choose_connection has not reported.")
    dry = step == plan.__name__
    async with _connected(conf, limits=given.limits, run=given.run, dry=dry) as (host, member):
        turns = turn.Turns(host, holder=given.run, member=conf.cluster, limits=given.limits)
        yield joining.Join(**vars(given), conf=conf, host=host, member=member, turns=turns)


@contextlib.asynccontextmanager
async def _connected(
    conf: confs.Conf, *, limits: settings.Settings, run: str, dry: bool
) -> AsyncIterator[tuple[clusters.Cluster, clusters.Cluster]]:
    """Open the host cluster and the member cluster of a conf; a member that Airflow does not reach stays closed."""
    async with contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(
            clusters.connect(conf.host_conn_id, role=kubesphere.HOST, limits=limits, run=run, dry=dry)
        )
        if conf.is_handed_over:
            yield host, clusters.Unreached(kubesphere.MEMBER, limits=limits)
            return
        yield (
            host,
            await stack.enter_async_context(
                clusters.connect(conf.member_conn_id, role=kubesphere.MEMBER, limits=limits, run=run, dry=dry)
            ),
        )


async def _in_turn(step: str, join: joining.Join, held: str | None) -> attempts.Report:
    """Do the step while the run holds its turn, and let the next run in after the last one."""
    if step != end_turn.__name__:
        return await attempts.in_turn(STEPS[step], join, held=held)
    writes = join.conf.is_handed_over or join.conf.on_failure is confs.OnFailure.ROLLBACK
    return await attempts.in_turn(STEPS[step], join, held=held if writes else None, last=(turn.HOST, held))


run = functools.partial(attempts.run, opened=_opened, doing=_in_turn, explain=diagnosing.explain)
"""Run one step of a join by its name: see `attempts.run`."""


def _described(prepared: kubeconfig.Kubeconfig | None) -> str:
    return f"direct, server {prepared.server}" if prepared else "proxy"
