"""Joining a cluster to the federation control plane, and the host's side of leaving it (kubesphere-facts 6.4, 6.7)."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from typing import Final

from include.simulator import manifests, resources
from include.simulator.actors.client import Client, Object, RequestError
from include.simulator.actors.kubeconfigs import Access
from include.simulator.manifests import FEDERATION_NAMESPACE
from include.simulator.workload_states import minor_version

_TOKEN_WAIT_SECONDS: Final = 30


class WorkspaceConflictError(Exception):
    """A workspace of the joining cluster exists on the host and is not placed there."""


async def join(
    *,
    host: Client,
    member: Client,
    access: Access,
    name: str,
    labels: dict[str, str],
    checks_workspaces: bool = True,
    makes_token: bool = True,
    patience: float = _TOKEN_WAIT_SECONDS,
) -> None:
    """Create or update everything that federation needs, on the member first.

    Raises RequestError and WorkspaceConflictError; their text becomes the reason of condition Federated.
    KubeSphere 3.0 does not check workspaces, and so joins a cluster without KubeSphere. It also waits, `patience`
    seconds, for Kubernetes to make the account's token by itself, as Kubernetes did before 1.24.
    """
    account = manifests.federation_account(name)
    found = await member.find(resources.SERVICEACCOUNTS, name=account, namespace=FEDERATION_NAMESPACE)
    await member.ensure(resources.NAMESPACES, content={"metadata": {"name": FEDERATION_NAMESPACE}})
    if found is None:
        found = await member.ensure(
            resources.SERVICEACCOUNTS,
            namespace=FEDERATION_NAMESPACE,
            content={"metadata": {"name": account, "namespace": FEDERATION_NAMESPACE}},
        )
    if makes_token or minor_version(await _read_version(member)) < 24:
        found = await _ensure_token_secret(member, account=found, name=name)
    for resource, content in (
        (resources.CLUSTERROLES, manifests.federation_role(name)),
        (resources.CLUSTERROLEBINDINGS, manifests.federation_binding(name)),
    ):
        existing = await member.find(resource, name=content["metadata"]["name"])
        if existing is None:
            await member.create(resource, content=content)
        else:
            await member.replace(resource, content={**existing, **content, "metadata": existing["metadata"]})
    if not found.get("secrets"):
        await asyncio.sleep(patience)
        raise RequestError("timed out waiting for the condition")
    token = await _read_token(member, account=found)
    await _write_host_secret(host, name=name, token=token)
    await _ensure_kubefed_cluster(
        host, member=member, access=access, name=name, labels=labels, checks_workspaces=checks_workspaces
    )


async def _read_version(member: Client) -> str:
    answer = await member.request("GET", path="/version")
    return str(answer.json()["gitVersion"])


async def leave(host: Client, *, name: str) -> None:
    """Delete the host's objects of a joined cluster; the member keeps its own. Raises RequestError."""
    await host.delete(resources.SECRETS, name=f"{name}-secret", namespace=FEDERATION_NAMESPACE)
    try:
        await host.delete(resources.KUBEFEDCLUSTERS, name=name, namespace=FEDERATION_NAMESPACE)
    except RequestError as error:
        # A host without kubefed has none of these; anything else is an error.
        if error.code != 404:
            raise


async def withdraw(member: Client, *, name: str, keeps_namespace: bool) -> None:
    """Delete what `join` made on the member, as KubeSphere 3.0 does on `joinFederation: false`. Raises RequestError."""
    role = manifests.federation_role(name)["metadata"]["name"]
    await member.delete(resources.CLUSTERROLEBINDINGS, name=role)
    await member.delete(resources.CLUSTERROLES, name=role)
    account = manifests.federation_account(name)
    found = await member.find(resources.SERVICEACCOUNTS, name=account, namespace=FEDERATION_NAMESPACE)
    for reference in (found or {}).get("secrets") or []:
        await member.delete(resources.SECRETS, name=reference["name"], namespace=FEDERATION_NAMESPACE)
    await member.delete(resources.SERVICEACCOUNTS, name=account, namespace=FEDERATION_NAMESPACE)
    if not keeps_namespace:
        await member.delete(resources.NAMESPACES, name=FEDERATION_NAMESPACE)


async def _ensure_token_secret(member: Client, *, account: Object, name: str) -> Object:
    if account.get("secrets"):
        return account
    secret = await member.create(
        resources.SECRETS,
        namespace=FEDERATION_NAMESPACE,
        content=manifests.federation_token_secret(name, suffix=secrets.token_hex(3)),
    )
    reference = {"name": secret["metadata"]["name"]}
    return await member.replace(resources.SERVICEACCOUNTS, content={**account, "secrets": [reference]})


async def _read_token(member: Client, *, account: Object) -> str:
    """Return the account's token as base64 text, waiting while Kubernetes fills its Secret in.

    The real controller waits for the reference only, and can lose a race against Kubernetes (kubesphere-facts 6.2).
    Here that race would be decided by the load of the test machine, so the data is waited for as well.
    """
    deadline = time.monotonic() + _TOKEN_WAIT_SECONDS
    while True:
        secret = await member.get(resources.SECRETS, name=account["secrets"][0]["name"], namespace=FEDERATION_NAMESPACE)
        token = (secret.get("data") or {}).get("token")
        if token:
            return str(token)
        if time.monotonic() > deadline:
            raise RequestError('Key "token" not found in service account secret')
        await asyncio.sleep(0.02)


async def _write_host_secret(host: Client, *, name: str, token: str) -> None:
    content = manifests.federation_secret(name, token=token)
    existing = await host.find(resources.SECRETS, name=f"{name}-secret", namespace=FEDERATION_NAMESPACE)
    if existing is None:
        await host.create(resources.SECRETS, content=content, namespace=FEDERATION_NAMESPACE)
    else:
        await host.replace(resources.SECRETS, content={**existing, "data": content["data"]})


async def _ensure_kubefed_cluster(
    host: Client, *, member: Client, access: Access, name: str, labels: dict[str, str], checks_workspaces: bool
) -> None:
    authority = base64.b64encode((access.authority or "").encode()).decode()
    content = manifests.kubefed_cluster(name, endpoint=access.server, authority=authority, labels=labels)
    if access.insecure:
        content["spec"]["disabledTLSValidations"] = ["*"]
    try:
        existing = await host.find(resources.KUBEFEDCLUSTERS, name=name, namespace=FEDERATION_NAMESPACE)
        if existing is None:
            if checks_workspaces:
                await _check_workspaces(host, member=member, name=name)
            await host.create(resources.KUBEFEDCLUSTERS, content=content, namespace=FEDERATION_NAMESPACE)
        else:
            await _replace_spec(host, existing, spec=content["spec"], again=checks_workspaces)
    except RequestError as error:
        if error.code == 404 and not error.reason:
            kind = resources.KUBEFEDCLUSTERS
            raise RequestError(f'no matches for kind "{kind.kind}" in version "{kind.api_version}"') from error
        raise


async def _replace_spec(host: Client, existing: Object, *, spec: Object, again: bool) -> None:
    """Update a KubeFedCluster, whose status kubefed writes; 3.4 tries again where that was faster (6.2)."""
    while True:
        try:
            await host.replace(resources.KUBEFEDCLUSTERS, content={**existing, "spec": spec})
            return
        except RequestError as error:
            if error.code != 409 or not again:
                raise
        name = existing["metadata"]["name"]
        existing = await host.get(resources.KUBEFEDCLUSTERS, name=name, namespace=FEDERATION_NAMESPACE)


async def _check_workspaces(host: Client, *, member: Client, name: str) -> None:
    """Refuse a member with a federated workspace that the host has placed elsewhere."""
    try:
        workspaces = await member.select(resources.WORKSPACES, labels="kubefed.io/managed=true")
    except RequestError as error:
        if error.code == 404 and not error.reason:
            kind = resources.WORKSPACES.qualified
            raise RequestError(
                f"the server could not find the requested resource (get {kind})", reason="NotFound"
            ) from error
        raise
    for workspace in workspaces:
        workspace_name = workspace["metadata"]["name"]
        federated = await host.find(resources.FEDERATEDWORKSPACES, name=workspace_name)
        if federated is None:
            continue
        placed = federated.get("spec", {}).get("placement", {}).get("clusters") or []
        if not any(entry.get("name") == name for entry in placed):
            raise WorkspaceConflictError(
                f"The workspace {workspace_name} is found in the target member cluster {name}, which is conflict with "
                "the workspace on host"
            )
