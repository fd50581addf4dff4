"""A running simulation: all clusters of a scenario, in an event loop and thread of their own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from include.simulator import (
    allocation,
    certificates,
    clock,
    configuration,
    extra_clusters,
    issued,
    leftover_states,
    loading,
    proxy_states,
    resources,
    states,
)
from include.simulator.actors import cluster_controller, kubeconfigs
from include.simulator.cluster import Cluster
from include.simulator.issued import Identity, Kubeconfig
from include.simulator.manifests import FEDERATION_NAMESPACE, federation_account
from include.simulator.network import Network
from include.simulator.release import RELEASES, Release
from include.simulator.scenario import HOST_CLUSTER, Host, Member, Origin, Webhook

LOOPBACK: Final = "127.0.0.1"


class Simulation:
    """Starts the clusters of a scenario on entering, stops all of it on leaving.

    Writes `<cluster>.kubeconfig`, `<cluster>.admin.kubeconfig`, `<connection>.kubeconfig` for further connections,
    `kubeconfig` (for people: an administrator of all clusters, with a context by the name of each, at first the host's)
    and `connections.json` into the directory. The API servers listen at `address`, an IPv4 address or a name of this
    machine, and are called by it in these files.
    `make_cluster` makes each cluster; one with another API server can take the place of `Cluster`.
    Raises ScenarioError for a scenario that is refused, OSError for an address that is not this machine's.
    """

    def __init__(
        self,
        source: Mapping[str, Any] | Path | str,
        *,
        directory: Path | str,
        address: str = LOOPBACK,
        make_cluster: Callable[..., Cluster] = Cluster,
    ) -> None:
        self._make_cluster = make_cluster
        self._scenario = loading.load(source)
        self._release = RELEASES[self._scenario.kubesphere]
        self._directory = Path(directory).absolute()
        self._address = address
        self._network = Network()
        self._host_secret = states.new_secret()
        self._draws = allocation.Draws(self._scenario.host.tower_ports)
        self.clusters: dict[str, Cluster] = {}
        self.connections: dict[str, dict[str, Any]] = {}
        self._issued: dict[str, dict[str, Any]] = {}
        self._loop = asyncio.new_event_loop()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulation", daemon=True)

    def renew_credential(self, name: str) -> None:
        """Give Airflow another token for a cluster, in all files and connections, and then revoke the one before.

        May be called from any thread while the simulation runs. Raises KeyError for a cluster that does not exist.
        """
        with self._writing:
            self.clusters[name].issue_credential()
            self._write_files()
            self.clusters[name].revoke_credentials()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=30)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _start(self) -> None:
        host = self._scenario.host
        self._add(host, number=0)
        for number, member in enumerate(self._scenario.members, start=1):
            self._add(member, number=number)
        self._lay_host(host)
        for member in self._scenario.members:
            self._lay_member(member)
        self._lay_extra_clusters(host)
        self._network.answer_elsewhere(host.name, listeners=host.elsewhere)
        for name, kubeconfig in self._scenario.connections.items():
            self._issued[name] = self.clusters[kubeconfig.cluster].issue_kubeconfig(name, kubeconfig)
        await asyncio.gather(*(cluster.start_server() for cluster in self.clusters.values()))
        self._write_files()
        # The host first, so that agents find tower; the controllers last, so that they find the agents connected.
        await self.clusters[self._scenario.host.name].start_actors()
        await asyncio.gather(*(self.clusters[member.name].start_actors() for member in self._scenario.members))
        await asyncio.gather(*(cluster.start_controllers() for cluster in self.clusters.values()))

    async def _stop(self) -> None:
        await asyncio.gather(*(cluster.stop_actors() for cluster in self.clusters.values()))
        await asyncio.gather(*(cluster.stop() for cluster in self.clusters.values()))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        # Closed connections are torn down by callbacks of later rounds of the loop.
        await asyncio.sleep(0.01)

    def _add(self, described: Host | Member, *, number: int) -> None:
        self.clusters[described.name] = self._make_cluster(
            described.name,
            number=number,
            address=self._address,
            network=self._network,
            timing=self._scenario.timing,
            release=self._choose_release(described),
            reachable=getattr(described, "reachable", True),
            load_balancer=getattr(described, "load_balancer", None),
            published=getattr(described, "published", ()),
            draws=self._draws,
            kubernetes=described.kubernetes,
            workloads=described.workloads,
            rules=described.forbid,
            fault=described.installer,
        )
        if not getattr(described, "reaches_tower", True):
            self._network.isolate(described.name)

    def _choose_release(self, described: Host | Member) -> Release:
        release = RELEASES[getattr(described, "kubesphere", None) or self._scenario.kubesphere]
        return dataclasses.replace(release, kubernetes=described.kubernetes.version or release.kubernetes)

    def _lay_host(self, host: Host) -> None:
        clock.set_ahead(host.kubernetes.clock)
        cluster = self.clusters[host.name]
        spec = states.build_spec(role=host.role, jwt=host.jwt_in_spec or "")
        if host.proxy_address is not None:
            spec["multicluster"]["proxyPublishAddress"] = host.proxy_address
        text = configuration.render(spec, secret=self._host_secret, release=self._release)
        if host.role == "host" and self._release.states_role:
            text = configuration.rewrite(_load(text), cluster_name=HOST_CLUSTER)
        cluster.state.lay_kubernetes()
        default = Webhook.PRESENT if self._release.validates_clusters else Webhook.NONE
        cluster.state.lay_kubesphere(spec, secret=self._host_secret, settings=text, webhook=host.webhook or default)
        if host.role == "host":
            self._lay_host_role(cluster)
        for name, placed in host.workspaces.items():
            placement = {"clusters": [{"name": each} for each in placed]}
            content = {"metadata": {"name": name}, "spec": {"placement": placement}}
            cluster.state.put(resources.FEDERATEDWORKSPACES, content)
        if host.jwt_in_spec is not None:
            cluster.state.log_failed_run(host.jwt_in_spec)

    @staticmethod
    def _lay_host_role(cluster: Cluster) -> None:
        cluster.state.lay_host(
            kubeconfig=cluster_controller.host_kubeconfig(cluster.state.authority),
            token=cluster.account_token(namespace=FEDERATION_NAMESPACE, name=federation_account(HOST_CLUSTER)),
        )

    def _lay_member(self, member: Member) -> None:
        clock.set_ahead(member.kubernetes.clock)
        cluster = self.clusters[member.name]
        cluster.state.lay_kubernetes()
        if not member.installed:
            self._lay_leftovers(member)
            return
        secret = self._host_secret if member.secret is Origin.HOST else states.new_secret()
        in_force = states.build_spec(role=member.role, jwt=secret if member.secret is Origin.HOST else "")
        text = _member_settings(member, spec=in_force, secret=secret, release=cluster.state.release)
        spec = states.build_spec(role="member", jwt=self._host_secret) if member.spec_ahead else in_force
        cluster.state.lay_kubesphere(spec, secret=secret, settings=text)
        if member.spec_ahead:
            cluster.state.log_failed_run(self._host_secret)
        if member.role == "host":
            self._lay_host_role(cluster)
        self._lay_leftovers(member)
        if member.agent is not None:
            proxy_states.lay_agent(cluster.state, member.agent)
        if member.joined is not None and member.connection == "proxy":
            host = self.clusters[self._scenario.host.name].state
            proxy_states.lay_behind_tower(
                host,
                cluster.state,
                name=member.joined,
                token=cluster.account_token(namespace=FEDERATION_NAMESPACE, name=federation_account(member.joined)),
                server=self._scenario.host.proxy_address or proxy_states.tower_address(host),
                ports=self._draws.draw_apart(),
            )
        elif member.joined is not None:
            kubeconfig = cluster.kubeconfig("admin", server=cluster.pod_server)
            if member.kubeconfig_days is not None:
                described = Kubeconfig(
                    cluster=member.name,
                    server=issued.PODS,
                    identity=Identity.CERTIFICATE,
                    days=member.kubeconfig_days,
                )
                kubeconfig = cluster.issue_kubeconfig("kubernetes-admin", described)
            certificate = kubeconfig["users"][0]["user"]["client-certificate-data"]
            self.clusters[self._scenario.host.name].state.lay_joined(
                cluster.state,
                name=member.joined,
                kubeconfig=yaml.safe_dump(kubeconfig),
                server=cluster.pod_server,
                token=cluster.account_token(namespace=FEDERATION_NAMESPACE, name=federation_account(member.joined)),
                expiry=certificates.expiry(states.decode(certificate)),
            )

    def _lay_extra_clusters(self, host: Host) -> None:
        clock.set_ahead(host.kubernetes.clock)
        for name, extra in host.clusters.items():
            cluster = self.clusters[extra.of or host.name]
            text = yaml.safe_dump(cluster.kubeconfig("admin", server=cluster.pod_server))
            content = extra_clusters.build(name, extra, kubeconfig=text)
            self.clusters[host.name].state.put(resources.CLUSTERS, content)

    def _lay_leftovers(self, member: Member) -> None:
        cluster = self.clusters[member.name]
        leftover_states.lay(
            cluster.state,
            member.left,
            account_token=lambda name: cluster.account_token(namespace=FEDERATION_NAMESPACE, name=name),
        )

    def _write_files(self) -> None:
        """Write the kubeconfigs and the Airflow connections, readable by this user only."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for name, cluster in self.clusters.items():
            for user, file in (("airflow", f"{name}.kubeconfig"), ("admin", f"{name}.admin.kubeconfig")):
                self._write(file, text=yaml.safe_dump(cluster.kubeconfig(user), sort_keys=False))
        everywhere = kubeconfigs.combine(
            {name: cluster.kubeconfig("admin") for name, cluster in self.clusters.items()},
            current=self._scenario.host.name,
        )
        self._write("kubeconfig", text=yaml.safe_dump(everywhere, sort_keys=False))
        connections = {name: self._connection(name) for name in self.clusters}
        for name, document in self._issued.items():
            self._write(f"{name}.kubeconfig", text=yaml.safe_dump(document, sort_keys=False))
            connections[name] = {"conn_type": "kubernetes", "extra": {"kube_config": document}}
        for alias, name in self._scenario.aliases.items():
            connections[alias] = self._connection(name)
        self.connections = connections
        self._write("connections.json", text=json.dumps(self.connections, indent=2) + "\n")

    def _connection(self, name: str) -> dict[str, Any]:
        if name == self._scenario.host.name:
            extra: dict[str, Any] = {"kube_config_path": str(self._directory / f"{name}.kubeconfig")}
        else:
            extra = {"kube_config": self.clusters[name].kubeconfig()}
        return {"conn_type": "kubernetes", "extra": extra}

    def _write(self, name: str, *, text: str) -> None:
        """Write a file at one go: others may be reading the former one."""
        path = self._directory / f".{name}"
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        path.replace(self._directory / name)


def _member_settings(member: Member, *, spec: dict[str, Any], secret: str, release: Release) -> str:
    """Return the text in the ConfigMap of a member."""
    text = configuration.render(spec, secret=secret, release=release)
    if member.access_token_max_age is not None:
        text = text.replace("accessTokenMaxAge: 0", f"accessTokenMaxAge: {member.access_token_max_age}")
    own = HOST_CLUSTER if member.role == "host" else None
    name = member.joined or member.other_host or member.left.cluster_name or own
    if name is None or not release.states_role:
        return text
    return configuration.rewrite(_load(text), cluster_name=name)


def _load(text: str) -> dict[str, Any]:
    return configuration.parse({"data": {configuration.KEY: text}})
