"""The kubelet of a cluster's only node: gives pods addresses, runs the programs in them, serves their logs.

Which program runs is decided by the image, as in reality; an image without a program here becomes a pod that is Ready
and does nothing. A pod that has an address when the kubelet starts was running before: its program is told so.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import itertools
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from include.simulator import parameters, resources, store
from include.simulator.actors.client import Client, Object, RequestError
from include.simulator.actors.container_log import Line, Log
from include.simulator.network import Network
from include.simulator.proxy import KUBELET_PORT
from include.simulator.release import Release
from include.simulator.scenario import Timing

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Container:
    """What a program sees of the container it runs in.

    `client` and those made by `connect` use the pod's service account; `connect` is for what is closed before the
    program ends. A program sets `started` when it does its work; `release` is the KubeSphere it belongs to,
    `command` the command line.
    """

    cluster: str
    pod: str
    command: tuple[str, ...]
    address: str
    client: Client
    connect: Callable[[], Client]
    network: Network
    timing: Timing
    release: Release
    resumed: bool
    written: Log
    started: asyncio.Event

    def log(self, text: str) -> None:
        """Write lines to the container's log."""
        self.written.write(text)

    def listen(self, port: int, *, application: ASGIApp) -> None:
        """Serve a port of the pod."""
        self.network.listen(self.cluster, address=self.address, port=port, application=application)

    def close(self, port: int) -> None:
        """Stop serving a port of the pod."""
        self.network.close(self.cluster, address=self.address, port=port)


Program = Callable[[Container], Awaitable[None]]


class Kubelet:
    """Runs the pods of one cluster.

    `programs` maps image names without their tag to programs, `connect` returns a client for a service account, `logs`
    is what containers have written before the simulation began, by pod name. `crashing` is what the containers of
    Deployments say that crash, by the Deployment's name; `unpullable` are images that cannot be pulled.
    """

    def __init__(
        self,
        client: Client,
        *,
        cluster: str,
        node: str,
        address: str,
        pod_prefix: str,
        network: Network,
        timing: Timing,
        release: Release,
        programs: Mapping[str, Program],
        connect: Callable[[str, str], Client],
        logs: Mapping[str, list[Line]],
        crashing: Mapping[str, str],
        unpullable: Collection[str],
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._node = node
        self._address = address
        self._pod_prefix = pod_prefix
        self._network = network
        self._timing = timing
        self._release = release
        self._programs = programs
        self._connect = connect
        self._crashing = crashing
        self._unpullable = unpullable
        self._logs: dict[tuple[str, str], Log] = {("kubesphere-system", pod): Log(lines) for pod, lines in logs.items()}
        self._numbers = itertools.count(100)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._started: dict[str, asyncio.Event] = collections.defaultdict(asyncio.Event)

    async def run(self) -> None:
        """Run pods until cancelled."""
        route = Route("/containerLogs/{namespace}/{pod}/{container}", self._serve_log)
        self._network.listen(
            self._cluster, address=self._address, port=KUBELET_PORT, application=Starlette(routes=[route])
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                async for change in self._client.follow(resources.PODS, fields=f"spec.nodeName={self._node}"):
                    self._handle(change.object, gone=change.type == "DELETED", tasks=tasks)
        finally:
            self._network.close(self._cluster, address=self._address)
            for written in self._logs.values():
                written.end_process()

    async def wait_started(self, pod: Object) -> None:
        """Wait until the program of a pod does its work; at once for a pod without one."""
        if self._find_program(pod) is not None:
            await self._started[pod["metadata"]["uid"]].wait()

    def _find_program(self, pod: Object) -> Program | None:
        repository = _repository(pod["spec"]["containers"][0].get("image", ""))
        if self._find_crash(pod) is not None or (repository in self._unpullable and not pod["status"].get("podIP")):
            return None
        return self._programs.get(repository)

    def _find_crash(self, pod: Object) -> str | None:
        """Return what a container of this pod says when it crashes, if it does."""
        owners = [owner["name"] for owner in pod["metadata"].get("ownerReferences") or []]
        return next((self._crashing[name] for name in owners if name in self._crashing), None)

    def _handle(self, pod: Object, *, gone: bool, tasks: asyncio.TaskGroup) -> None:
        uid = pod["metadata"]["uid"]
        running = self._running.get(uid)
        if gone or "deletionTimestamp" in pod["metadata"]:
            if running is not None:
                del self._running[uid]
                running.cancel()
            self._close_log(pod, gone=gone)
            if not gone:
                tasks.create_task(self._remove(pod))
        elif running is None:
            self._running[uid] = tasks.create_task(self._run_pod(pod))

    def _close_log(self, pod: Object, *, gone: bool) -> None:
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if key in self._logs:
            self._logs[key].close()
            if gone:
                del self._logs[key]

    async def _remove(self, pod: Object) -> None:
        metadata = pod["metadata"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        while True:
            try:
                await self._client.delete(
                    resources.PODS, name=metadata["name"], namespace=metadata["namespace"], options=options
                )
                return
            except RequestError as error:
                log.debug("Removing pod %s failed: %s", metadata["name"], error)
                if error.code == 409:
                    # Another pod has its name by now.
                    return
            await asyncio.sleep(0.1)

    async def _run_pod(self, pod: Object) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        written = self._logs.setdefault((metadata["namespace"], metadata["name"]), Log())
        resumed = bool(pod["status"].get("podIP"))
        address = pod["status"].get("podIP") or f"{self._pod_prefix}.{next(self._numbers)}"
        crash = self._find_crash(pod)
        if crash is not None:
            written.write(crash)
        if not resumed:
            await asyncio.sleep(self._timing.kubelet)
            describe = running_status if crash is None else crashing_status
            if _repository(spec["containers"][0].get("image", "")) in self._unpullable:
                describe = unpulled_status
            await self._report(pod, describe(spec["containers"], address=address, host=self._address))
        program = self._find_program(pod)
        if program is None:
            return
        connect = functools.partial(self._connect, metadata["namespace"], spec.get("serviceAccountName", "default"))
        client = connect()
        container = Container(
            cluster=self._cluster,
            pod=metadata["name"],
            command=(*(spec["containers"][0].get("command") or ()), *(spec["containers"][0].get("args") or ())),
            address=address,
            client=client,
            connect=connect,
            network=self._network,
            timing=self._timing,
            release=self._release,
            resumed=resumed,
            written=written,
            started=self._started[metadata["uid"]],
        )
        try:
            while True:
                try:
                    await program(container)
                except Exception as error:
                    # A crash of the program is the pod's affair: it is logged there and the container starts again.
                    log.debug("The program of pod %s ended", metadata["name"], exc_info=True)
                    container.log(f"panic: {type(error).__name__}: {error}")
                written.end_process()
                await asyncio.sleep(max(self._timing.kubelet, 0.05))
                container = dataclasses.replace(container, resumed=False)
        finally:
            self._network.close(self._cluster, address=address)
            await client.close()

    async def _report(self, pod: Object, status: Object) -> None:
        while True:
            try:
                await self._client.patch(
                    resources.PODS,
                    name=pod["metadata"]["name"],
                    namespace=pod["metadata"]["namespace"],
                    patch={"status": status},
                    subresource="status",
                )
                return
            except RequestError as error:
                if error.code == 404:
                    return
                await asyncio.sleep(0.1)

    async def _serve_log(self, request: Request) -> Response:
        params, query = request.path_params, request.query_params
        written = self._logs.get((params["namespace"], params["pod"]))
        if written is None:
            return PlainTextResponse("")
        if parameters.read_flag(request, name="follow"):
            return StreamingResponse(written.follow(query), media_type="text/plain")
        return PlainTextResponse(written.read(query))


def _repository(image: str) -> str:
    """Return the last two parts of an image's name, without registry, tag and digest."""
    *parts, name = image.partition("@")[0].split("/")
    return "/".join([*parts[-1:], name.partition(":")[0]])


def running_status(containers: list[Object], *, address: str, host: str) -> Object:
    """Return the status of a pod whose containers run and are ready."""
    now = store.timestamp()
    types = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "hostIP": host,
        "startTime": now,
        "conditions": [{"type": name, "status": "True", "lastTransitionTime": now} for name in types],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": "",
                "containerID": f"containerd://{uuid.uuid4().hex}",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            }
            for container in containers
        ],
    }


def crashing_status(containers: list[Object], *, address: str, host: str) -> Object:
    """Return the status of a pod whose containers crash again and again."""
    now = store.timestamp()
    ended = {"exitCode": 2, "reason": "Error", "startedAt": now, "finishedAt": now}
    described = running_status(containers, address=address, host=host)
    for container in described["containerStatuses"]:
        message = f"back-off 5m0s restarting failed container={container['name']}"
        waiting = {"reason": "CrashLoopBackOff", "message": message}
        container |= {"ready": False, "started": False, "restartCount": 12}
        container |= {"state": {"waiting": waiting}, "lastState": {"terminated": ended}}
    return _not_ready(described, containers)


def unpulled_status(containers: list[Object], *, address: str, host: str) -> Object:
    """Return the status of a pod whose images cannot be pulled."""
    described = {**running_status(containers, address=address, host=host), "phase": "Pending"}
    for container in described["containerStatuses"]:
        waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{container["image"]}"'}
        container |= {"ready": False, "started": False, "state": {"waiting": waiting}}
        del container["containerID"]
    return _not_ready(described, containers)


def _not_ready(status: Object, containers: list[Object]) -> Object:
    """Return the status with the conditions of a pod whose containers do not run."""
    names = " ".join(container["name"] for container in containers)
    for condition in status["conditions"]:
        if condition["type"] in {"Ready", "ContainersReady"}:
            message = f"containers with unready status: [{names}]"
            condition |= {"status": "False", "reason": "ContainersNotReady", "message": message}
    return status
