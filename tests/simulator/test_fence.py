"""What works on a simulation never gets to the real network: neither this suite, nor a program with its PYTHONPATH."""

import asyncio
import errno
import os
import socket
import subprocess
import sys

import pytest

from include.demo import settings


def connect(address):
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as trying:
        trying.settimeout(5)
        trying.connect(address)


@pytest.mark.parametrize("address", ["10.20.1.1", "139.198.120.120", "2001:db8::1"])
def test_another_machines_address_is_out_of_reach_at_once(address):
    with pytest.raises(OSError, match="unreachable") as caught:
        connect((address, 6443))
    assert caught.value.errno == errno.ENETUNREACH


def test_an_event_loop_does_not_get_there_either():
    with pytest.raises(OSError, match="unreachable"):
        asyncio.run(asyncio.open_connection("10.20.1.1", 6443))


def test_no_name_server_is_asked():
    with pytest.raises(socket.gaierror):
        socket.create_connection(("tower.example.com", 8080), timeout=5)


def test_this_machine_is_in_reach():
    with socket.create_server(("127.0.0.1", 0)) as server:
        for name in ("127.0.0.1", "localhost"):
            connect((name, server.getsockname()[1]))


def test_a_program_that_the_demo_starts_is_fenced_in():
    program = "import socket; socket.create_connection(('10.20.1.1', 6443), timeout=5)"
    path = os.pathsep.join(map(str, (settings.FENCED, settings.ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert "Network is unreachable" in done.stderr
