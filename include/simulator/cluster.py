"""One simulated cluster: its certificates, its API server on a real port, its actors, and what tests ask of it."""

from __future__ import annotations

import asyncio
import copy
import functools
import ipaddress
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from include.simulator import accounts, credentials, resources, status
from include.simulator.access import Entry, Rule
from include.simulator.accounts import Accounts
from include.simulator.actors import kubeconfigs
from include.simulator.actors.client import Client
from include.simulator.actors.installer import checksum
from include.simulator.actors.installer_run import Faults
from include.simulator.actors.namespaces import Namespaces
from include.simulator.actors.node import KUBE_PROXY, Node
from include.simulator.actors.workloads import Workloads
from include.simulator.allocation import Ports
from include.simulator.api import Api
from include.simulator.certificates import Authority
from include.simulator.disturbances import Disturbance
from include.simulator.network import SERVICE_ADDRESS, SERVICE_NAMES, Network, Server, tls_context
from include.simulator.proxy import Proxy
from include.simulator.published import Address, LoadBalancer
from include.simulator.release import Release
from include.simulator.scenario import Fault, Timing
from include.simulator.server import HttpsServer
from include.simulator.states import Machine, State
from include.simulator.store import Object, Store
from include.simulator.targets import Target

API_PORT: Final = 6443
KUBE_CONTROLLER_MANAGER: Final = "system:kube-controller-manager"

Result = TypeVar("Result")


class Cluster:
    """A running cluster.

    The properties and methods below `# For tests` may be called from any thread, also after the simulation has ended.
    """

    def __init__(
        self,
        name: str,
        *,
        number: int,
        address: str,
        network: Network,
        timing: Timing,
        release: Release,
        reachable: bool,
        rules: tuple[Rule, ...],
        fault: Fault | None,
        load_balancer: LoadBalancer | None,
        published: tuple[Address, ...],
        ports: Ports,
    ) -> None:
        self.name = name
        self._address = address
        self._network = network
        self._timing = timing
        self._release = release
        self._faults = Faults(fault)
        self._load_balancer = load_balancer
        self._published = published
        self._ports = ports
        self._machine = Machine.numbered(number, cluster=name)
        self._authority = Authority(f"{name}-ca")
        self.store = Store()
        self.state = State(
            store=self.store, machine=self._machine, authority=self._authority.certificate, release=release
        )
        node = f"system:node:{self._machine.name}"
        self._accounts = Accounts(
            self.store,
            authority=self._authority,
            system=(KUBE_CONTROLLER_MANAGER, KUBE_PROXY, node),
            rules=rules,
        )
        self._proxy = Proxy(self.store, network=network, cluster=name)
        self._api = Api(self.store, access=self._accounts.access, proxy=self._proxy, version=release.kubernetes)
        names = ["localhost", *sorted(SERVICE_NAMES)]
        addresses = ["127.0.0.1", self._machine.address, SERVICE_ADDRESS]
        known = addresses if _is_address(address) else names
        if address not in known:
            known.append(address)
        self._server_pair = self._authority.issue_server("kube-apiserver", names=names, addresses=addresses)
        self._https = HttpsServer(
            self._api, pair=self._server_pair, authority=self._authority.certificate, host=address
        )
        network.add_server(
            Server(
                cluster=name,
                address=self._machine.address,
                port=API_PORT,
                real_host=address,
                real_port=self._https.port,
                reachable=reachable,
                names=tuple(names),
                addresses=tuple(addresses),
            )
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: list[Client] = []
        self._node: Node | None = None

    async def start_server(self) -> None:
        """Open the port."""
        self._loop = asyncio.get_running_loop()
        await self._https.open()

    async def start_actors(self) -> None:
        """Start what acts by itself, except for KubeSphere's controllers.

        Returns when the Services work and the pods that were laid down as running do run.
        """
        laid = self.store.find(resources.CLUSTERCONFIGURATIONS, name="ks-installer", namespace="kubesphere-system")
        manager = self._connect_as(KUBE_CONTROLLER_MANAGER)
        workloads = Workloads(manager, node=self._machine.name, signing_key=self._accounts.signing_key)
        self._node = Node(
            self.name,
            machine=self._machine,
            network=self._network,
            timing=self._timing,
            release=self._release,
            load_balancer=self._load_balancer,
            published=self._published,
            faults=self._faults,
            ports=self._ports,
            seen=checksum(laid["spec"]) if laid else None,
            logs=self.state.logs,
            connect_as=self._connect_as,
            connect=self._connect_account,
            others=(workloads, Namespaces(manager)),
        )
        await self._node.start()

    async def start_controllers(self) -> None:
        """Start KubeSphere's controllers; returns when they run."""
        if self._node is not None:
            await self._node.start_controllers()

    async def stop(self) -> None:
        """Stop the actors, end the watches and close the port."""
        if self._node is not None:
            await self._node.stop()
        self._api.disturbances.interrupt()
        self.store.end_watches()
        for client in self._clients:
            await client.close()
        await self._proxy.close()
        await self._https.stop()
        self._loop = None

    def _connect(self, token: str) -> Client:
        context = tls_context(authority=self._authority.certificate)
        return Client(
            self._network, cluster=self.name, server=f"https://{SERVICE_ADDRESS}:443", context=context, token=token
        )

    def _connect_as(self, user: str) -> Client:
        client = self._connect(self._accounts.system_token(user))
        self._clients.append(client)
        return client

    def _connect_account(self, namespace: str, name: str) -> Client:
        return self._connect(self.account_token(namespace=namespace, name=name))

    def account_token(self, *, namespace: str, name: str) -> str:
        """Return a token of a service account of this cluster."""
        return self._accounts.service_account_token(namespace=namespace, name=name)

    # For tests

    @property
    def server(self) -> str:
        """The address of the API server as this machine reaches it."""
        return f"https://{self._address}:{self._https.port}"

    @property
    def pod_server(self) -> str:
        """The address of the API server as pods of the clusters reach it."""
        return f"https://{self._machine.address}:{API_PORT}"

    def kubeconfig(self, user: str = "airflow", *, server: str | None = None) -> dict[str, Any]:
        """Return a kubeconfig of user `airflow` (token) or `admin` (client certificate). Raises KeyError."""
        return kubeconfigs.build(
            name=self.name,
            server=server or self.server,
            user=self._accounts.kubeconfig_user(user),
            user_name=user,
            authority=self._authority.certificate,
        )

    def audit(self) -> list[Entry]:
        """Return an entry for each answered request, oldest first."""
        return self._in_loop(lambda: list(self._api.audit))

    def writes(self, user: str = "airflow") -> list[Entry]:
        """Return the entries of a user's writes that succeeded."""
        return [entry for entry in self.audit() if entry.user == user and entry.is_write]

    def objects(self, plural: str, namespace: str | None = None) -> list[Object]:
        """Return copies of the objects of a kind."""
        resource = resources.find(plural)
        return self._in_loop(lambda: copy.deepcopy(self.store.select(resource, namespace=namespace or "")))

    def object(self, plural: str, name: str, namespace: str | None = None) -> Object:
        """Return a copy of an object. Raises KeyError when there is none."""
        resource = resources.find(plural)
        found = self._in_loop(lambda: copy.deepcopy(self.store.find(resource, name=name, namespace=namespace or "")))
        if found is None:
            raise KeyError(f"{plural}/{name} on {self.name}")
        return found

    def edit(self, plural: str, name: str, patch: dict[str, Any], namespace: str | None = None) -> Object:
        """Merge-patch an object as a person would with kubectl. Raises ApiError."""
        resource = resources.find(plural)
        target = Target(verb="patch", resource=resource, namespace=namespace or "", name=name)
        record = functools.partial(
            self._api.record, "person", target=target, content_type="", path=resource.path(name, namespace=namespace)
        )

        def change() -> Object:
            try:
                changed = self.store.patch(resource, name=name, patch=patch, namespace=namespace or "")
            except status.ApiError as error:
                record(code=error.code)
                raise
            record(code=200)
            return copy.deepcopy(changed)

        return self._in_loop(change)

    def put(self, plural: str, content: Object, namespace: str | None = None) -> Object:
        """Create an object as a person would with kubectl. Raises ApiError."""
        resource = resources.find(plural)
        target = Target(verb="create", resource=resource, namespace=namespace or "", name=content["metadata"]["name"])
        path = resource.path(namespace=namespace)

        def change() -> Object:
            created = self.store.create(resource, content=content, namespace=namespace or "")
            self._api.record("person", target=target, path=path, code=201, content_type="")
            return copy.deepcopy(created)

        return self._in_loop(change)

    def kill_pod(self, deployment: str, namespace: str = "kubesphere-system") -> None:
        """Delete the pods of a Deployment without a grace period, as a crash of the machine would: others follow."""

        def kill() -> None:
            for pod in self.store.select(resources.PODS, namespace=namespace):
                if any(owner["name"] == deployment for owner in pod["metadata"].get("ownerReferences") or []):
                    self.store.delete(resources.PODS, name=pod["metadata"]["name"], namespace=namespace, grace=0)

        self._in_loop(kill)

    def scale(self, deployment: str, replicas: int, namespace: str = "kubesphere-system") -> None:
        """Scale a Deployment as a person would with kubectl. Raises ApiError."""
        self.edit("deployments", deployment, {"spec": {"replicas": replicas}}, namespace)

    def disturb(self, disturbance: Disturbance) -> None:
        """Let something go wrong with one request that is yet to come, of any client."""
        self._api.disturbances.add(disturbance)

    def restart_server(self, seconds: float) -> None:
        """Close the API server's port and its connections, as when it restarts; it serves again after some seconds.

        Returns when the port is closed. Watches are cut, not ended. What it had begun to process is finished or not,
        and audited accordingly.
        """

        async def restart() -> None:
            self._api.disturbances.interrupt()
            await self._https.restart(seconds)

        self._await_in_loop(restart())

    def compact(self) -> None:
        """Forget the changes up to now and end the watches: clients that resume from before are told 410."""

        def compact() -> None:
            self.store.compact()
            self.store.end_watches()

        self._in_loop(compact)

    def issue_credential(self) -> None:
        """Give the user `airflow` a new token, which `kubeconfig` has from now on; those before it stay valid."""
        self._in_loop(self._accounts.issue_token)

    def revoke_credentials(self) -> None:
        """Take no token of the user `airflow` but the newest; watches that are open stay open, as in reality."""
        self._in_loop(self._accounts.revoke_tokens)

    def refuse_credential(self, seconds: float) -> None:
        """Answer 401 to the present token of `airflow` for some time, as a server that starts may do."""
        self._in_loop(lambda: self._accounts.refuse_token(seconds))

    def cut_tunnel(self, seconds: float) -> None:
        """Cut this cluster's pods off from the others for some time: what the agent dials times out."""

        def cut() -> None:
            self._network.isolate(self.name)
            asyncio.get_running_loop().call_later(seconds, self._network.reconnect, self.name)

        self._in_loop(cut)

    def secrets(self) -> list[str]:
        """Return every value of this cluster that must not leak: what is or was in a Secret, or is a credential."""
        return self._in_loop(self._collect_secrets)

    def _collect_secrets(self) -> list[str]:
        key = self._server_pair.key
        kinds = credentials.KINDS
        items = [(event.resource, event.object) for event in self.store.history()]
        items += [(kind, item) for kind in kinds for item in self.store.select(kind)]
        found = self._accounts.secrets() | {key, accounts.encode(key)} | credentials.find_all(items)
        return sorted(found - {""})

    def _in_loop(self, function: Callable[[], Result]) -> Result:
        """Call in the simulation's loop, where the store lives, or directly when there is none any more."""
        loop = self._loop
        if loop is None or not loop.is_running():
            return function()

        async def call() -> Result:
            return function()

        return self._await_in_loop(call())

    def _await_in_loop(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run in the simulation's loop, which has to be there."""
        if self._loop is None:
            work.close()
            raise RuntimeError(f"the simulation of {self.name} has ended")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
