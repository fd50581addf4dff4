"""`python -m include.fleet`, and the inventory's file: from a terminal, storages, and hosts over real HTTPS."""

import base64
import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import include.fleet.__main__ as command
from include.fleet import documents, errors, inventories, inventory, triggers
from include.simulator.simulation import Simulation

ROOT = Path(__file__).parents[2]
MEMBERS = [
    {"name": "m1", "role": "member", "secret": "host", "joined": "m1"},
    {"name": "m2", "role": "member", "secret": "host", "joined": "m2", "connection": "proxy"},
]
HOST = {"role": "host", "load_balancer": "139.198.110.23"}
GROUP = "cluster.kubesphere.io/group"


@pytest.fixture(autouse=True)
def _process_context(monkeypatch):
    """What adopt sets for its process does not outlive a test."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """A simulated host with two members; `conn:host` leads to it."""
    scenario = {"host": {**HOST, "clusters": {"by-hand": {"joins": False}}}, "members": MEMBERS}
    with Simulation(scenario, directory=tmp_path) as simulation:
        for conn_id, connection in simulation.connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        yield simulation


def edit(simulation, name, patch):
    simulation.clusters["host"].edit("clusters", name, patch)


def adopted(capsys, *hosts):
    """What adopt prints, and the inventory that it is."""
    assert command.main(["adopt", *(f"--host={host}" for host in hosts)]) == 0
    text = capsys.readouterr().out
    return text, inventory.load(text)


def confs(host):
    return {member.cluster: dict(member.conf) for member in host.members}


def test_check_counts_what_is_right(tmp_path, capsys):
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "version: 1\nhosts:\n"
        "  - {name: a, host_conn_id: a, members: [{cluster: m1, member_conn_id: m1}]}\n"
        "  - {name: b, host_conn_id: b}\n"
    )
    assert command.main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: 2 hosts, 1 member\n"


def test_check_lists_each_problem_by_file_and_line(tmp_path, capsys):
    file = tmp_path / "fleet.yaml"
    file.write_text("version: 1\nhosts:\n  - name: a\n    host_conn_id: a\n    prune: maybe\n    colour: red\n")
    assert command.main(["check", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}:5: hosts[0].prune: expected true or false, got 'maybe'"
    assert lines[1].startswith(f"{file}:6: hosts[0].colour: unknown key; known are name,")
    assert len(lines) == 2


def test_check_says_why_a_file_cannot_be_read(tmp_path, capsys):
    assert command.main(["check", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: it cannot be read: No such file or directory" in capsys.readouterr().err
    (tmp_path / "latin.yaml").write_bytes(b"version: 1 # \xe4\n")
    assert command.main(["check", str(tmp_path / "latin.yaml")]) == 2
    assert "it is not UTF-8" in capsys.readouterr().err


def test_check_imports_neither_airflow_nor_a_kubernetes_client_and_reads_standard_input():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['include.fleet', 'check', '-']\n"
        "try:\n"
        "    runpy.run_module('include.fleet', run_name='__main__')\n"
        "finally:\n"
        "    print([name for name in sys.modules if name in ('airflow', 'kubernetes_asyncio', 'aiohttp')])\n"
    )
    text = "version: 1\nhosts: [{name: a, host_conn_id: a, members: [{cluster: m1, member_conn_id: m1}]}]\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["<stdin>: 1 host, 1 member", "[]"]), done.stderr


def test_schema_prints_the_published_one(capsys):
    assert command.main(["schema"]) == 0
    assert capsys.readouterr().out == (ROOT / "include" / "fleet.schema.json").read_text()


@pytest.mark.parametrize("source", ["europe", "europe=", "=x"])
def test_a_host_needs_a_name_and_a_source(source, capsys):
    with pytest.raises(SystemExit):
        command.main(["adopt", "--host", source])
    assert "expected NAME=KUBECONFIG or NAME=conn:ID" in capsys.readouterr().err


def test_adopt_writes_what_the_host_says_of_each_member(fleet, tmp_path, capsys):
    labels = {"site": "no", GROUP: "prod", "cluster.kubesphere.io/visibility": "public"}
    about = {"kubesphere.io/description": 'two\nlines: "ä" # none'}
    edit(fleet, "m1", {"metadata": {"labels": labels, "annotations": about}, "spec": {"provider": "yes"}})
    text, found = adopted(capsys, f"europe={tmp_path / 'host.kubeconfig'}")
    (host,) = found.hosts
    assert (host.name, host.conn_id) == ("europe", "europe")
    assert confs(host) == {
        "by-hand": {
            "cluster": "by-hand",
            "host_conn_id": "europe",
            "member_conn_id": "by-hand",
            "connection": "proxy",
        },
        "m1": {
            "cluster": "m1",
            "host_conn_id": "europe",
            "member_conn_id": "m1",
            "connection": "direct",
            "member_server": fleet.clusters["m1"].pod_server,
            "provider": "yes",
            "group": "prod",
            "description": 'two\nlines: "ä" # none',
            "labels": {"site": "no"},
        },
        "m2": {"cluster": "m2", "host_conn_id": "europe", "member_conn_id": "m2", "connection": "proxy"},
    }
    assert "is to be the id of an Airflow" in text


def test_what_adopt_has_written_a_join_finds_in_place(fleet, capsys):
    """Nothing of the Cluster would be changed: the inventory of a host is what it has."""
    from include.fleet import kubesphere, manifests

    edit(fleet, "m1", {"metadata": {"labels": {"site": "berlin", GROUP: "prod"}}, "spec": {"provider": "here"}})
    _, found = adopted(capsys, "europe=conn:host")
    for member in found.hosts[0].members:
        cluster = fleet.clusters["host"].object("clusters", member.cluster)
        wanted = manifests.cluster_manifest(
            member.cluster,
            uid="any",
            kubeconfig=kubesphere.cluster_kubeconfig(cluster) if member.conf["connection"] == "direct" else None,
            kubesphere_api_endpoint=None,
            **{key: member.conf.get(key) for key in ("provider", "group", "description")},
            labels=member.conf.get("labels", {}),
        )
        worth = manifests.worth_changing(cluster, wanted, server=member.conf.get("member_server"), replace=False)
        changed = manifests.changed_fields(manifests.difference(cluster, worth))
        # Only a Cluster that has never been joined would get what a join adds.
        assert changed == [] or member.cluster == "by-hand"


def test_adopt_changes_nothing_and_tells_no_secret(fleet, tmp_path, capsys):
    text, _ = adopted(capsys, "europe=conn:host", f"again={tmp_path / 'host.kubeconfig'}")
    asked = [
        (name, entry.verb, entry.resource)
        for name, cluster in fleet.clusters.items()
        for entry in cluster.audit()
        if entry.agent.startswith("join-member-cluster")
    ]
    assert set(asked) == {("host", "get", "clusterconfigurations"), ("host", "list", "clusters")}
    clusters = [fleet.clusters["host"].object("clusters", name) for name in ("m1", "m2", "host")]
    connections = [cluster["spec"]["connection"] for cluster in clusters]
    kubeconfigs = [documents.load(base64.b64decode(each["kubeconfig"]).decode()) for each in connections]
    secrets = [connection.get("token") for connection in connections]
    secrets += [value for each in kubeconfigs for value in each["users"][0]["user"].values()]
    assert any(secrets)
    assert not [secret for secret in secrets if secret and str(secret) in text]


def test_adopt_proposes_each_connection_once(fleet, capsys, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_M1", os.environ["AIRFLOW_CONN_HOST"])
    _, found = adopted(capsys, "europe=conn:host", "asia=conn:m1")
    proposed = {host.name: [member.conf["member_conn_id"] for member in host.members] for host in found.hosts}
    assert proposed == {"europe": ["by-hand", "europe-m1", "m2"], "asia": ["asia-by-hand", "asia-m1", "asia-m2"]}


def test_adopt_leaves_out_what_no_conf_can_say_and_says_so(fleet, capsys):
    edit(fleet, "m1", {"spec": {"provider": "p" * 64}})
    edit(fleet, "m2", {"metadata": {"finalizers": ["example.com/kept"]}})
    fleet.clusters["host"].edit("clusters", "by-hand", {"spec": {"connection": {"type": "vpn"}}})
    text, found = adopted(capsys, "europe=conn:host")
    assert "# Its provider stays as it is and is left out here: provider: expected at most 63 characters" in text
    assert "# Cluster by-hand is left out: its connection type is 'vpn'." in text
    assert [member.cluster for member in found.hosts[0].members] == ["m1", "m2"]
    assert "provider" not in found.hosts[0].members[0].conf


def test_what_all_of_many_members_have_alike_are_defaults(fleet, capsys):
    for name in ("m1", "m2", "by-hand"):
        edit(fleet, name, {"spec": {"provider": "here"}, "metadata": {"labels": {GROUP: f"of-{name}"}}})
    text, found = adopted(capsys, "europe=conn:host")
    assert "    defaults:\n      provider: here\n" in text
    assert text.count("provider: here") == 1
    assert {conf["provider"] for conf in confs(found.hosts[0]).values()} == {"here"}


def test_adopt_writes_over_a_file_only_if_forced(fleet, tmp_path, capsys):
    out = tmp_path / "fleet.yaml"
    assert command.main(["adopt", "--host=europe=conn:host", f"--out={out}"]) == 0
    written = out.read_text()
    assert command.main(["check", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 1 host, 3 members\n"
    out.write_text("mine")
    assert command.main(["adopt", "--host=europe=conn:host", f"--out={out}"]) == 2
    assert out.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert command.main(["adopt", "--host=europe=conn:host", f"--out={out}", "--force"]) == 0
    assert out.read_text() == written


def test_a_host_without_members_is_adopted(tmp_path, capsys):
    with Simulation({"host": {"role": "host"}}, directory=tmp_path):
        _, found = adopted(capsys, f"europe={tmp_path / 'host.kubeconfig'}")
    assert [(host.name, host.members) for host in found.hosts] == [("europe", ())]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param("{directory}/m1.kubeconfig", "its role is member, not host", id="a-member"),
        pytest.param("{directory}/none", "kubeconfig {directory}/none: it cannot be read", id="no-file"),
        pytest.param("{directory}/connections.json", "cannot be loaded", id="no-kubeconfig"),
        pytest.param("conn:none", "there is no Airflow connection 'none'; create it first", id="no-connection"),
    ],
)
def test_adopt_says_why_a_host_cannot_be_read(fleet, tmp_path, capsys, source, says):
    out = tmp_path / "fleet.yaml"
    assert command.main(["adopt", f"--host=europe={source.format(directory=tmp_path)}", f"--out={out}"]) == 1
    assert says.format(directory=tmp_path) in capsys.readouterr().err
    assert not out.exists()


def test_adopt_finds_a_connection_in_airflows_database(fleet, tmp_path, airflow_database):
    """As Airflow's own commands do: the process is none of a task."""
    connection = fleet.connections["host"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW_CONN_", "_AIRFLOW"))}
    environment["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
    airflow = [sys.executable, "-m", "airflow", "connections"]
    extra = ["--conn-type", "kubernetes", "--conn-extra", json.dumps(connection["extra"])]
    subprocess.run([*airflow, "add", "kept", *extra], env=environment, check=True, capture_output=True)
    try:
        call = [sys.executable, "-m", "include.fleet", "adopt", "--host", "europe=conn:kept"]
        done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    finally:
        subprocess.run([*airflow, "delete", "kept"], env=environment, check=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert inventory.load(done.stdout).hosts[0].conn_id == "kept"


def test_the_inventory_of_the_project_is_read_where_nothing_else_is_configured():
    path = triggers.configured_settings().inventory
    assert path == "include/fleet.yaml"
    assert inventories.read(path).hosts == ()


def test_another_inventory_is_configured_for_airflow(monkeypatch, tmp_path):
    (tmp_path / "mine.yaml").write_text("version: 1\nhosts: [{name: a, host_conn_id: b}]\n")
    monkeypatch.setenv("AIRFLOW__FLEET__INVENTORY", f"file://{tmp_path}/mine.yaml")
    assert [host.name for host in inventories.read(triggers.configured_settings().inventory).hosts] == ["a"]


def test_an_inventory_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(errors.UnreadableError) as raised:
        inventories.read(f"{tmp_path}/none.yaml")
    assert f"read the inventory {tmp_path}/none.yaml: there is no such file. Make one with `python -m" in str(
        raised.value
    )


@pytest.mark.parametrize(
    ("path", "says"),
    [
        pytest.param("nowhere://a/b", "Unsupported filesystem", id="unknown-storage"),
        pytest.param("{directory}", "Is a directory", id="folder"),
        pytest.param("{directory}/latin.yaml", "it is not UTF-8", id="no-utf-8"),
    ],
)
def test_what_no_second_try_reads_is_an_error_that_names_the_path(tmp_path, path, says):
    (tmp_path / "latin.yaml").write_bytes(b"version: 1 # \xe4\n")
    path = path.format(directory=tmp_path)
    with pytest.raises(errors.UnreadableError) as raised:
        inventories.read(path)
    assert f"read the inventory {path}: " in str(raised.value)
    assert says in str(raised.value)


class Storage(http.server.SimpleHTTPRequestHandler):
    """Files behind HTTP; what begins with a number is refused with that status."""

    def send_head(self):
        status = self.path[1:4]
        return self.send_error(int(status)) if status.isdigit() else super().send_head()


@pytest.fixture
def storage(tmp_path):
    """A folder with an HTTP server, and its URL."""
    folder = tmp_path / "storage"
    folder.mkdir()
    handler = functools.partial(Storage, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_inventory_is_read_from_a_storage(storage):
    folder, url = storage
    (folder / "fleet.yaml").write_text("version: 1\nhosts: [{name: a, host_conn_id: b}]\n")
    assert [host.name for host in inventories.read(f"{url}/fleet.yaml").hosts] == ["a"]


def test_an_inventory_that_a_storage_does_not_have_is_missing(storage):
    _, url = storage
    with pytest.raises(errors.UnreadableError, match="there is no such file"):
        inventories.read(f"{url}/none.yaml")


@pytest.mark.parametrize(
    ("place", "says"),
    [
        pytest.param("http://127.0.0.1:1", "Connect call failed", id="refused"),
        pytest.param("{url}/503", "HTTP 503", id="busy"),
        pytest.param("{url}/403", "HTTP 403", id="forbidden"),
    ],
)
def test_a_storage_that_does_not_hand_out_an_inventory_is_tried_again(storage, place, says):
    """By HTTP all of it comes as if there were no such file."""
    place = place.format(url=storage[1])
    with pytest.raises(errors.TemporaryError) as raised:
        inventories.read(f"{place}/fleet.yaml?sig=s3cr3t")
    assert f"read the inventory {place}/fleet.yaml: {says}" in str(raised.value)
    assert "Look at the storage" in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


def test_a_wrong_inventory_is_told_with_its_path_and_every_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("version: 1\nhosts: [{name: a}]\ncolour: red\n")
    with pytest.raises(inventory.InventoryError) as raised:
        inventories.read(f"{tmp_path}/mine.yaml")
    assert str(raised.value).startswith(f"The inventory {tmp_path}/mine.yaml cannot be used, nothing was changed.")
    assert [problem.line for problem in raised.value.problems] == [2, 3]
