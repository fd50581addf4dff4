"""What kube-controller-manager does with Namespaces that are being deleted: it empties them, and lets them go."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from include.simulator import resources
from include.simulator.actors.client import Client, Object, RequestError

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.1


class Namespaces:
    """The namespace controller of one cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Empty Namespaces until cancelled."""
        async with (
            asyncio.TaskGroup() as tasks,
            contextlib.aclosing(self._client.follow(resources.NAMESPACES)) as changes,
        ):
            async for change in changes:
                metadata = change.object["metadata"]
                is_new = "deletionTimestamp" in metadata and metadata["uid"] not in self._busy
                if change.type != "DELETED" and is_new:
                    self._busy.add(metadata["uid"])
                    tasks.create_task(self._end(change.object))

    async def _end(self, namespace: Object) -> None:
        """Delete what is in a Namespace until nothing is left, and then finalize it."""
        name = namespace["metadata"]["name"]
        while True:
            try:
                if await self._empty(name):
                    kept = [each for each in namespace["spec"].get("finalizers") or [] if each != "kubernetes"]
                    content = {**namespace, "spec": {"finalizers": kept}}
                    await self._client.replace(resources.NAMESPACES, content=content, subresource="finalize")
                    return
            except RequestError as error:
                log.debug("Emptying namespace %s failed, trying again: %s", name, error)
                if error.code in {404, 409}:
                    found = await self._client.find(resources.NAMESPACES, name=name)
                    if found is None or found["metadata"]["uid"] != namespace["metadata"]["uid"]:
                        return
                    namespace = found
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _empty(self, name: str) -> bool:
        """Delete everything, and say whether there was nothing. Raises RequestError."""
        left = 0
        for resource in resources.ALL:
            if not resource.namespaced:
                continue
            try:
                items = await self._client.select(resource, namespace=name)
            except RequestError as error:
                if error.code == 404:
                    # Its definition is not there.
                    continue
                raise
            left += len(items)
            for item in items:
                if "deletionTimestamp" not in item["metadata"]:
                    options = {"propagationPolicy": "Background"}
                    await self._client.delete(resource, name=item["metadata"]["name"], namespace=name, options=options)
        return not left
