"""ks-controller-manager: runs the cluster controller of its version while the mounted configuration says host."""

from __future__ import annotations

import asyncio
import contextlib

from include.simulator import configuration
from include.simulator.actors import cluster_webhook
from include.simulator.actors.cluster_controller import ClusterController
from include.simulator.actors.evented_controller import EventedController
from include.simulator.actors.kubelet import Container
from include.simulator.actors.mounted_config import settings


async def run(container: Container) -> None:
    """Run the controllers that the mounted configuration enables, and anew after each change of it."""
    await cluster_webhook.serve(container)
    kind = ClusterController if container.release.federates_by_condition else EventedController
    controller: asyncio.Task[None] | None = None
    try:
        async with contextlib.aclosing(settings(container)) as each:
            async for loaded in each:
                await _stop(controller)
                controller = None
                if configuration.is_host(loaded):
                    name = str(configuration.read_multicluster(loaded).get("hostClusterName") or "host")
                    controller = asyncio.create_task(kind(container, host_name=name).run())
                container.started.set()
                container.log("Starting controller manager")
    finally:
        await _stop(controller)


async def _stop(controller: asyncio.Task[None] | None) -> None:
    if controller is not None:
        controller.cancel()
        await asyncio.gather(controller, return_exceptions=True)
