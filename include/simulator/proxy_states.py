"""What proxy connections add to the objects that a cluster starts with: the agent, and a Cluster behind tower."""

from __future__ import annotations

from include.simulator import allocation, manifests, resources, store
from include.simulator.actors import tower
from include.simulator.manifests import SYSTEM_NAMESPACE, Object
from include.simulator.published import LeftAgent
from include.simulator.states import State

_SERVICES = (
    "--kubesphere-service=ks-apiserver.kubesphere-system.svc:80",
    "--kubernetes-service=kubernetes.default.svc:443",
)


def lay_agent(member: State, agent: LeftAgent) -> None:
    """Lay down the Deployment that ks-apiserver renders for a Cluster, with its pod running (kubesphere-facts 7.4)."""
    manifest = manifests.deployment(
        "cluster-agent",
        namespace=SYSTEM_NAMESPACE,
        image=member.release.tower_image,
        account="kubesphere",
        container="agent",
        labels={"app": "agent", "app.kubernetes.io/part-of": "tower"},
        command=[
            "/agent",
            f"--name={agent.name}",
            f"--token={agent.token}",
            f"--proxy-server={agent.server}",
            "--keepalive=10s",
            *_SERVICES,
            "--v=0",
        ],
    )
    manifest["metadata"].pop("labels")
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = {
        "limits": {"cpu": "1", "memory": "200M"},
        "requests": {"cpu": "100m", "memory": "100M"},
    }
    member.lay_deployment(manifest, namespace=SYSTEM_NAMESPACE)


def lay_behind_tower(host: State, member: State, *, name: str, token: str, server: str, ports: dict[str, int]) -> None:
    """Lay down a Cluster that is joined through tower, and the agent that is connected to `server`.

    `token` is that of the member's service account for federation, `ports` are those that were drawn for it.
    """
    connection: Object = {"type": "proxy", "token": allocation.new_token(), **ports}
    service = host.put(
        resources.SERVICES, allocation.build_service(name, connection=connection), namespace=SYSTEM_NAMESPACE
    )
    connection |= allocation.endpoints(service)
    kubernetes = connection["kubernetesAPIEndpoint"]
    host.lay_joined(member, name=name, kubeconfig=tower.build_kubeconfig(kubernetes), server=kubernetes, token=token)
    laid = host.store.get(resources.CLUSTERS, name=name)
    now = store.timestamp()
    times = {"lastUpdateTime": now, "lastTransitionTime": now}
    initialized = {"reason": "Initialized", "message": "Cluster has been initialized"}
    host.store.patch(
        resources.CLUSTERS,
        name=name,
        patch={
            "spec": {"connection": connection},
            "status": {
                "conditions": [
                    {"type": "Initialized", "status": "True", **initialized, **times},
                    {"type": "AgentAvailable", "status": "True", "message": tower.CONNECTED, **times},
                    *laid["status"]["conditions"],
                ]
            },
        },
    )
    lay_agent(member, LeftAgent(name=name, token=connection["token"], server=server))


def tower_address(host: State) -> str:
    """Return an address of the host's tower that works from everywhere: its node port."""
    service = host.store.get(resources.SERVICES, name="tower", namespace=SYSTEM_NAMESPACE)
    return f"http://{host.machine.address}:{service['spec']['ports'][0]['nodePort']}"
