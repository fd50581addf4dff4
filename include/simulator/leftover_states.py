"""The objects that an earlier membership has left on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from include.simulator import resources
from include.simulator.leftovers import Leftovers
from include.simulator.manifests import FEDERATION_NAMESPACE, federation_account
from include.simulator.states import State

_FINALIZER: Final = "core.kubefed.io/federated-type-config"
_HELD: Final = "workspaces.tenant.kubesphere.io"


def lay(member: State, left: Leftovers, *, account_token: Callable[[str], str]) -> None:
    """Lay the objects down; `account_token` returns the token of a service account of kube-federation-system."""
    for name in left.accounts:
        member.lay_membership(name, token=account_token(federation_account(name)))
    for name in left.workspaces:
        labels = {"kubefed.io/managed": "true"}
        member.put(resources.WORKSPACES, {"metadata": {"name": name, "labels": labels}, "spec": {"manager": "admin"}})
    if left.namespace_terminating:
        _lay_terminating_namespace(member)


def _lay_terminating_namespace(member: State) -> None:
    """Lay down a Namespace that waits for a controller that is not there any more."""
    member.ensure_namespace(FEDERATION_NAMESPACE)
    held = {"metadata": {"name": _HELD, "finalizers": [_FINALIZER]}}
    member.put(resources.CONFIGMAPS, held, namespace=FEDERATION_NAMESPACE)
    member.store.delete(resources.CONFIGMAPS, name=_HELD, namespace=FEDERATION_NAMESPACE)
    member.store.delete(resources.NAMESPACES, name=FEDERATION_NAMESPACE)
    message = f"Some content in the namespace has finalizers remaining: {_FINALIZER} in 1 resource instances"
    condition = {
        "type": "NamespaceFinalizersRemaining",
        "status": "True",
        "reason": "SomeFinalizersRemain",
        "message": message,
    }
    member.store.patch(
        resources.NAMESPACES,
        name=FEDERATION_NAMESPACE,
        patch={"status": {"conditions": [condition]}},
        subresource="status",
    )
