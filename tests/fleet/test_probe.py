"""What the pods of host and member reach: asked by a Job, which is gone afterwards however that ends."""

import asyncio
import collections
import json
import time

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from include.fleet import clusters, conf, connections, curl, findings, joining, journal, probe, settings, turn, waits
from include.simulator.disturbances import Disturbance, Refusal
from include.simulator.simulation import Simulation

LIMITS = settings.Settings(connect_timeout=2, request_timeout=5, poll=0.1, probe_timeout=20)
TIMING = {"queue": 0.05, "run": 0.3, "reload": 0.1, "sync": 0.05, "resync": 1, "kubelet": 0.05}
KS = "kubesphere-system"
TOWER = "http://139.198.110.23:8080"
OK, WARNING, INCOMPLETE = findings.Answer.OK, findings.Answer.WARNING, findings.Answer.INCOMPLETE


def forbidden(*rights):
    return {"forbid": [dict(zip(("verb", "resource"), right.split(), strict=True)) for right in rights]}


MEMBERS = [
    {"name": "m1"},
    {"name": "shut-in", "reachable": False, "reaches_tower": False},
    {"name": "no-image", "kubernetes": {"unpullable": ["curlimages/curl"]}},
    {"name": "no-create", **forbidden("create jobs")},
    {"name": "no-log", **forbidden("get pods/log")},
    {"name": "no-cleaning", **forbidden("list jobs", "delete jobs")},
]


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    host = {"role": "host", "load_balancer": "139.198.110.23"}
    scenario = {"timing": TIMING, "host": host, "members": MEMBERS}
    with Simulation(scenario, directory=tmp_path_factory.mktemp("probe")) as running:
        yield running


@pytest.fixture(autouse=True)
def _connections(simulation, monkeypatch):
    for conn_id, connection in simulation.connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper().replace('-', '_')}", json.dumps(connection))
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


class Asked:
    """One question of one attempt of a run; *left* is what it did without."""

    def __init__(self, question, *, member="m1", attempt="run/1", leaves=None, limits=LIMITS, **more):
        raw = {"cluster": member, "host_conn_id": "host", "member_conn_id": member, "probe": True, **more}
        assert conf.problems(raw) == []
        self._conf, self._question, self._attempt, self._leaves = conf.parse(raw), question, attempt, leaves
        self._limits = limits
        self.left = []

    async def answer(self):
        read = self._conf
        async with (
            clusters.connect(read.host_conn_id, role="host", limits=self._limits) as host,
            clusters.connect(read.member_conn_id, role="member", limits=self._limits) as member,
        ):
            join = joining.Join(
                conf=read,
                host=host,
                member=member,
                limits=self._limits,
                attempt=self._attempt,
                started=time.time(),
                leave_worker=self._leaves,
                reports={},
                changes=journal.Journal(),
                turns=turn.Turns(host, holder=self._attempt, member=read.cluster, limits=self._limits),
            )
            try:
                return await self._question(join)
            finally:
                self.left = [*host.done_without, *member.done_without]


def ask(question, **options):
    return asyncio.run(Asked(question, **options).answer())


def to_tower(address=TOWER):
    return lambda join: probe.from_member(join, address)


async def to_member(join, **changes):
    """Ask as the kubeconfig of the member's connection says, but for some changes."""
    server = changes.pop(
        "server", f"https://10.20.{1 + [each['name'] for each in MEMBERS].index(join.conf.cluster)}.1:6443"
    )
    prepared = await connections.importable_kubeconfig(join.conf.member_conn_id, server=server)
    fields = {**vars(curl.target(prepared)), **changes}
    return await probe.from_host(join, curl.Target(**fields))


def made(cluster):
    """The Jobs that were ever made in a cluster, as they were."""
    events = [event for event in cluster.store.history() if event.resource.plural == "jobs" and event.type == "ADDED"]
    return [event.object for event in events]


def wait_for(happened):
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def assert_no_trace(cluster):
    assert cluster.objects("jobs", KS) == []
    wait_for(lambda: not [pod for pod in cluster.objects("pods", KS) if "job-name" in pod["metadata"]["labels"]])


def test_the_hosts_pods_reach_a_member_and_leave_nothing(simulation):
    host = simulation.clusters["host"]
    before = len(host.audit())
    found = ask(to_member)
    assert (found.check, found.answer) == ("host-reaches-member", OK)
    assert (
        found.evidence
        == ("The host's pods reach https://10.20.1.1:6443, with a valid certificate (GET /version: HTTP 401).")
        or "HTTP 200" in found.evidence
    )
    asked = collections.Counter(
        f"{entry.verb} {entry.resource}/{entry.subresource}".rstrip("/")
        for entry in host.audit()[before:]
        if entry.agent == "join-member-cluster"
    )
    assert set(asked) == {"list jobs", "get jobs", "create jobs", "delete jobs", "list pods", "get pods/log"}
    assert asked["create jobs"] == asked["delete jobs"] == asked["get pods/log"] == 1
    assert_no_trace(host)


def test_a_job_holds_no_credential_and_may_do_nothing(simulation):
    ask(to_member)
    job = made(simulation.clusters["host"])[-1]
    text = json.dumps(job)
    for cluster in simulation.clusters.values():
        assert not [secret for secret in cluster.secrets() if secret in text]
    for word in ("token", "client-", "kubeconfig", "Authorization"):
        assert word not in text.replace("automountServiceAccountToken", "")
    spec = job["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (0, 20, 300)
    pod = spec["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["image"] == "curlimages/curl:8.10.1"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert set(container["resources"]) == {"requests", "limits"}


def test_of_an_authority_only_certificates_go_into_a_job(simulation):
    async def target():
        server = simulation.clusters["m1"].pod_server
        return curl.target(await connections.importable_kubeconfig("m1", server=server))

    document = simulation.connections["m1"]["extra"]["kube_config"]
    found = asyncio.run(target())
    assert found.authority.startswith("-----BEGIN CERTIFICATE-----\n")
    assert document["users"][0]["user"]["token"] not in str(found)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"server_name": "api.example.com"},
            "it is reached, but its certificate does not name this address (curl: (60)",
        ),
        ({"authority": "", "insecure": False}, "it is reached, but its certificate is of an authority that is not"),
        ({"authority": "none"}, "the certificate authority in the kubeconfig cannot be read (curl: (77)"),
        ({"server": "https://no.such.example"}, "its name is not resolved (curl: (6) Could not resolve host"),
        ({"server": "https://10.20.1.1:7443"}, "nothing listens there, or there is no way to it (curl: (7)"),
        (
            {"server": TOWER.replace("http:", "https:")},
            "it is reached, but does not speak TLS as it should (curl: (35)",
        ),
    ],
    ids=["name", "authority", "no authority", "dns", "refused", "no tls"],
)
def test_a_member_that_is_not_reached_is_a_warning_with_the_reason(simulation, changes, says):
    found = ask(lambda join: to_member(join, **dict(changes)))
    assert found.answer is WARNING
    assert says in found.evidence
    assert found.fix
    assert_no_trace(simulation.clusters["host"])


def test_a_host_that_is_cut_off_waits_in_vain(simulation):
    simulation.clusters["host"].cut_tunnel(3)
    found = ask(to_member)
    assert found.answer is WARNING
    assert "no answer in time (curl: (28) Connection timed out after" in found.evidence
    time.sleep(3)


def test_a_certificate_that_nobody_wants_to_see_is_told_of(simulation):
    found = ask(lambda join: to_member(join, server_name="api.example.com", insecure=True))
    assert found.answer is OK
    assert "which nobody verifies" in found.evidence


def test_the_members_pods_reach_tower_and_open_a_websocket(simulation):
    member = simulation.clusters["m1"]
    found = ask(to_tower())
    assert (found.check, found.answer) == ("member-reaches-tower", OK)
    assert found.evidence == f"The member's pods reach tower at {TOWER}: it is well and opens a WebSocket."
    assert_no_trace(member)


@pytest.mark.parametrize(
    ("member", "address", "says"),
    [
        ("shut-in", TOWER, "do not get to tower at http://139.198.110.23:8080: no answer in time"),
        ("m1", TOWER.replace("8080", "80"), "no answer in time (curl: (28)"),
        ("m1", "http://10.20.0.1:6443", "something else than tower answers there (GET /health: HTTP 400)"),
        ("m1", TOWER.replace("http:", "https:"), "does not speak TLS as it should"),
        ("m1", "http://10.20.1.99:80", "but no WebSocket comes about: HTTP 200."),
        ("m1", "http://10.20.1.99:81", "something else than tower answers there (GET /health: HTTP 200)"),
    ],
    ids=["cut off", "other port", "api server", "https", "no websockets", "other server"],
)
def test_a_tower_that_is_not_reached_is_a_warning_with_the_reason(simulation, member, address, says):
    async def well(request):
        return PlainTextResponse("OK\n" if request.url.port == 80 or ":81" not in str(request.url) else "welcome")

    for port in (80, 81):
        application = Starlette(routes=[Route("/{path:path}", well)])
        simulation._network.listen("m1", address="10.20.1.99", port=port, application=application)
    found = ask(to_tower(address), member=member)
    assert found.answer is WARNING
    assert says in found.evidence
    assert_no_trace(simulation.clusters[member])


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ("no-image", 'ImagePullBackOff: Back-off pulling image "curlimages/curl:8.10.1".'),
        ("no-create", "connection no-create may not create jobs.batch in kubesphere-system on the member cluster."),
        ("no-log", "connection no-log may not get pods/log in kubesphere-system on the member cluster."),
    ],
)
def test_what_keeps_a_job_from_running_is_told_and_is_no_answer(simulation, member, says):
    found = ask(to_tower(), member=member)
    assert found.answer is INCOMPLETE
    assert found.evidence.startswith(f"Whether the member's pods reach tower at {TOWER} was not found out: ")
    assert found.evidence.endswith(says)
    assert_no_trace(simulation.clusters[member])


def test_a_job_that_takes_too_long_is_ended(simulation):
    limits = settings.Settings(connect_timeout=0.5, request_timeout=5, poll=0.1, probe_timeout=4)
    found = ask(to_tower(), probe_image="example.com/mine:1", limits=limits)
    assert found.answer is INCOMPLETE
    assert "has not run within 4 s: its pod is running." in found.evidence or "DeadlineExceeded" in found.evidence
    job = made(simulation.clusters["m1"])[-1]
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/mine:1"
    assert_no_trace(simulation.clusters["m1"])


def test_without_the_right_to_remove_it_a_job_is_left_to_kubernetes(simulation):
    asked = Asked(to_tower(), member="no-cleaning")
    assert asyncio.run(asked.answer()).answer is OK
    lacking = "connection no-cleaning may not {} jobs.batch in kubesphere-system on the member cluster."
    assert asked.left == [
        f"What killed probes have left was not looked for: {lacking.format('list')}",
        f"The Job of a probe stays until Kubernetes removes it: {lacking.format('delete')}",
    ]
    (job,) = simulation.clusters["no-cleaning"].objects("jobs", KS)
    assert job["spec"]["ttlSecondsAfterFinished"] == 300


def test_a_probe_that_is_cancelled_leaves_nothing(simulation):
    cluster = simulation.clusters["no-image"]

    async def cancel():
        task = asyncio.create_task(Asked(to_tower(), member="no-image").answer())
        await asyncio.to_thread(wait_for, lambda: cluster.objects("jobs", KS))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert_no_trace(cluster)


def test_a_job_goes_on_where_its_attempt_has_to_leave_the_worker(simulation):
    cluster = simulation.clusters["no-image"]
    before = len(made(cluster))
    with pytest.raises(waits.Longer):
        ask(to_tower(), member="no-image", attempt="moving/1", leaves=time.time())
    (job,) = cluster.objects("jobs", KS)
    assert ask(to_tower(), member="no-image", attempt="moving/2").answer is INCOMPLETE
    assert [item["metadata"]["uid"] for item in made(cluster)[before:]] == [job["metadata"]["uid"]]
    assert_no_trace(cluster)


def test_what_a_killed_run_has_left_is_removed_by_the_next(simulation):
    cluster = simulation.clusters["m1"]
    with pytest.raises(waits.Longer):
        ask(to_tower(), attempt="killed/1", leaves=time.time())
    (left,) = cluster.objects("jobs", KS)
    assert ask(to_tower(), attempt="next/1").answer is OK
    assert made(cluster)[-1]["metadata"]["name"] != left["metadata"]["name"]
    assert_no_trace(cluster)


def test_an_answer_of_a_killed_attempt_is_not_believed(simulation):
    cluster = simulation.clusters["m1"]
    with pytest.raises(waits.Longer):
        ask(to_tower(), attempt="again/1", leaves=time.time())
    wait_for(lambda: curl.is_over(cluster.objects("jobs", KS)[0]))
    before = len(made(cluster))
    assert ask(to_tower(), attempt="again/2").answer is OK
    assert len(made(cluster)) == before + 1
    assert_no_trace(cluster)


def test_an_api_server_that_is_busy_for_a_moment_is_borne(simulation):
    cluster = simulation.clusters["m1"]
    disturbance = Disturbance(
        matches=lambda call: call.verb == "create" and call.resource == "jobs", kind=Refusal(code=503)
    )
    cluster.disturb(disturbance)
    assert ask(to_tower()).answer is OK
    assert disturbance.met
    assert_no_trace(cluster)


@pytest.mark.parametrize("kind", ["direct", "proxy", "auto"])
def test_preflight_asks_what_the_connection_type_needs(simulation, kind):
    server = {"member_server": simulation.clusters["m1"].pod_server} if kind != "proxy" else {}
    found = ask(probe.probes, connection=kind, **server)
    expected = {"direct": ["host-reaches-member"], "proxy": ["member-reaches-tower"]}
    assert [each.check for each in found] == expected.get(kind, [*expected["direct"], *expected["proxy"]])
    assert {each.answer for each in found} == {OK}


def test_the_image_of_all_probes_is_a_setting_and_no_number():
    given = {"probe_image": "example.com/curl:1", "poll": "5"}
    read = settings.Settings.read(given.get)
    assert (read.probe_image, read.poll) == ("example.com/curl:1", 5.0)
