"""One simulated cluster: its certificates, its API server on a real port, its actors, and what tests ask of it."""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

import httpx

from include.simulator import accounts, clock, credentials, manifests, ports, resources, status, workload_states
from include.simulator import issued as issued_kubeconfigs
from include.simulator.access import Entry, Rule
from include.simulator.accounts import Accounts
from include.simulator.actors import kubeconfigs
from include.simulator.actors.client import Client
from include.simulator.actors.installer import checksum
from include.simulator.actors.installer_run import Faults
from include.simulator.actors.jobs import Jobs
from include.simulator.actors.namespaces import Namespaces
from include.simulator.actors.node import KUBE_PROXY, Node
from include.simulator.actors.workloads import Workloads
from include.simulator.allocation import Draws
from include.simulator.api import Api
from include.simulator.certificates import Authority
from include.simulator.disturbances import Disturbance
from include.simulator.foundation import Issuer, Kubernetes
from include.simulator.issued import Kubeconfig
from include.simulator.network import SERVICE_ADDRESS, Network, tls_context
from include.simulator.ports import API_PORT, Ports
from include.simulator.proxy import Proxy
from include.simulator.published import Address, LoadBalancer
from include.simulator.release import Release
from include.simulator.scenario import Fault, Timing
from include.simulator.states import Machine, State
from include.simulator.store import Object, Store
from include.simulator.targets import Target
from include.simulator.webhooks import Webhooks
from include.simulator.workload_states import Workload

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
        draws: Draws,
        kubernetes: Kubernetes,
        workloads: Mapping[str, Workload],
    ) -> None:
        self.name = name
        self._address = address
        self._network = network
        self._timing = timing
        self._release = release
        self._kubernetes = kubernetes
        self._crashing = workload_states.crashing(workloads, release=release)
        self._faults = Faults(fault)
        self._load_balancer = load_balancer
        self._published = published
        self._draws = draws
        self._machine = Machine.numbered(number, cluster=name)
        self._authority = Authority(f"{name}-ca")
        self.store = Store()
        self.state = State(
            store=self.store,
            machine=self._machine,
            authority=self._authority.certificate,
            release=release,
            kubernetes=kubernetes,
            workloads={**workloads, **dict.fromkeys(self._crashing, Workload.CRASHING)},
        )
        node = f"system:node:{self._machine.name}"
        self._accounts = Accounts(
            self.store,
            authority=self._authority,
            system=(KUBE_CONTROLLER_MANAGER, KUBE_PROXY, node),
            rules=rules,
        )
        self._proxy = Proxy(self.store, network=network, cluster=name)
        self._webhooks = Webhooks(self.store, network=network, cluster=name)
        self._api = Api(
            self.store,
            access=self._accounts.access,
            proxy=self._proxy,
            webhooks=self._webhooks,
            version=release.kubernetes,
        )
        self._ports = Ports(
            self._api,
            cluster=name,
            authority=self._authority,
            machine=self._machine.address,
            address=address,
            reachable=reachable,
            certificate=kubernetes.certificate,
            firewall=kubernetes.firewall,
        )
        network.add_server(self._ports.server)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: list[Client] = []
        self._node: Node | None = None

    async def start_server(self) -> None:
        """Open the port."""
        clock.set_ahead(self._kubernetes.clock)
        self._loop = asyncio.get_running_loop()
        await self._ports.open()

    async def start_actors(self) -> None:
        """Start what acts by itself, except for KubeSphere's controllers.

        Returns when the Services work and the pods that were laid down as running do run.
        """
        clock.set_ahead(self._kubernetes.clock)
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
            draws=self._draws,
            seen=checksum(laid["spec"]) if laid else None,
            logs=self.state.logs,
            connect_as=self._connect_as,
            connect=self._connect_account,
            others=(workloads, Jobs(manager, node=self._machine.name), Namespaces(manager)),
            crashing=self._crashing,
            unpullable=self._kubernetes.unpullable,
        )
        await self._node.start()

    async def start_controllers(self) -> None:
        """Start KubeSphere's controllers; returns when they run."""
        if self._node is not None:
            await self._node.start_controllers()

    async def stop_actors(self) -> None:
        """Stop what acts by itself."""
        if self._node is not None:
            await self._node.stop()

    async def stop(self) -> None:
        """End the watches and close the port, when nothing acts any more, here or in another cluster."""
        self._api.disturbances.interrupt()
        self.store.end_watches()
        for client in self._clients:
            await client.close()
        await self._proxy.close()
        await self._webhooks.close()
        await self._ports.stop()
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
        return f"https://{self._address}:{self._ports.port}"

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

    def issue_kubeconfig(self, name: str, issued: Kubeconfig) -> dict[str, Any]:
        """Return a kubeconfig of a new user of that name, as a person might have got it. Once a name."""
        servers = {issued_kubeconfigs.MACHINE: self.server, issued_kubeconfigs.PODS: self.pod_server}

        def issue() -> dict[str, Any]:
            return self._accounts.issue_user(issued, name=name, add_account=self._add_administrator)

        document = kubeconfigs.build(
            name=self.name,
            server=servers.get(issued.server, issued.server),
            user=self._in_loop(issue),
            user_name=name,
            authority=ports.choose_authority(issued.authority or Issuer.OWN, own=self._authority).certificate,
        )
        if issued.authority is None:
            entry = document["clusters"][0]["cluster"]
            document["clusters"][0]["cluster"] = {"server": entry["server"], "insecure-skip-tls-verify": True}
        return document

    def _add_administrator(self, name: str) -> None:
        """Make a service account that is a cluster administrator."""
        namespace = "kube-system"
        self.store.create(resources.SERVICEACCOUNTS, content={"metadata": {"name": name}}, namespace=namespace)
        binding = manifests.administrator(name, namespace=namespace)
        self.store.create(resources.CLUSTERROLEBINDINGS, content=binding)

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

        write = functools.partial(self.store.patch, resource, name=name, patch=patch, namespace=namespace or "")

        async def change() -> Object:
            try:
                changed = await self._api.write(write, target=target, user="person")
            except status.ApiError as error:
                record(code=error.code)
                raise
            record(code=200)
            return copy.deepcopy(changed)

        return self._await_in_loop(change())

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
            clock.set_ahead(self._kubernetes.clock)
            self._api.disturbances.interrupt()
            await self._ports.restart(seconds)

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

    def fetch(self, url: str) -> httpx.Response:
        """Return what a pod of this cluster gets from a URL. Raises DialError."""

        async def fetch() -> httpx.Response:
            async with self._network.client(self.name) as client:
                return await client.get(url)

        answer: httpx.Response = self._await_in_loop(fetch())
        return answer

    def cut_tunnel(self, seconds: float) -> None:
        """Cut this cluster's pods off from the others for some time: what the agent dials times out."""

        def cut() -> None:
            self._network.isolate(self.name)
            asyncio.get_running_loop().call_later(seconds, self._network.reconnect, self.name)

        self._in_loop(cut)

    def raise_firewall(self) -> None:
        """Drop from now on what the pods of other clusters send to this API server; Airflow reaches it as before."""
        self._in_loop(lambda: self._network.raise_firewall(self.name))

    def secrets(self) -> list[str]:
        """Return every value of this cluster that must not leak: what is or was in a Secret, or is a credential."""
        return self._in_loop(self._collect_secrets)

    def _collect_secrets(self) -> list[str]:
        keys = {text for key in self._ports.keys for text in (key, accounts.encode(key))}
        kinds = credentials.KINDS
        items = [(event.resource, event.object) for event in self.store.history()]
        items += [(kind, item) for kind in kinds for item in self.store.select(kind)]
        found = self._accounts.secrets() | keys | credentials.find_all(items)
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
