"""The credentials for the API of one cluster: those it hands out, and what becomes of them."""

from __future__ import annotations

import asyncio
import base64
import datetime
import secrets
from collections.abc import Callable
from typing import Any, Final

from include.simulator import issued as issued_kubeconfigs
from include.simulator import tokens
from include.simulator.access import Access, Rule
from include.simulator.certificates import Authority
from include.simulator.issued import Identity, Kubeconfig
from include.simulator.store import Store

AIRFLOW: Final = "airflow"
_ACCOUNTS: Final = "kube-system"


class Accounts:
    """Users `airflow` (token) and `admin` (client certificate), those of Kubernetes itself, and service accounts.

    `system` are the names of Kubernetes' own users, `rules` take rights from `airflow`.
    """

    def __init__(self, store: Store, *, authority: Authority, system: tuple[str, ...], rules: tuple[Rule, ...]) -> None:
        self.signing_key = secrets.token_urlsafe(32)
        self.access = Access(store, signing_key=self.signing_key, rules={AIRFLOW: rules})
        self._authority = authority
        self._issued: set[str] = set()
        self._admin = authority.issue_client("admin", groups=["system:masters"])
        self._system = {user: secrets.token_urlsafe(32) for user in system}
        for user, token in self._system.items():
            self.access.add_token(token, user=user)
        # The last is the present one.
        self._airflow: list[str] = []
        self.issue_token()

    def system_token(self, user: str) -> str:
        """Return the token of one of Kubernetes' own users. Raises KeyError."""
        return self._system[user]

    def service_account_token(self, *, namespace: str, name: str) -> str:
        """Return a token of a service account."""
        return tokens.service_account_token(namespace=namespace, name=name, key=self.signing_key)

    def kubeconfig_user(self, name: str) -> dict[str, Any]:
        """Return how a kubeconfig identifies `airflow` or `admin`. Raises KeyError."""
        users: dict[str, dict[str, Any]] = {
            AIRFLOW: {"token": self._airflow[-1]},
            "admin": {
                "client-certificate-data": encode(self._admin.certificate),
                "client-key-data": encode(self._admin.key),
            },
        }
        return users[name]

    def issue_user(self, issued: Kubeconfig, *, name: str, add_account: Callable[[str], object]) -> dict[str, Any]:
        """Return how a kubeconfig identifies a new user of that name, or a new service account in kube-system.

        `add_account` makes the account.
        """
        lifetime, token, pair = datetime.timedelta(days=issued.days), secrets.token_urlsafe(32), None
        user = name
        if issued.identity is Identity.CERTIFICATE:
            pair = self._authority.issue_client(name, groups=["system:masters"], lifetime=lifetime)
        elif issued.identity is Identity.TOKEN:
            self.access.add_token(token, user=name)
        elif issued.identity is Identity.ACCOUNT:
            add_account(name)
            user = f"system:serviceaccount:{_ACCOUNTS}:{name}"
            end = (datetime.datetime.now(datetime.UTC) + lifetime).timestamp()
            token = tokens.service_account_token(namespace=_ACCOUNTS, name=name, key=self.signing_key, expiry=end)
        self.access.restrict(user, issued.forbid)
        certificate, key = (pair.certificate, pair.key) if pair else ("", "")
        self._issued |= {token, key, encode(key)}
        return issued_kubeconfigs.kubeconfig_user(
            issued.identity, token=token, certificate=encode(certificate), key=encode(key)
        )

    def issue_token(self) -> None:
        """Give `airflow` another token; the ones before stay valid."""
        token = secrets.token_urlsafe(32)
        self.access.add_token(token, user=AIRFLOW)
        self._airflow.append(token)

    def revoke_tokens(self) -> None:
        """Take no token of `airflow` but the newest."""
        for token in self._airflow[:-1]:
            self.access.remove_token(token)

    def refuse_token(self, seconds: float) -> None:
        """Do not take the newest token of `airflow` for some time."""
        token = self._airflow[-1]

        def restore() -> None:
            if token == self._airflow[-1]:
                self.access.add_token(token, user=AIRFLOW)

        self.access.remove_token(token)
        asyncio.get_running_loop().call_later(seconds, restore)

    def secrets(self) -> set[str]:
        """Return what must not leak: every token that was ever valid, and the keys."""
        return {
            *self._issued,
            *self._airflow,
            *self._system.values(),
            self.signing_key,
            self._admin.key,
            encode(self._admin.key),
        }


def encode(text: str) -> str:
    """Return a text as Secrets and kubeconfigs hold it."""
    return base64.b64encode(text.encode()).decode()
