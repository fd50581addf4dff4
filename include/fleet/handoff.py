"""Members that Airflow does not reach: a person joins them with a file that the run makes, and the host tells when.

The file is written by a worker, for nobody but its own user, and deleted when the run ends. It is good for one join:
each run gives a Cluster whose agent has never connected a token of its own, and takes it back if nobody has used it.
The jwtSecret in it is the host's, and stays: see docs/operations.md.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.fleet import (
    attempts,
    bundle,
    configuring,
    errors,
    identity,
    joining,
    kinds,
    kubesphere,
    settings,
    tower,
    waits,
)
from include.fleet import conf as confs

log = logging.getLogger(__name__)

PLANNED = (
    "Airflow does not reach the member, so what is there now was not looked at. A person gets a file that checks it, "
    "keeps what was there in Secret before-join, asks for role member and the host's jwtSecret, and brings Deployment "
    "cluster-agent."
)
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


def problems(raw: Mapping[str, Any], limits: settings.Settings) -> list[str]:
    """Return why a conf that has no other problem leaves a person no time."""
    wanted = raw.get("handoff_timeout")
    if raw.get("member_access") != confs.MemberAccess.HANDOFF.value or not isinstance(wanted, int):
        return []
    left = int(limits.run_timeout) - confs.after_handoff(raw)
    if wanted <= left:
        return []
    return [
        (
            f"handoff_timeout: Airflow ends a run after {limits.run_timeout:.0f} s, which leaves a person "
            f"{max(left, 0)} s and not {wanted}; take less, or raise run_timeout in section [fleet] of Airflow's "
            "configuration"
        )
    ]


@dataclass(frozen=True)
class Place:
    """Where the file of one run is."""

    path: Path

    @classmethod
    def of(cls, cluster: str, *, attempt: str, limits: settings.Settings) -> Place:
        """Return the place of a run's file: named by the cluster and the run."""
        run = attempts.run_of(attempt)
        named = _UNFIT.sub("-", run.partition(" ")[0])[:80]
        tail = hashlib.sha256(run.encode()).hexdigest()[:8]
        home = os.environ.get("AIRFLOW_HOME") or "~/airflow"
        folder = Path(os.path.expanduser(limits.handoff_dir or f"{home}/handoff"))  # noqa: PTH111 - "~" inside
        return cls(folder / f"{cluster}.{named}-{tail}.sh")

    def write(self, text: str) -> str:
        """Write the file, unless it is there already, for nobody but its own user; return its fingerprint.

        All at once, so that nobody can fetch half of it. Files of other runs whose time is over are deleted: a run that
        Airflow has ended by its time-out could not do it. Raises HandoffError if the folder is open to others, or
        cannot be used.
        """
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.stat()
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise errors.HandoffError(
                    f"The folder {folder} is open to others, and the file for a person holds secrets. Make it the "
                    f"worker's own (chmod 700), or name another one in handoff_dir of section [fleet]."
                )
            for path in folder.glob("*.sh"):
                if path != self.path and _is_over(path):
                    path.unlink(missing_ok=True)
            if not self._is_there_with(text):
                self._replace(text)
        except OSError as error:
            raise errors.HandoffError(
                f"The file for a person cannot be written to {self.path}: {error.strerror}. Name another folder in "
                "handoff_dir of section [fleet]."
            ) from None
        return self.fingerprint()

    def _is_there_with(self, text: str) -> bool:
        return self.path.is_file() and stat.S_IMODE(self.path.stat().st_mode) == 0o600 and self.path.read_text() == text

    def _replace(self, text: str) -> None:
        # Made by mkstemp with mode 0600.
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def fingerprint(self) -> str:
        """Return what `sha256sum` says of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def remove(self) -> str:
        """Delete the file, and what a worker that died has begun of it; return why that could not be done, or ""."""
        try:
            for path in (self.path, *self.path.parent.glob(f".{self.path.name}.*")):
                path.unlink(missing_ok=True)
        except OSError as error:
            return f"{self.path} could not be deleted: {error.strerror}. It holds secrets: delete it by hand."
        return ""

    def instructions(self, *, until: float, machine: str) -> str:
        """Return what a person has to do, as Markdown; never what is in the file."""
        end = datetime.datetime.fromtimestamp(until, datetime.UTC)
        name = self.path.name
        return f"""\
Airflow does not reach this member, so a person joins it, with an administrator's kubectl:

1. Fetch the file from the machine or pod `{machine}`: `{self.path}`. It holds secrets; take it to nobody else.
2. Compare its SHA-256 (`sha256sum {name}`): `{self.fingerprint()}`
3. Where kubectl reaches the member: `sh {name} --context CONTEXT`. It checks that this is the right cluster, asks, and
   then takes minutes. With `--check` it only looks. It is safe to run again.
4. Delete your copy.

The run goes on by itself when the agent connects: nobody has to answer. *I have run it* goes on without waiting for
the agent, and the next task says what the host sees. *Cannot be done* ends the run as failed, with your reason.

The file is valid until {end:%Y-%m-%d %H:%M} UTC, and gone when the run ends.
"""


def _is_over(path: Path) -> bool:
    found = bundle.VALID_UNTIL.search(path.read_text(errors="replace"))
    return found is not None and int(found[1]) < time.time()


async def prepare(join: joining.Join) -> attempts.Report:
    """Wait until the Cluster is initialised, with a token that only this run's file has; return warnings.

    The agent of another run's file cannot come any more. One that has ever connected keeps its token: it needs it to
    come back.
    """
    ref = kinds.Ref(kinds.CLUSTER, join.conf.cluster)
    cluster = await join.host.get(ref)
    if not _has_connected(cluster) and kubesphere.handed_over_by(cluster) != join.run:
        note = f"{ref} on the host: a new token for the agent, and the mark of this run"
        await _give_token(join, cluster, note, waits_for=join.run)
    _, warnings = await joining.initialised(join)
    return {"warnings": warnings} if warnings else {}


async def hand_over(join: joining.Join) -> attempts.Report:
    """Make the file in a worker, and wait until the agent has connected; what is there already is not handed over.

    Raises HandoffError if the file cannot be written, DeadlineError after the conf's time-out.
    """
    ref, seconds = kinds.Ref(kinds.CLUSTER, join.conf.cluster), join.conf.handoff_timeout or confs.LONGEST_HANDOFF

    async def look() -> waits.Pending | None:
        connected = kubesphere.is_true(await join.host.get(ref), tower.AGENT_AVAILABLE)
        return None if connected else waits.Pending("its agent has not connected", long=True)

    if await look() is None:
        return {"unchanged": [f"the agent of {ref} is connected"]}
    if join.leave_worker is not None:
        await _write(join, until=join.started + seconds)
    await joining.until_joined(
        join,
        look,
        what="to get its agent's connection",
        seconds=seconds,
        hint="Nobody has joined the member in that time. Run the join again: it makes a new file.",
    )
    return {"unchanged": [f"the agent of {ref} has connected to the host"]}


async def _write(join: joining.Join, *, until: float) -> None:
    conf, host = join.conf, join.host
    cluster = await host.get(kinds.Ref(kinds.CLUSTER, conf.cluster))
    token = str(cluster["spec"]["connection"].get("token") or "")
    if not token or not kubesphere.is_true(cluster, tower.INITIALIZED):
        raise errors.UnavailableError(f"Cluster {conf.cluster} on the {host} is not initialised any more.")
    await host.keep_secret(token)
    trust = configuring.trust(host, await configuring.snapshot(host))
    await host.keep_secret(trust.value)
    made = bundle.Bundle(
        cluster=conf.cluster,
        run=join.run,
        valid_until=int(until),
        host_uid=await configuring.uid(host),
        member_uid=identity.owner(cluster),
        release=(await configuring.release(host)).minor,
        installer_timeout=conf.member_installer_timeout,
        jwt_secret=trust.value,
        agent=await joining.agent_manifest(join, token),
    )
    place = Place.of(conf.cluster, attempt=join.attempt, limits=join.limits)
    fingerprint = await asyncio.to_thread(place.write, made.text())
    log.info("The file for a person is %s, SHA-256 %s", place.path, fingerprint)


async def end(join: joining.Join, *, proven: attempts.Report | None) -> attempts.Report:
    """Delete the file; then mark the Cluster with the UID that was *proven*, or take back a token that nobody has used.

    With another token in the Cluster, tower refuses the agent of every copy of the file (kubesphere-facts 8).
    """
    place = Place.of(join.conf.cluster, attempt=join.attempt, limits=join.limits)
    left = await asyncio.to_thread(place.remove)
    if left:
        log.warning("%s", left)
    report = {"warnings": [left]} if left else {}
    ref = kinds.Ref(kinds.CLUSTER, join.conf.cluster)
    cluster = await join.host.read(ref)
    if cluster is None or "deletionTimestamp" in cluster["metadata"]:
        return report
    if proven is not None:
        await _mark(join, cluster, uid=str(proven["member_uid"]))
    elif kubesphere.handed_over_by(cluster) == join.run and not _has_connected(cluster):
        note = f"{ref} on the host: the token in this run's file is taken back"
        await _give_token(join, cluster, note, waits_for=None)
    return report


async def _mark(join: joining.Join, cluster: kubesphere.Object, *, uid: str) -> None:
    """Write on a Cluster whose it is, in place of the run that has waited for it."""
    if not kubesphere.handed_over_by(cluster) and identity.owner(cluster) == uid:
        return
    annotations = {kubesphere.HANDED_OVER_ANNOTATION: None, kubesphere.MEMBER_UID_ANNOTATION: uid}
    ref = kinds.Ref(kinds.CLUSTER, join.conf.cluster)
    with join.changes.noted(f"{ref} on the host: marked as kube-system UID {uid}"):
        await join.host.patch(ref, _patch(cluster, annotations))


async def _give_token(join: joining.Join, cluster: kubesphere.Object, note: str, *, waits_for: str | None) -> None:
    """Give a Cluster a new token, and the mark of the run that waits for its agent; None is no run."""
    token = secrets.token_hex(32)
    await join.host.keep_secret(token)
    patch = _patch(cluster, {kubesphere.HANDED_OVER_ANNOTATION: waits_for})
    with join.changes.noted(note):
        await join.host.patch(
            kinds.Ref(kinds.CLUSTER, join.conf.cluster), {**patch, "spec": {"connection": {"token": token}}}
        )


def _patch(cluster: kubesphere.Object, annotations: Mapping[str, str | None]) -> dict[str, Any]:
    version = cluster["metadata"]["resourceVersion"]
    return {"metadata": {"resourceVersion": version, "annotations": dict(annotations)}}


def _has_connected(cluster: kubesphere.Object) -> bool:
    """Tell whether an agent has ever connected: then the Cluster says so, or that it is gone."""
    return any(item.get("type") == tower.AGENT_AVAILABLE for item in kubesphere.conditions(cluster))
