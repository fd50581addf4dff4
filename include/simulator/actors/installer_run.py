"""One run of ks-installer's hook, from the pre-install playbooks to the banner (kubesphere-facts 2.3)."""

from __future__ import annotations

import asyncio
import base64
import datetime
import re
import secrets
import string
import uuid
from typing import Any, NoReturn

from include.simulator import clock, configuration, definitions, manifests, resources
from include.simulator.actors import installer_log
from include.simulator.actors.client import Object, RequestError
from include.simulator.actors.kubelet import Container
from include.simulator.scenario import Failure, Fault
from include.simulator.workload_states import minor_version

NAMESPACE = "kubesphere-system"
CREDENTIALS = "kubesphere-secret"

# Characters that survive an unquoted place in a shell command (kubesphere-facts 2.4).
_SHELL_SAFE = re.compile(r"[A-Za-z0-9_.+/=@:,%-]*")
_TRIES = 50
_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


class HookFailedError(Exception):
    """The hook exits with code 1; the text is what it printed."""


class _StoppedError(Exception):
    """The hook gives up with exit code 0: nothing retries it."""


class Faults:
    """Says which runs of a cluster's installer fail; it counts across restarts of the pod."""

    def __init__(self, fault: Fault | None) -> None:
        self._fault = fault
        self._runs = 0

    def next_run(self) -> Failure | None:
        """Count a run and return how it fails, or None."""
        self._runs += 1
        if self._fault is None or (self._fault.runs is not None and self._runs > self._fault.runs):
            return None
        return self._fault.failure


class Run:
    """One execution of the hook; `timing.run` is spread over its phases."""

    def __init__(self, container: Container, *, faults: Faults) -> None:
        self._container = container
        self._client = container.client
        self._release = container.release
        self._faults = faults

    async def execute(self) -> None:
        """Run to whatever end. Raises HookFailedError for exit code 1; every other end is exit code 0."""
        try:
            found = await self._client.find(resources.CLUSTERCONFIGURATIONS, name="ks-installer", namespace=NAMESPACE)
            if found is None:
                return
            recorded = (found.get("status") or {}).get("core", {}).get("version")
            if self._release.records_version and recorded != self._release.version:
                await self._recreate(found)
                return
            await self._install(found, failure=self._faults.next_run())
        except _StoppedError:
            return
        except RequestError as error:
            # A kubectl command of a playbook failed: Ansible's rc != 0, which the hook takes for its end.
            self._container.log(f'fatal: [localhost]: FAILED! => {{"msg": "{error}"}}')
            self._container.log(installer_log.recap(ok=23, failed=1))

    async def _recreate(self, found: Object) -> None:
        """Replace the object by a new one of this version; the create event starts the real run."""
        await self._client.delete(resources.CLUSTERCONFIGURATIONS, name="ks-installer", namespace=NAMESPACE)
        self._container.log("Delete old cluster configuration successfully")
        version = self._release.version
        status: Object = {"core": {"version": version}}
        if (found.get("status") or {}).get("clusterId"):
            status["clusterId"] = found["status"]["clusterId"]
        await self._client.create(
            resources.CLUSTERCONFIGURATIONS,
            namespace=NAMESPACE,
            content={
                "metadata": {"name": "ks-installer", "namespace": NAMESPACE, "labels": {"version": version}},
                "spec": found.get("spec") or {},
                "status": status,
            },
        )
        self._container.log("Create cluster configuration successfully")

    async def _install(self, found: Object, *, failure: Failure | None) -> None:
        spec, status = found.get("spec") or {}, found.get("status") or {}
        if failure is Failure.CRASH:
            await self._spend(0.1)
            raise HookFailedError(installer_log.crash_lines(self._release))
        is_host = (spec.get("multicluster") or {}).get("clusterRole") == "host"
        await self._preinstall(spec, status=status, failure=failure, is_host=is_host)
        failed = await self._install_components(
            failure=failure, enables=is_host and (status.get("multicluster") or {}).get("status") != "enabled"
        )
        await self._spend(0.05)
        await self._write_config(spec, playbook="ks-config")
        await self._spend(0.1)
        await self._write_config(spec, playbook="result-info")
        if self._release.records_version:
            await self._write_status({"core": {"version": self._release.version}})
        await self._spend(0.05)
        if failed is None:
            address = self._container.address
            self._container.log(installer_log.banner(node=address, moment=_now()))
            await self._report_id(status)
        else:
            self._container.log(installer_log.failed_component_lines(failed, moment=_now()))

    async def _precheck(self, spec: Object) -> None:
        """Role preinstall/precheck: a default StorageClass, and a version of Kubernetes (kubesphere-facts 2.6)."""
        classes = await self._client.select(resources.STORAGECLASSES)
        annotations = [item["metadata"].get("annotations") or {} for item in classes]
        has_default = any(each.get(key) == "true" for each in annotations for key in _DEFAULT_CLASS)
        if not has_default and not (spec.get("persistence") or {}).get("storageClass"):
            task = "preinstall : KubeSphere | Stopping if default StorageClass was not found"
            self._stop(task, message="Default StorageClass was not found !")
        answer = await self._client.request("GET", path="/version")
        if minor_version(answer.json()["gitVersion"]) < self._release.oldest_kubernetes:
            task = "preinstall : KubeSphere | Stopping if Kubernetes version is nonsupport"
            self._stop(task, message=self._release.unsupported)

    def _stop(self, task: str, *, message: str) -> NoReturn:
        self._container.log(installer_log.failed_check_lines(task, message=message))
        raise _StoppedError

    async def _preinstall(self, spec: Object, *, status: Object, failure: Failure | None, is_host: bool) -> None:
        for play, share in (("preinstall", 0.1), ("metrics_server", 0.05), ("common", 0.1)):
            self._container.log(installer_log.play_header("localhost"))
            if play == "preinstall":
                await self._precheck(spec)
            self._container.log(installer_log.task_lines(f"{play} : {play} | prepare", result="ok"))
            await self._spend(share)
            if play == "common" and is_host:
                await self._client.ensure(
                    resources.NAMESPACES, content={"metadata": {"name": manifests.FEDERATION_NAMESPACE}}
                )
            self._container.log(installer_log.recap(ok=12, failed=0))
        self._container.log(installer_log.play_header("localhost"))
        await self._init_token(spec, failure=failure)
        await self._spend(0.2)
        if self._release.refreshes_core or (status.get("core") or {}).get("status") != "enabled":
            self._container.log(installer_log.task_lines("ks-core/ks-core : KubeSphere | Installing ks-core"))
            await self._write_status({"core": {"status": "enabled", "enabledTime": _local_time()}})
        self._container.log(installer_log.recap(ok=46, failed=0))

    async def _init_token(self, spec: Object, *, failure: Failure | None) -> None:
        """Role ks-core/init-token (kubesphere-facts 2.4)."""
        authentication = spec.get("authentication")
        if authentication is not None and "jwtSecret" not in authentication:
            task = "ks-core/init-token : KubeSphere | Generating KubeSphere random string"
            error = "'dict object' has no attribute 'jwtSecret'"
            self._container.log(installer_log.undefined_lines(task, error=error))
            raise _StoppedError
        given = str((authentication or {}).get("jwtSecret") or "")
        alphabet = string.ascii_letters + string.digits
        value = given or "".join(secrets.choice(alphabet) for _ in range(32))
        if failure is Failure.SILENT or not _SHELL_SAFE.fullmatch(value):
            self._container.log(installer_log.failed_token_lines(value, moment=_now()))
            raise _StoppedError
        if given:
            await self._client.delete(resources.SECRETS, name=CREDENTIALS, namespace=NAMESPACE)
        self._container.log(installer_log.task_lines("ks-core/init-token : KubeSphere | Creating components token"))
        await self._client.ensure(
            resources.SECRETS, namespace=NAMESPACE, content=manifests.secret(value, release=self._release)
        )

    async def _install_components(self, *, failure: Failure | None, enables: bool) -> str | None:
        """Run the component playbooks; returns the one that failed.

        `multicluster` does something only on a host that is not enabled yet; elsewhere it succeeds at once, so that
        what fails there has to be another one.
        """
        for component in self._release.components:
            self._container.log(f"Start installing {component}")
        self._container.log("*" * 50)
        if self._release.records_version:
            self._container.log("Waiting for all tasks to be completed ...")
        await self._spend(0.15)
        failed = None
        if failure is Failure.COMPONENT:
            failed = "multicluster" if enables else "monitoring"
        elif enables:
            await self._enable_multicluster()
        await self._spend(0.2)
        self._container.log(installer_log.component_lines(self._release, failed=failed))
        return failed

    async def _enable_multicluster(self) -> None:
        """Role ks-multicluster: tower, kubefed, its definitions, then the status."""
        for resource, namespace, content in manifests.multicluster(self._release):
            await self._client.ensure(resource, content=content, namespace=namespace)
        # helm upgrade --install --wait, 10 times 1800 s at most
        for name in manifests.KUBEFED_DEPLOYMENTS:
            while True:
                deployment = await self._client.get(
                    resources.DEPLOYMENTS, name=name, namespace=manifests.FEDERATION_NAMESPACE
                )
                if (deployment.get("status") or {}).get("availableReplicas"):
                    break
                await asyncio.sleep(min(max(self._container.timing.kubelet, 0.02), 0.5))
        for kind in resources.KUBEFED_KINDS:
            content = definitions.define(kind, release=self._release)
            await self._client.ensure(resources.DEFINITIONS, content=content)
        for federated in manifests.federated_types():
            await self._register(federated)
        await self._write_status({"multicluster": {"status": "enabled", "enabledTime": _local_time()}})

    async def _register(self, federated: Object) -> None:
        """Create a FederatedTypeConfig, whose definition an API server may need a moment to serve."""
        for _ in range(_TRIES):
            try:
                await self._client.ensure(
                    resources.FEDERATEDTYPECONFIGS, content=federated, namespace=manifests.FEDERATION_NAMESPACE
                )
            except RequestError as error:
                if error.code != 404:
                    raise
                await asyncio.sleep(0.1)
            else:
                return

    async def _write_config(self, spec: Object, *, playbook: str) -> None:
        """Role ks-core/config: render the file from the spec and the Secret, and apply it."""
        secret = await self._client.get(resources.SECRETS, name=CREDENTIALS, namespace=NAMESPACE)
        value = base64.b64decode(secret["data"]["secret"]).decode()
        try:
            text = configuration.render(spec, secret=value, release=self._release)
        except configuration.RenderError as error:
            task = "ks-core/config : KubeSphere | Creating manifests"
            self._container.log(installer_log.undefined_lines(task, error=str(error)))
            self._container.log(f"Failed to ansible-playbook {playbook}.yaml")
            raise _StoppedError from error
        manifest = configuration.build_manifest(text)
        if await self._client.find(resources.CONFIGMAPS, name=configuration.NAME, namespace=NAMESPACE) is None:
            await self._client.create(resources.CONFIGMAPS, content=manifest, namespace=NAMESPACE)
        else:
            await self._client.patch(resources.CONFIGMAPS, name=configuration.NAME, patch=manifest, namespace=NAMESPACE)
        self._container.log(installer_log.task_lines("ks-core/config : KubeSphere | Applying config"))
        if not self._release.reloads:
            for name in ("ks-apiserver", "ks-controller-manager"):
                await self._restart(name)

    async def _restart(self, name: str) -> None:
        """Do `kubectl rollout restart`: no waiting, and errors are ignored (kubesphere-facts 2.5).

        kubectl's stamp has whole seconds, so that a second restart in the same second would be none. Runs are that
        short here only, so the stamp goes on by a second.
        """
        try:
            found = await self._client.get(resources.DEPLOYMENTS, name=name, namespace=NAMESPACE)
            before = (found["spec"]["template"]["metadata"].get("annotations") or {}).get(RESTARTED_AT)
            moment = _now().replace(microsecond=0)
            if before is not None:
                moment = max(moment, datetime.datetime.fromisoformat(before) + datetime.timedelta(seconds=1))
            stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
            patch = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp}}}}}
            await self._client.patch(resources.DEPLOYMENTS, name=name, patch=patch, namespace=NAMESPACE)
        except (RequestError, ValueError) as error:
            self._container.log(f"...ignoring: {error}")

    async def _write_status(self, status: dict[str, Any]) -> None:
        await self._client.patch(
            resources.CLUSTERCONFIGURATIONS, name="ks-installer", namespace=NAMESPACE, patch={"status": status}
        )

    async def _report_id(self, status: Object) -> None:
        """Role telemetry: give the cluster an id, once."""
        if not status.get("clusterId"):
            await self._write_status({"clusterId": f"{uuid.uuid4()}-{int(_now().timestamp())}"})

    async def _spend(self, share: float) -> None:
        await asyncio.sleep(self._container.timing.run * share)


def _now() -> datetime.datetime:
    return clock.now()


def _local_time() -> str:
    """Return the local time with a zone name, as `date +%Y-%m-%dT%H:%M:%S%Z` writes it in the container."""
    return _now().strftime("%Y-%m-%dT%H:%M:%SUTC")
