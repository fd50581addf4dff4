"""The text in ConfigMap `kubesphere-config`: as ks-installer renders it, and as the cluster controller writes it back.

Pure functions on text and mappings (kubesphere-facts 3.1 and 3.2).
"""

from __future__ import annotations

import json
from typing import Any, Final

import yaml

from include.simulator.release import Release
from include.simulator.resources import CONFIGMAPS

NAMESPACE: Final = "kubesphere-system"
NAME: Final = "kubesphere-config"
KEY: Final = "kubesphere.yaml"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

# The order in which KubeSphere's Go structures write their fields.
_AUTHENTICATION_ORDER: Final = (
    "authenticateRateLimiterMaxTries",
    "authenticateRateLimiterDuration",
    "maximumClockSkew",
    "loginHistoryRetentionPeriod",
    "loginHistoryMaximumEntries",
    "multipleLogin",
    "jwtSecret",
    "oauthOptions",
    "kubectlImage",
)


class RenderError(Exception):
    """The template cannot be rendered; the text is Ansible's."""


def render(spec: dict[str, Any], *, secret: str, release: Release) -> str:
    """Return the text for the spec of a ClusterConfiguration and a jwtSecret.

    Raises RenderError when `multicluster.clusterRole` is missing where the template reads it unguarded (since 3.3).
    """
    multicluster = spec.get("multicluster") or {}
    if release.states_role and "clusterRole" not in multicluster:
        raise RenderError("'dict object' has no attribute 'clusterRole'")
    role = str(multicluster.get("clusterRole", "none"))
    lines = [
        "authentication:",
        "  authenticateRateLimiterMaxTries: 10",
        "  authenticateRateLimiterDuration: 10m0s",
        "  loginHistoryRetentionPeriod: 168h",
        "  maximumClockSkew: 10s",
        "  multipleLogin: True",
        "  kubectlImage: kubesphere/kubectl:v1.22.0",
        f'  jwtSecret: "{secret}"',
    ]
    lines += _render_oauth_options(spec, role=role, release=release)
    lines += [
        "",
        "ldap:",
        "  host: openldap.kubesphere-system.svc:389",
        "  managerDN: cn=admin,dc=kubesphere,dc=io",
        "",
    ]
    lines += _render_multicluster(multicluster, role=role, release=release)
    lines += ["", "monitoring:", "  endpoint: http://prometheus-operated.kubesphere-monitoring-system.svc:9090", ""]
    return "\n".join(lines)


def _render_oauth_options(spec: dict[str, Any], *, role: str, release: Release) -> list[str]:
    unlimited = ["    accessTokenMaxAge: 0"] if role == "member" else []
    if not release.states_role:
        return ["  oauthOptions:", *unlimited] if unlimited else []
    given = (spec.get("authentication") or {}).get("oauthOptions")
    written = yaml.safe_dump(given, sort_keys=False).splitlines() if given else []
    client = ["- name: kubesphere", "  secret: kubesphere", "  redirectURIs:", "  - '*'"]
    return ["  oauthOptions:", *(f"    {line}" for line in written), *unlimited, "    clients:"] + [
        f"    {line}" for line in client
    ]


def _render_multicluster(multicluster: dict[str, Any], *, role: str, release: Release) -> list[str]:
    stated = [f"  clusterRole: {role}"] if release.states_role else []
    if role == "host":
        keys = ["proxyPublishAddress"]
        keys += ["clusterControllerResyncPeriod", "hostClusterName"] if release.states_role else []
        return [
            "multicluster:",
            *stated,
            "  enable: true",
            f"  agentImage: {release.tower_image}",
            "  proxyPublishService: tower.kubesphere-system.svc",
            *(f"  {key}: {multicluster[key]}" for key in keys if multicluster.get(key)),
        ]
    stated += ["  enable: false"] if stated and role == "member" else []
    return ["multicluster:", *stated] if stated else []


def build_manifest(text: str) -> dict[str, Any]:
    """Return the ConfigMap as ks-installer applies it: its annotation holds the whole text, the secret included."""
    manifest: dict[str, Any] = {
        "apiVersion": CONFIGMAPS.api_version,
        "kind": CONFIGMAPS.kind,
        "metadata": {"annotations": {}, "name": NAME, "namespace": NAMESPACE},
        "data": {KEY: text},
    }
    applied = json.dumps(manifest, separators=(",", ":"), sort_keys=True) + "\n"
    metadata = {"name": NAME, "namespace": NAMESPACE, "annotations": {LAST_APPLIED: applied}}
    return {"metadata": metadata, "data": {KEY: text}}


def parse(config_map: dict[str, Any] | None) -> dict[str, Any]:
    """Return the settings in a ConfigMap; empty when there are none that can be read."""
    try:
        settings = yaml.safe_load(((config_map or {}).get("data") or {}).get(KEY) or "")
    except yaml.YAMLError:
        return {}
    return settings if isinstance(settings, dict) else {}


def read_secret(settings: dict[str, Any]) -> str:
    """Return the jwtSecret of parsed settings, or ""."""
    secret = (settings.get("authentication") or {}).get("jwtSecret")
    return "" if secret is None else str(secret)


def read_multicluster(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the section `multicluster` of parsed settings."""
    return dict(settings.get("multicluster") or {})


def is_host(settings: dict[str, Any]) -> bool:
    """Say whether parsed settings make their cluster a host; before 3.3 there is no role, only `enable`."""
    multicluster = read_multicluster(settings)
    if "clusterRole" in multicluster:
        return bool(multicluster["clusterRole"] == "host")
    return bool(multicluster.get("enable"))


def rewrite(settings: dict[str, Any], *, cluster_name: str) -> str:
    """Return the text as the cluster controller writes it: another key order, no quotes, and with the cluster's name.

    It unmarshals and marshals the whole file, so that omitted durations appear and a false `enable` disappears
    (kubesphere-facts 3.2, 7.6).
    """
    written = dict(settings)
    authentication = dict(written.get("authentication") or {})
    options = dict(authentication.get("oauthOptions") or {})
    options["accessTokenMaxAge"] = options.get("accessTokenMaxAge") or "0s"
    authentication["oauthOptions"] = options
    first = {key: authentication.pop(key) for key in _AUTHENTICATION_ORDER if key in authentication}
    multicluster = {key: value for key, value in read_multicluster(settings).items() if value is not False}
    multicluster["clusterName"] = cluster_name
    written["authentication"] = {**first, **authentication}
    written["multicluster"] = multicluster
    return yaml.safe_dump(written, sort_keys=False)
