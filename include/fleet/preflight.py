"""What preflight reads of both clusters: all at once, each object once, and each read able to fail alone.

Nothing is written. What cannot be read becomes an `observed.Unread`, and the checks that need it are incomplete.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from include.fleet import (
    certificates,
    clusters,
    configuring,
    connections,
    errors,
    installer,
    installer_log,
    joining,
    kinds,
    kubeconfig,
    kubesphere,
    observed,
    rights,
    tower,
)
from include.fleet import conf as confs
from include.fleet.observed import Unread

_LIMIT = 40.0
"""Seconds in which everything has to be read."""
_AT_ONCE = 8
"""Requests to one cluster."""
_WEBHOOK = kinds.Ref(kinds.WEBHOOK, "cluster.kubesphere.io")
_FEDERATION = kinds.Ref(kinds.NAMESPACE, kubesphere.FEDERATION_NAMESPACE)
_CONTROLLER = kubesphere.PROCESSES[1]

Value = TypeVar("Value")


async def observe(join: joining.Join) -> observed.Observed:
    """Return everything that the checks judge, within 40 s; never raises for what a cluster says."""
    conf, deadline = join.conf, time.monotonic() + _LIMIT
    host, member = _Reader(join.host, deadline), _Reader(join.member, deadline)
    prepared = await _prepared(conf)
    host_side, member_side, on_host, on_member, imported, shown = await asyncio.gather(
        _side(host, conf),
        _side(member, conf),
        _on_host(host, conf),
        _on_member(member),
        _imported(join, prepared),
        _shown(conf, prepared),
    )
    if imported.conn_id == conf.member_conn_id:
        imported = dataclasses.replace(imported, uid=member_side.uid)
    return observed.Observed(
        conf=conf,
        host=host_side,
        member=member_side,
        imported=imported,
        now=datetime.datetime.now(datetime.UTC),
        **on_host,
        **on_member,
        leads_others_to=await _others(host, conf.cluster, on_host["clusters"], on_member["federation_accounts"]),
        **shown,
    )


def unread(seen: observed.Observed) -> errors.FleetError | None:
    """Return why it is not known who is who, None if it is: without that no join may go on.

    Of a member that Airflow does not reach, nothing is expected.
    """
    values: list[object] = [seen.clusters]
    for side in (seen.host,) if seen.conf.is_handed_over else (seen.host, seen.member):
        values += [side.uid, side.configuration, side.config_map]
    if seen.may_be_proxy and not seen.conf.is_handed_over:
        values.append(seen.agent)
    failed = [value.error for value in values if isinstance(value, Unread) and value.error]
    # What may pass is tried again, and then tells more.
    return next((error for error in failed if isinstance(error, errors.TemporaryError)), failed[0] if failed else None)


class _Reader:
    """Reads one cluster, some objects at a time, until the deadline."""

    def __init__(self, cluster: clusters.Cluster, deadline: float) -> None:
        self.cluster = cluster
        self._deadline = deadline
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._gone: Unread | None = None

    def give_up_after(self, answer: object) -> None:
        """Ask no more where *answer* is that there was none."""
        if isinstance(answer, Unread) and isinstance(answer.error, errors.UnreachableError):
            self._gone = answer

    async def of(self, ask: Callable[[], Awaitable[Value]], what: object, *, loss: str = "") -> Value | Unread:
        """Return what *ask* returns, or why it could not; *loss* says what is not checked without the right to ask."""
        async with self._free:
            if self._gone is not None:
                return self._gone
            try:
                return await self.cluster.by(self._deadline, ask(), what=str(what))
            except errors.ForbiddenError as error:
                if loss:
                    self.cluster.do_without(error, loss)
                return Unread(f"{error.lacking[:1].upper()}{error.lacking[1:]}.", error)
            except errors.FleetError as error:
                return Unread(str(error), error)

    async def read(self, ref: kinds.Ref, *, loss: str = "") -> kubesphere.Object | Unread | None:
        """Return an object, None if there is none, or why it could not be read."""
        return await self.of(lambda: self.cluster.read(ref), ref, loss=loss)

    async def list(
        self, kind: kinds.Kind, *, namespace: str | None = None, loss: str = ""
    ) -> list[dict[str, Any]] | Unread:
        """Return all objects of a kind, none where there is no such kind, or why they could not be read."""

        async def ask() -> list[dict[str, Any]]:
            try:
                return await self.cluster.list(kind, namespace=namespace)
            except errors.NotFoundError:
                return []

        return await self.of(ask, kind.full_name, loss=loss)


async def _together(**reads: Awaitable[Any]) -> dict[str, Any]:
    """Return what reads return, by name."""
    return dict(zip(reads, await asyncio.gather(*reads.values()), strict=True))


async def _side(reader: _Reader, conf: confs.Conf) -> observed.Side:
    """Return what both clusters are asked for."""
    cluster = reader.cluster
    first = await _together(
        credential=_credential(cluster.conn_id),
        uid=reader.of(lambda: configuring.uid(cluster), kubesphere.IDENTITY),
        configuration=_configuration(reader),
        config_map=_config_map(reader),
    )
    # On a connection that is open by now: what opening takes would make the clock less certain.
    greeting = await reader.of(cluster.greeting, "the version")
    reader.give_up_after(greeting)
    config_map = first["config_map"]
    config = kubesphere.config(config_map) if config_map and not isinstance(config_map, Unread) else None
    is_host = config is not None and config.role == kubesphere.HOST
    pod, then = await asyncio.gather(
        _installer(reader),
        _together(
            secret=reader.of(lambda: installer.read_secret(cluster), kubesphere.SECRET),
            deployments=_deployments(reader, is_host=is_host),
            storage_classes=reader.list(
                kinds.STORAGE_CLASS, loss="Whether there is a default StorageClass was not checked"
            ),
            nodes=reader.list(kinds.NODE, loss="The nodes of host and member were not compared"),
            workspaces=reader.list(kinds.WORKSPACE, loss="The workspaces of host and member were not compared"),
            endpoints=_endpoints(reader),
            reviews=_reviews(reader, conf),
        ),
    )
    side = observed.Side(
        cluster.role,
        cluster.conn_id,
        kubernetes=greeting if isinstance(greeting, Unread) else greeting.kubernetes,
        clock=_clock(cluster, greeting),
        installer_pod=pod[0],
        installer_doing=pod[1],
        **first,
        **then,
    )
    return dataclasses.replace(side, installer_says=await _says(reader, side))


def _clock(cluster: clusters.Cluster, greeting: clusters.Greeting | Unread) -> observed.Clock | Unread:
    if isinstance(greeting, Unread):
        return greeting
    if greeting.ahead is None:
        return Unread(f"The {cluster} does not tell the time.")
    return observed.Clock(greeting.ahead, greeting.margin)


async def _configuration(reader: _Reader) -> kubesphere.Object | Unread | None:
    cluster = reader.cluster

    async def ask() -> kubesphere.Object | None:
        try:
            found = await configuring.asked(cluster)
        except errors.UnsupportedError:
            return None
        await cluster.keep_secret(kubesphere.spec_secret(found))
        return found

    return await reader.of(ask, kubesphere.CONFIGURATION)


async def _config_map(reader: _Reader) -> kubesphere.Object | Unread | None:
    cluster = reader.cluster

    async def ask() -> kubesphere.Object | None:
        found = await cluster.read(kubesphere.CONFIG)
        config = kubesphere.config(found) if found else None
        await cluster.keep_secret(config.jwt_secret if config else None)
        return found

    return await reader.of(ask, kubesphere.CONFIG)


async def _deployments(reader: _Reader, *, is_host: bool) -> dict[str, kubesphere.Object | Unread | None]:
    """Return ks-installer's Deployment by name, and on a host those that come with that role."""
    refs = [kubesphere.INSTALLER]
    if is_host:
        refs += [*kubesphere.HOST_DEPLOYMENTS, _CONTROLLER]
    found = await asyncio.gather(
        *(reader.read(ref, loss=f"Whether {ref} is rolled out was not checked") for ref in refs)
    )
    return {ref.name: item for ref, item in zip(refs, found, strict=True)}


async def _endpoints(reader: _Reader) -> dict[str, kubesphere.Object | Unread | None]:
    names = ["ks-apiserver", *([_CONTROLLER.name] if reader.cluster.role == kubesphere.HOST else [])]
    refs = [kinds.Ref(kinds.ENDPOINTS, name, kubesphere.NAMESPACE) for name in names]
    found = await asyncio.gather(
        *(reader.read(ref, loss=f"Whether a pod is ready behind Service {ref.name} was not checked") for ref in refs)
    )
    return dict(zip(names, found, strict=True))


async def _installer(
    reader: _Reader,
) -> tuple[kubesphere.Object | Unread | None, installer_log.Activity | Unread]:
    """Return ks-installer's newest Pod, and what it does: by its queue, else by its log."""
    cluster = reader.cluster
    selector = kubesphere.INSTALLER_SELECTOR
    pods = await reader.of(
        lambda: cluster.list(kinds.POD, namespace=kubesphere.NAMESPACE, label_selector=selector),
        "the Pods of ks-installer",
        loss=installer.UNSEEN,
    )
    if isinstance(pods, Unread):
        return pods, pods
    pod = kubesphere.newest(pods)
    if pod is None:
        return None, installer_log.Activity.UNKNOWN
    ref = kinds.Ref(kinds.POD, pod["metadata"]["name"], kubesphere.NAMESPACE)

    async def ask() -> installer_log.Activity:
        doing = await installer.ask_queue(cluster, ref)
        return doing or installer_log.activity(await installer.read_log(cluster, ref))

    return pod, await reader.of(ask, "the installer's queue")


async def _says(reader: _Reader, side: observed.Side) -> list[str] | Unread:
    """Return why the installer's last run has failed, where it has."""
    pod = side.installer_pod
    try:
        failed = side.installer_doing is installer_log.Activity.IDLE and bool(kubesphere.unmet(side.snapshot))
    except observed.MissingError as error:
        return Unread(str(error))
    if not failed or pod is None or isinstance(pod, Unread):
        return observed.NOT_ASKED
    ref = kinds.Ref(kinds.POD, pod["metadata"]["name"], kubesphere.NAMESPACE)

    async def ask() -> list[str]:
        return [*await installer.telling(reader.cluster, await installer.read_log(reader.cluster, ref))]

    return await reader.of(ask, "the installer's log")


async def _reviews(reader: _Reader, conf: confs.Conf) -> dict[rights.Right, bool | Unread]:
    """Return which rights the connection has, of those that matter to a join of this conf."""
    wanted = rights.of(reader.cluster.role, absent=rights.absent(conf))
    found = await asyncio.gather(*(_may(reader, right) for right in wanted))
    return dict(zip(wanted, found, strict=True))


async def _may(reader: _Reader, right: rights.Right) -> bool | Unread:
    return await reader.of(lambda: reader.cluster.may(right.asked), f"the right to {right.asked}")


async def _on_host(reader: _Reader, conf: confs.Conf) -> dict[str, Any]:
    """Return what only the host is asked for, by field of `Observed`."""
    by_proxy = conf.connection is not confs.Connection.DIRECT
    found = await reader.list(kinds.CLUSTER)
    known = [] if isinstance(found, Unread) else found
    named = next((item for item in known if item["metadata"]["name"] == conf.cluster), None)
    then = await _together(
        trial=_try_to_change(reader, known),
        behind=reader.of(
            lambda: joining.behind_name(reader.cluster, conf.cluster, named), f"what is behind Cluster {conf.cluster}"
        ),
        tower=reader.read(tower.SERVICE) if by_proxy else _nothing(),
        federated_workspaces=reader.list(
            kinds.FEDERATED_WORKSPACE, loss="Which workspaces the host would take was not checked"
        ),
        webhook=reader.read(_WEBHOOK, loss="Whether Clusters can be changed on the host was not checked"),
    )
    behind = then.pop("behind")
    if not isinstance(behind, Unread):
        then |= {"leads_to": behind.uid, "leads_to_evidence": behind.evidence}
    return {"clusters": found, **then}


async def _others(
    reader: _Reader, name: str, found: list[kubesphere.Object] | Unread, accounts: list[kubesphere.Object] | Unread
) -> dict[str, str]:
    """Return which clusters answer under other names that may be the member's, as far as that can be seen."""
    if isinstance(found, Unread) or isinstance(accounts, Unread):
        return {}
    asked = await reader.of(
        lambda: joining.behind_others(reader.cluster, name, found, accounts=accounts), "what is behind other names"
    )
    return {} if isinstance(asked, Unread) else asked


async def _try_to_change(reader: _Reader, found: list[dict[str, Any]]) -> Unread | None:
    """Return why the host's own Cluster cannot be changed: whether its webhook can be asked, nothing else shows."""
    own = [item["metadata"]["name"] for item in found if kubesphere.is_host(item)]
    if not own:
        return None
    ref = kinds.Ref(kinds.CLUSTER, own[0])
    tried = await reader.of(lambda: reader.cluster.try_patch(ref, {"metadata": {}}), f"a dry run of a change of {ref}")
    return tried if isinstance(tried, Unread) else None


async def _nothing() -> Unread:
    return observed.NOT_ASKED


async def _on_member(reader: _Reader) -> dict[str, Any]:
    """Return what only the member is asked for, by field of `Observed`."""
    account_loss = f"Whether the agent's {tower.ACCOUNT} is there was not checked"
    found = await _together(
        agent=reader.read(tower.AGENT),
        account=reader.read(tower.ACCOUNT, loss=account_loss),
        federation=reader.read(_FEDERATION, loss="What an earlier membership has left was not looked for"),
        federation_accounts=reader.list(
            kinds.SERVICE_ACCOUNT,
            namespace=kubesphere.FEDERATION_NAMESPACE,
            loss="Which other hosts have accounts on the member was not looked for",
        ),
    )
    agent = found["agent"]
    if agent and not isinstance(agent, Unread):
        await reader.cluster.keep_secret(tower.credentials(agent)[1])
    return found


async def _credential(conn_id: str) -> observed.Credential | Unread:
    if not conn_id:
        return observed.NOT_ASKED
    try:
        found = await connections.source(conn_id)
    except errors.FleetError as error:
        return Unread(str(error), error)
    if found.document is None:
        return Unread(f"Connection {conn_id} holds no kubeconfig of its own.")
    user = kubeconfig.user_of(found.document, context=found.value("cluster_context"))
    return certificates.credential(user)


async def _imported(join: joining.Join, prepared: kubeconfig.Kubeconfig | Unread | None) -> observed.Imported:
    """Return what the host is to receive; the UID is the member's where the connection is."""
    conf, conn_id = join.conf, join.conf.imported_conn_id
    if prepared is None:
        return observed.Imported(conn_id)
    credential = await _credential(conn_id)
    imported = observed.Imported(conn_id, kubeconfig=prepared, credential=credential)
    if conn_id == conf.member_conn_id:
        reader = _Reader(join.member, time.monotonic() + _LIMIT)
        return dataclasses.replace(imported, may_everything=await _may(reader, rights.EVERYTHING))
    try:
        async with clusters.connect(conn_id, role=kubesphere.MEMBER, limits=join.limits) as cluster:
            reader = _Reader(cluster, time.monotonic() + _LIMIT)
            uid, may = await asyncio.gather(
                reader.of(lambda: configuring.uid(cluster), kubesphere.IDENTITY), _may(reader, rights.EVERYTHING)
            )
    except errors.FleetError as error:
        uid = may = Unread(str(error), error)
    return dataclasses.replace(imported, uid=uid, may_everything=may)


async def _prepared(conf: confs.Conf) -> kubeconfig.Kubeconfig | Unread | None:
    """Return the kubeconfig that the host is to receive, None by proxy."""
    try:
        return await joining.importable(conf)
    except kubeconfig.KubeconfigError as error:
        return Unread(f"Connection {conf.imported_conn_id}: {error}.")
    except errors.FleetError as error:
        return Unread(str(error), error)


async def _shown(conf: confs.Conf, prepared: kubeconfig.Kubeconfig | Unread | None) -> dict[str, Any]:
    """Return the certificates at the member's address for the host, and at the one that Airflow uses."""
    if prepared is None or isinstance(prepared, Unread):
        return {"handshake": prepared or observed.NOT_ASKED}
    source = await connections.source(conf.imported_conn_id)
    own = str(kubeconfig.cluster_of(source.document, context=source.value("cluster_context")).get("server") or "")
    shown, own_shown = await asyncio.gather(
        _handshake(prepared.server, prepared),
        _handshake(own, prepared) if own not in ("", prepared.server) else _nothing(),
    )
    return {"handshake": shown, "own_handshake": own_shown}


async def _handshake(server: str, prepared: kubeconfig.Kubeconfig) -> observed.Handshake | Unread:
    """Return what is shown at *server*, to be compared with what the host will look for."""
    try:
        return await certificates.handshake(server, wanted=prepared.server, cluster=prepared.cluster)
    except errors.FleetError as error:
        return Unread(str(error), error)
