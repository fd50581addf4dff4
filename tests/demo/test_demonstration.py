import os
import socket
import subprocess
import sys

import pytest

from include.demo import demonstration, simulator


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_in_use_ends_the_demo_with_one_sentence_and_code_2(taken_port, airflow_home):
    ended = subprocess.run(
        [sys.executable, "-m", "include.demo"],
        env=os.environ | {"DEMO_PORT": str(taken_port)},
        cwd=demonstration.settings.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        f"demo: port {taken_port} is in use. End what uses it, or take another: make demo DEMO_PORT={taken_port + 1}\n"
    )


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "80 80", "\u0661"])
def test_a_port_that_is_none_is_refused(text):
    with pytest.raises(demonstration.CannotBeginError, match="DEMO_PORT must be a number from 1 to 65535"):
        demonstration.chosen_port(text)


def test_the_conf_of_a_direct_member_tells_where_the_hosts_pods_find_it():
    """The simulated kubeconfigs name a loopback address, which the join refuses for good reason."""
    assert demonstration.conf("m1", pod_server="https://10.20.1.1:6443") == {
        "cluster": "m1",
        "host_conn_id": "host",
        "member_conn_id": "m1",
        "connection": "direct",
        "member_server": "https://10.20.1.1:6443",
    }


def test_the_conf_of_a_proxy_member_needs_no_address():
    assert demonstration.conf("m2", pod_server="https://10.20.2.1:6443") == {
        "cluster": "m2",
        "host_conn_id": "host",
        "member_conn_id": "m2",
        "connection": "proxy",
    }


def test_the_commands_that_are_printed_show_the_clusters(tmp_path):
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("{host: {role: host}, members: [{name: m1, role: member, secret: host, joined: m1}]}")
    with simulator.simulated(scenario, directory=tmp_path / "clusters", log=tmp_path / "log"):
        shown = subprocess.run(
            ["/bin/sh", "-e", "-c", "\n".join(demonstration.commands(tmp_path / "clusters" / "kubeconfig"))],
            env=os.environ | {"HOME": str(tmp_path)},
            cwd=demonstration.settings.ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    lines = shown.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["NAME", "host", "m1"]
    assert [line.split()[1][:12] for line in lines[4:]] == ["ks-apiserver", "ks-controlle", "ks-installer"]
