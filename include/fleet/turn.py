"""One at a time: who changes a member, or the host's configuration, holds a Lease on the host meanwhile.

It holds across Airflow installations, since it is on the cluster that they have in common. A run renews its Leases
while one of its steps is at work, in the worker or in the triggerer; between two steps they simply last. Nobody trusts
another's clock: a Lease has expired when one has seen it unchanged for as long as it lasts, and who cannot renew stops
long before that.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from include.fleet import clusters, errors, kinds, kubesphere, settings, waits

log = logging.getLogger(__name__)

_PREFIX = "join-member-cluster"
HOST = f"{_PREFIX}-host"
"""Name of the Lease on the host's own configuration."""
WEBHOOK = f"{_PREFIX}-webhook"
"""Name of the Lease on the host's webhook for Clusters."""
ROTATION = f"{_PREFIX}-rotation"
"""Name of the Lease on the jwtSecret that the host and its members have in common."""
_ABOUT = {
    HOST: "the host's configuration",
    WEBHOOK: "the host's webhook for Clusters",
    ROTATION: "the jwtSecret of the host and its members",
}
_FOR = f"{_PREFIX}/turn-for"
"""The annotation that tells people what a Lease is about."""
_RENEW_AFTER = 0.25
"""Of its duration: then a Lease is renewed."""
_LOST_AFTER = 0.5
"""Of its duration: who has not been able to renew a Lease for so long has lost it, and stops."""
_TRY_AGAIN = 0.1
"""Seconds after which to look again at a Lease that somebody else was faster to take; at least half of them."""
_LONG_AGO = "1970-01-01T00:00:00Z"
_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"

Result = TypeVar("Result")


def of_member(uid: str) -> str:
    """Return the name of the Lease on a member, which is its kube-system UID whatever it is called."""
    return f"{_PREFIX}-{uid}"


def of_name(name: str) -> str:
    """Return the name of the Lease on a member whose UID is not known yet, as nobody has asked it."""
    return f"{_PREFIX}-name-{name}"


class Turns:
    """The Leases that one run holds on one host.

    :param holder: names the run, in this and in every other Airflow
    :param member: what the run calls the member, for others to read
    """

    def __init__(self, host: clusters.Cluster, *, holder: str, member: str, limits: settings.Settings) -> None:
        self._host = host
        self._holder = holder
        self._member = member
        self._limits = limits
        self._renewed: dict[kinds.Ref, float] = {}
        """The Leases that are held, and when each was certainly renewed, in seconds of `time.monotonic`."""

    async def take(
        self,
        name: str,
        *,
        limit: waits.Limit,
        seconds: float,
        unless: Callable[[], Awaitable[bool]] | None = None,
        bells: Sequence[waits.Bell] = (),
        member: str = "",
    ) -> bool:
        """Wait until this run holds the Lease; at once if it does already. From then on `working` renews it.

        *member* is what a run with many of them calls the one that this Lease is on.
        *unless* is asked at each look, which *bells* can ring for: once it is true there is no need to hold it any
        more, and False is returned.
        Raises DeadlineError with the holder's name after *seconds* in all, as *limit* says, Longer when the wait has to
        leave the worker, and what requests raise.
        """
        ref = _ref(name)
        what = _ABOUT.get(name, f"member {member or self._member}")
        waiting = _Waiting(self._host, ref, holder=self._holder, limits=self._limits, what=what)
        needless = False

        async def look() -> waits.Pending | None:
            nonlocal needless
            needless = unless is not None and await unless()
            return None if needless else await waiting.look()

        await waits.until(
            look,
            what=f"the turn of this run ({self._holder}) to change {what}",
            bells=[waits.changes(self._host, ref), *bells],
            limit=limit,
            seconds=seconds,
            hint=f"Wait for that run to end, then clear this task. If it is dead, {ref} on the {self._host} expires by "
            "itself.",
            limits=self._limits,
        )
        if not needless:
            self._renewed[ref] = time.monotonic()
        return not needless

    async def keep(self, name: str) -> bool:
        """Go on holding a Lease that an earlier step of this run has taken; False if this run does not hold it."""
        ref = _ref(name)
        lease = await self._host.read(ref)
        if lease is None or holder_of(lease) != self._holder:
            return False
        age = _age(lease)
        if age >= _RENEW_AFTER * self._limits.turn_duration:
            try:
                await _renewed(self._host, ref, lease)
            except (errors.ConflictError, errors.NotFoundError):
                return False
            age = 0.0
        self._renewed[ref] = time.monotonic() - age
        return True

    async def give_back(self, name: str) -> None:
        """Let the next run in; nothing happens if the Lease is not this run's any more."""
        ref = _ref(name)
        self._renewed.pop(ref, None)
        while True:
            lease = await self._host.read(ref)
            if lease is None or holder_of(lease) != self._holder:
                return
            with contextlib.suppress(errors.ConflictError):
                await self._delete(ref, lease)
                return

    async def _delete(self, ref: kinds.Ref, lease: Mapping[str, Any]) -> None:
        with contextlib.suppress(errors.NotFoundError):
            await self._host.delete(ref, version=lease["metadata"]["resourceVersion"])
            log.info("%s has been given back", ref)

    async def working(self, work: Awaitable[Result]) -> Result:
        """Do *work* and renew the Leases meanwhile; raises LostTurnError if that fails, and *work* is cut off."""
        working = asyncio.ensure_future(work)
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait((working, renewing), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                renewing.result()
        finally:
            for task in (working, renewing):
                task.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)
        return working.result()

    async def _renew(self) -> NoReturn:
        pause = _RENEW_AFTER * self._limits.turn_duration
        while True:
            await asyncio.sleep(pause * random.uniform(0.8, 1.0))  # noqa: S311 - no secret
            for ref in list(self._renewed):
                await self._renew_one(ref)

    async def _renew_one(self, ref: kinds.Ref) -> None:
        while ref in self._renewed:
            asked = time.monotonic()
            try:
                lease = await self._host.read(ref)
                if lease is not None and holder_of(lease) == self._holder:
                    await _renewed(self._host, ref, lease)
                    self._renewed[ref] = asked
                    return
            except errors.NotFoundError:
                continue
            except errors.TemporaryError as error:
                await self._bear(ref, error)
            else:
                now = f"held by run {holder_of(lease)} now" if lease else "gone"
                raise errors.LostTurnError(
                    f"{ref} on the {self._host} is {now}: this run stops here, and waits for its turn again."
                )

    async def _bear(self, ref: kinds.Ref, error: errors.TemporaryError) -> None:
        """Wait a moment after a Lease could not be renewed; raises LostTurnError if that has lasted for too long."""
        lasted = time.monotonic() - self._renewed[ref]
        if lasted >= _LOST_AFTER * self._limits.turn_duration:
            raise errors.LostTurnError(
                f"{ref} on the {self._host} could not be renewed for {lasted:.0f} s ({error}). This run stops here "
                "before another one may begin, and waits for its turn again."
            )
        await asyncio.sleep(_TRY_AGAIN if isinstance(error, errors.ConflictError) else self._limits.poll / 2)


class _Waiting:
    """The looks at one Lease until it is ours. It remembers since when the Lease has not changed."""

    def __init__(
        self, host: clusters.Cluster, ref: kinds.Ref, *, holder: str, limits: settings.Settings, what: str
    ) -> None:
        self._host = host
        self._ref = ref
        self._holder = holder
        self._limits = limits
        self._what = what
        self._unchanged: tuple[str, float] = ("", time.monotonic())

    async def look(self) -> waits.Pending | None:
        """Look once, and take the Lease if nobody holds it."""
        try:
            lease = await self._host.read(self._ref)
            return await (self._make() if lease is None else self._take(lease))
        except (errors.ConflictError, errors.NotFoundError):
            again = _TRY_AGAIN * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            return waits.Pending("another run is taking its turn", again)

    async def _make(self) -> None:
        """Make the Lease; raises ConflictError if somebody was faster."""
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace, "annotations": {_FOR: self._what}}
        head = {"apiVersion": kinds.LEASE.api_version, "kind": kinds.LEASE.name}
        made = await self._host.create(self._ref, {**head, "metadata": metadata, "spec": self._spec(transitions=0)})
        # Who may make a Lease and not renew it is to learn that now, and not in the middle of its work.
        await _renewed(self._host, self._ref, made)

    async def _take(self, lease: dict[str, Any]) -> waits.Pending | None:
        """Return None if the Lease is ours now; raises ConflictError or NotFoundError if somebody was faster."""
        spec, holder = lease.get("spec") or {}, holder_of(lease)
        if holder == self._holder:
            await _renewed(self._host, self._ref, lease)
            return None
        version = str(lease["metadata"]["resourceVersion"])
        if version != self._unchanged[0]:
            self._unchanged = (version, time.monotonic())
        lasted = time.monotonic() - self._unchanged[1]
        left = float(spec.get("leaseDurationSeconds") or 1) - lasted
        if holder and left > 0:
            since = str(spec.get("acquireTime") or "")[:19]
            return waits.Pending(f"run {holder} is changing {self._what} since {since}Z", left)
        log.warning(
            "Run %s has not renewed %s on the %s for %.0f s: it is dead, and this run takes its turn",
            holder,
            self._ref,
            self._host,
            lasted,
        )
        taken = self._spec(transitions=int(spec.get("leaseTransitions") or 0) + 1)
        await self._host.patch(self._ref, {"metadata": {"resourceVersion": version}, "spec": taken})
        return None

    def _spec(self, *, transitions: int) -> dict[str, Any]:
        now = _now()
        return {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": max(1, round(self._limits.turn_duration)),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }


def _ref(name: str) -> kinds.Ref:
    return kinds.Ref(kinds.LEASE, name, kubesphere.NAMESPACE)


def holder_of(lease: Mapping[str, Any]) -> str:
    """Return who holds a Lease, or ""."""
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def held(leases: Iterable[Mapping[str, Any]], *, now: datetime.datetime) -> list[tuple[str, str]]:
    """Return the kube-system UIDs of the members that runs are changing, by these Leases, and who does.

    By the clocks of those who hold them, which is good enough for telling people and for counting. A rotation, which
    changes all members of the host, is not among them: `rotating` tells of it.
    """
    leases = list(leases)
    names = ((str(lease["metadata"]["name"]), lease) for lease in leases)
    rotation = rotating(leases, now=now)
    return sorted(
        (name.removeprefix(f"{_PREFIX}-"), holder_of(lease))
        for name, lease in names
        if name.startswith(f"{_PREFIX}-") and name not in _ABOUT
        if _is_held(lease, now) and holder_of(lease) != rotation
    )


def rotating(leases: Iterable[Mapping[str, Any]], *, now: datetime.datetime) -> str:
    """Return which run is rotating the jwtSecret of the host and its members, by these Leases, or ""."""
    held_ones = (lease for lease in leases if lease["metadata"]["name"] == ROTATION and _is_held(lease, now))
    return next((holder_of(lease) for lease in held_ones), "")


def _is_held(lease: Mapping[str, Any], now: datetime.datetime) -> bool:
    spec = lease.get("spec") or {}
    lasts = datetime.timedelta(seconds=float(spec.get("leaseDurationSeconds") or 0))
    return (
        bool(holder_of(lease))
        and datetime.datetime.fromisoformat(str(spec.get("renewTime") or _LONG_AGO)) + lasts > now
    )


async def _renewed(host: clusters.Cluster, ref: kinds.Ref, lease: Mapping[str, Any]) -> None:
    version = lease["metadata"]["resourceVersion"]
    await host.patch(ref, {"metadata": {"resourceVersion": version}, "spec": {"renewTime": _now()}})


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime(_FORM)


def _age(lease: Mapping[str, Any]) -> float:
    """Return how many seconds ago a Lease was renewed, by the clocks of this run's own machines."""
    renewed = datetime.datetime.fromisoformat(str(lease["spec"].get("renewTime") or _LONG_AGO))
    return (datetime.datetime.now(datetime.UTC) - renewed).total_seconds()
