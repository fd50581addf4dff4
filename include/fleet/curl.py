"""What the pods of a cluster reach, asked by curl in a Job: the Job, and what curl's answer means.

Pure. The Job holds an address and a certificate authority, nothing that is secret: curl asks without a credential. It
is one object: the authority is an annotation of its pod, which the downward API shows as a file. So it takes neither a
shell in the image nor a ConfigMap.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from include.fleet import kinds, kubeconfig

COMPONENT = {"app.kubernetes.io/managed-by": "join-member-cluster", "app.kubernetes.io/component": "probe"}
MEMBER_LABEL = "join-member-cluster/member"
QUESTION_ANNOTATION = "join-member-cluster/question"
AUTHORITY_ANNOTATION = "join-member-cluster/authority"
TTL = 300
"""Seconds after which Kubernetes itself removes a finished Job (from 1.21 on) whose run was killed."""

VERSION = "version"
UPGRADE = "upgrade"
HEALTH = "health"

_MOUNT = "/probe"
_FILE = "authority.crt"
_USER = 65534
"""Nobody. As a number, since Kubernetes cannot tell whether a name is root."""
_WRITE_OUT = "%{{stderr}}probe {name} %{{http_code}} %{{exitcode}} %{{errormsg}}\\n"
_LINE = re.compile(r"^probe (\w+) (\d{3}) (\d+) ?(.*)$", re.MULTILINE)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_API_SERVER = (200, 401, 403)
"""What an API server answers to who shows no credential, as its settings are."""
_PROTOCOL = "kubesphere-v1"
"""The subprotocol of tower's WebSocket (kubesphere-facts 8)."""
_LONG_LIVED = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")
"""Why a container waits that does not begin within seconds any more."""


@dataclass(frozen=True)
class Answer:
    """How one of curl's requests ended."""

    status: int
    """The HTTP status; 0 without an answer."""
    code: int
    """curl's exit code; a WebSocket that stays open ends with 28."""
    said: str
    """curl's words; "" if nothing failed."""


@dataclass(frozen=True)
class Target:
    """An API server as a kubeconfig leads to it, without who asks."""

    server: str
    authority: str = ""
    """PEM; "" for the authorities that the image knows."""
    server_name: str = ""
    """The name in its certificate, if that is not the one of its address."""
    insecure: bool = False
    """Whether nobody looks at its certificate."""


def target(prepared: kubeconfig.Kubeconfig) -> Target:
    """Return where a kubeconfig leads to. Of its authority only certificates are taken, whatever else is in there."""
    cluster = prepared.cluster
    authority = base64.b64decode(cluster.get("certificate-authority-data") or "").decode(errors="replace")
    return Target(
        server=prepared.server,
        authority="".join(f"{found}\n" for found in _CERTIFICATE.findall(authority)),
        server_name=str(cluster.get("tls-server-name") or ""),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
    )


def version_command(target: Target, *, seconds: float) -> list[str]:
    """Return the command that asks an API server for its version; a connection has so many seconds to be made."""
    parts, options = urlsplit(target.server), []
    host, port = parts.hostname or "", parts.port or 443
    shown = f"[{host}]" if ":" in host else host
    if target.server_name:
        options += ["--connect-to", f"{target.server_name}:{port}:{shown}:{port}"]
    if target.insecure:
        options += ["--insecure"]
    elif target.authority:
        options += ["--cacert", f"{_MOUNT}/{_FILE}"]
    url = f"https://{target.server_name or shown}:{port}/version"
    return ["curl", *_request(VERSION, seconds=seconds, longest=2 * seconds), *options, "--output", "/dev/null", url]


def tower_command(address: str, *, seconds: float) -> list[str]:
    """Return the command that asks tower for a WebSocket as its agent does, and then whether it is well.

    Tower keeps a WebSocket open and waits for more, so this request ends by its time. It comes first: a container ends
    as the last request did.
    """
    address = address.rstrip("/")
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        # Any 16 bytes; this is the example of RFC 6455.
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": _PROTOCOL,
    }
    upgrade = ["--http1.1", "--output", "/dev/null"]
    upgrade += [word for key, value in headers.items() for word in ("--header", f"{key}: {value}")]
    return [
        "curl",
        *_request(UPGRADE, seconds=seconds, longest=seconds),
        *upgrade,
        f"{address}/",
        "--next",
        *_request(HEALTH, seconds=seconds, longest=2 * seconds),
        f"{address}/health",
    ]


def _request(name: str, *, seconds: float, longest: float) -> list[str]:
    times = ["--connect-timeout", f"{seconds:g}", "--max-time", f"{longest:g}"]
    return ["--silent", *times, "--write-out", _WRITE_OUT.format(name=name)]


def job(
    ref: kinds.Ref,
    command: Sequence[str],
    *,
    member: str,
    authority: str,
    image: str,
    question: str,
    seconds: float,
) -> dict[str, Any]:
    """Return the Job that runs a command once, for so many seconds at most.

    *question* tells this Job from one of the same name that asks something else.
    """
    labels = {**COMPONENT, MEMBER_LABEL: member}
    item = {"path": _FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{AUTHORITY_ANNOTATION}']"}}
    container = {
        "name": "curl",
        "image": image,
        "command": list(command),
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"cpu": "200m", "memory": "64Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "authority", "mountPath": _MOUNT, "readOnly": True}],
    }
    return {
        "apiVersion": kinds.JOB.api_version,
        "kind": kinds.JOB.name,
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": labels,
            "annotations": {QUESTION_ANNOTATION: question},
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": max(1, round(seconds)),
            "ttlSecondsAfterFinished": TTL,
            "template": {
                "metadata": {"labels": labels, "annotations": {AUTHORITY_ANNOTATION: authority}},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": _USER,
                        "runAsGroup": _USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container],
                    "volumes": [{"name": "authority", "downwardAPI": {"items": [item]}}],
                },
            },
        },
    }


def answers(log: str) -> dict[str, Answer]:
    """Return how curl's requests ended, by name, as the log of its container tells."""
    return {name: Answer(int(status), int(code), said.strip()) for name, status, code, said in _LINE.findall(log)}


def is_well(log: str) -> bool:
    """Tell whether tower's /health said OK: its body is the only thing that curl prints besides its answers."""
    return "OK" in log.splitlines()


def is_api_server(answer: Answer) -> bool:
    """Tell whether an answer is one of an API server's."""
    return answer.status in _API_SERVER


def trouble(answer: Answer) -> tuple[str, str]:
    """Return why there was no answer, and what to do; ("", "") if there was one."""
    if answer.status:
        return "", ""
    said = f"curl: ({answer.code}) {answer.said}"
    if answer.code in (51, 60) or (answer.code == 77):
        return _distrust(answer.said, said=said)
    for codes, why, what in _TROUBLES:
        if answer.code in codes:
            return f"{why} ({said})", what
    return f"no answer ({said})", "Look at what stands between the two clusters."


def _distrust(words: str, *, said: str) -> tuple[str, str]:
    if "subject name" in words or "does not match" in words:
        why = "it is reached, but its certificate does not name this address"
        return f"{why} ({said})", "Take an address that the certificate names, or have the certificate name this one."
    if "expired" in words or "not yet valid" in words:
        why = "it is reached, but its certificate has expired or is not valid yet"
        return f"{why} ({said})", "Renew the certificate, and compare the clocks of both clusters."
    if "setting certificate" in words or "trust anchors" in words:
        why = "the certificate authority in the kubeconfig cannot be read"
        return f"{why} ({said})", "Take the kubeconfig anew from the member."
    why = "it is reached, but its certificate is of an authority that is not trusted"
    what = "Take the kubeconfig anew from the member; or something on the way opens the connection."
    return f"{why} ({said})", what


_TROUBLES = (
    ((5, 6), "its name is not resolved", "Take an IP address, or have the cluster's DNS know the name."),
    ((7,), "nothing listens there, or there is no way to it", "Check address, port and firewall from those pods."),
    ((28,), "no answer in time", "Check address and firewall as seen from those pods."),
    ((35,), "it is reached, but does not speak TLS as it should", "Check scheme and port of the address."),
    ((52, 56), "it is reached, but the connection is cut", "Look at what stands between the two clusters."),
)


def pod_state(pod: Mapping[str, Any]) -> tuple[str, bool]:
    """Return what a pod that has not ended is doing, in words, and whether it is sure not to begin soon."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting")
        if waiting:
            reason, message = str(waiting.get("reason") or "waiting"), str(waiting.get("message") or "")
            return f"its pod waits: {reason}: {message}".rstrip(": "), reason in _LONG_LIVED
        if "running" in (container.get("state") or {}):
            return "its pod is running", False
    scheduled: Mapping[str, Any] = next(
        (each for each in status.get("conditions") or [] if each["type"] == "PodScheduled"), {}
    )
    if scheduled.get("status") == "False":
        return f"its pod has no node: {scheduled.get('message') or scheduled.get('reason')}", False
    return f"its pod is {status.get('phase', 'Pending')}", False


def ending(pod: Mapping[str, Any]) -> str:
    """Return how the container of a pod ended, in words, or "" while it has not."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            message = ended.get("message") or ""
            return f"{ended.get('reason') or 'ended'}, exit code {ended.get('exitCode')}: {message}".rstrip(": ")
    if status.get("phase") in ("Succeeded", "Failed"):
        return f"{status.get('reason') or status['phase']}: {status.get('message') or ''}".rstrip(": ")
    return ""


def is_over(found: Mapping[str, Any]) -> str:
    """Return why a Job has finished, or "" while it has not."""
    for condition in (found.get("status") or {}).get("conditions") or []:
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            said = (condition.get("reason") or condition["type"], condition.get("message") or "")
            return ": ".join(word for word in said if word)
    return ""
