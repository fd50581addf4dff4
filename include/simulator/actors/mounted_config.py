"""The configuration file that KubeSphere's programs have mounted, and their reload when it changes.

The kubelet brings a changed ConfigMap to the file after some time, and the program then restarts itself in-process
(kubesphere-facts 2.5). Here both together take `Timing.reload`. Programs of a release that does not reload read the
file once, and keep what they read until their pod is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from include.simulator import configuration, resources
from include.simulator.actors.kubelet import Container


async def settings(container: Container) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the parsed settings at the start, and again `reload` seconds after each change; the latest at that time.

    To be closed by the caller, with `contextlib.aclosing`.
    """
    latest: dict[str, Any] | None = None
    changed = asyncio.Event()

    async def follow() -> None:
        nonlocal latest
        async for change in container.client.follow(resources.CONFIGMAPS, namespace=configuration.NAMESPACE):
            if change.object["metadata"]["name"] == configuration.NAME and change.type != "DELETED":
                parsed = configuration.parse(change.object)
                if parsed != latest:
                    latest = parsed
                    changed.set()

    follower = asyncio.create_task(follow())
    try:
        await changed.wait()
        while True:
            changed.clear()
            if latest is not None:
                yield latest
            if not container.release.reloads:
                await asyncio.Event().wait()
            await changed.wait()
            await asyncio.sleep(container.timing.reload)
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
