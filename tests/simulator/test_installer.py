"""What starts a run of ks-installer, what a run does, and how it can end."""

import base64

import kubernetes
import yaml

CONFIGURATION = ("clusterconfigurations", "ks-installer")
NAMESPACE = "kubesphere-system"
MEMBER = {"spec": {"multicluster": {"clusterRole": "member"}}}
HOST = {"spec": {"multicluster": {"clusterRole": "host"}}}


def settings(cluster):
    return yaml.safe_load(cluster.object("configmaps", "kubesphere-config", NAMESPACE)["data"]["kubesphere.yaml"])


def secret(cluster):
    data = cluster.object("secrets", "kubesphere-secret", NAMESPACE)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def is_host(cluster):
    return settings(cluster)["multicluster"]["clusterRole"] == "host"


def runs(text):
    return text.count("TASK_RUN HookRun@KUBE_EVENTS kubesphere/installRunner.py")


def test_a_changed_spec_is_one_run_and_status_or_nothing_changed_is_none(
    simulate, connect, wait_for, installer_log, queue_length
):
    host = simulate().clusters["host"]
    client = connect(host)
    host.edit(*CONFIGURATION, {"spec": {"multicluster": {"clusterRole": "none"}}}, NAMESPACE)
    host.edit(*CONFIGURATION, {"status": {"seen": True}}, NAMESPACE)
    host.edit(*CONFIGURATION, MEMBER, NAMESPACE)
    wait_for(lambda: settings(host)["multicluster"] == {"clusterRole": "member", "enable": False})
    wait_for(lambda: queue_length(host, client) == 0)
    assert runs(installer_log(host, client)) == 1


def test_two_changes_are_two_runs_and_the_queue_shows_them(simulate, connect, wait_for, installer_log, queue_length):
    host = simulate(timing={"run": 0.5}).clusters["host"]
    client = connect(host)
    host.edit(*CONFIGURATION, MEMBER, NAMESPACE)
    wait_for(lambda: queue_length(host, client) == 1)
    host.edit(*CONFIGURATION, {"spec": {"authentication": {"jwtSecret": "abc123"}}}, NAMESPACE)
    wait_for(lambda: queue_length(host, client) == 2)
    wait_for(lambda: queue_length(host, client) == 0)
    assert runs(installer_log(host, client)) == 2
    assert settings(host)["authentication"]["jwtSecret"] == "abc123"


def test_a_host_gets_tower_kubefed_and_its_definitions_and_only_then_the_config(simulate, wait_for):
    host = simulate().clusters["host"]
    host.edit(*CONFIGURATION, HOST, NAMESPACE)
    wait_for(lambda: is_host(host))
    assert host.object(*CONFIGURATION, NAMESPACE)["status"]["multicluster"]["status"] == "enabled"
    tower = host.object("services", "tower", NAMESPACE)
    assert tower["spec"]["type"] == "LoadBalancer"
    assert tower["status"] == {"loadBalancer": {}}
    assert 30000 <= tower["spec"]["ports"][0]["nodePort"] <= 32767
    assert (
        host.object("deployments", "kubefed-controller-manager", "kube-federation-system")["status"][
            "availableReplicas"
        ]
        == 1
    )
    assert host.object("customresourcedefinitions", "kubefedclusters.core.kubefed.io")


def test_a_member_never_gets_a_multicluster_status(simulate, connect, wait_for, queue_length):
    member = simulate(members=[{"name": "m1"}]).clusters["m1"]
    client = connect(member)
    member.edit(*CONFIGURATION, MEMBER, NAMESPACE)
    wait_for(lambda: settings(member)["multicluster"]["clusterRole"] == "member")
    wait_for(lambda: queue_length(member, client) == 0)
    status = member.object(*CONFIGURATION, NAMESPACE)["status"]
    assert "multicluster" not in status
    assert status["core"]["version"] == "v3.4.1"


def test_an_empty_secret_in_the_spec_keeps_the_one_in_force(simulate, wait_for):
    host = simulate().clusters["host"]
    before = secret(host)
    host.edit(*CONFIGURATION, MEMBER, NAMESPACE)
    wait_for(lambda: settings(host)["multicluster"]["clusterRole"] == "member")
    assert secret(host) == before
    assert settings(host)["authentication"]["jwtSecret"] == before["secret"]
    assert host.object(*CONFIGURATION, NAMESPACE)["spec"]["authentication"]["jwtSecret"] == ""


def test_a_secret_in_the_spec_replaces_the_secret_its_token_and_the_config(simulate, wait_for):
    host = simulate().clusters["host"]
    before = secret(host)
    host.edit(*CONFIGURATION, {"spec": {"authentication": {"jwtSecret": "new123"}}}, NAMESPACE)
    wait_for(lambda: settings(host)["authentication"]["jwtSecret"] == "new123")
    assert secret(host)["secret"] == "new123"
    assert secret(host)["token"] != before["token"]
    assert set(secret(host)) == {"secret", "token", "initAdminPassword"}
    assert {before["secret"], before["token"], "new123"} <= set(host.secrets())


def test_the_config_is_text_with_a_quoted_secret_and_an_annotation_that_holds_it_too(simulate, wait_for):
    host = simulate().clusters["host"]
    host.edit(*CONFIGURATION, {"spec": {"authentication": {"jwtSecret": "12345"}}}, NAMESPACE)
    wait_for(lambda: settings(host)["authentication"]["jwtSecret"] == "12345")
    config = host.object("configmaps", "kubesphere-config", NAMESPACE)
    assert '\n  jwtSecret: "12345"\n' in config["data"]["kubesphere.yaml"]
    assert "12345" in config["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]


def test_a_restart_of_the_pod_is_one_full_run(simulate, connect, wait_for, installer_log):
    host = simulate().clusters["host"]
    client = connect(host)
    before = {pod["metadata"]["name"] for pod in host.objects("pods", NAMESPACE)}
    stamp = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    kubernetes.client.AppsV1Api(client).patch_namespaced_deployment(
        "ks-installer", NAMESPACE, {"spec": {"template": {"metadata": {"annotations": stamp}}}}
    )

    def installers():
        return {
            pod["metadata"]["name"]
            for pod in host.objects("pods", NAMESPACE)
            if pod["metadata"]["labels"]["app"] == "ks-installer"
        }

    wait_for(lambda: len(installers()) == 1 and not installers() & before)
    text = wait_for(lambda: "Welcome to KubeSphere!" in installer_log(host, client) and installer_log(host, client))
    assert runs(text) == 1


def test_an_old_banner_is_in_the_log_from_the_start(simulate, connect, installer_log):
    host = simulate().clusters["host"]
    text = installer_log(host, connect(host))
    assert "Welcome to KubeSphere!" in text
    assert runs(text) == 0


def test_a_silent_failure_prints_the_secret_and_changes_nothing(
    simulate, connect, wait_for, installer_log, queue_length
):
    host = simulate(host={"installer": {"fail": "silent"}}).clusters["host"]
    client, before = connect(host), settings(host)
    patch = {"spec": {**HOST["spec"], "authentication": {"jwtSecret": "leaked123"}}}
    host.edit(*CONFIGURATION, patch, NAMESPACE)
    wait_for(lambda: "failed=1" in installer_log(host, client))
    wait_for(lambda: queue_length(host, client) == 0)
    text = installer_log(host, client)
    assert "jwt.sh leaked123" in next(line for line in text.splitlines() if line.startswith("fatal: "))
    assert settings(host) == before
    assert secret(host)["secret"] != "leaked123"
    assert runs(text) == 1, "exit code 0 is not tried again"


def test_a_failure_of_the_first_run_does_not_touch_the_second(simulate, connect, wait_for, installer_log):
    host = simulate(host={"installer": {"fail": "silent", "runs": 1}}).clusters["host"]
    client = connect(host)
    host.edit(*CONFIGURATION, HOST, NAMESPACE)
    wait_for(lambda: "failed=1" in installer_log(host, client))
    host.edit(*CONFIGURATION, {"spec": {"alerting": {"enabled": True}}}, NAMESPACE)
    wait_for(lambda: is_host(host))


def test_a_component_failure_writes_the_config_and_no_banner(simulate, connect, wait_for, installer_log, conditions):
    host = simulate(host={"installer": {"fail": "component"}}).clusters["host"]
    client = connect(host)
    banners = installer_log(host, client).count("Welcome to KubeSphere!")
    host.edit(*CONFIGURATION, HOST, NAMESPACE)
    text = wait_for(
        lambda: "Task 'multicluster' failed:" in installer_log(host, client) and installer_log(host, client)
    )
    assert "*" * 150 in text
    assert text.count("Welcome to KubeSphere!") == banners
    assert is_host(host)
    assert "multicluster" not in host.object(*CONFIGURATION, NAMESPACE)["status"]
    wait_for(lambda: conditions(host.object("clusters", "host")).get("Federated") == "False")
    reasons = [entry.get("reason") for entry in host.object("clusters", "host")["status"]["conditions"]]
    assert 'no matches for kind "KubeFedCluster" in version "core.kubefed.io/v1beta1"' in reasons


def test_a_crash_is_repeated_until_a_run_succeeds(simulate, connect, wait_for, installer_log):
    host = simulate(host={"installer": {"fail": "crash", "runs": 2}}).clusters["host"]
    client = connect(host)
    host.edit(*CONFIGURATION, HOST, NAMESPACE)
    wait_for(lambda: is_host(host))
    text = installer_log(host, client)
    hook = "TASK_RUN TASK_HOOK_RUN 'kubesphere/installRunner.py' on 'KUBE_EVENTS' failed. Will retry after delay. "
    assert f"{hook}Failed count is 1" in text
    assert f"{hook}Failed count is 2" in text


def test_a_missing_secret_key_ends_the_run_silently(simulate, connect, wait_for, installer_log):
    host = simulate().clusters["host"]
    client, before = connect(host), settings(host)
    host.edit(*CONFIGURATION, {"spec": {"authentication": {"jwtSecret": None}}}, NAMESPACE)
    wait_for(lambda: "has no attribute 'jwtSecret'" in installer_log(host, client))
    assert settings(host) == before


def test_a_missing_role_key_fails_the_config(simulate, connect, wait_for, installer_log):
    host = simulate().clusters["host"]
    client, before = connect(host), settings(host)
    host.edit(*CONFIGURATION, {"spec": {"multicluster": {"clusterRole": None}}}, NAMESPACE)
    wait_for(lambda: "Failed to ansible-playbook ks-config.yaml" in installer_log(host, client))
    assert settings(host) == before


def test_a_missing_version_makes_the_installer_replace_the_object_and_run_again(simulate, wait_for):
    host = simulate().clusters["host"]
    before = host.object(*CONFIGURATION, NAMESPACE)
    host.edit(*CONFIGURATION, {"status": {"core": {"version": None}}}, NAMESPACE)
    host.edit(*CONFIGURATION, MEMBER, NAMESPACE)
    wait_for(lambda: settings(host)["multicluster"]["clusterRole"] == "member")
    after = host.object(*CONFIGURATION, NAMESPACE)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["status"]["clusterId"] == before["status"]["clusterId"]
    assert "monitoring" not in after["status"]
