"""Is the member joined? Asked of the clusters themselves, with the official client, as an administrator.

Nothing of this comes from Airflow or from the product: a run may say what it likes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client, config

_NAMESPACE = "kubesphere-system"


@dataclasses.dataclass(frozen=True)
class Claim:
    """One thing that is true of a joined member, or is not."""

    text: str
    holds: bool
    evidence: str


def claims(cluster: str, *, host: Path, member: Path) -> list[Claim]:
    """Read from both clusters what makes `cluster` a member; `host` and `member` are kubeconfig files.

    What cannot be read does not hold.
    """
    with (
        config.new_client_from_config(str(host)) as on_host,
        config.new_client_from_config(str(member)) as on_member,
    ):
        return [
            _attempt("the host reports it Ready", lambda: _ready(on_host, cluster=cluster)),
            _attempt("it is that very cluster", lambda: _same_identity(on_host, on_member, cluster=cluster)),
            _attempt("both sign tokens with the same secret", lambda: _same_secret(on_host, on_member)),
            _attempt("the member knows its role", lambda: _role(on_member)),
        ]


def _attempt(text: str, check: Callable[[], tuple[bool, str]]) -> Claim:
    try:
        holds, evidence = check()
    except client.ApiException as error:
        holds, evidence = False, f"cannot be read: {error.status} {error.reason}"
    except urllib3.exceptions.HTTPError as error:
        holds, evidence = False, f"cannot be read: {error}"
    return Claim(text=text, holds=holds, evidence=evidence)


def _ready(host: Any, *, cluster: str) -> tuple[bool, str]:
    conditions = _cluster(host, name=cluster).get("status", {}).get("conditions", [])
    # The last entry of a type counts (kubesphere-facts 6.1).
    shown = {condition["type"]: condition for condition in conditions}
    ready = shown.get("Ready", {"status": "absent"})
    return ready["status"] == "True", f"condition Ready is {ready['status']}: {ready.get('message', '')}"


def _same_identity(host: Any, member: Any, *, cluster: str) -> tuple[bool, str]:
    reported = _cluster(host, name=cluster).get("status", {}).get("uid")
    actual = client.CoreV1Api(member).read_namespace("kube-system").metadata.uid
    return reported == actual, f"status.uid on the host {reported}, kube-system on the member {actual}"


def _same_secret(host: Any, member: Any) -> tuple[bool, str]:
    secrets = [str(_configuration(side).get("authentication", {}).get("jwtSecret") or "") for side in (host, member)]
    prints = [hashlib.sha256(secret.encode()).hexdigest()[:12] if secret else "none" for secret in secrets]
    evidence = "SHA-256 of jwtSecret {} on the host, {} on the member".format(*prints)
    return bool(secrets[0]) and secrets[0] == secrets[1], evidence


def _role(member: Any) -> tuple[bool, str]:
    role = _configuration(member).get("multicluster", {}).get("clusterRole")
    return role == "member", f"clusterRole in force is {role}"


def _cluster(host: Any, *, name: str) -> dict[str, Any]:
    found = client.CustomObjectsApi(host).get_cluster_custom_object(
        group="cluster.kubesphere.io", version="v1alpha1", plural="clusters", name=name
    )
    return dict(found)


def _configuration(cluster: Any) -> dict[str, Any]:
    """Return the configuration in force, kept as YAML in a ConfigMap (kubesphere-facts 3)."""
    found = client.CoreV1Api(cluster).read_namespaced_config_map("kubesphere-config", _NAMESPACE)
    return dict(yaml.safe_load(found.data["kubesphere.yaml"]))
