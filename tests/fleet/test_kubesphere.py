"""KubeSphere's objects: read as its components write them, changed as little as possible."""

import base64

import pytest

from include.fleet import kubesphere, manifests

CONFIG_BY_INSTALLER = """
authentication:
  maximumClockSkew: 10s
  jwtSecret: "WaSEiGROspi5"
  oauthOptions:
    accessTokenMaxAge: 0
multicluster:
  clusterRole: member
  enable: false
"""
CONFIG_BY_CONTROLLER = """
authentication:
    jwtSecret: WaSEiGROspi5
    maximumClockSkew: 10s
multicluster:
    clusterName: m1
    clusterRole: member
    clusterControllerResyncPeriod: 2m0s
"""


def make_configuration(*, role="none", secret="", status=None, **spec):
    """A ClusterConfiguration as the installer's own manifest has it."""
    return {
        "metadata": {"name": "ks-installer", "labels": {"version": "v3.4.1"}},
        "spec": {"authentication": {"jwtSecret": secret}, "multicluster": {"clusterRole": role}, **spec},
        "status": {"core": {"version": "v3.4.1"}} if status is None else status,
    }


def make_config_map(text=CONFIG_BY_INSTALLER):
    return {"data": {"kubesphere.yaml": text}}


def make_secret(value):
    return {"data": {"secret": base64.b64encode(value.encode()).decode()}}


@pytest.mark.parametrize("text", [CONFIG_BY_INSTALLER, CONFIG_BY_CONTROLLER], ids=["installer", "controller"])
def test_the_secret_is_read_however_it_is_written(text):
    config = kubesphere.config(make_config_map(text))
    assert (config.jwt_secret, config.role) == ("WaSEiGROspi5", "member")


def test_a_secret_of_digits_is_a_string():
    assert kubesphere.config(make_config_map("authentication: {jwtSecret: 12345678}")).jwt_secret == "12345678"


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "text"])
def test_a_config_map_without_yaml_is_none(text):
    assert kubesphere.config(make_config_map(text)) is None


def test_repr_of_config_and_trust_shows_no_secret():
    config = kubesphere.config(make_config_map())
    trust = kubesphere.trust(make_configuration(), config, None)
    assert "WaSE" not in repr(config) + repr(trust)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2m0s", 120.0),
        ("120s", 120.0),
        ("1h", 3600.0),
        ("500ms", 0.5),
        ("0.5s", 0.5),
        ("", None),
        ("2x", None),
        ("12", None),
    ],
)
def test_durations_of_go_become_seconds(text, seconds):
    assert kubesphere.seconds(text) == seconds


def test_one_patch_holds_role_and_secret():
    patch = kubesphere.configuration_patch(make_configuration(), role="member", jwt_secret="new")
    assert patch == {"spec": {"multicluster": {"clusterRole": "member"}, "authentication": {"jwtSecret": "new"}}}


@pytest.mark.parametrize(
    ("configuration", "patch"),
    [
        pytest.param(make_configuration(role="member", secret="new"), {}, id="nothing"),
        pytest.param(
            make_configuration(role="none", secret="new"), {"multicluster": {"clusterRole": "member"}}, id="role"
        ),
        pytest.param(
            make_configuration(role="member", secret="old"), {"authentication": {"jwtSecret": "new"}}, id="secret"
        ),
    ],
)
def test_a_patch_holds_only_what_differs(configuration, patch):
    expected = {"spec": patch} if patch else {}
    assert kubesphere.configuration_patch(configuration, role="member", jwt_secret="new") == expected


def test_a_host_keeps_its_secret():
    patch = kubesphere.configuration_patch(make_configuration(secret="kept"), role="host")
    assert patch == {"spec": {"multicluster": {"clusterRole": "host"}}}


def test_a_missing_secret_key_is_added_since_the_installer_dies_without_it():
    configuration = make_configuration(role="host", authentication={})
    assert kubesphere.configuration_patch(configuration, role="host") == {"spec": {"authentication": {"jwtSecret": ""}}}


@pytest.mark.parametrize(
    ("asked", "kept", "written", "value", "pending"),
    [
        pytest.param("", "a", "a", "a", "", id="generated-and-in-force"),
        pytest.param("a", "a", "a", "a", "", id="given-and-in-force"),
        pytest.param("b", "a", "a", "b", "another jwtSecret", id="given-but-no-run-yet"),
        pytest.param("", "b", "a", "b", "does not hold", id="run-interrupted-between-secret-and-config"),
        pytest.param("", None, "a", "a", "", id="secret-may-not-be-read"),
        pytest.param("b", None, "a", "b", "does not hold", id="given-and-secret-may-not-be-read"),
    ],
)
def test_trust_is_the_secret_that_stays(asked, kept, written, value, pending):
    config = kubesphere.config(make_config_map(f"authentication: {{jwtSecret: {written}}}"))
    trust = kubesphere.trust(make_configuration(secret=asked), config, make_secret(kept) if kept else None)
    assert trust.value == value
    assert (pending in trust.pending) if pending else not trust.pending


def test_unmet_is_nothing_on_a_finished_member():
    configuration = make_configuration(role="member", secret="WaSEiGROspi5")
    config = kubesphere.config(make_config_map())
    assert kubesphere.unmet(kubesphere.Snapshot(configuration, config, None)) == ""


def test_a_member_never_needs_status_multicluster():
    """Its ClusterConfiguration never gets one: P-4."""
    configuration = make_configuration(role="member", secret="WaSEiGROspi5", status={})
    config = kubesphere.config(make_config_map())
    assert kubesphere.unmet(kubesphere.Snapshot(configuration, config, None)) == ""


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        pytest.param(make_configuration(role="member", secret="other"), "does not hold the jwtSecret", id="secret"),
        pytest.param(make_configuration(role="host", secret="WaSEiGROspi5"), "role member, not host", id="role"),
    ],
)
def test_unmet_names_what_the_installer_has_not_done(configuration, says):
    config = kubesphere.config(make_config_map())
    assert says in kubesphere.unmet(kubesphere.Snapshot(configuration, config, None))


def test_a_host_is_not_finished_until_status_multicluster_is_enabled():
    """The ConfigMap says host even when the component failed: P-6."""
    config = kubesphere.config(make_config_map("authentication: {jwtSecret: a}\nmulticluster: {clusterRole: host}"))
    for status, unmet in (({}, True), ({"multicluster": {"status": "enabled"}}, False)):
        configuration = make_configuration(role="host", status=status)
        assert bool(kubesphere.unmet(kubesphere.Snapshot(configuration, config, None))) is unmet


def test_the_last_condition_of_a_type_counts():
    conditions = [{"type": "Ready", "status": "False"}, {"type": "Ready", "status": "True"}]
    assert kubesphere.is_true({"status": {"conditions": conditions}}, "Ready")


@pytest.mark.parametrize(
    ("version", "known"),
    [("v3.4.1", True), ("v3.4.0", True), ("v3.0.0", True), ("v3.3.2", False), ("v4.1.3", False), ("", False)],
)
def test_only_known_versions_have_a_release(version, known):
    configuration = {"metadata": {"labels": {"version": version}}, "spec": {}}
    assert (kubesphere.release(configuration) is not None) is known


def test_difference_is_empty_when_everything_wanted_is_there():
    current = {"spec": {"a": 1, "b": {"c": 2, "d": 3}}, "status": {}}
    assert manifests.difference(current, {"spec": {"a": 1, "b": {"c": 2}}}) == {}
    assert manifests.difference(current, {"spec": {"b": {"c": 9}}}) == {"spec": {"b": {"c": 9}}}
    assert manifests.difference(None, {"metadata": {"labels": {"x": "y"}}}) == {"metadata": {"labels": {"x": "y"}}}


@pytest.mark.parametrize(
    ("changes", "available"),
    [
        pytest.param({}, True, id="all-up"),
        pytest.param({"observedGeneration": 1}, False, id="not-seen-by-its-controller"),
        pytest.param({"availableReplicas": 0}, False, id="no-pod-up"),
        pytest.param({"updatedReplicas": 0}, False, id="old-pods-only"),
    ],
)
def test_a_deployment_is_available_when_its_newest_template_runs(changes, available):
    status = {"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1, **changes}
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": status}
    assert kubesphere.is_available(deployment) is available


@pytest.mark.parametrize(
    ("text", "role"),
    [
        pytest.param("multicluster: {enable: true}", "host", id="host"),
        pytest.param("authentication: {oauthOptions: {accessTokenMaxAge: 0}}", "member", id="member"),
        pytest.param("authentication: {jwtSecret: a}", "none", id="none"),
    ],
)
def test_the_role_is_proven_up_to_3_2_without_being_named(text, role):
    assert kubesphere.config(make_config_map(text)).role == role


def test_tokens_that_never_expire_are_no_sign_of_a_member_where_the_role_is_named():
    """The 3.4 controller writes that field on the host, too."""
    text = "authentication: {oauthOptions: {accessTokenMaxAge: 0s}}\nmulticluster: {clusterRole: host}"
    assert kubesphere.config(make_config_map(text)).role == "host"


def test_role_and_address_go_into_one_patch():
    patch = kubesphere.configuration_patch(make_configuration(), role="host", address="http://10.0.0.1:8080")
    assert patch == {"spec": {"multicluster": {"clusterRole": "host", "proxyPublishAddress": "http://10.0.0.1:8080"}}}
