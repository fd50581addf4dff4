"""ks-controller-manager's admission webhook on updates of Clusters, from KubeSphere 3.4 on (kubesphere-facts 6.9).

Once a Cluster tells its uid, each of its updates makes the host ask the member for its own: what cannot be asked, or
is another cluster, cannot be written, be it a label, a condition or a finalizer.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from include.simulator import manifests, resources
from include.simulator.actors import cluster_controller, kubeconfigs
from include.simulator.actors.client import RequestError
from include.simulator.actors.kubelet import Container

Object = dict[str, Any]

_OTHER: Final = (
    "this kubeconfig corresponds to a different cluster than the previous one, you need to make sure that kubeconfig "
    "is not from another cluster"
)


class ClusterWebhook:
    """Answers AdmissionReviews. `authority` is the PEM of who has signed the certificate that it serves with."""

    def __init__(self, container: Container, *, authority: str) -> None:
        self._container = container
        self.authority = authority

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if request.url.path != manifests.WEBHOOK_PATH:
            await PlainTextResponse("404 page not found\n", status_code=404)(scope, receive, send)
            return
        review = await request.json()
        asked = review["request"]
        problem = await self._find_problem(asked["object"], old=asked["oldObject"])
        response: Object = {"uid": asked["uid"], "allowed": problem is None}
        if problem is not None:
            # The library of that time puts the text where a reason should be.
            response["status"] = {"metadata": {}, "reason": problem, "code": 403}
        answer = {"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response}
        await JSONResponse(answer)(scope, receive, send)

    async def _find_problem(self, cluster: Object, *, old: Object) -> str | None:
        """Return why an update is denied, or None."""
        known = (old.get("status") or {}).get("uid")
        if not known:
            return None
        name = cluster["metadata"]["name"]
        connection = (cluster.get("spec") or {}).get("connection") or {}
        try:
            access = kubeconfigs.parse(kubeconfigs.decode(connection.get("kubeconfig") or ""))
            member = cluster_controller.connect(self._container, access)
        except kubeconfigs.KubeconfigError as error:
            return f"failed to load cluster config for {name}: {error}"
        try:
            system = await member.get(resources.NAMESPACES, name="kube-system")
        except RequestError as error:
            return str(error)
        finally:
            await member.close()
        return None if system["metadata"]["uid"] == known else _OTHER


async def serve(container: Container) -> None:
    """Serve the webhook with the certificate in its Secret; without one there is no webhook. Raises RequestError."""
    secret = await container.client.find(
        resources.SECRETS, name=manifests.WEBHOOK_SECRET, namespace=manifests.SYSTEM_NAMESPACE
    )
    if secret is not None:
        authority = base64.b64decode(secret["data"]["ca.crt"]).decode()
        container.listen(manifests.WEBHOOK_PORT, application=ClusterWebhook(container, authority=authority))
