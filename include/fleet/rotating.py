"""What the steps of a rotation have in common: the host, the members that follow it, their turns, the new secret.

A step is in `rotation`; what is read, judged or taken by more than one of them is here.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import secrets
import string
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from include.fleet import (
    attempts,
    clusters,
    configuring,
    errors,
    identity,
    inventory,
    kinds,
    kubesphere,
    manifests,
    redaction,
    rotation_conf,
    turn,
    waits,
)

log = logging.getLogger(__name__)

TO = "rotate the jwtSecret of"
"""What is refused where it would do harm."""
NEW = "(new)"
"""What stands in a plan for a jwtSecret that has not been made yet."""
_LENGTH = 32
"""Characters of a new jwtSecret, as ks-installer makes it (kubesphere-facts 2.4)."""
_CONTACTS = 3
"""How often a member that does not answer is asked before it counts as away."""
_KEY = "jwtSecret"
_CUT_OFF = "The host calls it Ready and would be refused by it from then on. Mend that, or name it in leave_out."


@dataclass(frozen=True, kw_only=True)
class Rotation(attempts.Attempt):
    """One run's rotation, as one attempt at one step sees it."""

    conf: rotation_conf.Conf
    declared: inventory.Host
    """The host, as the inventory has it."""
    host: clusters.Cluster
    members: Mapping[str, clusters.Cluster | str]
    """Its declared members by the names of their Clusters, or why there is no way to one."""
    turns: turn.Turns
    """The Leases that this run holds."""

    @property
    def sides(self) -> Sequence[clusters.Cluster]:
        """Return the host and the members to which there is a way."""
        return [self.host, *(side for side in self.members.values() if isinstance(side, clusters.Cluster))]

    async def at_once(self, work: Callable[[Follower], Awaitable[None]], found: Found) -> None:
        """Do something for each member that follows, for some at the same time."""
        gate = asyncio.Semaphore(self.limits.survey_at_once)

        async def one(follower: Follower) -> None:
            async with gate:
                await work(follower)

        await asyncio.gather(*(one(follower) for follower in found.followers))


@dataclass(frozen=True)
class Follower:
    """A member that gets the new jwtSecret with the host."""

    name: str
    cluster: clusters.Cluster
    uid: str
    """Of its namespace kube-system."""
    seen: kubesphere.Snapshot = field(repr=False)


@dataclass(frozen=True)
class Found:
    """Who follows the host, and who does not."""

    followers: list[Follower]
    cut_off: dict[str, str]
    """Members that the host calls Ready and that cannot follow, by the names of their Clusters: why."""
    notes: list[str]
    """Who does not follow besides, and why that harms nobody, or is wanted; a sentence each."""
    unknown: list[str]
    """Names in leave_out that neither the host nor the inventory has."""

    @property
    def refusals(self) -> list[str]:
        """Return every reason not to begin."""
        found = [f"leave_out: there is no Cluster {name} on the host, nor in the inventory" for name in self.unknown]
        return [*found, *(f"Cluster {name}: {why} {_CUT_OFF}" for name, why in self.cut_off.items())]


async def find(rotation: Rotation) -> Found:
    """Find out who follows the host; each member is asked, all at the same time. Nothing is refused."""
    config = await configuring.in_force(rotation.host)
    items = {item["metadata"]["name"]: item for item in await rotation.host.list(kinds.CLUSTER)}
    declared = {member.cluster: member for member in rotation.declared.members}
    left_out = rotation.conf.leave_out
    found = Found([], {}, [], [name for name in left_out if name not in items and name not in declared])
    gate = asyncio.Semaphore(rotation.limits.survey_at_once)

    async def look(name: str, item: kubesphere.Object) -> Follower | str:
        member, side = declared.get(name), rotation.members.get(name)
        if member is None:
            return "the inventory does not have it."
        if member.paused:
            return "it is paused in the inventory."
        if not isinstance(side, clusters.Cluster):
            return f"Airflow has no way to it: {side}"
        async with gate:
            return await _follower(rotation, name, item, side)

    asked = {
        name: item
        for name, item in sorted(items.items())
        if not kubesphere.is_host(item) and name != config.host_cluster_name and name not in left_out
        if "deletionTimestamp" not in item["metadata"]
    }
    for name, answer in zip(asked, await asyncio.gather(*(look(*pair) for pair in asked.items())), strict=True):
        if isinstance(answer, Follower):
            found.followers.append(answer)
        elif kubesphere.is_true(asked[name], kubesphere.READY):
            found.cut_off[name] = answer
        else:
            found.notes.append(f"Cluster {name} does not follow: {answer} The host does not call it Ready either.")
    for name in sorted({*left_out} - {*found.unknown}):
        found.notes.append(
            f"Cluster {name} is left out: the host's requests to it are refused until it gets the new jwtSecret, by "
            "reconcile_fleet or by a join."
        )
    for name in sorted(set(declared) - set(items) - set(left_out)):
        found.notes.append(f"Cluster {name} is not on the host: it gets the new jwtSecret with its join.")
    return found


async def _follower(rotation: Rotation, name: str, item: kubesphere.Object, side: clusters.Cluster) -> Follower | str:
    """Return a member that follows, or why it cannot."""
    for contact in range(_CONTACTS, 0, -1):
        try:
            uid = await configuring.uid(side)
            await configuring.release(side)
            seen = await configuring.snapshot(side)
        except errors.TemporaryError as error:
            if contact == 1:
                return f"Airflow does not reach it: {str(error).splitlines()[0]}"
            await asyncio.sleep(rotation.limits.poll / 2)
        except errors.PermanentError as error:
            return f"it cannot be asked: {str(error).splitlines()[0]}"
        else:
            owner = identity.owner(item)
            if owner and owner != uid:
                return f"its connection leads to another cluster, kube-system UID {uid} instead of {owner}."
            return Follower(name, side, uid, seen)
    raise AssertionError("unreachable")


async def kept(rotation: Rotation) -> str | None:
    """Return the new jwtSecret of a rotation that has begun and not ended, or None."""
    value = kubesphere.secret_value(await rotation.host.read(kubesphere.NEXT_SECRET), _KEY)
    await _keep(rotation, value)
    return value


async def keep_new(rotation: Rotation, value: str | None = None) -> str:
    """Make a jwtSecret and keep it on the host, before anything has it: who is cut off goes on with it.

    *value* is taken instead, by a plan. Where another try was faster, its secret is returned.
    """
    # Letters and digits only, since ks-installer puts it unquoted into a command (kubesphere-facts 2.4, P-15).
    made = value or "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(_LENGTH))
    await _keep(rotation, made if value is None else None)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    manifest = manifests.secret(kubesphere.NEXT_SECRET, {_KEY: made, "recordedAt": now, "recordedBy": rotation.run})
    try:
        with rotation.changes.noted(f"{kubesphere.NEXT_SECRET} created on the host, {redaction.fingerprint(made)}"):
            await rotation.host.create(kubesphere.NEXT_SECRET, manifest)
    except errors.ConflictError:
        return await kept(rotation) or made
    return made


async def _keep(rotation: Rotation, value: str | None) -> None:
    for side in rotation.sides:
        await side.keep_secret(value)


async def ask(rotation: Rotation, side: clusters.Cluster, secret: str) -> None:
    """Have a ClusterConfiguration ask for the secret, in one patch; role and everything else stay as they are."""
    seen = await configuring.asked(side)
    await configuring.ask_for(
        side,
        role=kubesphere.spec_role(seen),
        jwt_secret=secret,
        attempt=rotation.attempt,
        changes=rotation.changes,
        # Nobody goes back to what this replaces; what the cluster was before it joined is another matter.
        record=False,
    )


async def take_turns(rotation: Rotation, found: Found) -> list[str]:
    """Hold the turns of the host and of all members that follow; return the names of the Leases.

    In the order in which joins take theirs, member before host, so that no two wait for each other. Joins of what is no
    member yet are waited for as well: they are about to give it the secret that is in force now.
    """
    await attempts.take_turn(rotation, turn.ROTATION)
    names = {turn.of_member(follower.uid): follower.name for follower in found.followers}
    await waits.together(*(attempts.take_turn(rotation, name, member=member) for name, member in sorted(names.items())))
    while True:
        await waits.until(
            lambda: _others(rotation),
            what=f"the runs that change other members of the {rotation.host} to end",
            bells=[],
            limit=rotation.limit(rotation.conf.turn_timeout),
            seconds=rotation.conf.turn_timeout,
            hint="Wait for that run to end, then clear this task.",
            limits=rotation.limits,
        )
        await attempts.take_turn(rotation, turn.HOST)
        if await _others(rotation) is None:
            return [turn.ROTATION, *sorted(names), turn.HOST]
        # It may need the host's turn itself.
        await rotation.turns.give_back(turn.HOST)


async def hold(rotation: Rotation, found: Found) -> None:
    """Go on holding all turns that an earlier step has taken; where one was lost, wait for them again."""
    names = [turn.ROTATION, *(turn.of_member(follower.uid) for follower in found.followers), turn.HOST]
    if not all(await waits.together(*map(rotation.turns.keep, names))):
        await take_turns(rotation, found)


async def _others(rotation: Rotation) -> waits.Pending | None:
    """Tell of a run that is changing a member of the host which does not follow, or None."""
    try:
        leases = await rotation.host.list(kinds.LEASE, namespace=kubesphere.NAMESPACE)
    except errors.ForbiddenError as error:
        rotation.host.do_without(error, "Whether members that do not follow are being joined was not seen")
        return None
    now = datetime.datetime.now(datetime.UTC)
    held = [(uid, holder) for uid, holder in turn.held(leases, now=now) if holder != rotation.run]
    if not held:
        return None
    uid, holder = held[0]
    return waits.Pending(f"run {holder} is changing the member with kube-system UID {uid}", rotation.limits.poll)


async def give_turns_back(rotation: Rotation, names: list[str]) -> None:
    """Let the next run in: members first, the mark of the rotation last."""
    await waits.together(*(rotation.turns.give_back(name) for name in names if name != turn.ROTATION))
    await rotation.turns.give_back(turn.ROTATION)
