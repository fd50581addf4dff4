"""Whether what a KubeSphere user does next with a joined member works, asked for read-only.

The join is done when its proof holds, so what fails here is told and stops nothing; except for an answer of another
cluster. Requests go the way of a user's: to the host's ks-apiserver, which forwards them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from include.fleet import clusters, errors, findings, kinds, kubesphere, membership, proofs, refusals, waits

log = logging.getLogger(__name__)

FORWARDED_KUBERNETES = "forwarded-kubernetes"
FORWARDED_KUBESPHERE = "forwarded-kubesphere"
FORWARDED_WATCH = "forwarded-watch"
LOGINS = "login-tokens"
USERS = "users-synchronise"
WORKSPACES = "workspaces-synchronise"
METRICS = "metrics"
CHECKS = (FORWARDED_KUBERNETES, FORWARDED_KUBESPHERE, FORWARDED_WATCH, LOGINS, USERS, WORKSPACES, METRICS)
"""The checks by their ids, in the order of the report."""

_AGAIN = 0.5
"""Seconds between two tries."""
_QUOTED = 200

_SEE_APISERVER = (
    f"See the log of Deployment ks-apiserver in {kubesphere.NAMESPACE}, on the host and on the member; then run the "
    "join again, which asks again."
)
_SEE_KUBEFED = (
    f"See the log of Deployment kubefed-controller-manager in {kubesphere.FEDERATION_NAMESPACE} on the host; then run "
    "the join again, which asks again."
)
_METRICS = "kapis/{}monitoring.kubesphere.io/v1alpha3/cluster"
_MEASURED = "cluster_node_total"


@dataclass(frozen=True)
class _Asking:
    """What the checks have in common."""

    who: membership.Membership
    token: str | None = field(repr=False)

    async def forwarded(self, path: str, *, query: tuple[tuple[str, str], ...] = ()) -> tuple[int, str]:
        """Return status and body of a GET that the host's ks-apiserver forwards."""
        return await self.who.host.proxied(
            f"{kubesphere.API_SERVER}/{path}", what="ks-apiserver", headers=proofs.signed(self.token or ""), query=query
        )

    def refused(self, check: str, path: str, status: int, body: str) -> findings.Finding:
        said = self.who.host.redacted(refusals.status_message(body)[:_QUOTED])
        evidence = f"GET /{path} at the host's ks-apiserver was answered {status}" + (f": {said}" if said else "") + "."
        return findings.error(check, evidence, _SEE_APISERVER)


Check = Callable[[_Asking], Awaitable[list[findings.Finding]]]


async def ask(who: membership.Membership) -> list[findings.Finding]:
    """Ask all at once, each again while it fails, for `settings.acceptance` seconds at most.

    Raises VerificationError if it is another cluster that answers.
    """
    asking = _Asking(who, await proofs.static_token(who.host, who.member))
    found = await waits.together(*(_until_ok(check, ids, asking) for check, ids in _CHECKS.items()))
    ordered = sorted((finding for each in found for finding in each), key=lambda finding: CHECKS.index(finding.check))
    for finding in ordered:
        level = logging.WARNING if finding.answer is findings.Answer.ERROR else logging.INFO
        log.log(level, "Acceptance, %s: %s", finding.answer.value, finding)
    return ordered


def warnings(found: list[findings.Finding]) -> list[str]:
    """Return what has failed, a sentence each."""
    return [f"Acceptance failed, {finding}" for finding in found if finding.answer is findings.Answer.ERROR]


async def _until_ok(check: Check, ids: tuple[str, ...], asking: _Asking) -> list[findings.Finding]:
    """Ask until nothing fails or the time is up: ks-apiserver reloads right after Ready (kubesphere-facts 7.6)."""
    ends = time.monotonic() + asking.who.limits.acceptance
    last = [findings.incomplete(name, "Nothing was answered in time.") for name in ids]
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + asking.who.limits.acceptance):
            while True:
                last = await _once(check, ids, asking)
                failed = any(finding.answer is findings.Answer.ERROR for finding in last)
                if not failed or time.monotonic() + _AGAIN >= ends:
                    return last
                await asyncio.sleep(_AGAIN)
    except TimeoutError:
        return last


async def _once(check: Check, ids: tuple[str, ...], asking: _Asking) -> list[findings.Finding]:
    if asking.token is None and check in _SIGNED:
        text = f"The token in Secret {kubesphere.SECRET.name} of the host may not be read or is not there."
        return [findings.incomplete(name, text) for name in ids]
    try:
        return await check(asking)
    except errors.ForbiddenError as error:
        loss = proofs.UNASKED if check in _SIGNED else _UNFEDERATED
        asking.who.host.do_without(error, loss)
        return [findings.incomplete(name, f"{error.lacking}.") for name in ids]
    except errors.VerificationError:
        raise
    except errors.NotReachedError as error:
        return [findings.incomplete(name, str(error)) for name in ids]
    except errors.FleetError as error:
        return [findings.error(name, str(error), _SEE_APISERVER) for name in ids]


async def _kubernetes(asking: _Asking) -> list[findings.Finding]:
    """Read the member's kube-system through the host: a user's way to what runs there."""
    name = asking.who.name
    path = f"api/clusters/{name}/v1/namespaces/{kubesphere.IDENTITY.name}"
    status, body = await asking.forwarded(path)
    found = _field(body, "metadata", "uid")
    if status != 200 or not found:
        return [asking.refused(FORWARDED_KUBERNETES, path, status, body)]
    if found != asking.who.uid:
        raise errors.VerificationError(
            f"The host's ks-apiserver forwards requests for {name} to another cluster: kube-system UID {found} instead "
            f"of {asking.who.uid}."
        )
    return [findings.ok(FORWARDED_KUBERNETES, f"GET /{path} returned the member's own kube-system, UID {found}.")]


async def _kubesphere(asking: _Asking) -> list[findings.Finding]:
    """Read a user through the host's and the member's ks-apiserver: a user's way to what KubeSphere has there."""
    path = f"kapis/clusters/{asking.who.name}/{proofs.USER.removeprefix('kapis/')}"
    status, body = await asking.forwarded(path)
    if status != 200 or _field(body, "metadata", "name") != "admin":
        return [asking.refused(FORWARDED_KUBESPHERE, path, status, body)]
    return [findings.ok(FORWARDED_KUBESPHERE, f"GET /{path} returned the member's user admin.")]


async def _watch(asking: _Asking) -> list[findings.Finding]:
    """Hold a watch open through the host: without one the dashboard shows everything late or never."""
    path, held = f"api/clusters/{asking.who.name}/v1/namespaces", asking.who.limits.watch_held
    status, first = await asking.who.host.proxied_watch(
        f"{kubesphere.API_SERVER}/{path}",
        what=f"namespaces of {asking.who.name} through ks-apiserver",
        seconds=held,
        headers=proofs.signed(asking.token or ""),
    )
    if status != 200 or _field(first, "object", "kind") != "Namespace":
        return [asking.refused(FORWARDED_WATCH, path, status, first)]
    text = f"A watch of /{path} showed the member's namespaces and stayed open for {held:g} s."
    return [findings.ok(FORWARDED_WATCH, text)]


async def _logins(asking: _Asking) -> list[findings.Finding]:
    """See whether the member takes the tokens of people who have logged in on the host (kubesphere-facts 6.6).

    What is asked above is asked with a static token, which the member takes even where tokens expire.
    """
    config = asking.who.member_config or kubesphere.config(await asking.who.member.get(kubesphere.CONFIG))
    if config is not None and config.has_lasting_tokens:
        text = f"{kubesphere.CONFIG} of the member has accessTokenMaxAge 0, so that the host's logins last there."
        return [findings.Finding(LOGINS, findings.Answer.OK, text)]
    age = (config.token_age if config else "") or "unset"
    text = (
        f"{kubesphere.CONFIG} of the member has accessTokenMaxAge {age}, not 0: whoever has logged in on the host is "
        "refused there (token not found in cache)."
    )
    fix = (
        "Take accessTokenMaxAge out of spec.authentication.oauthOptions of the member's ClusterConfiguration if it is "
        f"there, and have ks-installer write the ConfigMap anew: kubectl -n {kubesphere.NAMESPACE} rollout restart "
        "deploy/ks-installer."
    )
    return [findings.Finding(LOGINS, findings.Answer.ERROR, text, fix)]


async def _metrics(asking: _Asking) -> list[findings.Finding]:
    """Count the member's nodes by its monitoring, where that is on (kubesphere-facts 1.3)."""
    who = asking.who
    configuration = await who.member.read(kubesphere.CONFIGURATION) or {}
    state = ((configuration.get("status") or {}).get("monitoring") or {}).get("status")
    if state != "enabled":
        text = f"Nothing was asked: status.monitoring of the member's ClusterConfiguration is {state or 'not there'}."
        return [findings.ok(METRICS, text)]
    path = _METRICS.format(f"clusters/{who.name}/")
    status, body = await asking.forwarded(path, query=(("metrics_filter", _MEASURED),))
    results = _field(body, "results")
    if status != 200 or not isinstance(results, list):
        return [asking.refused(METRICS, path, status, body)]
    for result in results:
        values = _field(json.dumps(result), "data", "result")
        if _field(json.dumps(result), "metric_name") == _MEASURED and values:
            return [findings.ok(METRICS, f"GET /{path} counts the member's nodes.")]
    told = [who.host.redacted(str(result.get("error") or ""))[:_QUOTED] for result in results]
    text = f"GET /{path} was answered without a number for {_MEASURED}: {'; '.join(filter(None, told)) or 'no data'}."
    fix = "See Prometheus in namespace kubesphere-monitoring-system on the member."
    return [findings.error(METRICS, text, fix)]


_UNFEDERATED = "Whether users and workspaces reach the member was not checked"
_TYPES = {
    USERS: (kinds.USER, kinds.FEDERATED_USER),
    WORKSPACES: (kinds.WORKSPACE, kinds.FEDERATED_WORKSPACE),
}


async def _federation(asking: _Asking) -> list[findings.Finding]:
    """See whether kubefed can bring users and workspaces to the member; none is made to try it.

    That takes a kubefed that runs, to which the member answers (kubesphere-facts 6.4), and kinds that both have.
    """
    host, name = asking.who.host, asking.who.name
    manager = kubesphere.HOST_DEPLOYMENTS[1]
    deployment = await host.read(manager)
    joined = await host.read(kinds.Ref(kinds.KUBEFED_CLUSTER, name, kubesphere.FEDERATION_NAMESPACE))
    lacks = _federation_lacks(name, deployment=deployment, joined=joined)
    return [await _federated(asking, check, lacks) for check in (USERS, WORKSPACES)]


def _federation_lacks(name: str, *, deployment: kubesphere.Object | None, joined: kubesphere.Object | None) -> str:
    """Return what keeps kubefed from any work on a member, or ""."""
    manager = kubesphere.HOST_DEPLOYMENTS[1]
    if deployment is None or not kubesphere.is_available(deployment):
        return f"{manager} on the host is not {'there' if deployment is None else 'available'}"
    if not (deployment.get("spec") or {}).get("replicas", 1):
        return f"{manager} on the host is scaled to 0"
    if joined is None:
        return f"the host has no KubeFedCluster {name}"
    if kubesphere.is_true(joined, kubesphere.READY):
        return ""
    told = kubesphere.conditions(joined)
    said = f"{told[0].get('type')}: {told[0].get('message')}" if told else "kubefed has not looked at it yet"
    return f"KubeFedCluster {name} is not Ready, {said}"


async def _federated(asking: _Asking, check: str, lacks: str) -> findings.Finding:
    kind, federated = _TYPES[check]
    host, member = asking.who.host, asking.who.member
    lacks = lacks or await _type_lacks(host, kind)
    if not lacks and not await host.serves(federated):
        lacks = f"the host does not serve {federated.full_name}"
    if not lacks and not await member.serves(kind):
        lacks = f"the member does not serve {kind.full_name}"
    if lacks:
        return findings.error(check, f"{lacks[0].upper()}{lacks[1:]}.", _SEE_KUBEFED)
    text = f"KubeFedCluster {asking.who.name} is Ready; {kind.full_name} are federated, and the member has them."
    return findings.ok(check, text)


async def _type_lacks(host: clusters.Cluster, kind: kinds.Kind) -> str:
    """Return what keeps kubefed from bringing objects of a kind to members, or ""."""
    ref = kinds.Ref(kinds.FEDERATED_TYPE, kind.full_name, kubesphere.FEDERATION_NAMESPACE)
    found = await host.read(ref)
    if found is None:
        return f"the host has no {ref}"
    if (found.get("spec") or {}).get("propagation") != "Enabled":
        return f"{ref} of the host has no propagation Enabled"
    state = (found.get("status") or {}).get("propagationController")
    return "" if state == "Running" else f"the propagation controller of {ref} on the host is {state or 'not there'}"


_CHECKS: dict[Check, tuple[str, ...]] = {
    _kubernetes: (FORWARDED_KUBERNETES,),
    _kubesphere: (FORWARDED_KUBESPHERE,),
    _watch: (FORWARDED_WATCH,),
    _logins: (LOGINS,),
    _federation: (USERS, WORKSPACES),
    _metrics: (METRICS,),
}
_SIGNED = frozenset({_kubernetes, _kubesphere, _watch, _metrics})
"""What needs a token of the host."""


def _field(body: str, *keys: str) -> Any:
    """Return a field of a JSON object, None if it is not there."""
    try:
        found = json.loads(body)
        for key in keys:
            found = found[key]
    except (ValueError, LookupError, TypeError):
        return None
    return found
