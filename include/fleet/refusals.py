"""What a server's refusal, or no answer at all, comes to: one of our errors, in words for an operator.

The client's exceptions end here: they carry headers and bodies of the server, which are not quoted (style rule 20).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import aiohttp
from kubernetes_asyncio import client

from include.fleet import errors

FAILURES = (client.ApiException, aiohttp.ClientError, OSError, TimeoutError)
"""What a request can raise: the server's refusal, or no answer."""

_LONGEST_QUOTE = 300
_MISSING_RIGHT = re.compile(
    r'is forbidden: User ".*?" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)" '
    r'(?:in the namespace "(?P<namespace>[^"]+)"|at the cluster scope)'
)
"""What every authorizer's refusal says in the end; admission refuses with 403 as well, in other words."""


def told(
    error: Exception, *, tried: str, who: str, where: str, grant: str, hide: Callable[[str], str]
) -> errors.FleetError:
    """Return our error for what a request has raised, to be raised unchained.

    *tried* is what was asked of which object and cluster, *who* has asked it *where*, *grant* what to do about a
    missing right; *hide* takes secrets out of what the server says.
    """
    if not isinstance(error, client.ApiException) or not error.status:
        reason = hide(str(error) or type(error).__name__)
        return errors.UnreachableError(
            f"{tried}: no answer: {reason}. Check that Airflow's workers and triggerer reach the server of "
            "the connection and trust its certificate."
        )
    answer = f"{tried}: {said(error, hide=hide)}."
    missing = missing_right(error)
    if missing:
        return errors.ForbiddenError(f"{answer} {grant}", lacking=f"{who} may not {_right(missing)} on {where}")
    return _by_status(error, answer)


def _by_status(error: client.ApiException, answer: str) -> errors.FleetError:
    if error.status == 404:
        return errors.NotFoundError(f"{answer} Check the name, and that KubeSphere is installed.")
    if error.status == 403:
        return errors.ApiRefusedError(
            f"{answer} No right is missing by these words: look at what admits objects there, such as "
            "webhooks and quotas, and at what stands before the API server."
        )
    if error.status == 401:
        return errors.CredentialError(f"{answer} Renew the connection's credential.")
    if error.status == 409:
        return errors.ConflictError(f"{answer} Another writer was faster; this is tried again.")
    if error.status in (408, 410, 429) or error.status >= 500:
        return errors.UnavailableError(f"{answer} This is tried again.", retry_after=_retry_after(error))
    return errors.ApiRefusedError(f"{answer} The request itself is not accepted.")


def _right(missing: re.Match[str]) -> str:
    group = missing["group"] and f".{missing['group']}"
    where = f" in {missing['namespace']}" if missing["namespace"] else ""
    resource, slash, subresource = missing["resource"].partition("/")
    return f"{missing['verb']} {resource}{group}{slash}{subresource}{where}"


def said(error: client.ApiException, *, hide: Callable[[str], str]) -> str:
    """Return what a server has answered: status, reason and the message of its Status, cut short."""
    message = status_message(body_of(error))
    text = f"{error.status} {error.reason}" + (f": {message}" if message else "")
    return hide(text)[:_LONGEST_QUOTE]


def body_of(error: client.ApiException) -> str:
    """Return the body of an answer, "" for none."""
    body = error.body or ""
    return body.decode(errors="replace") if isinstance(body, bytes) else str(body)


def is_of_kubesphere(error: client.ApiException) -> bool:
    """Tell whether ks-apiserver behind the proxy has refused, and not the API server (kubesphere-facts 6.6, 7.6)."""
    return status_message(body_of(error)).startswith("Unauthorized: ")


def missing_right(error: client.ApiException) -> re.Match[str] | None:
    """Return what a server says about the right that a request lacks, or None if that is not its reason."""
    return _MISSING_RIGHT.search(status_message(body_of(error))) if error.status == 403 else None


def _retry_after(error: client.ApiException) -> float | None:
    """Return the seconds after which the server wants to be asked again, if it says so."""
    try:
        return float(dict(error.headers or {}).get("Retry-After", ""))
    except ValueError:
        return None


def status_message(body: str) -> str:
    """Return the message of a Kubernetes Status, or "" for any other body: those are not quoted."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(parsed, dict) or parsed.get("kind") != "Status":
        return ""
    return str(parsed.get("message") or "")
