"""kube-scheduler, beside a real API server: binds each pod to the cluster's only node.

Beside a simulated one `workloads.py` makes pods that have their node already.
"""

from __future__ import annotations

import contextlib
import logging

from include.simulator import resources
from include.simulator.actors.client import Client, RequestError

log = logging.getLogger(__name__)


class Scheduler:
    """The scheduler of one cluster."""

    def __init__(self, client: Client, *, node: str) -> None:
        self._client = client
        self._node = node

    async def run(self) -> None:
        """Bind pods until cancelled."""
        async with contextlib.aclosing(self._client.follow(resources.PODS)) as changes:
            async for change in changes:
                pod = change.object
                is_own = pod["spec"]["schedulerName"] == "default-scheduler"
                if change.type != "DELETED" and is_own and not pod["spec"].get("nodeName"):
                    await self._bind(pod["metadata"]["name"], namespace=pod["metadata"]["namespace"])

    async def _bind(self, name: str, *, namespace: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": self._node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        try:
            await self._client.create(
                resources.PODS, name=name, namespace=namespace, subresource="binding", content=binding
            )
        except RequestError as error:
            # Gone, or bound by now; a pod that neither is changes again.
            log.debug("Binding pod %s failed: %s", name, error)
