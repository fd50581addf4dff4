"""The host's webhook for Clusters, set aside for one whose member is dead, and put back (kubesphere-facts 6.9).

From 3.4 on it has the member asked before its Cluster is changed, so that the Cluster of a dead one cannot even lose
its finalizer. It is not deleted: a selector makes it overlook the one Cluster that has the label LEAVING, and goes on
guarding all others. What the selector was before stands in an annotation beside it, from the same write on, so that
whoever comes after a run that was killed can put it back, also when ks-installer has changed the rest meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from include.fleet import clusters, errors, journal, kinds

log = logging.getLogger(__name__)

CONFIGURATION = kinds.Ref(kinds.WEBHOOK, "cluster.kubesphere.io")
LEAVING = "join-member-cluster/leaving"
"""The label of a Cluster that is overlooked."""
FORMER = "join-member-cluster/former-selectors"
"""The annotation with the selectors as they were, by the names of the webhooks, in JSON."""
_NONE = {"matchExpressions": [{"key": "join-member-cluster/guarded", "operator": "Exists"}]}
"""Selects no Cluster: for the moment in which one gets the label, which the webhook would refuse too."""
_OTHERS = {"matchExpressions": [{"key": LEAVING, "operator": "DoesNotExist"}]}
"""Selects every Cluster but those with the label; a change that would take it off is looked at."""
_OVERTAKEN = 5
"""How often to read again after somebody else was faster."""
_IN_FORCE = 15.0
"""Seconds after which every API server of the host goes by a configuration that has changed; most often it is one."""

Object = Mapping[str, Any]


async def denies(host: clusters.Cluster, ref: kinds.Ref) -> str:
    """Return why no change of a Cluster is let through, which a dry run shows, or ""."""
    try:
        await host.try_patch(ref, {"metadata": {}})
    except (errors.ForbiddenError, errors.CredentialError):
        raise
    except errors.NotFoundError:
        return ""
    except (errors.ApiRefusedError, errors.UnavailableError) as error:
        return host.redacted(str(error))
    return ""


async def set_aside(host: clusters.Cluster, ref: kinds.Ref, *, changes: journal.Journal) -> None:
    """Have the webhook overlook one Cluster; nothing is written where it does, or where there is no webhook.

    Whoever calls this holds the turn for it. Killed at any point and begun again, it ends the same. Raises
    ForbiddenError without the right to change the configuration.
    """
    cluster = await host.read(ref)
    if cluster is None or await host.read(CONFIGURATION) is None:
        return
    log.warning("%s lets nobody change %s, and is set aside for it", CONFIGURATION, ref)
    with changes.noted(f"{CONFIGURATION} on the host set aside for {ref} alone"):
        if LEAVING not in (cluster["metadata"].get("labels") or {}):
            await _select(host, _NONE)
            if not await _label(host, ref):
                return
        await _select(host, _OTHERS)


async def _label(host: clusters.Cluster, ref: kinds.Ref) -> bool:
    """Give the Cluster the label; API servers take a moment to go by a configuration that has changed.

    False if the Cluster has gone in that moment.
    """
    end = time.monotonic() + _IN_FORCE
    while True:
        try:
            await host.patch(ref, {"metadata": {"labels": {LEAVING: ""}}})
        except errors.NotFoundError:
            return False
        except (errors.ApiRefusedError, errors.UnavailableError) as error:
            if isinstance(error, errors.ForbiddenError) or time.monotonic() > end:
                raise
            await asyncio.sleep(0.5)
        else:
            return True


async def is_aside(host: clusters.Cluster) -> bool:
    """Tell whether a run has set the webhook aside and nobody has put it back; False where that may not be seen."""
    try:
        configuration = await host.read(CONFIGURATION)
    except errors.ForbiddenError as error:
        host.do_without(error, f"Whether {CONFIGURATION} is as it was, was not looked at")
        return False
    return configuration is not None and _former(configuration) is not None


async def put_back(host: clusters.Cluster, *, changes: journal.Journal) -> None:
    """Have the webhook as it was before it was set aside; whoever calls this holds the turn for it."""
    if not await is_aside(host):
        return
    with changes.noted(f"{CONFIGURATION} on the host put back"):
        await _select(host, None)


async def _select(host: clusters.Cluster, selector: Object | None) -> None:
    """Give the webhooks a selector, or with None their former ones, unless they have it already."""
    left = _OVERTAKEN
    while True:
        left -= 1
        configuration = await host.get(CONFIGURATION)
        patch = _patch(configuration, selector)
        if not patch:
            return
        version = {"resourceVersion": configuration["metadata"]["resourceVersion"]}
        try:
            await host.patch(CONFIGURATION, {**patch, "metadata": {**patch["metadata"], **version}})
        except errors.ConflictError:
            if not left:
                raise
            continue
        return


def _patch(configuration: Object, selector: Object | None) -> dict[str, Any]:
    """Return the merge patch, which has the whole list as these do; {} if nothing differs."""
    hooks = configuration.get("webhooks") or []
    former = _former(configuration)
    kept = {hook["name"]: hook.get("objectSelector") for hook in hooks} if former is None else former
    if selector is None:
        # One that came since keeps what it has.
        wanted = [_with(hook, kept.get(hook["name"], hook.get("objectSelector"))) for hook in hooks]
        return {"metadata": {"annotations": {FORMER: None}}, "webhooks": wanted} if former is not None else {}
    wanted = [_with(hook, selector) for hook in hooks]
    if wanted == hooks and former is not None:
        return {}
    return {"metadata": {"annotations": {FORMER: json.dumps(kept, sort_keys=True)}}, "webhooks": wanted}


def _with(hook: Object, selector: Object | None) -> dict[str, Any]:
    rest = {key: value for key, value in hook.items() if key != "objectSelector"}
    return rest if selector is None else {**rest, "objectSelector": selector}


def _former(configuration: Object) -> dict[str, Any] | None:
    """Return the selectors as they were before, None if nobody has changed them."""
    text = (configuration["metadata"].get("annotations") or {}).get(FORMER)
    return dict(json.loads(text)) if text is not None else None
