"""Reads what both clusters show when a task gives up, and has it judged by the table of causes.

Best effort: it asks for nothing that a join does not ask for, leaves out what it may not read or gets no answer to, is
done within seconds, and never hides the error that it explains.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from include.fleet import (
    causes,
    clusters,
    errors,
    installer,
    joining,
    kinds,
    kubeconfig,
    kubesphere,
    redaction,
    refusals,
    tower,
)
from include.fleet import evidence as seen

log = logging.getLogger(__name__)

_PATIENCE = 10.0
"""Seconds for all that is read; half of it for one answer."""
_LOG_LINES = 400
_KEPT_LINES = 3
"""Of a log that is about all clusters, the newest that name this one."""
_LONGEST_LINE = 400
_TOKEN = kubesphere.API_TOKEN_HEADER
_USER = "kapis/iam.kubesphere.io/v1alpha2/users/admin"
_LOUD = re.compile(r"cluster \S+ is not ready|no endpoints available for service \S+")
_INSTALLING = ("configure_host", "configure_member", "wait_installer")
_MEMBER_DEPLOYMENTS = (kubesphere.INSTALLER, *kubesphere.PROCESSES[:1], tower.AGENT)
_HOST_DEPLOYMENTS = (kubesphere.INSTALLER, *kubesphere.PROCESSES, *kubesphere.HOST_DEPLOYMENTS)
_CHECKING = ("preflight", "take_turn", "plan", "hand_over", "end_turn")
"""The steps that change nothing of KubeSphere: what they refuse or wait for, their errors say as a fact."""
_OF_A_REQUEST = (errors.ApiRefusedError, errors.TemporaryError)
"""What these end with where a request failed."""


async def explain(join: joining.Join, step: str, error: errors.FleetError) -> None:
    """Add to *error* what is most likely wrong, as its last line and as its diagnosis; raises nothing."""
    diagnosis = await diagnose(join, step, error)
    if diagnosis is not None:
        error.explain(str(diagnosis), diagnosis.report)


async def diagnose(join: joining.Join, step: str, error: errors.FleetError) -> causes.Diagnosis | None:
    """Return what most likely made *step* give up with *error*, with what was seen where no known cause fits.

    None for an error that tells its cause itself, as those of the conf and of preflight's checks do. Raises nothing.
    """
    if isinstance(error, errors.ConfError | errors.LostTurnError):
        return None
    if step in _CHECKING and not isinstance(error, _OF_A_REQUEST):
        return None
    try:
        evidence = await gather(join, step, error)
        found = causes.diagnose(evidence)
        return found[0] if found else causes.unknown(evidence)
    except Exception:  # whatever goes wrong here, the error that it was to explain must be heard
        log.warning("What is most likely wrong could not be found out", exc_info=True)
        return None


async def gather(join: joining.Join, step: str, error: errors.FleetError) -> seen.Evidence:
    """Return what can be seen on both clusters within seconds, redacted."""
    text = str(error)
    reader = _Reader(join, step)
    reading = [asyncio.create_task(reader.read_host()), asyncio.create_task(reader.read_member())]
    try:
        await asyncio.wait(reading, timeout=_PATIENCE)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    unanswered = isinstance(error, errors.UnreachableError)
    own = seen.Line(seen.Source.REQUEST if unanswered else seen.Source.ERROR, _about(text), text)
    found = replace(reader.found, said=(*reader.lines, own), kind=type(error).__name__)
    return replace(found, said=tuple(_redacted(join, line) for line in found.said))


def _about(text: str) -> str:
    """Return the cluster that an error is about: the one that it names first, the host's Clusters aside."""
    named = re.search(r"\b(host|member) cluster \(connection", text)
    return named.group(1) if named else seen.HOST


def _redacted(join: joining.Join, line: seen.Line) -> seen.Line:
    return replace(line, text=join.host.redacted(join.member.redacted(line.text)))


@dataclass
class _Reader:
    """Reads both clusters at once; what it has found stands in `found` and `lines` at any moment."""

    join: joining.Join
    step: str
    lines: list[seen.Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        conf = self.join.conf
        self.found = seen.Evidence(
            step=self.step,
            kind="",
            connection=conf.connection.value,
            name=conf.cluster,
            host=seen.Side(name=str(self.join.host)),
            member=seen.Side(name=str(self.join.member)),
        )

    async def read_host(self) -> None:
        """Read what the host shows."""
        host = self.join.host
        if not await self._answers(host, seen.HOST):
            return
        secrets = await self._read_secrets(host)
        await _all(
            self._read_cluster(),
            self._read_configuration(host, seen.HOST),
            self._read_deployments(host, seen.HOST, _HOST_DEPLOYMENTS),
            self._read_tower(),
        )
        await _all(
            self._read_pods(host, seen.HOST) if secrets else _nothing(),
            self._read_events(),
            self._ask_api_server(host, seen.HOST, f"api/clusters/{self.found.name}/v1/namespaces/kube-system"),
        )

    async def read_member(self) -> None:
        """Read what the member shows."""
        member = self.join.member
        if not await self._answers(member, seen.MEMBER):
            return
        secrets = await self._read_secrets(member)
        await _all(
            self._read_configuration(member, seen.MEMBER),
            self._read_deployments(member, seen.MEMBER, _MEMBER_DEPLOYMENTS),
        )
        await _all(
            self._read_pods(member, seen.MEMBER) if secrets else _nothing(),
            self._compare_agent(),
            self._ask_api_server(member, seen.MEMBER, _USER),
        )

    def _note(self, side: str, **facts: Any) -> None:
        """Note facts of one side."""
        if side == seen.HOST:
            self.found = replace(self.found, host=replace(self.found.host, **facts))
        else:
            self.found = replace(self.found, member=replace(self.found.member, **facts))

    def _say(self, source: seen.Source, side: str, text: str, *, about: str = "") -> None:
        if text:
            self.lines.append(seen.Line(source, side, text[:_LONGEST_LINE], about))

    async def _answers(self, cluster: clusters.Cluster, side: str) -> bool:
        """Tell whether a cluster answers at all; notes why if it does not."""
        try:
            async with asyncio.timeout(_PATIENCE / 2):
                uid = (await cluster.get(kubesphere.IDENTITY))["metadata"]["uid"]
        except errors.UnreachableError as error:
            said = re.sub(r"^.*?: no answer: ", "", str(error)).removesuffix(_HINT)
            self._note(side, silent=cluster.redacted(said)[:200])
            return False
        except TimeoutError:
            self._note(side, silent="no answer in time")
            return False
        except errors.FleetError:
            return True
        if side == seen.MEMBER:
            self.found = replace(self.found, uid=str(uid))
        return True

    async def _read_secrets(self, cluster: clusters.Cluster) -> bool:
        """Have known what must not be quoted; False if that cannot be, and then no log is read."""
        for ref, keys in (
            (kubesphere.SECRET, ("secret", "token")),
            (kubesphere.BEFORE_JOIN, ("jwtSecret", "secretInForce")),
        ):
            try:
                secret = await cluster.read(ref)
            except errors.FleetError as error:
                log.debug("Reading no logs: %s", error)
                return False
            await cluster.keep_secret(*(kubesphere.secret_value(secret, key) for key in keys))
        return True

    async def _read_cluster(self) -> None:
        join = self.join
        cluster = await join.host.read(kinds.Ref(kinds.CLUSTER, self.found.name))
        if cluster is None:
            return
        connection = cluster["spec"].get("connection") or {}
        text = kubesphere.cluster_kubeconfig(cluster)
        for side in (join.host, join.member):
            await side.keep_secret(connection.get("token"), connection.get("kubeconfig"), *_secrets_in(text))
        last = {item["type"]: item for item in kubesphere.conditions(cluster)}
        for kind, condition in last.items():
            if condition.get("status") != "True":
                words = condition.get("reason") or condition.get("message") or ""
                self._say(seen.Source.CONDITION, seen.HOST, str(words), about=f"{kind}={condition.get('status')}")
        metadata = cluster["metadata"]
        member = seen.Member(
            conditions={kind: str(condition.get("status")) for kind, condition in last.items()},
            labelled_host=kubesphere.is_host(cluster),
            federates=bool(cluster["spec"].get("joinFederation")),
            taken_up=bool(metadata.get("finalizers")),
            deleting="deletionTimestamp" in metadata,
            uid=kubesphere.member_uid(cluster),
            server=kubeconfig.server(text) or "",
            credential=_credential(text) if connection.get("kubeconfig") else None,
            kubernetes=str((cluster.get("status") or {}).get("kubernetesVersion") or ""),
        )
        self.found = replace(self.found, cluster=member)

    async def _read_configuration(self, cluster: clusters.Cluster, side: str) -> None:
        async def asked() -> None:
            configuration = await cluster.read(kubesphere.CONFIGURATION)
            if configuration is None:
                return
            await cluster.keep_secret(kubesphere.spec_secret(configuration))
            release = kubesphere.release(configuration)
            authentication = configuration.get("spec", {}).get("authentication") or {}
            self._note(
                side,
                asked_role=kubesphere.spec_role(configuration),
                own_oauth=bool(authentication.get("oauthOptions")),
                release=release.minor if release else kubesphere.version(configuration),
            )

        async def in_force() -> None:
            config_map = await cluster.read(kubesphere.CONFIG)
            config = kubesphere.config(config_map) if config_map else None
            if config is None:
                return
            await cluster.keep_secret(config.jwt_secret)
            self._note(
                side,
                role=config.role,
                fingerprint=redaction.fingerprint(config.jwt_secret) if config.jwt_secret else "",
                cluster_name=config.cluster_name,
                token_age=config.token_age,
            )
            if side == seen.HOST and config.proxy_publish_address:
                self.found = replace(self.found, address=config.proxy_publish_address)

        await _all(asked(), in_force())

    async def _read_deployments(self, cluster: clusters.Cluster, side: str, refs: Sequence[kinds.Ref]) -> None:
        async def rollout(ref: kinds.Ref) -> None:
            deployment = await cluster.read(ref)
            state = seen.Rollout.MISSING
            if deployment is not None:
                up = kubesphere.is_available(deployment) and deployment["spec"].get("replicas", 1) > 0
                state = seen.Rollout.AVAILABLE if up else seen.Rollout.UNAVAILABLE
            former = self.found.host if side == seen.HOST else self.found.member
            self._note(side, deployments={**former.deployments, ref.name: state})

        await _all(*(rollout(ref) for ref in refs if ref != tower.AGENT or self.found.proxy))

    async def _read_tower(self) -> None:
        if not self.found.proxy:
            return
        service = await self.join.host.read(tower.SERVICE)
        if service is None:
            self.found = replace(self.found, service_missing=True)
            return
        balanced = tower.load_balancer_address(service)
        address = self.found.address or balanced
        self.found = replace(self.found, address=address, balanced=bool(balanced), node_port=tower.node_port(service))

    async def _read_pods(self, cluster: clusters.Cluster, side: str) -> None:
        """Read which Pods cannot start, and the logs that tell something of this join."""
        pods = await cluster.list(kinds.POD, namespace=kubesphere.NAMESPACE)
        pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
        for pod in pods:
            self._say(seen.Source.POD, side, _waits_for(pod), about=pod["metadata"]["name"])
        logs: list[tuple[str, Callable[[clusters.Cluster, str, str], Awaitable[None]]]] = []
        if self.step in _INSTALLING:
            logs.append(("ks-installer-", self._hear_installer))
        elif side == seen.HOST:
            logs.append(("ks-controller-manager-", self._hear_controller))
            logs += [("tower-", self._hear_tower)] if self.found.proxy else []
        elif self.found.proxy:
            logs.append(("cluster-agent-", self._hear_agent))

        async def hear(prefix: str, heard: Callable[[clusters.Cluster, str, str], Awaitable[None]]) -> None:
            newest = next((pod for pod in pods if pod["metadata"]["name"].startswith(prefix)), None)
            if newest is not None:
                ref = kinds.Ref(kinds.POD, newest["metadata"]["name"], kubesphere.NAMESPACE)
                await heard(cluster, side, await cluster.pod_log(ref, lines=_LOG_LINES))

        await _all(*(hear(prefix, heard) for prefix, heard in logs))

    async def _hear_installer(self, cluster: clusters.Cluster, side: str, text: str) -> None:
        for line in await installer.telling(cluster, text):
            self._say(seen.Source.INSTALLER, side, line)

    async def _hear_controller(self, _: clusters.Cluster, side: str, text: str) -> None:
        for line in self._naming(text):
            self._say(seen.Source.CONTROLLER, side, line)

    async def _hear_tower(self, _: clusters.Cluster, side: str, text: str) -> None:
        for line in self._naming(text):
            self._say(seen.Source.TOWER, side, line)

    async def _hear_agent(self, _: clusters.Cluster, side: str, text: str) -> None:
        self._say(seen.Source.AGENT, side, tower.complaint(text))

    def _naming(self, text: str) -> list[str]:
        """Return the newest lines of a log that name the Cluster, the newest first."""
        name = re.compile(rf"(?<![\w.-]){re.escape(self.found.name)}(?![\w-])")
        lines = [line for line in text.splitlines() if name.search(line) or line.startswith("panic:")]
        return list(dict.fromkeys(reversed(lines)))[:_KEPT_LINES]

    async def _read_events(self) -> None:
        release = kubesphere.RELEASES.get(self.found.host.release)
        if release is None or not release.tells_failures_by_event:
            return
        selector = f"involvedObject.name={self.found.name}"
        events = await self.join.host.list(kinds.EVENT, namespace="default", field_selector=selector)
        told = [item for item in events if item.get("reason") == "JoinFederation"]
        newest = max(told, key=lambda item: str(item.get("lastTimestamp") or ""), default=None)
        if newest is not None and newest.get("type") == "Warning":
            self._say(seen.Source.EVENT, seen.HOST, str(newest.get("message")), about="JoinFederation")

    async def _compare_agent(self) -> None:
        """Compare the agent's arguments with the Cluster."""
        if not self.found.proxy:
            return
        join = self.join
        present = await join.member.read(tower.AGENT)
        cluster = await join.host.read(kinds.Ref(kinds.CLUSTER, self.found.name))
        token = ((cluster or {}).get("spec", {}).get("connection") or {}).get("token")
        if present is None:
            return
        own = tower.arguments(present)
        await join.member.keep_secret(own.get("token"), token)
        if token:
            wanted = tower.agent_deployment(self.found.name, token=token, address=own.get("proxy-server", ""), image="")
            differing = tower.agent_differences(present, wanted)
            self.found = replace(
                self.found, agent_differences=tuple(item for item in differing if item.startswith("--"))
            )

    async def _ask_api_server(self, cluster: clusters.Cluster, side: str, path: str) -> None:
        """Ask a ks-apiserver what a joined member answers to the host."""
        if self.step != "verify_join":
            return
        token = kubesphere.secret_value(await self.join.host.read(kubesphere.SECRET), "token")
        await cluster.keep_secret(token)
        headers = {_TOKEN: f"Bearer {token}"}
        status, body = await cluster.proxied(f"{kubesphere.API_SERVER}/{path}", what="ks-apiserver", headers=headers)
        if status == 200:
            return
        loud = _LOUD.search(body)
        said = refusals.status_message(body) or (loud.group() if loud else "")
        self._say(seen.Source.ANSWER, side, f"{status} {said}")


_HINT = ". Check that Airflow's workers and triggerer reach the server of the connection and trust its certificate."


async def _nothing() -> None:
    """Read nothing."""


async def _all(*reading: Awaitable[None]) -> None:
    """Read several things at once; what fails is left out."""
    for outcome in await asyncio.gather(*reading, return_exceptions=True):
        if isinstance(outcome, errors.FleetError):
            log.debug("Left out of the evidence: %s", outcome)
        elif isinstance(outcome, BaseException):
            raise outcome


def _waits_for(pod: dict[str, Any]) -> str:
    """Return why a Pod has not started, or ""."""
    for waiting in kubesphere.waiting(pod):
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message') or 'no message'}"
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason')}: {condition.get('message')}"
    return ""


def _secrets_in(text: str) -> list[str]:
    """Return the secrets in a kubeconfig."""
    essence = kubeconfig.essence(text)
    return kubeconfig.secrets({"users": [{"user": dict(essence[1])}]}) if essence else []


def _credential(text: str) -> seen.Credential:
    """Return what a kubeconfig offers to whoever loads it in a pod."""
    essence = kubeconfig.essence(text)
    if essence is None:
        return seen.Credential.UNREADABLE
    cluster, user = dict(essence[0]), dict(essence[1])
    if "exec" in user or "auth-provider" in user:
        return seen.Credential.PLUGIN
    inline = user.get("token") or user.get("client-certificate-data")
    if "certificate-authority" in cluster or (not inline and {"tokenFile", "client-certificate"} & set(user)):
        return seen.Credential.FILES
    return seen.Credential.USABLE if inline else seen.Credential.NONE
