"""Kubernetes Events as client-go's recorder writes them: repeated ones are counted, not written again."""

from __future__ import annotations

import logging
import time
from typing import Final

from include.simulator import resources, store
from include.simulator.actors.client import Client, Object, RequestError

log = logging.getLogger(__name__)

# Events on objects without a namespace are kept here.
NAMESPACE: Final = "default"


class Recorder:
    """Writes Events on objects without a namespace; `component` is their source.

    Knows what it wrote itself only, so that another process counts anew. An Event that cannot be written is lost, as in
    reality.
    """

    def __init__(self, client: Client, *, component: str) -> None:
        self._client = client
        self._component = component
        self._written: dict[tuple[str, ...], str] = {}

    async def record(
        self, subject: Object, *, resource: resources.Resource, type_: str, reason: str, text: str
    ) -> None:
        """Write an Event on an object, `type_` Normal or Warning, or count one that says the same."""
        metadata = subject["metadata"]
        key = (metadata["uid"], type_, reason, text)
        try:
            if key in self._written and await self._count(self._written[key]):
                return
            now = store.timestamp()
            created = await self._client.create(
                resources.EVENTS,
                namespace=NAMESPACE,
                content={
                    "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}", "namespace": NAMESPACE},
                    "involvedObject": {
                        "apiVersion": resource.api_version,
                        "kind": resource.kind,
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                        "resourceVersion": metadata["resourceVersion"],
                    },
                    "type": type_,
                    "reason": reason,
                    "message": text,
                    "source": {"component": self._component},
                    "firstTimestamp": now,
                    "lastTimestamp": now,
                    "count": 1,
                    "eventTime": None,
                    "reportingComponent": "",
                    "reportingInstance": "",
                },
            )
            self._written[key] = created["metadata"]["name"]
        except RequestError as error:
            log.debug("Event %s on %s is lost: %s", reason, metadata["name"], error)

    async def _count(self, name: str) -> bool:
        """Count an Event once more; False when it is there no more."""
        found = await self._client.find(resources.EVENTS, name=name, namespace=NAMESPACE)
        if found is None:
            return False
        patch = {"count": found["count"] + 1, "lastTimestamp": store.timestamp()}
        await self._client.patch(resources.EVENTS, name=name, patch=patch, namespace=NAMESPACE)
        return True
