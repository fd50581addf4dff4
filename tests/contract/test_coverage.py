"""The check itself: what it finds, and that it fails a run."""

import dataclasses
import datetime
import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.simulator.access import Entry
from tests.contract import coverage, usage

ROOT = Path(__file__).parents[2]
READ = usage.Usage("get", "object", "", 200)
MERGED = usage.Usage("patch", "object", "application/merge-patch+json", 200)
PROTOBUF = usage.Usage("create", "object", "application/vnd.kubernetes.protobuf", 415)
ENTRY = Entry(
    time=datetime.datetime.now(datetime.UTC),
    user="airflow",
    verb="get",
    group="",
    resource="namespaces",
    subresource="",
    namespace="",
    name="kube-system",
    path="/api/v1/namespaces/kube-system",
    code=200,
    content_type="",
    agent="kubectl",
)


@pytest.mark.parametrize(
    ("method", "url", "line"),
    [
        ("GET", "/api/v1/namespaces/default/configmaps/a", "get object - 200"),
        ("GET", "https://127.0.0.1:1/api/v1/namespaces/default/configmaps?limit=1", "list object - 200"),
        ("GET", "/api/v1/configmaps?watch=True", "watch object - 200"),
        ("GET", "/api/v1/namespaces", "list object - 200"),
        ("GET", "/api/v1/namespaces/default", "get object - 200"),
        ("PUT", "/api/v1/namespaces/default/finalize", "update finalize application/json 200"),
        ("GET", "/api/v1/namespaces/n/pods/p/log?follow=true", "get log - 200"),
        ("POST", "/api/v1/namespaces/n/services/:s:80/proxy/a/b", "create proxy application/json 200"),
        ("PATCH", "/apis/apps/v1/namespaces/n/deployments/d/scale", "patch scale application/json 200"),
        ("DELETE", "/apis/cluster.kubesphere.io/v1alpha1/clusters/a", "delete object application/json 200"),
        ("DELETE", "/apis/cluster.kubesphere.io/v1alpha1/clusters", "deletecollection object application/json 200"),
        ("GET", "/apis/apps/v1", "get path - 200"),
        ("GET", "/version", "get path - 200"),
    ],
)
def test_a_request_is_classified_alike_at_the_client_and_in_the_audit_log(method, url, line):
    verb = line.split()[0]
    classified = usage.classify(method, url, content_type="application/json; charset=utf-8", code=200)
    assert str(classified) == line
    assert usage.parse(line) == classified
    audited = dataclasses.replace(ENTRY, verb=verb, path=url.removeprefix("https://127.0.0.1:1"))
    assert usage.of_entry(dataclasses.replace(audited, content_type="application/json")) == classified


def test_what_a_disturbance_answers_and_what_a_test_does_past_the_api_do_not_count():
    known = coverage.Coverage()
    known.read([dataclasses.replace(ENTRY, code=503, disturbed=True), dataclasses.replace(ENTRY, user="person")])
    assert known.seen == set()
    known.read([ENTRY])
    assert known.seen == {READ}


def problems(*, whole=False, seen=(), shown=(), listed=(), limits=()):
    known = coverage.Coverage(seen=set(seen), shown=set(shown), whole=whole)
    return [
        problem.partition(":")[0] for problem in coverage.find_problems(known, listed=set(listed), limits=set(limits))
    ]


def test_what_is_used_and_not_listed_is_a_problem_of_any_run():
    assert problems(seen=[READ, MERGED], listed=[READ]) == [str(MERGED)]
    assert problems(seen=[READ, PROTOBUF], listed=[READ], limits=[PROTOBUF]) == []


def test_what_is_listed_and_not_shown_is_a_problem_of_a_whole_run_of_the_contract():
    assert problems(shown=[READ], listed=[READ, MERGED]) == []
    assert problems(shown=[READ], listed=[READ, MERGED], whole=True) == [str(MERGED)]
    assert problems(shown=[READ, MERGED], listed=[READ, MERGED], whole=True) == []


def test_what_workers_know_is_taken_together():
    together = coverage.Coverage()
    for known in (coverage.Coverage(seen={READ}), coverage.Coverage(shown={MERGED}, whole=True)):
        together.add(known.dump())
    assert (together.seen, together.shown, together.whole) == ({READ}, {MERGED}, True)


CONFTEST = """
from pathlib import Path

import pytest

from include.simulator.cluster import Cluster
from tests.contract import coverage, usage
from tests.contract.conftest import connect, send, simulation

pytest_plugins = ["tests.contract.coverage"]
coverage.HERE = Path(__file__).parent
usage.FILE = coverage.HERE / "used.txt"


@pytest.fixture(scope="session")
def make_cluster():
    return Cluster
"""
TESTS = """
def test_version(send):
    assert send("GET", "/version").code == 200


def test_nothing(send):
    assert send("GET", "/api/v1/namespaces/none").code == 404
"""


@pytest.fixture
def contract(tmp_path):
    """Run a contract of these tests, whose list is that of both; `others` is what the actors ask for."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    others = "".join(f"limit: {line}\n" for line in sorted(map(str, usage.read())))
    (tmp_path / "used.txt").write_text(f"get path - 200\nget object - 404\n{others}")

    def run(tests, *arguments):
        (tmp_path / "test_some.py").write_text(tests)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_a_run_of_the_whole_contract_or_of_a_part_of_it_passes(contract):
    for arguments in ((), ("-k", "test_version")):
        run = contract(TESTS, *arguments)
        assert (run.returncode, "does not cover" in run.stdout) == (0, False), run.stdout


@pytest.mark.parametrize("workers", [(), ("--numprocesses=2",)], ids=["one process", "workers"])
def test_a_contract_that_lacks_a_test_fails_its_run(contract, workers):
    run = contract(TESTS.partition("def test_nothing")[0], *workers)
    assert (run.returncode, "1 passed" in run.stdout) == (1, True), run.stdout
    assert "get object - 404: no test of the contract shows this. Write one" in run.stdout
