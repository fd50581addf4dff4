"""ks-apiserver: version, enabled components, users, the agent's manifest, requests forwarded to member clusters.

As much as joining and proving a join need, also by hand (kubesphere-facts 7.1, 7.4, 7.6), and one number of
monitoring. Not there: logging in (`/oauth`), the other cluster endpoints (`validation`, `kubeconfig`), impersonation,
writes. A Basic credential is always a wrong password, because users have none here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from include.simulator import clock, configuration, resources, status, tokens
from include.simulator.actors import kubeconfigs
from include.simulator.actors.agent_manifest import AgentManifests, ManifestError
from include.simulator.actors.client import Client, RequestError
from include.simulator.actors.kubelet import Container
from include.simulator.actors.mounted_config import settings
from include.simulator.manifests import MONITORING_NAMESPACE, PROMETHEUS
from include.simulator.network import tls_context
from include.simulator.streams import relay

PORT: Final = 9090
ANONYMOUS: Final = "system:anonymous"
MEMBER_PATH: Final = "/api/v1/namespaces/kubesphere-system/services/:ks-apiserver:80/proxy"
_MONITORING: Final = "/kapis/monitoring.kubesphere.io/v1alpha3/cluster"
_MEASURED: Final = "cluster_node_total"
_CLOCK_SKEW_SECONDS: Final = 10
_CLUSTERS: Final = ("cluster.kubesphere.io", "v1alpha1", "clusters")
_KEPT_HEADERS: Final = ("accept", "content-type", "x-kubesphere-authorization")

_BUILD: Final = {
    "gitCommit": "c8f0f3ddfa4ccd3e8e8d8e1c8d0d0a1b2c3d4e5f",
    "gitTreeState": "clean",
    "buildDate": "2023-11-09T07:17:15Z",
    "goVersion": "go1.19.13",
    "compiler": "gc",
    "platform": "linux/amd64",
}


class AuthenticationError(Exception):
    """The credential of a request is refused; the text is what follows `Unauthorized: `."""


async def run(container: Container) -> None:
    """Serve with the mounted configuration, and anew after each change of it, until cancelled."""
    first = True
    async with contextlib.aclosing(settings(container)) as each:
        async for loaded in each:
            container.close(PORT)
            if not first:
                # Connections are refused while the process restarts itself, 0.5 to 1 s in reality.
                await asyncio.sleep(min(container.timing.reload / 4, 0.5))
            first = False
            if not configuration.read_secret(loaded):
                container.log("Error: invalid configuration: JWT secret MUST not be empty")
                continue
            container.listen(PORT, application=_Application(container, loaded=loaded))
            container.started.set()
            container.log(f"Start listening on :{PORT}")


class _Application:
    """Answers with one loaded configuration."""

    def __init__(self, container: Container, *, loaded: dict[str, Any]) -> None:
        self._container = container
        self._client = container.client
        self._loaded = loaded
        self._manifests = AgentManifests(container.client, loaded=loaded)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except AuthenticationError as error:
            refused = status.ApiError(401, reason="Unauthorized", message=f"Unauthorized: {error}")
            response = JSONResponse(refused.body(), status_code=401)
        except ManifestError as error:
            response = PlainTextResponse(f"{error}\n", status_code=error.code)
        except RequestError as error:
            response = PlainTextResponse(f'Internal Server Error: "{_uri(request)}": {error}\n', status_code=500)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        user = await self._authenticate(request)
        parts = request.url.path.strip("/").split("/")
        if parts[0] in {"api", "apis", "kapis"} and len(parts) > 3 and parts[1] == "clusters":
            return await self._dispatch(request, cluster=parts[2], path="/".join(["", parts[0], *parts[3:]]))
        return await self._serve(request, path=request.url.path, user=user)

    async def _serve(self, request: Request, *, path: str, user: str) -> Response:
        if request.method != "GET":
            return PlainTextResponse("404 page not found\n", status_code=404)
        if path == "/healthz":
            return PlainTextResponse("ok")
        if path == "/kapis/version":
            return JSONResponse(_describe_version(self._container.release.reported))
        if path == "/kapis/config.kubesphere.io/v1alpha2/configs/configz":
            return JSONResponse(self._enabled_components())
        parts = path.strip("/").split("/")
        if user == ANONYMOUS:
            return _forbidden(parts)
        return await self._serve_known(request, path=path, parts=parts)

    async def _serve_known(self, request: Request, *, path: str, parts: list[str]) -> Response:
        """Answer a user, who may do everything."""
        if parts[:4] == ["kapis", "iam.kubesphere.io", "v1alpha2", "users"] and len(parts) == 5:
            found = await self._client.find(resources.USERS, name=parts[4])
            if found is None:
                missing = status.not_found(resources.USERS, name=parts[4])
                return JSONResponse(missing.body(), status_code=404)
            return JSONResponse(found)
        if parts[:4] == ["kapis", *_CLUSTERS] and parts[5:] == ["agent", "deployment"]:
            return PlainTextResponse(await self._manifests.render(parts[4]))
        if path == _MONITORING:
            return JSONResponse(await self._measure(request.query_params.get("metrics_filter", "")))
        if parts[0] in {"api", "apis"}:
            # To the own kube-apiserver, with the own account; the real one impersonates the user, an administrator.
            return relay(await self._client.open("GET", path=_with_query(path, request)))
        return PlainTextResponse("404 page not found\n", status_code=404)

    async def _authenticate(self, request: Request) -> str:
        """Return the user of a request. Raises AuthenticationError."""
        header = request.headers.get("authorization") or request.headers.get("x-kubesphere-authorization") or ""
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "basic":
            raise AuthenticationError("incorrect password")
        if scheme.lower() != "bearer" or not value:
            return ANONYMOUS
        try:
            claims = tokens.verify(value.strip(), key=configuration.read_secret(self._loaded))
        except tokens.TokenError as error:
            raise AuthenticationError(str(error)) from error
        if claims.get("iat", 0) > clock.now().timestamp() + _CLOCK_SKEW_SECONDS:
            raise AuthenticationError("token used before issued")
        options = (self._loaded.get("authentication") or {}).get("oauthOptions") or {}
        if claims.get("token_type") != "static_token" and str(options.get("accessTokenMaxAge")) not in {"0", "0s"}:
            raise AuthenticationError("token not found in cache")
        name = str(claims.get("username", ""))
        if await self._client.find(resources.USERS, name=name) is None:
            raise AuthenticationError(f'user.iam.kubesphere.io "{name}" not found')
        return name

    async def _dispatch(self, request: Request, *, cluster: str, path: str) -> Response:
        """Forward to the ks-apiserver of a member, through the service proxy of its kube-apiserver."""
        found = await self._client.find(resources.CLUSTERS, name=cluster)
        if found is None:
            absent = status.bad_request(f"cluster {cluster} not exists")
            return JSONResponse(absent.body(), status_code=400)
        if "cluster-role.kubesphere.io/host" in (found["metadata"].get("labels") or {}):
            return await self._serve(request, path=path, user=await self._authenticate(request))
        conditions = (found.get("status") or {}).get("conditions") or []
        ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
        connection = found["spec"].get("connection") or {}
        if not ready or not connection.get("kubeconfig"):
            raise RequestError(f"cluster {cluster} is not ready")
        headers = {key: request.headers[key] for key in _KEPT_HEADERS if key in request.headers}
        if request.headers.get("authorization"):
            # The member's kube-apiserver would take it for its own and strip it.
            headers["x-kubesphere-authorization"] = request.headers["authorization"]
        network, own = self._container.network, self._container.cluster
        endpoint = str(connection.get("kubesphereAPIEndpoint") or "").rstrip("/")
        try:
            if endpoint:
                client, prefix = Client(network, cluster=own, server=endpoint, context=tls_context()), ""
            else:
                access = kubeconfigs.parse(kubeconfigs.decode(connection["kubeconfig"]))
                client, prefix = kubeconfigs.connect(access, network=network, cluster=own), MEMBER_PATH
        except kubeconfigs.KubeconfigError as error:
            raise RequestError(f"cluster {cluster} is not ready") from error
        try:
            answer = await client.open(request.method, path=_with_query(prefix + path, request), headers=headers)
        except BaseException:
            await client.close()
            raise
        if answer.is_closed:
            await client.close()
        return relay(answer, close=client.close)

    async def _measure(self, pattern: str) -> dict[str, Any]:
        """Return what is measured of the whole cluster, of the one thing that can be told without a Prometheus.

        What Prometheus cannot be asked for stands in the answer, which is 200.
        """
        if not re.search(pattern, _MEASURED):
            return {"results": []}
        service = await self._client.find(resources.SERVICES, name=PROMETHEUS, namespace=MONITORING_NAMESPACE)
        if service is None:
            host = f"{PROMETHEUS}.{MONITORING_NAMESPACE}.svc"
            error = f'Post "http://{host}:9090/api/v1/query": dial tcp: lookup {host}: no such host'
            return {"results": [{"metric_name": _MEASURED, "error": error}]}
        nodes = len(await self._client.select(resources.NODES))
        data = {"resultType": "vector", "result": [{"value": [round(time.time(), 3), str(nodes)]}]}
        return {"results": [{"metric_name": _MEASURED, "data": data}]}

    def _enabled_components(self) -> dict[str, bool]:
        names = (
            "alerting",
            "auditing",
            "devops",
            "events",
            "logging",
            "network",
            "notification",
            "openpitrix",
            "servicemesh",
            "whizard",
        )
        is_host = configuration.is_host(self._loaded)
        return {**dict.fromkeys(names, False), "metrics-server": True, "multicluster": is_host}


def _describe_version(version: str) -> dict[str, str]:
    major, minor, _ = version.removeprefix("v").split(".")
    return {"gitVersion": version, "gitMajor": major, "gitMinor": minor, **_BUILD}


def _uri(request: Request) -> str:
    return _with_query(request.url.path, request)


def _with_query(path: str, request: Request) -> str:
    return path + (f"?{request.url.query}" if request.url.query else "")


def _forbidden(parts: list[str]) -> Response:
    """Return the answer for the anonymous user on a path that needs a right."""
    if parts[0] == "kapis" and len(parts) > 3:
        group, plural, name = parts[1], parts[3], parts[4] if len(parts) > 4 else ""
    elif parts[0] == "api" and len(parts) > 2:
        group, plural, name = "", parts[2], parts[3] if len(parts) > 3 else ""
    else:
        group, plural, name = "", "/".join(parts), ""
    subject = plural + (f".{group}" if group else "") + (f' "{name}"' if name else "")
    refused = status.ApiError(
        403,
        reason="Forbidden",
        details={"name": name, "group": group, "kind": plural},
        message=f'{subject} is forbidden: User "{ANONYMOUS}" cannot get resource "{plural}" in API group "{group}" at '
        "the cluster scope",
    )
    return Response(json.dumps(refused.body()), status_code=403, media_type="application/json")
