"""What KubeSphere on one cluster is asked for and has in force; written in one patch, and recorded before it."""

from __future__ import annotations

import datetime
import logging
from typing import Any

from include.fleet import clusters, errors, installer, journal, kubesphere, manifests, redaction

log = logging.getLogger(__name__)

_OVERTAKEN = 5
"""How often to read again after somebody else was faster."""


async def asked(cluster: clusters.Cluster) -> dict[str, Any]:
    """Return the ClusterConfiguration of *cluster*.

    Raises UnavailableError while there is only an installer, which deletes it and makes it anew at times
    (kubesphere-facts 2.3), and UnsupportedError where KubeSphere is not installed.
    """
    configuration = await cluster.read(kubesphere.CONFIGURATION)
    if configuration is not None:
        return configuration
    if await _has_installer(cluster):
        raise errors.UnavailableError(
            f"{kubesphere.CONFIGURATION} of the {cluster} is being made anew by ks-installer. This is tried again; if "
            "it stays away, see the log of Pod ks-installer."
        )
    raise errors.UnsupportedError(
        f"The {cluster} has no {kubesphere.CONFIGURATION}: KubeSphere 3.x is not installed there. Installing "
        "it anew is not supported yet. Install KubeSphere with ks-installer, with the role none, wait until "
        "it is finished, then run the join again."
    )


async def _has_installer(cluster: clusters.Cluster) -> bool:
    try:
        return await cluster.read(kubesphere.INSTALLER) is not None
    except errors.ForbiddenError as error:
        log.info("Taking ks-installer to be there: %s", error.lacking)
        return True


async def release(cluster: clusters.Cluster) -> kubesphere.Release:
    """Return the release of KubeSphere on *cluster*; raises UnsupportedError for one that cannot be joined."""
    configuration = await asked(cluster)
    found = kubesphere.release(configuration)
    if found is None:
        raise errors.UnsupportedError(
            f"The {cluster} runs KubeSphere {kubesphere.version(configuration) or 'of unknown version'}; "
            f"supported is {', '.join(kubesphere.RELEASES)}."
        )
    return found


async def uid(cluster: clusters.Cluster) -> str:
    """Return what identifies a cluster, whatever it is called: its kube-system UID."""
    return str((await cluster.get(kubesphere.IDENTITY))["metadata"]["uid"])


async def in_force(cluster: clusters.Cluster) -> kubesphere.Config:
    """Return the configuration in force on *cluster*; raises UnsupportedError if there is none."""
    config = kubesphere.config(await cluster.get(kubesphere.CONFIG))
    if config is None:
        raise errors.UnsupportedError(
            f"{kubesphere.CONFIG} of the {cluster} holds no usable {kubesphere.CONFIG_KEY}. Has ks-installer finished?"
        )
    await cluster.keep_secret(config.jwt_secret)
    return config


async def snapshot(cluster: clusters.Cluster) -> kubesphere.Snapshot:
    """Return what *cluster* is asked for and has in force; raises what `asked` raises."""
    configuration = await asked(cluster)
    config_map, secret = await cluster.read(kubesphere.CONFIG), await installer.read_secret(cluster)
    config = kubesphere.config(config_map) if config_map else None
    await cluster.keep_secret(kubesphere.spec_secret(configuration), config.jwt_secret if config else None)
    return kubesphere.Snapshot(configuration, config, secret)


def trust(host: clusters.Cluster, seen: kubesphere.Snapshot) -> kubesphere.Trust:
    """Return the jwtSecret of the host cluster; raises UnsupportedError for one that no member can be given."""
    found = seen.trust
    if not found.value:
        raise errors.UnsupportedError(
            f"The {host} has no jwtSecret in {kubesphere.CONFIG}. Look at the log of Pod ks-installer there."
        )
    if not kubesphere.can_be_passed_on(found.value):
        raise errors.UnsupportedError(
            f"The jwtSecret of the {host} has characters that ks-installer cannot pass on to a member. Give the "
            f"host one of letters and digits: spec.authentication.jwtSecret of {kubesphere.CONFIGURATION}."
        )
    return found


async def asks_for(cluster: clusters.Cluster, *, role: str, address: str | None = None) -> bool:
    """Tell whether a ClusterConfiguration asks for these already; None leaves the address open."""
    return not kubesphere.configuration_patch(await asked(cluster), role=role, address=address)


async def ask_for(
    cluster: clusters.Cluster,
    *,
    role: str,
    attempt: str,
    changes: journal.Journal,
    jwt_secret: str | None = None,
    address: str | None = None,
    seen: kubesphere.Snapshot | None = None,
    record: bool = True,
) -> bool:
    """Have a ClusterConfiguration ask for these, in one patch; return whether anything had to be written.

    *seen* is what was read of the cluster a moment ago, which then is not read again.

    What the cluster was before its first change is kept first, see `_record_before`; without *record* it is not, as
    nobody goes back to it. Who is overtaken by another
    join of the same host, or by an installer that makes it anew, reads again, and most often finds nothing left to
    do; raises ConflictError after some.
    """
    left = _OVERTAKEN
    while True:
        left -= 1
        configuration = seen.configuration if seen else await asked(cluster)
        patch = kubesphere.configuration_patch(configuration, role=role, jwt_secret=jwt_secret, address=address)
        if not patch:
            return False
        if record:
            in_force = await _secret_in_force(cluster, seen=seen)
            await _record_before(cluster, configuration, in_force, attempt=attempt)
        # The version makes a patch fail that rests on what somebody has changed meanwhile.
        version = configuration["metadata"]["resourceVersion"]
        try:
            with changes.noted(_sentence(cluster, configuration, patch)):
                await cluster.patch(kubesphere.CONFIGURATION, {"metadata": {"resourceVersion": version}, **patch})
        except (errors.ConflictError, errors.NotFoundError):
            if not left:
                raise
            seen = None
            continue
        return True


def _sentence(cluster: clusters.Cluster, before: kubesphere.Object, patch: dict[str, Any]) -> str:
    """Return what a patch changed, secrets as fingerprints."""
    words = []
    multicluster = patch["spec"].get("multicluster", {})
    if "proxyPublishAddress" in multicluster:
        former = kubesphere.spec_address(before) or "unset"
        words.append(f"proxyPublishAddress {former} -> {multicluster['proxyPublishAddress']}")
    if "clusterRole" in multicluster:
        words.append(f"role {kubesphere.spec_role(before)} -> {multicluster['clusterRole']}")
    secret = patch["spec"].get("authentication", {}).get("jwtSecret")
    if secret:
        former = kubesphere.spec_secret(before)
        told = redaction.fingerprint(former) if former else "unset"
        words.append(f"jwtSecret {told} -> {redaction.fingerprint(secret)}")
    return f"{kubesphere.CONFIGURATION} of the {cluster.role} changed: {', '.join(words)}"


async def _secret_in_force(cluster: clusters.Cluster, *, seen: kubesphere.Snapshot | None) -> str:
    """Return the jwtSecret in force, or ""; the ConfigMap's where Secret kubesphere-secret may not be read."""
    secret = seen.secret if seen else await installer.read_secret(cluster)
    if secret is not None:
        return kubesphere.secret_value(secret, "secret") or ""
    config_map = await cluster.read(kubesphere.CONFIG)
    config = kubesphere.config(config_map) if config_map else None
    return config.jwt_secret if config else ""


async def _record_before(
    cluster: clusters.Cluster, configuration: kubesphere.Object, in_force: str, *, attempt: str
) -> None:
    """Keep what a cluster was before its first change, for the day it leaves; never overwritten.

    Who may not keep it must not change the cluster: a jwtSecret that is replaced is nowhere else.
    """
    values = {
        "clusterRole": kubesphere.spec_role(configuration),
        "jwtSecret": kubesphere.spec_secret(configuration),
        "secretInForce": in_force,
        "proxyPublishAddress": kubesphere.spec_address(configuration),
        "recordedAt": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "recordedBy": attempt,
    }
    try:
        await cluster.create(kubesphere.BEFORE_JOIN, manifests.secret(kubesphere.BEFORE_JOIN, values))
    except errors.ConflictError:
        log.info("%s on the %s is kept as an earlier join left it", kubesphere.BEFORE_JOIN, cluster)
