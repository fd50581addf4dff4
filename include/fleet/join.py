"""The steps of a join, named like the tasks. Each reads, compares, writes only what differs, and waits.

A step is safe to repeat and to cut off: nothing is remembered but what stands on the clusters. It returns a
small report without secrets, which is what Airflow keeps.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.fleet import (
    clusters,
    configuring,
    connections,
    errors,
    identity,
    installer,
    journal,
    kinds,
    kubeconfig,
    kubesphere,
    manifests,
    membership,
    redaction,
    settings,
    tower,
    tunnel,
    waits,
)
from include.fleet import conf as confs

log = logging.getLogger(__name__)

Report = dict[str, Any]
"""What a step returns: `unchanged` and `warnings`, lists of sentences, and facts by name. No secrets.

Airflow adds `changed`, what the step has written, and `seconds`.
"""

_SEE_CONDITIONS = "See the conditions of the Cluster and the log of ks-controller-manager on the host."
_NOT_INITIALISED = "Tower does this from 3.1 on, ks-controller-manager in 3.0: check that they run, and their logs."


@dataclass(frozen=True)
class Join:
    """One run's join, as one attempt at one step sees it."""

    conf: confs.Conf
    host: clusters.Cluster
    member: clusters.Cluster
    limits: settings.Settings
    attempt: str
    """Names this attempt in the marks that it leaves on clusters: run id and number of the try."""
    started: float
    """When this attempt began, in seconds of `time.time`."""
    leave_worker: float | None
    """When a wait has to leave the worker, or None if it need not."""
    reports: Mapping[str, Report]
    """What the earlier steps returned, by name."""
    changes: journal.Journal
    """What this step has changed so far."""

    def limit(self, seconds: float) -> waits.Limit:
        """Return the limit of a wait of *seconds* in all."""
        return waits.Limit(deadline=self.started + seconds, leave_worker=self.leave_worker)


async def conf_problems(raw: Mapping[str, Any]) -> list[str]:
    """Return every problem of a conf that can be found without asking a cluster, each with its key."""
    found = confs.problems(raw)
    for key in ("host_conn_id", "member_conn_id", "import_conn_id"):
        if isinstance(raw.get(key), str):
            try:
                await connections.source(raw[key])
            except errors.ConfError as error:
                found += [f"{key}: {problem}" for problem in error.problems]
    wrong = {problem.partition(":")[0] for problem in found}
    key = "import_conn_id" if raw.get("import_conn_id") else "member_conn_id"
    direct = raw.get("connection", confs.Connection.DIRECT.value) == confs.Connection.DIRECT.value
    if direct and not wrong & {key, "connection", "member_server"}:
        try:
            await connections.importable_kubeconfig(raw[key], server=raw.get("member_server"))
        except kubeconfig.KubeconfigError as error:
            found += [f"{key}: connection {raw[key]}: {problem}" for problem in error.problems]
    return found


async def check_conf(join: Join) -> Report:
    """Check the conf against both clusters, before anything is written.

    Raises UnsupportedError where no KubeSphere that can be joined is installed, RefusedError with every
    reason why this member must not get this name on this host.
    """
    for cluster in (join.host, join.member):
        await configuring.release(cluster)
    sides = await _sides(join)
    reasons = [*identity.refusals(sides), *_address_refusals(join.conf, sides)]
    if reasons:
        raise errors.RefusedError(join.conf.cluster, reasons)
    return {
        "cluster": join.conf.cluster,
        "connection": join.conf.connection.value,
        "host_uid": sides.host_uid,
        "member_uid": sides.member_uid,
    }


async def fetch_jwt(join: Join) -> Report:
    """Find the host's jwtSecret and return where it is and its fingerprint, never the secret itself.

    From the ConfigMap, cross-checked with Secret kubesphere-secret where that may be read; the host's
    ClusterConfiguration usually does not hold it (kubesphere-facts 2.4, 3.4).
    """
    trust = await configuring.trust(join.host)
    reference = f"{kubesphere.CONFIG}, {kubesphere.CONFIG_KEY}, authentication.jwtSecret"
    if trust.pending:
        log.warning("The host's jwtSecret is about to change: %s. configure_host sees to it first.", trust.pending)
    return {
        "reference": reference,
        "fingerprint": redaction.fingerprint(trust.value),
        "pending": trust.pending,
    }


async def configure_host(join: Join) -> Report:
    """Have the host's ClusterConfiguration ask for the role host, and tower's address where the conf has one.

    One patch, since two would be two runs of the installer. The jwtSecret stays as it is. ks-apiserver is not
    restarted, as the guide does it: the installer or the process itself sees to that, and this project renders
    the agent's manifest without it (kubesphere-facts 4.2).
    Where the jwtSecret that is asked for is not in force yet, this waits until it is, since the member must
    get the one that stays.
    """
    address = join.conf.proxy_publish_address
    if address:
        reasons = _address_refusals(join.conf, await _sides(join))
        if reasons:
            raise errors.RefusedError(join.conf.cluster, reasons)
    report = await _ask_host(join, address=address)
    if (await configuring.trust(join.host)).pending:
        await _wait_for_installer(join, join.host, seconds=join.conf.host_installer_timeout)
    return report


async def configure_member(join: Join) -> Report:
    """Have the member's ClusterConfiguration ask for the role member and the host's jwtSecret, in one patch."""
    trust = await configuring.trust(join.host)
    if trust.pending:
        await _wait_for_installer(join, join.host, seconds=join.conf.host_installer_timeout)
        trust = await configuring.trust(join.host)
    fetched = join.reports.get("fetch_jwt", {}).get("fingerprint")
    if fetched not in (None, redaction.fingerprint(trust.value)):
        log.warning("The host's jwtSecret has changed since fetch_jwt; the one in force now is used")
    return await _ask_member(join, trust)


async def wait_installer(join: Join) -> Report:
    """Wait until ks-installer has done its work on both clusters at once.

    Then both have to ask for what they asked for before, or they are asked again and waited for again: an installer
    that makes a ClusterConfiguration anew has read it before, and loses what was patched in between
    (kubesphere-facts 2.3).
    """
    while True:
        await waits.together(
            _wait_for_installer(join, join.host, seconds=join.conf.host_installer_timeout),
            _wait_for_installer(join, join.member, seconds=join.conf.member_installer_timeout),
        )
        # Only where there is none: two runs that want different addresses must not ask against each other for ever.
        has_address = kubesphere.spec_address(await configuring.asked(join.host))
        reports = [
            await _ask_host(join, address=None if has_address else join.conf.proxy_publish_address),
            await _ask_member(join, await configuring.trust(join.host)),
        ]
        if all("unchanged" in report for report in reports):
            return {"unchanged": ["ks-installer is idle on host and member, with all that is asked for in force"]}


async def prepare_kubeconfig(join: Join) -> Report:
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
    async with clusters.connect(conf.imported_conn_id, role=kubesphere.MEMBER, limits=join.limits) as imported:
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


async def resolve_tower_address(join: Join) -> Report:
    """Wait until tower has an address at which agents find it, and return it.

    The configured one, else the LoadBalancer's, which may be pending for a while or for ever. Raises
    DeadlineError with the port to forward to and the line to add to the conf.
    """
    found = ""

    async def look() -> waits.Pending | None:
        nonlocal found
        found = await tunnel.address(join.host, await configuring.in_force(join.host))
        if found:
            return None
        hint = await tunnel.no_address_hint(join.host)
        return waits.Pending(f"tower has no address. {hint}")

    await waits.until(
        look,
        what=f"an address of tower on the {join.host}",
        bells=[waits.changes(join.host, tower.SERVICE), waits.changes(join.host, kubesphere.CONFIG)],
        limit=join.limit(join.conf.tower_timeout),
        seconds=join.conf.tower_timeout,
        hint="Or raise tower_timeout if the LoadBalancer is only slow.",
        limits=join.limits,
    )
    return {"address": found, "unchanged": [f"tower is reached at {found}"]}


async def import_cluster(join: Join) -> Report:
    """Create the Cluster on the host, or bring into it what differs; never replace it.

    Raises RefusedError for a name or a cluster that is taken. A Cluster that has never become Ready gets
    the conf's kubeconfig; in a joined one it is replaced only if the conf names another.
    """
    conf, ref = join.conf, kinds.Ref(kinds.CLUSTER, join.conf.cluster)
    await _wait_until_gone(join, ref)
    sides = await _sides(join)
    reasons = identity.refusals(sides)
    if reasons:
        raise errors.RefusedError(conf.cluster, reasons)
    prepared = await _importable(conf)
    wanted = manifests.cluster_manifest(
        conf.cluster,
        uid=sides.member_uid,
        kubeconfig=prepared.text if prepared else None,
        kubesphere_api_endpoint=conf.kubesphere_api_endpoint,
        provider=conf.provider,
        group=conf.group,
        description=conf.description,
    )
    existing = next((item for item in sides.clusters if item["metadata"]["name"] == conf.cluster), None)
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


async def deploy_agent(join: Join) -> Report:
    """Bring the agent onto the member, with the token of the Cluster as it is now.

    Waits until the Cluster is initialised: before, its token is empty or changes (kubesphere-facts 6.5, P-18).
    """
    conf = join.conf
    ref = kinds.Ref(kinds.CLUSTER, conf.cluster)
    token = ""

    async def look() -> waits.Pending | None:
        nonlocal token
        cluster = await join.host.get(ref)
        connection = cluster["spec"].get("connection", {})
        if not kubesphere.is_true(cluster, tower.INITIALIZED):
            return waits.Pending("it is not initialised yet")
        if not connection.get("token") or not connection.get("kubernetesAPIEndpoint"):
            return waits.Pending("it is initialised and has no token or endpoint yet")
        token = str(connection["token"])
        return None

    await _until_joined(join, look, what="to be initialised", seconds=conf.ready_timeout, hint=_NOT_INITIALISED)
    for side in (join.host, join.member):
        await side.keep_secret(token)
    config = await configuring.in_force(join.host)
    address = await tunnel.address(join.host, config)
    if not address:
        raise errors.UnavailableError(f"Tower on the {join.host} has lost its address since resolve_tower_address.")
    wanted = tower.agent_deployment(
        conf.cluster, token=token, address=address, image=conf.agent_image or config.agent_image
    )
    if await tunnel.apply_agent(join.member, wanted, token=token, changes=join.changes):
        return {}
    return {"unchanged": [f"{tower.AGENT} is on the member as it must be"]}


async def wait_agent_ready(join: Join) -> Report:
    """Wait until the host calls the member Ready, freshly, and with the member's own identity.

    A first Federated=False is no failure yet: the host's controller looks again (kubesphere-facts 6.2).
    """
    look = membership.ReadyLook(await _membership(join))
    await _until_joined(join, look.look, what="to become Ready", seconds=join.conf.ready_timeout)
    return {"unchanged": [f"Cluster {join.conf.cluster} is Ready on the host"]}


async def verify_join(join: Join) -> Report:
    """Prove the join: secret, role, identity and connection; and report what this run did."""
    joining = await _membership(join)
    name = joining.name
    look = membership.ProofLook(joining)
    await _until_joined(
        join,
        look.look,
        what="to be proven as joined",
        seconds=join.conf.verify_timeout,
        bells=[waits.changes(side, kubesphere.CONFIG) for side in (join.host, join.member)],
    )
    reports = join.reports.values()
    changed = [line for report in reports for line in report.get("changed", ())]
    log.info("Cluster %s is joined. Proof: %s", name, look.proof.value)
    return {
        "cluster": name,
        "connection": join.conf.connection.value,
        "result": "joined by this run" if changed else "joined already, nothing was written",
        "member_uid": joining.uid,
        "proof": look.proof.value,
        "changed": changed,
        "unchanged": [line for report in reports for line in report.get("unchanged", ())],
        "warnings": [line for report in reports for line in report.get("warnings", ())],
        "phase_seconds": {step: report["seconds"] for step, report in join.reports.items() if "seconds" in report},
    }


Step = Callable[[Join], Awaitable[Report]]

STEPS: Mapping[str, Step] = {
    step.__name__: step
    for step in (
        check_conf,
        fetch_jwt,
        configure_host,
        configure_member,
        wait_installer,
        resolve_tower_address,
        prepare_kubeconfig,
        import_cluster,
        deploy_agent,
        wait_agent_ready,
        verify_join,
    )
}


async def run(
    step: str,
    raw: Mapping[str, Any],
    *,
    limits: settings.Settings,
    attempt: str,
    started: float,
    leave_worker: float | None = None,
    reports: Mapping[str, Report] | None = None,
    changes: journal.Journal | None = None,
) -> Report:
    """Run one step by its name, with the conf of the run as it came; what workers and triggerer both call.

    What the step changes is noted in *changes* before it is sent, so that it is known however the step ends.

    Raises ConfError with every problem of the conf, Longer when a wait has to leave the worker, and what
    the step raises.
    """
    problems = await conf_problems(raw) if step == check_conf.__name__ else confs.problems(raw)
    if problems:
        raise errors.ConfError(problems)
    conf = confs.parse(raw)
    async with (
        clusters.connect(conf.host_conn_id, role=kubesphere.HOST, limits=limits) as host,
        clusters.connect(conf.member_conn_id, role=kubesphere.MEMBER, limits=limits) as member,
    ):
        join = Join(
            conf=conf,
            host=host,
            member=member,
            limits=limits,
            attempt=attempt,
            started=started,
            leave_worker=leave_worker,
            reports=reports or {},
            changes=changes or journal.Journal(),
        )
        return await STEPS[step](join)


async def _ask_host(join: Join, *, address: str | None) -> Report:
    return await _ask_for(join, join.host, role=kubesphere.HOST, address=address)


async def _ask_member(join: Join, trust: kubesphere.Trust) -> Report:
    await join.member.keep_secret(trust.value)
    return await _ask_for(join, join.member, role=kubesphere.MEMBER, jwt_secret=trust.value)


async def _ask_for(
    join: Join, cluster: clusters.Cluster, *, role: str, jwt_secret: str | None = None, address: str | None = None
) -> Report:
    if await configuring.ask_for(
        cluster, role=role, attempt=join.attempt, changes=join.changes, jwt_secret=jwt_secret, address=address
    ):
        return {}
    return {"unchanged": [f"{kubesphere.CONFIGURATION} of the {cluster.role} asks for role {role} already"]}


async def _wait_for_installer(join: Join, cluster: clusters.Cluster, *, seconds: float) -> None:
    await installer.wait(
        cluster,
        attempt=join.attempt,
        limit=join.limit(seconds),
        seconds=seconds,
        limits=join.limits,
        changes=join.changes,
    )


async def _membership(join: Join) -> membership.Membership:
    config, release = await configuring.in_force(join.host), await configuring.release(join.host)
    return membership.Membership(
        host=join.host,
        member=join.member,
        name=join.conf.cluster,
        uid=await configuring.uid(join.member),
        resync=config.resync or join.limits.resync,
        release=release,
        limits=join.limits,
    )


async def _importable(conf: confs.Conf) -> kubeconfig.Kubeconfig | None:
    if conf.connection is confs.Connection.PROXY:
        return None
    return await connections.importable_kubeconfig(conf.imported_conn_id, server=conf.member_server)


async def _sides(join: Join) -> identity.Sides:
    conf = join.conf
    host, member = await configuring.in_force(join.host), await configuring.in_force(join.member)
    prepared = await _importable(conf)
    return identity.Sides(
        name=conf.cluster,
        host_uid=await configuring.uid(join.host),
        member_uid=await configuring.uid(join.member),
        host_config=host,
        member_config=member,
        host_secret_in_use=member.jwt_secret == (await configuring.trust(join.host)).value,
        clusters=await join.host.list(kinds.CLUSTER),
        connection=conf.connection.value,
        server=prepared.server if prepared else None,
        agent_name=await tunnel.agent_name(join.member) if prepared is None else "",
    )


def _address_refusals(conf: confs.Conf, sides: identity.Sides) -> list[str]:
    """Return why tower's address must not be changed: other members' agents go to the one in use."""
    asked, used = conf.proxy_publish_address, sides.host_config.proxy_publish_address
    if not asked or not used or asked == used or conf.replace_proxy_address:
        return []
    others = [
        item["metadata"]["name"]
        for item in sides.clusters
        if item["metadata"]["name"] != conf.cluster and kubesphere.connection_type(item) == "proxy"
    ]
    if not others:
        return []
    return [
        (
            f"proxy_publish_address {asked} differs from {used}, which the host uses for {', '.join(others)}; leave it "
            "out "
            "to use that one, or set replace_proxy_address to move all proxy members"
        )
    ]


def _described(prepared: kubeconfig.Kubeconfig | None) -> str:
    return f"direct, server {prepared.server}" if prepared else "proxy"


async def _wait_until_gone(join: Join, ref: kinds.Ref) -> None:
    async def look() -> waits.Pending | None:
        found = await join.host.read(ref)
        if found is None or "deletionTimestamp" not in found["metadata"]:
            return None
        return waits.Pending("it is being deleted")

    if await look() is None:
        return
    await _until_joined(join, look, what="of an earlier join to be gone", seconds=join.conf.ready_timeout)


async def _until_joined(
    join: Join,
    look: waits.Look,
    *,
    what: str,
    seconds: float,
    hint: str = _SEE_CONDITIONS,
    bells: Sequence[waits.Bell] = (),
) -> None:
    ref = kinds.Ref(kinds.CLUSTER, join.conf.cluster)
    await waits.until(
        look,
        what=f"Cluster {join.conf.cluster} on the {join.host} {what}",
        bells=[waits.changes(join.host, ref), *bells],
        limit=join.limit(seconds),
        seconds=seconds,
        hint=hint,
        limits=join.limits,
    )
