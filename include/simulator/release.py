"""What differs between the versions of KubeSphere that a scenario can have, in one place.

Actors ask the release they run as; nothing else compares version strings. A difference that is a whole way of working
(the cluster controller of 3.0) is a module of its own, and chosen by a field here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Release:
    """One version of KubeSphere (kubesphere-facts, the version columns).

    `version` is the label of the ClusterConfiguration and the tag of the images, `reported` what `/kapis/version`
    answers, `kubernetes` the version of Kubernetes it is installed on.

    `oldest_kubernetes` is the oldest minor version of it that the installer takes, `unsupported` what it says else.

    `installer_app` is the label `app` of ks-installer's pods (2.1). `components` are the playbooks that run in parallel
    (2.3). `records_version`: the installer writes `status.core.version`, and replaces a ClusterConfiguration that lacks
    it. `refreshes_core`: each run writes `status.core` anew, not only the first (1.3).

    `reloads`: ks-apiserver and ks-controller-manager follow their mounted file; otherwise the installer restarts them
    (2.5). `states_role`: the ConfigMap has `multicluster.clusterRole` (3.1); otherwise role host shows as
    `multicluster.enable`, role member as an `accessTokenMaxAge` of 0.

    `has_schemas`: the custom kinds' definitions have schemas, by which unknown fields are dropped (1.1).

    `federates_by_condition`: a failing join is a condition, and the Cluster tells its uid and version; otherwise it is
    an Event only, the conditions are those of 3.0, and the controller instead of tower initialises proxy Clusters
    (6.1, 6.5).

    `validates_clusters`: a webhook asks the member before its Cluster can be changed (6.9).
    """

    version: str
    reported: str
    kubernetes: str
    oldest_kubernetes: int
    unsupported: str
    installer_app: str
    components: tuple[str, ...]
    records_version: bool
    refreshes_core: bool
    reloads: bool
    states_role: bool
    has_schemas: bool
    federates_by_condition: bool
    validates_clusters: bool
    tower_image: str
    tower_command: tuple[str, ...]
    kubefed_image: str

    @property
    def tower_initialises(self) -> bool:
        """Say whether tower gives proxy Clusters their ports, token and Service, and not the cluster controller."""
        return self.federates_by_condition

    @property
    def takes_several_agents(self) -> bool:
        """Say whether tower accepts a second agent of a member (8)."""
        return self.federates_by_condition


V3_0: Final = Release(
    version="v3.0.0",
    reported="v0.0.0",
    # Definitions of 3.0 are apiextensions v1beta1, which Kubernetes 1.22 has no more.
    kubernetes="v1.18.8",
    oldest_kubernetes=15,
    unsupported="The current k8s version is not supported",
    installer_app="ks-install",
    components=("monitoring", "multicluster"),
    records_version=False,
    refreshes_core=False,
    reloads=False,
    states_role=False,
    has_schemas=False,
    federates_by_condition=False,
    validates_clusters=False,
    tower_image="kubesphere/tower:v0.1.0",
    tower_command=("/proxy", "--ca-cert=/ca.crt", "--ca-key=/ca.key", "--v=2"),
    kubefed_image="kubesphere/kubefed:v0.3.0",
)

V3_4: Final = Release(
    version="v3.4.1",
    reported="v3.4.1",
    kubernetes="v1.22.12",
    oldest_kubernetes=19,
    unsupported="The current Kubernetes version is not supported !",
    installer_app="ks-installer",
    components=("monitoring", "multicluster", "openpitrix", "network"),
    records_version=True,
    refreshes_core=True,
    reloads=True,
    states_role=True,
    has_schemas=True,
    federates_by_condition=True,
    validates_clusters=True,
    tower_image="kubesphere/tower:v0.2.1",
    tower_command=("/proxy", "--ca-cert=/ca.crt", "--ca-key=/ca.key", "--v=4"),
    kubefed_image="kubesphere/kubefed:v0.8.1",
)

RELEASES: Final = {release.version: release for release in (V3_4, V3_0)}
