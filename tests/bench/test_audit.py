"""Counting requests in audit logs."""

import dataclasses
import datetime
import json

import pytest

from bench import audit
from include.simulator.access import Entry

ENTRY = Entry(
    time=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
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
    agent="kubectl/v1.37.1 (linux/amd64) kubernetes/abc",
)
LATER = ENTRY.time + datetime.timedelta(seconds=1)


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api?timeout=32s",
        "/apis",
        "/api/v1?timeout=32s",
        "/apis/apps",
        "/apis/apps/v1",
        "/openapi/v3",
        "/openapi/v3/apis/apps/v1?hash=1",
        "/version",
        "/version/",
    ],
)
def test_what_a_server_serves_is_discovery(path):
    assert audit.is_discovery(path)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nodes",
        "/apis/apps/v1/deployments?watch=true",
        "/api/v1/namespaces/kubesphere-system/services/:ks-apiserver:80/proxy/kapis/version",
        "/healthz",
    ],
)
def test_what_is_read_or_written_is_no_discovery(path):
    assert not audit.is_discovery(path)


def test_only_the_requests_of_a_client_count_and_discovery_does_not():
    logs = {
        "host": [
            dataclasses.replace(ENTRY, time=LATER),
            dataclasses.replace(ENTRY, path="/api/v1", resource="", name=""),
            dataclasses.replace(ENTRY, agent="join-member-cluster"),
            dataclasses.replace(ENTRY, agent="ks-controller-manager"),
        ],
        "m1": [dataclasses.replace(ENTRY, agent="curl/8.0.1")],
    }
    assert [(name, entry.time) for name, entry in audit.sent_by(audit.RUNBOOK, logs)] == [
        ("m1", ENTRY.time),
        ("host", LATER),
    ]
    assert len(audit.sent_by(audit.PRODUCT, logs)) == 1


def test_requests_are_named_without_what_differs_from_run_to_run():
    log = "/api/v1/namespaces/kubesphere-system/pods/ks-installer-6ac-7d/log?follow=true"
    follow = dataclasses.replace(ENTRY, resource="pods", subresource="log", name="ks-installer-6ac-7d", path=log)
    watch = dataclasses.replace(
        ENTRY, verb="watch", name="", resource="clusters", path="/x?fieldSelector=metadata.name%3Dm1&watch=true"
    )
    assert audit.count([("host", ENTRY), ("host", ENTRY), ("m1", follow), ("host", watch)]) == {
        "host: get namespaces kube-system": 2,
        "m1: follow pods/log ks-installer-…": 1,
        "host: watch clusters m1": 1,
    }


def test_an_audit_log_that_the_simulator_left_is_read_back(tmp_path):
    line = json.dumps(dataclasses.asdict(ENTRY), default=str)
    (tmp_path / "m1.audit.jsonl").write_text(f"{line}\n{line}\n")
    assert audit.read(tmp_path, names=["m1"]) == {"m1": [ENTRY, ENTRY]}
