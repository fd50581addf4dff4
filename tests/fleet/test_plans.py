"""Plans, pure: each field old against new, no secret in them, and the same text for the same writes."""

import base64

from include.fleet import kinds, plans

CONFIGURATION = kinds.Ref(kinds.CLUSTER_CONFIGURATION, "ks-installer", "kubesphere-system")
SECRET = kinds.Ref(kinds.SECRET, "before-join", "kubesphere-system")
AGENT = kinds.Ref(kinds.DEPLOYMENT, "cluster-agent", "kubesphere-system")
CLUSTER = kinds.Ref(kinds.CLUSTER, "m1")
TOKEN = "0123456789abcdef" * 4


def entry(ref, body, before=None):
    write = plans.Write("patch" if before else "create", ref, before, body)
    return plans.entry("host", write, hide=lambda text: text.replace(TOKEN, "<hidden>"))


def fields(item):
    return {change["field"]: (change.get("old"), change["new"]) for change in item["fields"]}


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_a_change_tells_only_what_differs():
    before = {"metadata": {"resourceVersion": "7"}, "spec": {"multicluster": {"clusterRole": "none", "x": 1}}}
    patch = {"metadata": {"resourceVersion": "7"}, "spec": {"multicluster": {"clusterRole": "host", "x": 1}}}
    item = entry(CONFIGURATION, patch, before)
    assert (item["verb"], fields(item)) == ("change", {"spec.multicluster.clusterRole": ("none", "host")})


def test_secrets_are_fingerprints_wherever_they_stand():
    jwt = entry(CONFIGURATION, {"spec": {"authentication": {"jwtSecret": "another"}}}, {"spec": {"authentication": {}}})
    made = entry(SECRET, {"data": {"jwtSecret": encoded("former"), "clusterRole": encoded("none")}})
    cluster = entry(CLUSTER, {"spec": {"connection": {"kubeconfig": encoded("apiVersion: v1"), "token": TOKEN}}})
    agent = entry(
        AGENT, {"spec": {"template": {"spec": {"containers": [{"command": ["/agent", f"--token={TOKEN}"]}]}}}}
    )
    assert fields(jwt)["spec.authentication.jwtSecret"][1].startswith("sha256:")
    assert fields(made)["data.jwtSecret"][1].startswith("sha256:")
    assert fields(made)["data.clusterRole"] == (None, "none")
    assert fields(cluster)["spec.connection.kubeconfig"][1].startswith("kubeconfig sha256:")
    assert fields(cluster)["spec.connection.token"][1].startswith("sha256:")
    assert fields(agent)["spec.template.spec.containers[0].command[1]"] == (None, "--token=<hidden>")
    for item in (jwt, made, cluster, agent):
        assert TOKEN not in str(item)
        assert "another" not in str(item)
        assert "former" not in str(item)


def test_the_token_of_an_agent_that_nobody_knows_is_a_fingerprint_too():
    def pod(**container):
        return {"spec": {"template": {"spec": {"containers": [container]}}}}

    wanted = pod(command=["/agent", "--token=(made by tower)"])
    for former in (
        pod(command=["/agent", f"--token={TOKEN[::-1]}"]),
        pod(command=["/agent", "-token", TOKEN[::-1]]),
        pod(command=["/agent"], args=[f"--agent-token={TOKEN[::-1]}"]),
        pod(command=["/agent"], env=[{"name": "T", "value": TOKEN[::-1]}]),
    ):
        item = entry(AGENT, wanted, former)
        assert TOKEN[::-1] not in str(item)
        assert "--token=(made by tower)" in str(item)
    shown = entry(AGENT, wanted, pod(command=["/agent", f"--token={TOKEN[::-1]}"]))
    old, new = fields(shown)["spec.template.spec.containers[0].command[1]"]
    assert (old.partition("=")[0], new) == ("--token", "--token=(made by tower)")
    assert old.startswith("--token=<sha256:")


def test_what_a_shorter_list_takes_away_is_told():
    before = {"spec": {"command": ["a", "b", "c"]}}
    assert fields(entry(AGENT, {"spec": {"command": ["a"]}}, before)) == {
        "spec.command[1]": ("b", "(removed)"),
        "spec.command[2]": ("c", "(removed)"),
    }


def test_what_differs_from_run_to_run_is_no_difference_between_plans():
    one, two = (
        [entry(SECRET, {"data": {"recordedAt": encoded(moment), "recordedBy": encoded(moment)}})]
        for moment in ("2026-01-01", "2026-01-02")
    )
    assert plans.digest(one) == plans.digest(two)
    assert plans.digest(one) != plans.digest([])


def test_a_table_is_not_broken_by_what_a_cluster_says():
    item = entry(CLUSTER, {"metadata": {"annotations": {"kubesphere.io/description": "a|b`<script>\nc"}}})
    (row,) = [line for line in plans.markdown("Plan", [item], [], []).splitlines() if "description" in line]
    assert row.count("|") - row.count("\\|") == 4
    assert "`a\\|b'<script> c`" in row
