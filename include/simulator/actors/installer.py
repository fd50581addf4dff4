"""ks-installer: shell-operator, which decides when the hook runs.

The hook fires when the checksum of `.spec` changes, when the object is created anew, and once when the pod starts. Runs
are queued and never overlap; one that exits with another code than 0 is repeated for ever (kubesphere-facts 2.2).
"""

from __future__ import annotations

import asyncio
import collections
import datetime
import hashlib
import json

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from include.simulator import clock, resources
from include.simulator.actors import installer_log
from include.simulator.actors.installer_run import Faults, HookFailedError, Run
from include.simulator.actors.kubelet import Container

PORT = 9115
NAME = "ks-installer"
NAMESPACE = "kubesphere-system"


def checksum(spec: object) -> str:
    """Return what is compared to tell whether the spec changed."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


class Installer:
    """One process of ks-installer.

    `faults` says which runs fail; `seen` is the checksum of the spec that a process which was running before the
    simulation began has seen last.
    """

    def __init__(self, container: Container, *, faults: Faults, seen: str | None) -> None:
        self._container = container
        self._faults = faults
        self._seen = seen if container.resumed else None
        self._queue: collections.deque[str] = collections.deque()
        self._wake = asyncio.Event()
        self._hook_errors = 0

    async def run(self) -> None:
        """Follow the ClusterConfiguration and run the hook until cancelled."""
        routes = [Route("/queue", self._show_queue), Route("/metrics", self._show_metrics)]
        self._container.listen(PORT, application=Starlette(routes=routes))
        self._container.started.set()
        if not self._container.resumed:
            self._say("shell-operator v1.0.0-beta.5")
            self._say(f"HTTP SERVER Listening on 0.0.0.0:{PORT}")
            self._say(f"Load hook config from '/hooks/{installer_log.HOOK}'")
            self._say("MAIN: run main loop")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(tasks))
            tasks.create_task(self._work())

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        async for change in self._container.client.follow(resources.CLUSTERCONFIGURATIONS, namespace=NAMESPACE):
            if change.object["metadata"]["name"] != NAME:
                continue
            if change.type == "DELETED":
                self._seen = None
                continue
            present = checksum(change.object.get("spec"))
            if present != self._seen:
                tasks.create_task(self._enqueue())
            self._seen = present

    async def _enqueue(self) -> None:
        await asyncio.sleep(self._container.timing.queue)
        self._container.log(installer_log.queued_lines(_now()))
        self._queue.append(installer_log.HOOK)
        self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            failures = 0
            while self._queue:
                self._container.log(installer_log.started_lines(_now()))
                try:
                    await Run(self._container, faults=self._faults).execute()
                except HookFailedError as error:
                    failures += 1
                    self._hook_errors += 1
                    self._container.log(str(error))
                    self._container.log(installer_log.retry_line(failures, moment=_now()))
                    # 5 s where a run takes the default 15 s.
                    await asyncio.sleep(self._container.timing.run / 3)
                    continue
                failures = 0
                # Only now, so that a running task counts as queued: 0 means idle.
                self._queue.popleft()

    def _say(self, text: str) -> None:
        self._container.log(installer_log.operator_line(text, moment=_now()))

    async def _show_queue(self, _request: Request) -> Response:
        lines = [f"Queue length {len(self._queue)}", ""]
        lines += [f"TASK_HOOK_RUN@KUBE_EVENTS {hook}" for hook in self._queue]
        return PlainTextResponse("\n".join(lines) + "\n")

    async def _show_metrics(self, _request: Request) -> Response:
        return PlainTextResponse(
            "# TYPE shell_operator_tasks_queue_length gauge\n"
            f"shell_operator_tasks_queue_length {len(self._queue)}\n"
            "# TYPE shell_operator_hook_errors counter\n"
            f'shell_operator_hook_errors{{hook="{installer_log.HOOK}"}} {self._hook_errors}\n'
        )


def _now() -> datetime.datetime:
    return clock.now()
