"""Noticing within seconds that something has changed on a host: all its Clusters in one watch each.

A change is one of labels, spec or the states of conditions; time stamps, which the host's controller renews at each
look, are none. Nothing is written.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping

from include.fleet import clusters, errors, inventory, kinds, kubesphere, settings

log = logging.getLogger(__name__)

_READ_AGAIN = 300.0
"""Seconds after which the inventory is read again: hosts may have come and gone."""
_TRY_AGAIN = 30.0
"""Seconds after which a host that did not answer is watched again."""


def digest(cluster: kubesphere.Object) -> str:
    """Return what a Cluster comes to, without times, and without anything secret to be read out of it."""
    metadata = cluster["metadata"]
    states = {item.get("type"): item.get("status") for item in kubesphere.conditions(cluster)}
    parts = [metadata["uid"], metadata.get("labels"), metadata.get("annotations"), cluster.get("spec"), states]
    text = json.dumps([*parts, "deletionTimestamp" in metadata], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


async def changes(
    read: Callable[[], inventory.Inventory], *, limits: settings.Settings, pause: float = 60.0
) -> AsyncIterator[list[str]]:
    """Yield the names of the hosts on which something has changed, for ever, at most once in *pause* seconds.

    *read* reads the inventory; it is asked again every few minutes, and in a thread.
    """
    changed: set[str] = set()
    ring = asyncio.Event()

    def note(host: str) -> None:
        changed.add(host)
        ring.set()

    watching = asyncio.ensure_future(_watch_all(read, note, limits=limits))
    try:
        while True:
            ringing = asyncio.ensure_future(ring.wait())
            await asyncio.wait((watching, ringing), return_when=asyncio.FIRST_COMPLETED)
            ringing.cancel()
            if watching.done():
                watching.result()
            ring.clear()
            names, began = sorted(changed), time.monotonic()
            changed.clear()
            yield names
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch_all(
    read: Callable[[], inventory.Inventory], note: Callable[[str], None], *, limits: settings.Settings
) -> None:
    """Keep one watch on each host of the inventory, as it is at each time."""
    watches: dict[tuple[str, str], asyncio.Task[None]] = {}
    try:
        while True:
            try:
                hosts = {(host.name, host.conn_id) for host in (await asyncio.to_thread(read)).hosts}
            except errors.FleetError as error:
                # The next reconcile tells every problem of the inventory; until it is mended, the old one is watched.
                log.warning("The inventory cannot be read: %s", str(error).splitlines()[0])
                hosts = set(watches)
            for key in watches.keys() - hosts:
                watches.pop(key).cancel()
            for name, conn_id in hosts - watches.keys():
                watches[name, conn_id] = asyncio.ensure_future(_watch(name, conn_id, note, limits=limits))
            await asyncio.sleep(_READ_AGAIN * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
    finally:
        for watch in watches.values():
            watch.cancel()
        await asyncio.gather(*watches.values(), return_exceptions=True)


async def _watch(name: str, conn_id: str, note: Callable[[str], None], *, limits: settings.Settings) -> None:
    """Watch one host for ever, and note when what its Clusters come to is another than before."""
    known: dict[str, str] | None = None
    while True:
        try:
            async with clusters.connect(conn_id, role=kubesphere.HOST, limits=limits, run="fleet watch") as host:
                while True:
                    listed = False
                    async for found in host.all_changes(kinds.CLUSTER):
                        told = {each: digest(item) if item else "" for each, item in found.items()}
                        if known is None or not listed:
                            # A watch begins with all that there are: what is not among them is gone.
                            changed, known, listed = known is not None and told != known, told, True
                        else:
                            changed = _take_in(known, told)
                        if changed:
                            log.info("Host %s: its Clusters have changed", name)
                            note(name)
        except errors.FleetError as error:
            log.warning("Host %s is not watched: %s", name, str(error).splitlines()[0])
            await asyncio.sleep(_TRY_AGAIN * random.uniform(0.8, 1.2))  # noqa: S311 - no secret


def _take_in(known: dict[str, str], told: Mapping[str, str]) -> bool:
    """Bring into *known* what Clusters come to by now, "" for one that is gone; tell whether that is another."""
    changed = False
    for name, now in told.items():
        changed = changed or known.get(name, "") != now
        if now:
            known[name] = now
        else:
            known.pop(name, None)
    return changed
