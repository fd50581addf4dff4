"""A real etcd, kube-apiserver and kube-controller-manager for one cluster, on loopback, with RBAC."""

import base64
import contextlib
import dataclasses
import json
import os
import re
import secrets
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.envtest import binaries

LOOPBACK = "127.0.0.1"
SERVICE_RANGE = "10.233.0.0/18"
CONTROLLERS = (
    "deployment",
    "endpoint",
    "endpointslice",
    "garbagecollector",
    "job",
    "namespace",
    "replicaset",
    "root-ca-cert-publisher",
    "serviceaccount",
    "serviceaccount-token",
    "ttl-after-finished",
)
"""What of kube-controller-manager runs: not what looks after nodes, whose heartbeats nobody plays."""
_READY_WITHIN = 120
"""Seconds."""
_LAST_WORD = re.compile(r"F\d{4} ")
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}


class ControlPlaneError(Exception):
    """A control plane did not start, or ended early; has the end of the log that tells why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class User:
    """A user of the API server with a static token."""

    name: str
    groups: tuple[str, ...] = ()
    token: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


class ControlPlane:
    """The three programs. `start` returns when they serve, `stop` when they have ended.

    The API server dials pods and nodes through the Unix socket `egress` alone, so that nothing leaves this machine.
    *authority* issues its certificates and *names* and *addresses* are in that of the server. With *makes_tokens*
    each service account gets a token Secret by itself, as up to Kubernetes 1.23; from 1.26 on that cannot be had.
    """

    def __init__(
        self, *, directory, authority, names=("localhost",), addresses=(LOOPBACK,), users=(), makes_tokens=False
    ):
        self._directory = Path(directory)
        self.egress = self._directory / "egress.sock"
        self._authority = authority
        self._names, self._addresses = names, addresses
        self._users = users
        self._makes_tokens = makes_tokens
        self._manager = User(name="system:kube-controller-manager", groups=("system:masters",))
        self._running = {}
        self._reserved = [_reserve() for _ in range(3)]
        self.port, self._etcd_port, self._peer_port = (held.getsockname()[1] for held in self._reserved)

    @property
    def server(self):
        """The address of the API server."""
        return f"https://{LOOPBACK}:{self.port}"

    def start(self):
        """Start all; raises ControlPlaneError, and MissingError if the programs have not been built."""
        programs = binaries.find()
        if programs is None:
            raise binaries.MissingError("The programs have not been built: run `make test-envtest`.")
        self._gates = _gates(programs) if self._makes_tokens else []
        self._directory.mkdir(parents=True, exist_ok=True)
        files = self._write_files()
        self._run("etcd", [programs / "etcd", *self._etcd_flags()])
        self._server_command = [programs / "kube-apiserver", *self._server_flags(files)]
        self._run("kube-apiserver", self._server_command)
        self._wait("/readyz")
        # It waits for the server only 10 s, and gives up.
        self._run("kube-controller-manager", [programs / "kube-controller-manager", *self._manager_flags(files)])
        # The last thing that a namespace gets from kube-controller-manager.
        self._wait("/api/v1/namespaces/default/serviceaccounts/default")

    def stop(self):
        """End all, the last first; safe to repeat."""
        for program in reversed(self._running.values()):
            program.stdin.close()
        for program in self._running.values():
            program.wait()
        self._running.clear()
        for held in self._reserved:
            held.close()

    def crash_server(self):
        """Kill the API server without warning."""
        for program in psutil.Process(self._running["kube-apiserver"].pid).children():
            program.kill()
        guard = self._running.pop("kube-apiserver")
        guard.stdin.close()
        guard.wait()

    def start_server(self):
        """Start the API server again; returns when it serves."""
        self._run("kube-apiserver", self._server_command)
        self._wait("/readyz")

    def compact(self):
        """Have etcd forget all history up to now; raises httpx.HTTPError."""
        etcd = f"http://{LOOPBACK}:{self._etcd_port}/v3/kv"
        key = base64.b64encode(b"compact_rev_key").decode()
        present = httpx.post(f"{etcd}/range", json={"key": key}, trust_env=False).raise_for_status().json()
        revision = present["header"]["revision"]
        httpx.post(f"{etcd}/compaction", json={"revision": revision}, trust_env=False).raise_for_status()

    def audit(self):
        """Return the audit log's events, oldest first."""
        path = self._directory / "audit.jsonl"
        # The last line may be half there.
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def ask(self, path):
        """Return the answer to a GET as an administrator; raises httpx.HTTPError."""
        context = ssl.create_default_context(cadata=self._authority.certificate)
        headers = {"Authorization": f"Bearer {self._manager.token}"}
        answer = httpx.get(f"{self.server}{path}", verify=context, headers=headers, trust_env=False, timeout=10)
        return answer.raise_for_status().text

    def _run(self, name, command):
        """Start a program that ends when this process does, however that comes about."""
        log = self._directory / f"{name}.log"
        with log.open("ab") as output:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-S", "-E", str(Path(__file__).with_name("guard.py")), *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A Ctrl-C at the terminal is for this process, which ends them in its own time.
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "HOME": str(self._directory)},
            )

    def _wait(self, path):
        deadline = time.monotonic() + _READY_WITHIN
        while True:
            try:
                self.ask(path)
                return
            except httpx.HTTPError as error:
                last = error
            for name, program in self._running.items():
                if program.poll() is not None:
                    raise ControlPlaneError(f"{name} ended with {program.returncode}: {self._tail(name)}")
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"{path} is not served: {last}: {self._tail('kube-apiserver')}")
            time.sleep(0.1)

    def _tail(self, name):
        lines = (self._directory / f"{name}.log").read_text(errors="replace").splitlines()
        # After its last word Go's logger tells what every goroutine was doing.
        return "\n".join([line for line in lines if _LAST_WORD.match(line)] or lines[-15:])

    def _write_files(self):
        server = self._authority.issue_server("kube-apiserver", names=self._names, addresses=self._addresses)
        kubelet = self._authority.issue_client("kube-apiserver-kubelet-client", groups=["system:masters"])
        signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        users = [*self._users, self._manager]
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
            "clusters": [
                {"name": "here", "cluster": {"server": self.server, "certificate-authority": self._path("ca.crt")}}
            ],
            "users": [{"name": "here", "user": {"token": self._manager.token}}],
        }
        egress = {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [
                {
                    "name": "cluster",
                    "connection": {
                        "proxyProtocol": "HTTPConnect",
                        "transport": {"uds": {"udsName": str(self.egress)}},
                    },
                }
            ],
        }
        contents = {
            "ca.crt": self._authority.certificate,
            "server.crt": server.certificate,
            "server.key": server.key,
            "kubelet.crt": kubelet.certificate,
            "kubelet.key": kubelet.key,
            "accounts.key": signing.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
            "tokens.csv": "".join(
                f'{user.token},{user.name},{number},"{",".join(user.groups)}"\n' for number, user in enumerate(users)
            ),
            "manager.kubeconfig": json.dumps(config),
            "audit.json": json.dumps(_AUDIT_POLICY),
            "egress.json": json.dumps(egress),
        }
        for name, content in contents.items():
            path = self._directory / name
            path.touch(mode=0o600)
            path.write_text(content, encoding="utf-8")
        return {name: self._path(name) for name in contents}

    def _path(self, name):
        return str(self._directory / name)

    def _etcd_flags(self):
        client, peer = (f"http://{LOOPBACK}:{port}" for port in (self._etcd_port, self._peer_port))
        return [
            f"--data-dir={self._path('etcd')}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--socket-reuse-port=true",
            # Nothing here has to survive a loss of power.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _server_flags(self, files):
        return [
            f"--etcd-servers=http://{LOOPBACK}:{self._etcd_port}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={self.port}",
            "--permit-port-sharing=true",
            # Its own address is a loopback one, which Endpoints must not have.
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--tls-cert-file={files['server.crt']}",
            f"--tls-private-key-file={files['server.key']}",
            f"--client-ca-file={files['ca.crt']}",
            f"--token-auth-file={files['tokens.csv']}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={files['accounts.key']}",
            f"--service-account-signing-key-file={files['accounts.key']}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={files['kubelet.crt']}",
            f"--kubelet-client-key={files['kubelet.key']}",
            f"--kubelet-certificate-authority={files['ca.crt']}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--egress-selector-config-file={files['egress.json']}",
            f"--audit-policy-file={files['audit.json']}",
            f"--audit-log-path={self._path('audit.jsonl')}",
            "--audit-log-mode=blocking-strict",
            *self._gates,
        ]

    def _manager_flags(self, files):
        return [
            f"--kubeconfig={files['manager.kubeconfig']}",
            f"--controllers={','.join(CONTROLLERS)}",
            f"--service-account-private-key-file={files['accounts.key']}",
            f"--root-ca-file={files['ca.crt']}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            *self._gates,
        ]


def _gates(programs):
    """Return the flag with which each service account gets a token Secret by itself, as long as there is one."""
    minor = int(re.search(r"v1\.(\d+)\.", binaries.version(programs, "kube-apiserver"))[1])
    return ["--feature-gates=LegacyServiceAccountTokenNoAutoGeneration=false"] if minor in {24, 25} else []


def _reserve():
    """Hold a port of loopback for a program that shares it: bound and never listening, so nobody else gets it."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((LOOPBACK, 0))
    return held


@contextlib.contextmanager
def running(plane):
    """Run a control plane for a while."""
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
