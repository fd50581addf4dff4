"""The only node of a cluster: its kubelet and kube-proxy, the programs in its pods, and what makes pods out of objects.

What that last part is, depends on the API server that all of them are clients of: beside a simulated one it is
`workloads.py`, beside a real one kube-controller-manager itself, and `scheduler.py` for what that leaves over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from include.simulator import resources
from include.simulator.actors import agent, controller_manager, curl, ks_apiserver, kubefed, tower
from include.simulator.actors.client import Client, Object
from include.simulator.actors.container_log import Line
from include.simulator.actors.installer import Installer
from include.simulator.actors.installer_run import Faults
from include.simulator.actors.kubelet import Container, Kubelet, Program
from include.simulator.actors.service_proxy import ServiceProxy
from include.simulator.allocation import Draws
from include.simulator.network import Network
from include.simulator.published import Address, LoadBalancer
from include.simulator.release import Release
from include.simulator.scenario import Timing
from include.simulator.states import Machine

log = logging.getLogger(__name__)

KUBE_PROXY: Final = "system:kube-proxy"


class Actor(Protocol):
    """Acts until it is cancelled."""

    async def run(self) -> None:
        """Act."""


class Node:
    """Runs all that acts by itself in one cluster.

    `connect_as` returns a client that is one of Kubernetes' own users, `connect` one that is a service account.
    `others` act in the place of kube-controller-manager, or beside it. `faults` says which runs of the installer fail,
    `draws` give proxy Clusters their ports, `seen` is what the installer's process saw last that was running before,
    `logs` what containers wrote before, by pod name. `crashing` and `unpullable` are the kubelet's.
    """

    def __init__(
        self,
        cluster: str,
        *,
        machine: Machine,
        network: Network,
        timing: Timing,
        release: Release,
        load_balancer: LoadBalancer | None,
        published: tuple[Address, ...],
        faults: Faults,
        draws: Draws,
        seen: str | None,
        logs: Mapping[str, list[Line]],
        connect_as: Callable[[str], Client],
        connect: Callable[[str, str], Client],
        others: Sequence[Actor],
        crashing: Mapping[str, str] = MappingProxyType({}),
        unpullable: Collection[str] = (),
    ) -> None:
        self._faults = faults
        self._draws = draws
        self._seen = seen
        self._others = others
        programs: dict[str, Program] = {
            "kubesphere/ks-installer": self._run_installer,
            "kubesphere/ks-apiserver": ks_apiserver.run,
            "kubesphere/ks-controller-manager": self._run_controllers,
            "curlimages/curl": curl.run,
            "kubesphere/tower": self._run_tower_image,
            "kubesphere/kubefed": kubefed.run,
        }
        self._name = machine.name
        self._client = connect_as(f"system:node:{machine.name}")
        self._services = ServiceProxy(
            connect_as(KUBE_PROXY),
            cluster=cluster,
            node=machine.address,
            network=network,
            load_balancer=load_balancer,
            published=published,
        )
        self._kubelet = Kubelet(
            self._client,
            cluster=cluster,
            node=machine.name,
            address=machine.address,
            pod_prefix=machine.pod_prefix,
            network=network,
            timing=timing,
            release=release,
            programs=programs,
            connect=connect,
            logs=logs,
            crashing=crashing,
            unpullable=unpullable,
        )
        self._running: list[asyncio.Task[None]] = []
        self._may_control = asyncio.Event()

    async def start(self) -> None:
        """Start everything except for KubeSphere's controllers.

        Returns when the Services work and the pods that are there run.
        """
        actors: list[Actor] = [self._services, *self._others, self._kubelet]
        self._running = [asyncio.create_task(_keep_running(actor.run)) for actor in actors]
        await self._services.settled.wait()
        for pod in await self._pods():
            if not _is_controller(pod):
                await self._kubelet.wait_started(pod)

    async def start_controllers(self) -> None:
        """Start KubeSphere's controllers; returns when they run."""
        self._may_control.set()
        for pod in await self._pods():
            if _is_controller(pod):
                await self._kubelet.wait_started(pod)

    async def stop(self) -> None:
        """Stop everything."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _pods(self) -> list[Object]:
        # A newer API server shows a node no other pods than its own.
        return await self._client.select(resources.PODS, fields=f"spec.nodeName={self._name}")

    async def _run_installer(self, container: Container) -> None:
        await Installer(container, faults=self._faults, seen=self._seen).run()

    async def _run_controllers(self, container: Container) -> None:
        await self._may_control.wait()
        await controller_manager.run(container, draws=self._draws)

    async def _run_tower_image(self, container: Container) -> None:
        """Run what the command names: the image holds tower and its agent."""
        if container.command[:1] == ("/agent",):
            await agent.run(container)
        else:
            await tower.run(container, draws=self._draws)


def _is_controller(pod: Object) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get("app") == "ks-controller-manager")


async def _keep_running(run: Callable[[], Awaitable[None]]) -> None:
    """Run an actor, and again when it fails, as the machine does with a process that crashes."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("An actor failed and starts again")
        await asyncio.sleep(0.5)
