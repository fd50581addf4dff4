"""Kubernetes access, over real HTTPS: what a server answers becomes one of our errors, and no secret leaks."""

import asyncio
import base64
import contextlib
import copy
import gc
import json
import logging
import socket
import ssl
import threading
import time
import warnings

import pytest
from kubernetes import client, config

from include.fleet import clusters, errors, kinds, kubeconfig, kubesphere, proofs, refusals, settings
from include.fleet.connections import importable_kubeconfig
from include.simulator import certificates
from include.simulator.disturbances import Cut, Disturbance, Expiry, Refusal
from include.simulator.simulation import Simulation

WATCHED = kinds.Ref(kinds.CONFIG_MAP, "watched", "default")
LIMITS = settings.Settings(connect_timeout=2, request_timeout=5)
TIMING = {"queue": 0.05, "run": 0.3, "reload": 0.1, "sync": 0.05, "resync": 1, "kubelet": 0.05}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    forbid = [{"verb": "get", "resource": "secrets"}]
    scenario = {"timing": TIMING, "members": [{"name": "m1", "forbid": forbid}]}
    with Simulation(scenario, directory=tmp_path_factory.mktemp("clusters")) as running:
        yield running


@pytest.fixture
def connections(simulation, monkeypatch):
    """The simulation's connections as Airflow's environment has them; a test may change one."""

    def set_connection(conn_id, connection):
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    for conn_id, connection in simulation.connections.items():
        set_connection(conn_id, connection)
    return set_connection


def ask(conn_id, question, *, role="member"):
    """Open one cluster and ask it one thing, as a step does."""

    async def run():
        async with clusters.connect(conn_id, role=role, limits=LIMITS) as cluster:
            return await question(cluster)

    return asyncio.run(run())


def test_an_object_that_is_not_there_reads_as_none(connections):
    missing = kinds.Ref(kinds.CONFIG_MAP, "missing", "default")
    assert ask("m1", lambda cluster: cluster.read(missing)) is None


def test_an_object_that_has_to_be_there_is_missed_by_name(connections):
    missing = kinds.Ref(kinds.CONFIG_MAP, "missing", "default")
    with pytest.raises(errors.ApiRefusedError, match=r"read configmaps/missing in default on the member cluster .*404"):
        ask("m1", lambda cluster: cluster.get(missing))


def test_a_missing_right_names_verb_resource_cluster_and_what_to_do(connections):
    with pytest.raises(errors.ForbiddenError) as caught:
        ask("m1", lambda cluster: cluster.get(kubesphere.SECRET))
    said = (
        "read secrets/kubesphere-secret",
        "(connection m1)",
        'cannot get resource "secrets"',
        "deploy/rbac/member.yaml",
    )
    for words in said:
        assert words in str(caught.value)
    assert caught.value.lacking == "connection m1 may not get secrets in kubesphere-system on the member cluster"


def test_a_right_of_the_credential_that_the_host_receives_is_not_looked_for_in_a_file(connections):
    async def run():
        async with clusters.connect("m1", role="member", limits=LIMITS, grant="Make it cluster-admin.") as cluster:
            await cluster.get(kubesphere.SECRET)

    with pytest.raises(errors.ForbiddenError) as caught:
        asyncio.run(run())
    assert str(caught.value).endswith(" Make it cluster-admin.")


def test_what_is_done_without_a_right_is_told_once(connections, caplog):
    async def question(cluster):
        for _ in range(2):
            with pytest.raises(errors.ForbiddenError) as caught:
                await cluster.get(kubesphere.SECRET)
            cluster.do_without(caught.value, "It was not compared")
        return cluster.done_without

    told = ["It was not compared: connection m1 may not get secrets in kubesphere-system on the member cluster."]
    assert ask("m1", question) == told
    assert caplog.text.count(told[0]) == 1


def test_a_stale_patch_is_a_conflict_that_may_be_tried_again(connections):
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"x": 1}}
    with pytest.raises(errors.ConflictError, match="409"):
        ask("m1", lambda cluster: cluster.patch(kubesphere.CONFIGURATION, stale))


def test_creating_what_is_there_is_a_conflict(connections):
    ref = kinds.Ref(kinds.NAMESPACE, "kube-system")
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    with pytest.raises(errors.ConflictError):
        ask("m1", lambda cluster: cluster.create(ref, manifest))


def test_a_dry_run_returns_what_would_be_notes_it_and_stores_nothing(simulation, connections):
    ref = kinds.Ref(kinds.CONFIG_MAP, "dry", "default")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dry"}, "data": {"a": "1"}}

    async def run():
        async with (
            clusters.connect("m1", role="member", limits=LIMITS, dry=True) as dry,
            clusters.connect("m1", role="member", limits=LIMITS) as cluster,
        ):
            tried = await dry.create(ref, body)
            assert await cluster.read(ref) is None
            made = await cluster.create(ref, body)
            with pytest.raises(errors.ConflictError):
                await dry.create(ref, body)
            changed = await dry.patch(ref, {"data": {"a": "2"}})
            await dry.delete(ref)
            assert await cluster.get(ref) == made
            await cluster.delete(ref)
            return tried["data"], changed["data"], [(write.verb, write.before) for write in dry.planned], made

    tried, changed, planned, made = asyncio.run(run())
    assert (tried, changed) == ({"a": "1"}, {"a": "2"})
    assert planned == [("create", None), ("patch", made), ("delete", None)]
    written = [entry for entry in simulation.clusters["m1"].writes() if entry.name == "dry"]
    assert [entry.verb for entry in written if "dryRun" not in entry.path] == ["create", "delete"]


RIGHTS = {
    kinds.Right("get", kinds.SECRET, "kubesphere-system", "kubesphere-secret"): False,
    kinds.Right("list", kinds.SECRET, "kubesphere-system"): True,
    kinds.Right("get", kinds.POD, "kubesphere-system", subresource="log"): True,
    kinds.Right("get", kinds.NAMESPACE, name="kube-system"): True,
}


def test_what_a_connection_may_is_what_its_requests_get(simulation, connections):
    async def question(cluster):
        told = {right: await cluster.may(right) for right in RIGHTS}
        assert await cluster.may(kinds.Right("get", kinds.SECRET, "kubesphere-system")) is False
        with pytest.raises(errors.ForbiddenError) as caught:
            await cluster.get(kubesphere.SECRET)
        assert await cluster.list(kinds.SECRET, namespace="kubesphere-system")
        return told, caught.value.lacking

    before = simulation.clusters["m1"].writes()
    told, lacking = ask("m1", question)
    assert told == RIGHTS
    assert lacking == "connection m1 may not get secrets in kubesphere-system on the member cluster"
    assert simulation.clusters["m1"].writes() == before, "asking stores nothing"


def test_who_may_not_even_ask_is_told_so(simulation, connections):
    document = copy.deepcopy(simulation.clusters["m1"].kubeconfig())
    document["users"][0]["user"] = {}
    connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config": document}})
    says = r"ask for the right to get nodes on the member cluster .*cannot create resource \"selfsubjectaccessreviews\""
    with pytest.raises(errors.ForbiddenError, match=says):
        ask("m1", lambda cluster: cluster.may(kinds.Right("get", kinds.NODE)))


LEASE = kinds.Ref(kinds.LEASE, "turn", "default")


@pytest.fixture
def lease(connections):
    """A Lease, as it is after it was made."""
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE.name}, "spec": {}}
    yield ask("m1", lambda cluster: cluster.create(LEASE, body))["metadata"]
    with contextlib.suppress(errors.NotFoundError):
        ask("m1", lambda cluster: cluster.delete(LEASE))


def test_what_is_deleted_is_gone_and_cannot_be_deleted_again(lease):
    known = {"uid": lease["uid"], "version": lease["resourceVersion"]}
    assert ask("m1", lambda cluster: cluster.delete(LEASE, **known)) is None
    assert ask("m1", lambda cluster: cluster.read(LEASE)) is None
    with pytest.raises(errors.NotFoundError, match=r"delete leases/turn in default on the member cluster .*404"):
        ask("m1", lambda cluster: cluster.delete(LEASE))


@pytest.mark.parametrize(
    ("known", "says"),
    [({"uid": "other"}, "UID in the precondition"), ({"version": "1"}, "ResourceVersion in the precondition")],
    ids=["another object", "a newer version"],
)
def test_what_is_not_as_it_was_known_is_not_deleted(lease, known, says):
    with pytest.raises(errors.ConflictError, match=f"409.*{says}"):
        ask("m1", lambda cluster: cluster.delete(LEASE, **known))
    assert ask("m1", lambda cluster: cluster.get(LEASE))["metadata"] == lease


def test_what_we_have_deleted_is_read_from_the_server(member):
    async def question(cluster):
        async with watch(cluster) as changes:
            await anext(changes)
            assert (await cluster.get(WATCHED))["data"] == {"a": "1"}
            await cluster.delete(WATCHED)
            assert await cluster.read(WATCHED) is None
        assert reads(member) == before + 1

    put(member, a="1")
    before = reads(member)
    ask("m1", question)


def test_a_wrong_token_is_told_and_is_permanent(simulation, connections):
    document = copy.deepcopy(simulation.clusters["m1"].kubeconfig())
    document["users"][0]["user"]["token"] = "n0-such-t0ken"
    connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config": document}})
    with pytest.raises(errors.PermanentError, match=r"401 Unauthorized.*Renew the connection's credential"):
        ask("m1", lambda cluster: cluster.get(kubesphere.IDENTITY))


def test_a_server_that_does_not_answer_may_be_tried_again(simulation, connections):
    document = copy.deepcopy(simulation.clusters["m1"].kubeconfig())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config": document}})
    with pytest.raises(errors.UnreachableError, match="no answer"):
        ask("m1", lambda cluster: cluster.get(kubesphere.IDENTITY))


@pytest.fixture
def deaf(connections):
    """Be a server that takes a request over TLS and does nothing any more: it takes no part in a connection's end."""
    authority, asked = certificates.Authority("deaf"), threading.Event()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_server("deaf", names=[], addresses=["127.0.0.1"]).load_into(context)
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        server.settimeout(10)

        def answer():
            plain, _ = server.accept()
            plain.settimeout(10)
            connection = stack.enter_context(context.wrap_socket(plain, server_side=True))
            assert connection.recv(10000)
            asked.set()

        document = {
            "clusters": [
                {
                    "name": "c",
                    "cluster": {
                        "server": f"https://127.0.0.1:{server.getsockname()[1]}",
                        "certificate-authority-data": base64.b64encode(authority.certificate.encode()).decode(),
                    },
                }
            ],
            "users": [{"name": "u", "user": {"token": "s3cr3t-t0ken"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config": document}})
        thread = threading.Thread(target=answer)
        thread.start()
        yield asked
        thread.join()


def test_no_connection_outlives_the_cluster_whose_request_was_given_up(deaf):
    async def give_up(cluster):
        asking = asyncio.create_task(cluster.get(kubesphere.IDENTITY))
        assert await asyncio.to_thread(deaf.wait, 5)
        asking.cancel()
        await asyncio.wait([asking])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ask("m1", give_up)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_a_server_with_another_ca_is_not_trusted(simulation, connections):
    document = copy.deepcopy(simulation.clusters["m1"].kubeconfig())
    other = simulation.clusters["host"].kubeconfig()["clusters"][0]["cluster"]["certificate-authority-data"]
    document["clusters"][0]["cluster"]["certificate-authority-data"] = other
    connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config": document}})
    with pytest.raises(errors.UnreachableError, match="certificate"):
        ask("m1", lambda cluster: cluster.get(kubesphere.IDENTITY))


def test_a_connection_that_does_not_exist_is_named(connections):
    with pytest.raises(errors.ConfError, match="no Airflow connection 'nowhere'"):
        ask("nowhere", lambda cluster: cluster.get(kubesphere.IDENTITY))


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        pytest.param({"kube_config": "users: [s3cr3t-t0ken"}, "is not YAML", id="no-yaml"),
        pytest.param({"kube_config": {"users": "s3cr3t-t0ken"}}, "cannot be loaded", id="no-kubeconfig"),
        pytest.param({"kube_config_path": "/nowhere/config"}, "cannot be read: No such file", id="no-file"),
    ],
)
def test_a_kubeconfig_that_cannot_be_loaded_is_told_without_its_text(connections, extra, says):
    connections("m1", {"conn_type": "kubernetes", "extra": extra})
    with pytest.raises(errors.ConfError, match=says) as caught:
        ask("m1", lambda cluster: cluster.get(kubesphere.IDENTITY))
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_two_clusters_opened_at_once_are_never_mixed_up(simulation, connections):
    """The hooks share one configuration in the process unless each gets its own."""

    async def uid(conn_id):
        async with clusters.connect(conn_id, role="member", limits=LIMITS) as cluster:
            return (await cluster.get(kubesphere.IDENTITY))["metadata"]["uid"]

    async def run():
        return await asyncio.gather(*[uid(conn_id) for conn_id in ("host", "m1") * 10])

    expected = [
        simulation.clusters[name].object("namespaces", "kube-system")["metadata"]["uid"] for name in ("host", "m1")
    ]
    assert asyncio.run(run()) == expected * 10


@pytest.fixture
def member(simulation, connections):
    """The member cluster, without the object that is watched here."""
    yield simulation.clusters["m1"]
    delete(simulation.clusters["m1"])


def put(cluster, **data):
    cluster.put("configmaps", {"metadata": {"name": WATCHED.name}, "data": data}, WATCHED.namespace)


def edit(cluster, **data):
    cluster.edit("configmaps", WATCHED.name, {"data": data}, WATCHED.namespace)


def delete(cluster):
    with (
        config.new_client_from_config_dict(cluster.kubeconfig("admin")) as api,
        contextlib.suppress(client.ApiException),
    ):
        client.CoreV1Api(api).delete_namespaced_config_map(WATCHED.name, WATCHED.namespace)


def reads(cluster):
    """How often the product has asked for the watched object itself."""
    asked = [entry for entry in cluster.audit() if entry.agent == clusters.FIELD_MANAGER and entry.verb == "get"]
    return len([entry for entry in asked if entry.name == WATCHED.name])


def watch(cluster):
    return contextlib.aclosing(cluster.changes(WATCHED, opened=asyncio.Event()))


def in_thread(function, *arguments, **options):
    """Do with the simulation what must not block the event loop, which its clients are in."""
    return asyncio.to_thread(function, *arguments, **options)


def test_a_watch_rings_when_the_object_changes_and_only_then(member):
    async def question(cluster):
        async with watch(cluster) as changes:
            await anext(changes)
            await in_thread(member.put, "configmaps", {"metadata": {"name": "other"}}, "default")
            await in_thread(put, member, a="1")
            await anext(changes)
            # Had the other object rung, this one would not be there yet.
            assert (await cluster.get(WATCHED))["data"] == {"a": "1"}

    ask("m1", question)


def test_while_an_object_is_watched_nobody_has_to_ask_for_it(member):
    """What was read follows each change, the deletion and the new object of the same name."""

    async def question(cluster):
        async with watch(cluster) as changes:
            await anext(changes)
            assert await cluster.read(WATCHED) is None
            for happens, seen in (
                (lambda: put(member, a="1"), {"a": "1"}),
                (lambda: edit(member, a="2"), {"a": "2"}),
                (lambda: delete(member), None),
                (lambda: put(member, a="3"), {"a": "3"}),
            ):
                await in_thread(happens)
                await anext(changes)
                found = await cluster.read(WATCHED)
                assert (found and found["data"]) == seen
                if found is None:
                    with pytest.raises(errors.NotFoundError, match="a watch shows that it is not there"):
                        await cluster.get(WATCHED)
        assert reads(member) == before
        await cluster.get(WATCHED)
        assert reads(member) == before + 1

    before = reads(member)
    ask("m1", question)


def test_what_we_have_written_is_read_from_the_server(member):
    """A watch may lag behind our own patch, and would show what was there before it."""
    put(member, a="1")

    async def question(cluster):
        async with watch(cluster) as changes:
            await anext(changes)
            await cluster.patch(WATCHED, {"data": {"a": "2"}})
            assert (await cluster.get(WATCHED))["data"] == {"a": "2"}
            await anext(changes)
            await in_thread(edit, member, a="3")
            assert (await cluster.get(WATCHED))["data"] == {"a": "3"}

    before = reads(member)
    ask("m1", question)
    assert reads(member) == before + 2


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        pytest.param(Expiry(events=0), errors.UnavailableError, "410", id="410"),
        pytest.param(Cut(seconds=0), errors.UnreachableError, "no answer", id="cut"),
    ],
)
def test_a_watch_that_ends_badly_is_a_temporary_error(member, kind, error, says):
    async def question(cluster):
        async with watch(cluster) as changes:
            await anext(changes)
            with pytest.raises(error, match=f"watch configmaps/watched in default.*{says}"):
                await anext(changes)
        await cluster.read(WATCHED)

    before = reads(member)
    member.disturb(Disturbance(matches=lambda call: call.verb == "watch" and "watched" in call.path, kind=kind))
    ask("m1", question)
    assert reads(member) == before + 1, "what an ended watch has shown must not count any more"


def test_a_watch_that_the_server_ends_is_over(member):
    async def question(cluster):
        async with watch(cluster) as changes:
            await anext(changes)
            await in_thread(put, member, a="1")
            await anext(changes)
            await in_thread(member.compact)
            assert [ring async for ring in changes] == []

    ask("m1", question)


@pytest.fixture
def raw(connections):
    """Answer as no well-behaved server does: lists as they are, streams and refusals with these bytes."""

    @contextlib.asynccontextmanager
    async def serve(body, *, status="200 OK"):
        async def answer(reader, writer):
            while request := await reader.readline():
                while (await reader.readline()).strip():
                    pass
                streams = b"watch=true" in request or b"follow=true" in request
                listed = b'{"items": [], "metadata": {"resourceVersion": "1"}}'
                sent = body if streams or status != "200 OK" else listed
                head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
                writer.write(head.encode() + sent)
                await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            document = {
                "clusters": [{"name": "c", "cluster": {"server": address}}],
                "users": [{"name": "u", "user": {"token": "s3cr3t-t0ken"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
            connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config": document}})
            async with clusters.connect("m1", role="member", limits=LIMITS) as cluster:
                yield cluster

    return serve


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(b'{"type": "ADDED", "obj', id="in-a-word"),
        pytest.param('{"type": "ADDED", "object": {"x": "ü'.encode()[:-1], id="in-a-character"),
    ],
)
def test_a_watch_that_ends_in_the_middle_of_a_line_is_a_temporary_error(raw, cut):
    async def run():
        async with raw(cut) as cluster, watch(cluster) as changes:
            await anext(changes)
            with pytest.raises(errors.UnavailableError, match="in the middle of a line"):
                await anext(changes)

    asyncio.run(run())


# A quota, a webhook, and a gateway before the API server: granting rights would not help with any of them.
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            b'{"kind": "Status", "message": "pods \\"x\\" is forbidden: exceeded quota: q, requested: pods=1"}',
            id="quota",
        ),
        pytest.param(
            b'{"kind": "Status", "message": "admission webhook \\"w\\" denied the request: no such host"}', id="webhook"
        ),
        pytest.param(b"<html>Forbidden</html>", id="gateway"),
    ],
)
def test_a_refusal_for_another_reason_is_not_taken_for_a_missing_right(raw, body):
    async def run():
        async with raw(body, status="403 Forbidden") as cluster:
            await cluster.create(WATCHED, {})

    with pytest.raises(errors.ApiRefusedError, match="No right is missing by these words") as caught:
        asyncio.run(run())
    assert not isinstance(caught.value, errors.ForbiddenError)


def test_a_line_of_a_log_may_be_as_long_as_it_likes(raw):
    """Ansible writes what a task returned into one line."""
    long = "x" * 300_000

    async def run():
        pod = kinds.Ref(kinds.POD, "ks-installer-0", "kubesphere-system")
        async with raw(f"{long}\nend\ncut".encode()) as cluster:
            return [line async for line in cluster.log_lines(pod, last=9, opened=asyncio.Event())]

    assert asyncio.run(run()) == ["", long, "end", "cut"]


async def installer_pod(cluster):
    listed = await cluster.list(kinds.POD, namespace=kubesphere.NAMESPACE, label_selector=kubesphere.INSTALLER_SELECTOR)
    return kinds.Ref(kinds.POD, listed[0]["metadata"]["name"], kubesphere.NAMESPACE)


def follow(cluster, pod):
    return contextlib.aclosing(cluster.log_lines(pod, last=5, opened=asyncio.Event()))


@pytest.mark.parametrize(
    ("code", "asked"),
    [pytest.param(429, 7, id="429"), pytest.param(500, None, id="500"), pytest.param(503, None, id="503")],
)
@pytest.mark.parametrize("how", ["request", "watch", "log"])
def test_a_server_that_is_busy_may_say_when_to_ask_again(member, how, code, asked):
    async def question(cluster):
        pod = await installer_pod(cluster)
        matches = {
            "request": lambda call: call.verb == "get" and call.resource == "namespaces",
            "watch": lambda call: call.verb == "watch" and "watched" in call.path,
            "log": lambda call: call.subresource == "log",
        }[how]
        member.disturb(Disturbance(matches=matches, kind=Refusal(code=code, retry_after=7)))
        if how == "request":
            await cluster.get(kubesphere.IDENTITY)
        elif how == "watch":
            async with watch(cluster) as changes:
                await anext(changes)
                await anext(changes)
        else:
            async with follow(cluster, pod) as lines:
                await anext(lines)

    with pytest.raises(errors.UnavailableError, match=str(code)) as caught:
        ask("m1", question)
    assert caught.value.retry_after == asked


@pytest.fixture
def renew(simulation, connections):
    """Renew the credential of a cluster, as its file and Airflow's connection have it then."""

    def change(conn_id):
        simulation.renew_credential(conn_id)
        connections(conn_id, simulation.connections[conn_id])

    return change


# The host's connection names a file, the member's holds its kubeconfig itself.
@pytest.mark.parametrize("conn_id", ["host", "m1"])
def test_a_refused_credential_is_read_again_from_the_connection(simulation, renew, conn_id):
    name = kinds.Ref(kinds.CONFIG_MAP, "renewed", "default")

    async def question(cluster):
        pod = await installer_pod(cluster)
        await in_thread(renew, conn_id)
        await cluster.get(kubesphere.IDENTITY)
        async with contextlib.aclosing(cluster.changes(name, opened=asyncio.Event())) as changes:
            await anext(changes)
            await in_thread(renew, conn_id)
            await in_thread(
                simulation.clusters[conn_id].put, "configmaps", {"metadata": {"name": name.name}}, name.namespace
            )
            await anext(changes)
        await in_thread(renew, conn_id)
        async with follow(cluster, pod) as lines:
            assert await anext(lines) == ""

    ask(conn_id, question)


def test_what_ks_apiserver_refuses_is_no_reason_to_read_the_connection_again(connections, caplog):
    """It is asked again and again while it loads a new jwtSecret, and each reading would open one more client."""
    caplog.set_level(logging.INFO)
    path, headers = f"{kubesphere.API_SERVER}/{proofs.USER}", proofs.signed("of.another.secret")
    status, body = ask("m1", lambda cluster: cluster.proxied(path, what="ks-apiserver", headers=headers))
    assert status == 401, body
    assert "reading its connection again" not in caplog.text


def test_a_credential_that_stays_refused_is_told_as_such(simulation, connections):
    async def question(cluster):
        pod = await installer_pod(cluster)
        await in_thread(simulation.renew_credential, "m1")
        async with watch(cluster) as changes:
            with pytest.raises(errors.CredentialError, match="list configmaps/watched"):
                await anext(changes)
        async with follow(cluster, pod) as lines:
            with pytest.raises(errors.CredentialError, match="follow the log of"):
                await anext(lines)
        with pytest.raises(errors.CredentialError, match="read namespaces/kube-system"):
            await cluster.get(kubesphere.IDENTITY)

    ask("m1", question)


def test_the_log_is_followed_while_a_run_writes_it(member):
    async def question(cluster):
        async with follow(cluster, await installer_pod(cluster)) as lines:
            assert await anext(lines) == ""
            change = {"spec": {"etcd": {"monitoring": True}}}
            await in_thread(member.edit, "clusterconfigurations", "ks-installer", change, kubesphere.NAMESPACE)
            async for line in lines:
                if "Running hook" in line:
                    return

    ask("m1", question)


def put_pod(member, name, **spec):
    content = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "unknown"}], **spec}}
    member.put("pods", content, "default")
    return kinds.Ref(kinds.POD, name, "default")


def test_a_container_that_has_not_started_is_a_temporary_error(member):
    pod = put_pod(member, "new", nodeName="of another kubelet")

    async def question(cluster):
        async with follow(cluster, pod) as lines:
            await anext(lines)

    with pytest.raises(errors.UnavailableError, match="waiting to start: ContainerCreating"):
        ask("m1", question)


def test_a_pod_that_no_node_has_taken_has_an_empty_log_that_ends(member):
    """The API server answers 204 without a body."""
    pod = put_pod(member, "unscheduled")

    async def question(cluster):
        async with follow(cluster, pod) as lines:
            followed = [line async for line in lines]
        return followed, await cluster.pod_log(pod, lines=5)

    assert ask("m1", question) == ([""], "")


def test_a_log_that_is_cut_off_is_a_temporary_error(member):
    member.disturb(Disturbance(matches=lambda call: call.subresource == "log", kind=Cut(seconds=0)))

    async def question(cluster):
        async with follow(cluster, await installer_pod(cluster)) as lines:
            async for _ in lines:
                pass

    with pytest.raises(errors.UnreachableError, match="follow the log of"):
        ask("m1", question)


def test_response_bodies_never_reach_a_debug_log(simulation, connections, caplog):
    caplog.set_level(logging.DEBUG)
    ask("host", lambda cluster: cluster.get(kubesphere.SECRET), role="host")
    assert not [secret for secret in simulation.clusters["host"].secrets() if secret in caplog.text]


def test_a_body_that_is_no_status_is_not_quoted():
    assert refusals.status_message('{"kind": "Secret", "message": "s3cr3t"}') == ""
    assert refusals.status_message("<html>s3cr3t</html>") == ""
    assert refusals.status_message('{"kind": "Status", "message": "no"}') == "no"


def test_the_kubeconfig_for_the_host_comes_from_a_file_as_well(simulation, connections, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(simulation.clusters["m1"].kubeconfig("admin")))
    connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config_path": str(path)}})
    found = asyncio.run(importable_kubeconfig("m1", server="https://10.0.0.1:6443"))
    assert found.server == "https://10.0.0.1:6443"
    assert "client-key-data" in found.document["users"][0]["user"]


def test_a_connection_without_a_kubeconfig_cannot_be_imported(connections):
    connections("m1", {"conn_type": "kubernetes", "extra": {"in_cluster": True}})
    with pytest.raises(kubeconfig.KubeconfigError, match="no kubeconfig of its own"):
        asyncio.run(importable_kubeconfig("m1", server=None))


NAMESPACES = f"{kubesphere.API_SERVER}/api/v1/namespaces"


def watch_behind(path, *, seconds=0.3, headers=None):
    async def held(cluster):
        return await cluster.proxied_watch(path, what="namespaces", seconds=seconds, headers=headers)

    return ask("host", held, role="host")


def static_token(simulation):
    data = simulation.clusters["host"].object("secrets", "kubesphere-secret", "kubesphere-system")["data"]
    return base64.b64decode(data["token"]).decode()


def test_a_watch_behind_the_proxy_is_held_open_and_its_first_event_returned(simulation, connections):
    headers = {kubesphere.API_TOKEN_HEADER: f"Bearer {static_token(simulation)}"}
    begun = time.monotonic()
    status, first = watch_behind(NAMESPACES, headers=headers)
    assert time.monotonic() - begun >= 0.3
    assert (status, json.loads(first)["object"]["kind"]) == (200, "Namespace")


def test_a_watch_behind_the_proxy_that_is_refused_returns_the_refusal(connections):
    status, body = watch_behind(NAMESPACES)
    assert (status, json.loads(body)["reason"]) == (403, "Forbidden")


def test_a_watch_behind_the_proxy_that_ends_is_not_open(connections):
    with pytest.raises(errors.UnavailableError, match=r"watch namespaces on the host cluster .* it ended within 1 s"):
        watch_behind(f"{kubesphere.API_SERVER}/kapis/version", seconds=1)


def test_a_watch_that_shows_nothing_is_not_open(simulation, connections):
    headers = {kubesphere.API_TOKEN_HEADER: f"Bearer {static_token(simulation)}"}
    path = f"{kubesphere.API_SERVER}/api/v1/namespaces/none/configmaps"
    with pytest.raises(errors.UnavailableError, match="it showed nothing in 0 s"):
        watch_behind(path, headers=headers)


def test_discovery_tells_which_kinds_a_cluster_has(connections):
    async def served(cluster):
        return [await cluster.serves(kind) for kind in (kinds.USER, kinds.FEDERATED_USER)]

    assert ask("m1", served) == [True, False]
