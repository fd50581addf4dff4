"""Kubeconfigs that people have got for a cluster, good ones and others: part of a scenario.

Each becomes an Airflow connection and a file of its own. Those of the clusters themselves stay good.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final

from include.simulator.access import Rule
from include.simulator.foundation import Issuer

MACHINE: Final = "machine"
PODS: Final = "pods"


class Identity(enum.Enum):
    """How a kubeconfig says who its user is.

    By a client certificate or a bearer token of a user of its own, or by the token of a service account. `EMPTY` is a
    token that was read where none was (failures 13), `INVALID` one that the cluster does not know. The others work on
    the machine where they were written and nowhere else: a plugin, a provider, a file with a token, files with a client
    certificate.
    """

    CERTIFICATE = "certificate"
    TOKEN = "token"  # noqa: S105 - the name of a way
    ACCOUNT = "account"
    EMPTY = "empty"
    INVALID = "invalid"
    EXEC = "exec"
    PROVIDER = "auth-provider"
    TOKEN_FILE = "token-file"  # noqa: S105 - the name of a way
    FILES = "files"


DATED: Final = (Identity.CERTIFICATE, Identity.ACCOUNT)
KNOWN: Final = (Identity.CERTIFICATE, Identity.TOKEN, Identity.ACCOUNT)


@dataclass(frozen=True, kw_only=True)
class Kubeconfig:
    """A kubeconfig of a cluster.

    `server` is the address as this machine reaches it, as pods do, or any other text. `authority` is the authority
    in it, None for `insecure-skip-tls-verify`. `days` are those until the client certificate or the token ends,
    negative for one that has ended; `forbid` takes rights from its user, who is an administrator otherwise.
    """

    cluster: str
    server: str = MACHINE
    authority: Issuer | None = Issuer.OWN
    identity: Identity = Identity.TOKEN
    days: float = 365
    forbid: tuple[Rule, ...] = ()


def kubeconfig_user(identity: Identity, *, token: str, certificate: str, key: str) -> dict[str, Any]:
    """Return the user's part of a kubeconfig; the certificate and its key are base64 text."""
    if identity is Identity.CERTIFICATE:
        return {"client-certificate-data": certificate, "client-key-data": key}
    parts: dict[Identity, dict[str, Any]] = {
        Identity.EMPTY: {"token": ""},
        Identity.EXEC: {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1beta1",
                "command": "aws",
                "args": ["eks", "get-token", "--cluster-name", "production"],
            }
        },
        Identity.PROVIDER: {"auth-provider": {"name": "gcp", "config": {"cmd-path": "gcloud"}}},
        Identity.TOKEN_FILE: {"tokenFile": "/home/me/.kube/token"},
        Identity.FILES: {"client-certificate": "/home/me/.kube/me.crt", "client-key": "/home/me/.kube/me.key"},
    }
    return parts.get(identity, {"token": token})
