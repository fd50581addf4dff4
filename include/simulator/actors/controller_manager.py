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
from include.simulator.allocation import Draws


async def run(container: Container, *, draws: Draws) -> None:
    """Run the controllers that the mounted configuration enables, and anew after each change of it.

    `draws` are those that proxy Clusters get, in KubeSphere 3.0 from here.
    """
    await cluster_webhook.serve(container)
    controller: asyncio.Task[None] | None = None
    try:
        async with contextlib.aclosing(settings(container)) as each:
            async for loaded in each:
                await _stop(controller)
                controller = None
                if configuration.is_host(loaded):
                    name = str(configuration.read_multicluster(loaded).get("hostClusterName") or "host")
                    controller = asyncio.create_task(_build(container, host_name=name, draws=draws).run())
                container.started.set()
                container.log("Starting controller manager")
    finally:
        await _stop(controller)


def _build(container: Container, *, host_name: str, draws: Draws) -> ClusterController:
    if container.release.federates_by_condition:
        return ClusterController(container, host_name=host_name)
    return EventedController(container, host_name=host_name, draws=draws)


async def _stop(controller: asyncio.Task[None] | None) -> None:
    if controller is not None:
        controller.cancel()
        await asyncio.gather(controller, return_exceptions=True)
