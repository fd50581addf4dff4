import os
import signal
import sys
import time

import pytest

from include.demo import processes

# Starts a child in a process group of its own, as Airflow does for each task.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
print(child.pid, flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""


def start(running, *, code, log, name="program"):
    return running.start(name, command=[sys.executable, "-c", code], log=log, environment=os.environ)


def first_line(log):
    deadline = time.monotonic() + 20
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return log.read_text().strip()


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Killed and not yet collected by its new parent.
    return processes.psutil.Process(pid).status() != processes.psutil.STATUS_ZOMBIE


def test_leaving_ends_what_a_program_has_started_in_another_process_group(tmp_path):
    with processes.Processes(grace=0.1) as running:
        parent = start(running, code=PARENT, log=tmp_path / "log")
        child = int(first_line(tmp_path / "log"))
        assert is_running(child)
    assert not is_running(child)
    assert parent.popen.returncode == -signal.SIGTERM


def test_a_program_that_ignores_the_request_is_killed_after_the_grace(tmp_path):
    with processes.Processes(grace=0.2) as running:
        stubborn = start(running, code=STUBBORN, log=tmp_path / "log")
        first_line(tmp_path / "log")
    assert stubborn.popen.returncode == -signal.SIGKILL


def test_an_exception_stops_the_programs_too(tmp_path):
    programs = []

    def fail():
        with processes.Processes(grace=1) as running:
            programs.append(start(running, code="import time; time.sleep(60)", log=tmp_path / "log"))
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    (program,) = programs
    assert program.popen.returncode is not None


def test_a_program_that_dies_is_reported_with_the_end_of_its_log(tmp_path):
    log = tmp_path / "scheduler.log"
    with processes.Processes(grace=1) as running:
        program = start(running, code="print('a\\nb'); raise SystemExit(3)", log=log, name="scheduler")
        program.popen.wait()
        with pytest.raises(processes.ProcessDiedError) as caught:
            running.check()
    assert str(caught.value) == f"scheduler ended early with exit code 3. Its log is {log} and ends:\n    a\n    b"


def test_a_signal_takes_effect_after_the_deferral():
    steps = []

    def interrupted():
        with processes.deferred_signals():
            signal.raise_signal(signal.SIGINT)
            steps.append("inside")

    # A suite that was started in the background ignores Ctrl-C, as shells have it.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        signal.signal(signal.SIGINT, usual)
    assert steps == ["inside"]


def test_a_program_is_killed_with_all_that_it_started_and_may_be_started_again(tmp_path):
    with processes.Processes(grace=0.1) as running:
        parent = start(running, code=PARENT, log=tmp_path / "log")
        other = start(running, code="import time; time.sleep(60)", log=tmp_path / "other", name="other")
        child = int(first_line(tmp_path / "log"))
        running.kill("program")
        assert parent.popen.returncode == -signal.SIGKILL
        assert not is_running(child)
        running.check()
        again = start(running, code="import time; time.sleep(60)", log=tmp_path / "again")
        assert running.pid("program") == again.popen.pid
        assert running.pid("other") == other.popen.pid
