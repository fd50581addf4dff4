"""Who is asking, and what may they do: authentication, the scenario's rules, and the audit log."""

from __future__ import annotations

import datetime
import hmac
import ssl
from dataclasses import dataclass
from typing import Any, Final

from include.simulator import clock, resources, tokens
from include.simulator.store import Store

ANONYMOUS: Final = "system:anonymous"
_WRITES: Final = ("create", "update", "patch", "delete")
_FOR_EVERYBODY: Final = ("/healthz", "/livez", "/readyz", "/version", "/version/")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Takes one verb on one resource from a user; `*` stands for every verb or resource.

    Reviews of one's own rights are no part of every resource: a cluster leaves them to everybody (`system:basic-user`).
    """

    verb: str
    resource: str

    def covers(self, *, verb: str, resource: str) -> bool:
        """Say whether the rule is about this request; resource may be `plural/subresource`.

        A review may ask for `*`, of which every rule takes a part.
        """
        if self.resource == "*":
            is_about = resource != resources.SELF_REVIEWS.plural
        else:
            is_about = resource in {"*", self.resource}
        return is_about and ("*" in {self.verb, verb} or self.verb == verb)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One answered request. `path` holds the query too; `code` is the HTTP status; `agent` the client's User-Agent.

    `disturbed` says that the answer is not the API's but that of a disturbance.
    """

    time: datetime.datetime
    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    path: str
    code: int
    content_type: str
    agent: str
    disturbed: bool = False

    @property
    def is_write(self) -> bool:
        """Say whether it is a write that succeeded; reviews and dry runs, as their query tells, store nothing."""
        stores_nothing = self.resource == resources.SELF_REVIEWS.plural or "dryRun=All" in self.path
        return self.verb in _WRITES and self.code < 300 and not stores_nothing


class Access:
    """Authenticates by client certificate, known bearer token or service account token; authorises by rule."""

    def __init__(self, store: Store, *, signing_key: str, rules: dict[str, tuple[Rule, ...]]) -> None:
        self._store = store
        self._signing_key = signing_key
        self._rules = rules
        self._users: dict[str, str] = {}

    def add_token(self, token: str, *, user: str) -> None:
        """Make a bearer token known."""
        self._users[token] = user

    def restrict(self, user: str, rules: tuple[Rule, ...]) -> None:
        """Take rights from a user."""
        self._rules[user] = rules

    def remove_token(self, token: str) -> None:
        """Forget a bearer token; safe to repeat."""
        self._users.pop(token, None)

    def identify(self, *, certificate: dict[str, Any] | None, authorization: str) -> str | None:
        """Return the user, ANONYMOUS for a request without a credential, or None for one that is not known."""
        if certificate:
            if ssl.cert_time_to_seconds(certificate["notAfter"]) < clock.now().timestamp():
                return None
            for attribute in certificate.get("subject", ()):
                for key, value in attribute:
                    if key == "commonName":
                        return str(value)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return ANONYMOUS
        for known, user in self._users.items():
            if hmac.compare_digest(known.encode(), token.strip().encode()):
                return user
        return self._identify_service_account(token.strip())

    def allows(self, user: str, *, verb: str, resource: str) -> bool:
        """Say whether no rule forbids it; everybody who is known is a cluster administrator."""
        return user != ANONYMOUS and not any(
            rule.covers(verb=verb, resource=resource) for rule in self._rules.get(user, ())
        )

    def allows_path(self, user: str, *, path: str) -> bool:
        """Say whether a path of no kind may be asked for: by everybody who is known."""
        return user != ANONYMOUS or path in _FOR_EVERYBODY

    def _identify_service_account(self, token: str) -> str | None:
        try:
            claims = tokens.verify(token, key=self._signing_key)
        except tokens.TokenError:
            return None
        if "exp" in claims and claims["exp"] < clock.now().timestamp():
            return None
        user = str(claims.get("sub", ""))
        namespace, _, name = user.removeprefix("system:serviceaccount:").partition(":")
        account = self._store.find(resources.SERVICEACCOUNTS, name=name, namespace=namespace)
        return user if account is not None else None
