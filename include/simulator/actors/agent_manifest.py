"""The agent's manifest, which the console shows to be applied on a member: made by ks-apiserver (kubesphere-facts 7.4).

It has what the process knows at that moment: an address that is set later is in it after a restart only, and a Cluster
that tower has not prepared yet gives a manifest without a token.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from include.simulator import configuration, resources
from include.simulator.actors import agent
from include.simulator.actors.client import Client, Object
from include.simulator.manifests import SYSTEM_NAMESPACE

_DEFAULT_IMAGE: Final = "kubesphere/tower:v1.0"
_UNPUBLISHED: Final = (
    "cannot generate agent deployment yaml for member cluster  because {service} service has no public address, "
    "please check {service} status, or set address  mannually in ClusterConfiguration"
)


class ManifestError(Exception):
    """There is no manifest; `code` is the HTTP status, the text is the answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class AgentManifests:
    """Makes manifests with the configuration that a process has loaded, and with the address that it found first."""

    def __init__(self, client: Client, *, loaded: dict[str, Any]) -> None:
        self._client = client
        self._options = configuration.read_multicluster(loaded)
        self._address = str(self._options.get("proxyPublishAddress") or "")
        self._has_printed = False

    async def render(self, name: str) -> str:
        """Return the manifest for a Cluster, as YAML. Raises ManifestError and RequestError."""
        cluster = await self._client.find(resources.CLUSTERS, name=name)
        if cluster is None:
            raise ManifestError(404, f'cluster.cluster.kubesphere.io "{name}" not found')
        connection = (cluster.get("spec") or {}).get("connection") or {}
        if connection.get("type") != "proxy":
            raise ManifestError(404, f"cluster {name} is not using proxy connection")
        if not self._address:
            self._address = await self._find_address()
        try:
            agent.parse_address(self._address)
        except agent.FlagError as error:
            sentence = f"invalid proxy address {self._address}, should format like http[s]://1.2.3.4:123"
            raise ManifestError(500, sentence) from error
        image = self._options.get("agentImage") or _DEFAULT_IMAGE
        manifest = build(name, token=connection.get("token", ""), address=self._address, image=image)
        separator = "---\n" if self._has_printed else ""
        self._has_printed = True
        return separator + yaml.safe_dump(manifest, sort_keys=True)

    async def _find_address(self) -> str:
        """Return the address that tower's load balancer has. Raises ManifestError."""
        configured = str(self._options.get("proxyPublishService") or "")
        if not configured:
            raise ManifestError(404, "neither proxy address nor proxy service provided")
        name, _, rest = configured.partition(".")
        namespace = rest.partition(".")[0] or SYSTEM_NAMESPACE
        service = await self._client.find(resources.SERVICES, name=name, namespace=namespace)
        if service is None:
            raise ManifestError(404, f"service {name} not found in namespace {namespace}")
        listed = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        if not listed:
            raise ManifestError(404, _UNPUBLISHED.format(service=configured))
        host = listed[-1].get("ip") or listed[-1].get("hostname")
        return f"http://{host}:{service['spec']['ports'][0]['port']}"


def build(name: str, *, token: str, address: str, image: str) -> Object:
    """Return the manifest as the real one is printed, with what Go does not omit."""
    labels = {"app": "agent", "app.kubernetes.io/part-of": "tower"}
    command = [
        "/agent",
        f"--name={name}",
        f"--token={token}",
        f"--proxy-server={address}",
        "--keepalive=10s",
        "--kubesphere-service=ks-apiserver.kubesphere-system.svc:80",
        "--kubernetes-service=kubernetes.default.svc:443",
        "--v=0",
    ]
    container = {
        "name": "agent",
        "image": image,
        "command": command,
        "resources": {
            "limits": {"cpu": "1", "memory": "200M"},
            "requests": {"cpu": "100m", "memory": "100M"},
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"creationTimestamp": None, "name": "cluster-agent", "namespace": SYSTEM_NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "strategy": {},
            "template": {
                "metadata": {"creationTimestamp": None, "labels": dict(labels)},
                "spec": {"containers": [container], "serviceAccountName": "kubesphere"},
            },
        },
        "status": {},
    }
