"""Which connection type a member gets, where the conf leaves that open (`connection: auto`).

What is there decides: a Cluster of that name, or a kubeconfig that the host could not use. Else the clusters' pods do:
direct if the host's reach the member, proxy if the member's reach tower. Nothing is guessed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

from include.fleet import conf as confs
from include.fleet import (
    configuring,
    curl,
    errors,
    findings,
    joining,
    kinds,
    kubeconfig,
    kubesphere,
    probe,
    tunnel,
)

log = logging.getLogger(__name__)

_SET_IT = "set connection: direct or proxy"
_TYPES = {kind.value: kind for kind in (confs.Connection.DIRECT, confs.Connection.PROXY)}


@dataclass(frozen=True)
class Choice:
    """A connection type, why it is this one, and what was asked for that."""

    connection: confs.Connection
    why: str
    probed: tuple[findings.Finding, ...] = ()


async def narrowed(join: joining.Join) -> joining.Join:
    """Return the join with its connection type where that is known before anything is written.

    Raises UndecidedError where it has to be found out and the conf does not let Jobs find it out.
    """
    if join.conf.connection is not confs.Connection.AUTO:
        return join
    choice = await _given(join)
    if choice is None and not join.conf.probe:
        raise errors.UndecidedError(
            f"Which connection type {join.conf.cluster} gets has to be asked of the clusters' own pods, and the conf "
            f"does not say so. Add probe: true, or {_SET_IT}."
        )
    if choice is None:
        return join
    log.info("Connection type %s: %s", choice.connection.value, choice.why)
    return replace(join, conf=replace(join.conf, connection=choice.connection))


def after(probed: Iterable[findings.Finding], conf: confs.Conf) -> confs.Connection:
    """Return the connection type as it is known after preflight's probes: still auto unless the host gets through."""
    gets_through = any(
        found.check == probe.HOST_REACHES_MEMBER and found.answer is findings.Answer.OK for found in probed
    )
    auto = conf.connection is confs.Connection.AUTO
    return confs.Connection.DIRECT if auto and gets_through else conf.connection


async def choose(join: joining.Join) -> Choice:
    """Return the connection type; raises UndecidedError where it cannot be found out, or where neither works."""
    conf = join.conf
    if conf.connection is confs.Connection.AUTO:
        return await _given(join) or await _found(join)
    probed: tuple[findings.Finding, ...] = ()
    if conf.probe and conf.connection is confs.Connection.PROXY:
        address = await tunnel.address(join.host, await configuring.in_force(join.host))
        # Without one, the next step says so.
        probed = (await probe.from_member(join, address),) if address else ()
    return Choice(conf.connection, "it was known before this step", probed)


async def _given(join: joining.Join) -> Choice | None:
    """Return what is decided by what is there already, or None."""
    ref = kinds.Ref(kinds.CLUSTER, join.conf.cluster)
    present = await join.host.read(ref)
    if present is not None:
        if "deletionTimestamp" in present["metadata"]:
            raise errors.UndecidedError(
                f"{ref} on the {join.host} is being deleted, so its type decides nothing. Wait until it is gone, or "
                f"{_SET_IT}."
            )
        kind = kubesphere.connection_type(present)
        if kind not in _TYPES:
            raise errors.UndecidedError(f"{ref} on the {join.host} says no connection type. Delete it, or {_SET_IT}.")
        return Choice(_TYPES[kind], f"{ref} on the host has this type")
    try:
        await joining.importable(join.conf)
    except kubeconfig.KubeconfigError as error:
        conn_id = join.conf.imported_conn_id
        return Choice(confs.Connection.PROXY, f"the host could not use the kubeconfig of connection {conn_id}: {error}")
    return None


async def _found(join: joining.Join) -> Choice:
    """Return what the clusters' pods decide."""
    prepared = await joining.importable(join.conf)
    if prepared is None or not join.conf.probe:
        raise errors.UndecidedError(f"Nothing decides the connection type. Add probe: true, or {_SET_IT}.")
    direct = await probe.from_host(join, curl.target(prepared))
    if direct.answer is findings.Answer.OK:
        return Choice(confs.Connection.DIRECT, direct.evidence, (direct,))
    _refuse_incomplete(direct)
    try:
        proxy = await probe.from_member(join, await joining.tower_address(join))
    except errors.DeadlineError as error:
        raise _neither(str(direct), str(error)) from None
    if proxy.answer is findings.Answer.OK:
        return Choice(confs.Connection.PROXY, f"{direct.evidence} {proxy.evidence}", (direct, proxy))
    _refuse_incomplete(proxy)
    raise _neither(str(direct), str(proxy))


def _refuse_incomplete(found: findings.Finding) -> None:
    if found.answer is findings.Answer.INCOMPLETE:
        raise errors.UndecidedError(f"{found.evidence} {found.fix} Or {_SET_IT}.")


def _neither(direct: str, proxy: str) -> errors.UndecidedError:
    return errors.UndecidedError(
        f"Neither connection type works. Mend one of the two, then clear this task.\n  - direct: {direct}\n"
        f"  - proxy: {proxy}"
    )
