"""What an earlier membership has left on a cluster (kubesphere-facts 6.7): part of a scenario."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What is left.

    `accounts` are the names as which it was joined: each has a service account with its token, a role and a binding.
    `namespace_terminating`: somebody has deleted kube-federation-system, and it never goes. `workspaces` are marked as
    kubefed's. `cluster_name` stands in the ConfigMap, where KubeSphere 3.3 and later write it.
    """

    accounts: tuple[str, ...] = ()
    namespace_terminating: bool = False
    workspaces: tuple[str, ...] = ()
    cluster_name: str | None = None
