"""A cluster with a real control plane: the same actors as in a simulated one, as clients of a real API server.

It takes the place of `include.simulator.cluster.Cluster` in a simulation. What that lays down in its store at the start
is laid down here through the API; from then on nothing but the API server knows the cluster's state. What KubeSphere's
controller makes by itself it makes here too: a host starts without its own Cluster. Not there: rules that take rights
from Airflow, since here RBAC does that, and members that are joined at the start.
"""

import asyncio
import base64
import contextlib
import datetime
import shutil
import tempfile
from pathlib import Path

import httpx
import kubernetes
from kubernetes.client.exceptions import NotFoundException

from include.simulator import credentials, resources
from include.simulator.access import Entry
from include.simulator.actors import kubeconfigs
from include.simulator.actors.client import Client, RequestError
from include.simulator.actors.installer_run import Faults
from include.simulator.actors.node import KUBE_PROXY, Node
from include.simulator.actors.scheduler import Scheduler
from include.simulator.certificates import Authority
from include.simulator.foundation import Kubernetes
from include.simulator.manifests import FEDERATION_NAMESPACE
from include.simulator.network import SERVICE_ADDRESS, SERVICE_NAMES, Server, tls_context
from include.simulator.ports import API_PORT
from include.simulator.scenario import HOST_CLUSTER
from include.simulator.states import Machine, State
from include.simulator.store import Store
from tests.envtest.control_plane import LOOPBACK, ControlPlane, User
from tests.envtest.egress import Egress

_MADE_BY_KUBERNETES = (resources.PODS, resources.ENDPOINTS, resources.EVENTS)
_MADE_BY_CONTROLLERS = (resources.CLUSTERS, resources.KUBEFEDCLUSTERS)
_NOT_SERVED = (resources.WEBHOOK_CONFIGURATIONS,)
"""Programs of pods have no TLS, which a real API server wants of a webhook."""
_PATIENCE = 60
"""Seconds."""
_TOKEN_SECONDS = 3600


class RealCluster:
    """A running cluster. `plane` are its programs; `egress.answers` says whether pods and nodes answer them."""

    def __init__(
        self,
        name,
        *,
        number,
        address,
        network,
        timing,
        release,
        reachable,
        rules,
        fault,
        load_balancer,
        published,
        draws,
        kubernetes,
        workloads,
    ):
        if workloads:
            raise ValueError(f"{name}: a Deployment that is laid down comes up")
        if kubernetes != Kubernetes():
            raise ValueError(f"{name}: this Kubernetes is as it should be")
        if rules:
            raise ValueError(f"{name}: a scenario cannot take rights away where RBAC does")
        self.name = name
        self._network = network
        self._timing = timing
        self._release = release
        self._faults = Faults(fault)
        self._load_balancer = load_balancer
        self._published = published
        self._draws = draws
        self._machine = Machine.numbered(number, cluster=name)
        self._authority = Authority(f"{name}-ca")
        self._admin = self._authority.issue_client("admin", groups=["system:masters"])
        self.state = State(store=Store(), machine=self._machine, authority=self._authority.certificate, release=release)
        self._users = {
            user.name: user
            for user in (
                User(name="airflow", groups=("system:masters",)),
                User(name="setup", groups=("system:masters",)),
                User(name="system:kube-scheduler"),
                # It plays the cloud's load balancer as well, which kube-proxy itself may not.
                User(name=KUBE_PROXY, groups=("system:masters",)),
                User(name=f"system:node:{self._machine.name}", groups=("system:nodes",)),
            )
        }
        names = ["localhost", *sorted(SERVICE_NAMES)]
        addresses = [LOOPBACK, self._machine.address, SERVICE_ADDRESS]
        # Short, since a Unix socket's path must be.
        self._directory = Path(tempfile.mkdtemp(prefix="envtest-"))
        self.plane = ControlPlane(
            directory=self._directory,
            authority=self._authority,
            names=names,
            addresses=addresses,
            users=list(self._users.values()),
            makes_tokens=not release.federates_by_condition,
        )
        self.egress = Egress(
            self.plane.egress,
            network=network,
            cluster=name,
            kubelet=self._authority.issue_server("kubelet", names=[], addresses=[self._machine.address]),
        )
        network.add_server(
            Server(
                cluster=name,
                address=self._machine.address,
                port=API_PORT,
                real_host=LOOPBACK,
                real_port=self.plane.port,
                reachable=reachable,
                names=tuple(names),
                addresses=tuple(addresses),
            )
        )
        self._clients = []
        self._setup = self._connect_as("setup")
        self._node = None

    async def start_server(self):
        """Start the control plane and lay down what the cluster begins with."""
        await self.egress.open()
        await asyncio.to_thread(self.plane.start)
        await self._lay_down()

    async def start_actors(self):
        """Start what acts by itself, except for KubeSphere's controllers; returns when all that was laid down runs."""
        scheduler = Scheduler(self._connect_as("system:kube-scheduler"), node=self._machine.name)
        self._node = Node(
            self.name,
            machine=self._machine,
            network=self._network,
            timing=self._timing,
            release=self._release,
            load_balancer=self._load_balancer,
            published=self._published,
            faults=self._faults,
            draws=self._draws,
            seen=None,
            logs={},
            connect_as=self._connect_as,
            connect=self._connect_account,
            others=(scheduler,),
        )
        await self._node.start()
        async with asyncio.timeout(_PATIENCE):
            # Not watched: of a cluster without any Deployment no change would tell.
            while not all(map(_is_available, await self._setup.select(resources.DEPLOYMENTS))):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def start_controllers(self):
        """Start KubeSphere's controllers."""
        await self._node.start_controllers()

    async def stop_actors(self):
        """Stop what acts by itself."""
        if self._node is not None:
            await self._node.stop()

    async def stop(self):
        """Stop all, and forget it."""
        for client in self._clients:
            await client.close()
        await asyncio.to_thread(self.plane.stop)
        await self.egress.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def account_token(self, *, namespace, name):
        """Return nothing: what a token is laid down in for the start is made by the controller here."""
        return ""

    # For tests

    @property
    def server(self):
        """The address of the API server as this machine reaches it."""
        return self.plane.server

    @property
    def pod_server(self):
        """The address of the API server as pods of the clusters reach it."""
        return f"https://{self._machine.address}:{API_PORT}"

    def kubeconfig(self, user="airflow", *, server=None):
        """Return a kubeconfig of user `airflow` (token) or `admin` (client certificate), both cluster-admin."""
        identity = {"token": self._users["airflow"].token}
        if user == "admin":
            pair = {"client-certificate-data": self._admin.certificate, "client-key-data": self._admin.key}
            identity = {key: base64.b64encode(text.encode()).decode() for key, text in pair.items()}
        return kubeconfigs.build(
            name=self.name,
            server=server or self.server,
            user=identity,
            user_name=user,
            authority=self._authority.certificate,
        )

    def audit(self):
        """Return an entry for each answered request, oldest first."""
        return [_entry(event) for event in self.plane.audit() if event["stage"] == "ResponseComplete"]

    def writes(self, user="airflow"):
        """Return the entries of a user's writes that succeeded."""
        return [entry for entry in self.audit() if entry.user == user and entry.is_write]

    def objects(self, plural, namespace=None):
        """Return the objects of a kind."""
        return self.request("GET", resources.find(plural).path(namespace=namespace))["items"]

    def object(self, plural, name, namespace=None):
        """Return an object. Raises KeyError when there is none."""
        try:
            return self.request("GET", resources.find(plural).path(name, namespace=namespace))
        except NotFoundException as error:
            raise KeyError(f"{plural}/{name} on {self.name}") from error

    def edit(self, plural, name, patch, namespace=None):
        """Merge-patch an object as a person would with kubectl. Raises ApiException."""
        path = resources.find(plural).path(name, namespace=namespace)
        return self.request("PATCH", path, body=patch, content_type="application/merge-patch+json")

    def put(self, plural, content, namespace=None):
        """Create an object as a person would with kubectl. Raises ApiException."""
        resource = resources.find(plural)
        content = {"apiVersion": resource.api_version, "kind": resource.kind, **content}
        return self.request("POST", resource.path(namespace=namespace), body=content)

    def secrets(self):
        """Return every value of this cluster that must not leak."""
        defined = {item["metadata"]["name"] for item in self.objects(resources.DEFINITIONS.plural)}
        served = [kind for kind in credentials.KINDS if not kind.custom or kind.qualified in defined]
        items = [(kind, item) for kind in served for item in self.objects(kind.plural)]
        known = {user.token for user in self._users.values()} | {self._admin.key}
        return sorted(credentials.find_all(items) | known)

    def request(self, method, path, *, body=None, content_type="application/json"):
        """Send any request as an administrator and return what is answered. Raises ApiException."""
        with kubernetes.config.new_client_from_config_dict(self.kubeconfig("admin")) as api:
            answer, _, _ = api.call_api(
                path,
                method,
                body=body,
                header_params={"Accept": "application/json", "Content-Type": content_type},
                response_types_map={200: "object", 201: "object", 202: "object"},
                auth_settings=["BearerToken"],
            )
            return answer

    # Laying down

    async def _lay_down(self):
        joined = {item["metadata"]["name"] for item in self.state.store.select(resources.CLUSTERS)} - {HOST_CLUSTER}
        if joined:
            raise ValueError(f"{self.name}: {', '.join(joined)} cannot be joined at the start")
        for resource in resources.ALL:
            if resource not in {*_MADE_BY_KUBERNETES, *_MADE_BY_CONTROLLERS, *_NOT_SERVED}:
                for item in self.state.store.select(resource):
                    if not _joins_federation(resource, item):
                        await self._lay(resource, item)

    async def _lay(self, resource, item):
        metadata = item["metadata"]
        kept = {key: metadata[key] for key in ("name", "namespace", "labels", "annotations") if key in metadata}
        content = {**item, "metadata": kept}
        status = content.pop("status", None) if resource.status else None
        if resource == resources.SERVICES:
            content["spec"] = {key: value for key, value in item["spec"].items() if not key.startswith("clusterIP")}
        namespace = metadata.get("namespace")
        try:
            await self._setup.create(resource, content=content, namespace=namespace)
        except RequestError as error:
            if error.reason != "AlreadyExists":
                raise
        if resource == resources.DEFINITIONS:
            await self._wait_established(metadata["name"])
        elif status and resource != resources.DEPLOYMENTS:
            await self._setup.patch(
                resource, name=metadata["name"], namespace=namespace, patch={"status": status}, subresource="status"
            )

    async def _wait_established(self, name):
        kind = next(kind for kind in resources.ALL if kind.qualified == name)
        async with asyncio.timeout(_PATIENCE):
            while True:
                with contextlib.suppress(RequestError):
                    await self._setup.select(kind)
                    return
                await asyncio.sleep(0.05)

    # Clients of the actors

    def _connect_as(self, user):
        client = self._connect(token=self._users[user].token)
        self._clients.append(client)
        return client

    def _connect_account(self, namespace, name):
        return self._connect(auth=_AccountAuth(self._setup, namespace=namespace, name=name))

    def _connect(self, **identity):
        return Client(
            self._network,
            cluster=self.name,
            server=f"https://{SERVICE_ADDRESS}:443",
            context=tls_context(authority=self._authority.certificate),
            **identity,
        )


class _AccountAuth(httpx.Auth):
    """A token of a service account, asked for with the first request, as a kubelet does for a pod."""

    def __init__(self, client, *, namespace, name):
        self._client = client
        self._namespace = namespace
        self._name = name
        self._token = None

    async def async_auth_flow(self, request):
        if self._token is None:
            made = await self._client.create(
                resources.SERVICEACCOUNTS,
                name=self._name,
                namespace=self._namespace,
                subresource="token",
                content={
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenRequest",
                    "spec": {"expirationSeconds": _TOKEN_SECONDS},
                },
            )
            self._token = made["status"]["token"]
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _joins_federation(resource, item):
    """Tell whether the controller makes this when it joins a cluster: an account with a token, and the token."""
    return item["metadata"].get("namespace") == FEDERATION_NAMESPACE and (
        resource == resources.SECRETS or "secrets" in item
    )


def _is_available(deployment):
    return deployment.get("status", {}).get("availableReplicas", 0) >= deployment["spec"]["replicas"]


def _entry(event):
    target = event.get("objectRef", {})
    return Entry(
        time=datetime.datetime.fromisoformat(event["requestReceivedTimestamp"]),
        user=event["user"]["username"],
        verb=event["verb"],
        group=target.get("apiGroup", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        path=event["requestURI"],
        code=event["responseStatus"]["code"],
        content_type="",
        agent=event.get("userAgent", ""),
    )
