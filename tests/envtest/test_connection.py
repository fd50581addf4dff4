"""The command that grants the rights of deploy/rbac and prints the connection, with a real kubectl and API server."""

import asyncio
import contextlib
import dataclasses
import json
import os
import subprocess

import kubernetes
import pytest

from include.fleet import clusters, kinds, settings
from include.simulator.actors import kubeconfigs
from include.simulator.certificates import Authority
from tests.deploy import rules
from tests.envtest.control_plane import ControlPlane, User, running
from tests.envtest.pair import ACCOUNT, COMMAND, KUBECTL


@pytest.fixture(scope="module")
def administrators(tmp_path_factory):
    """Kubeconfigs by context: of a cluster that has KubeSphere's namespace, and of a bare one."""
    authority, user = Authority("test-ca"), User(name="admin", groups=("system:masters",))
    found = {}
    with contextlib.ExitStack() as stack:
        for name in ("host", "bare"):
            plane = ControlPlane(directory=tmp_path_factory.mktemp(name), authority=authority, users=[user])
            stack.enter_context(running(plane))
            found[name] = kubeconfigs.build(
                name=name,
                server=plane.server,
                authority=authority.certificate,
                user={"token": user.token},
                user_name=user.name,
            )
        with kubernetes.config.new_client_from_config_dict(found["host"]) as api:
            kubernetes.client.CoreV1Api(api).create_namespace({"metadata": {"name": "kubesphere-system"}})
        yield found


@pytest.fixture
def command(administrators, tmp_path):
    """Run the command as a person does; returns the finished process."""

    def run(*arguments, kubectl=KUBECTL, kubeconfig=None, **environment):
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(kubeconfig or _combined(administrators)))
        return subprocess.run(
            [COMMAND, *arguments],
            env={
                **os.environ,
                **dict.fromkeys(("HOME", "TMPDIR"), str(tmp_path)),
                "KUBECONFIG": str(path),
                "KUBECTL": str(kubectl),
                **environment,
            },
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )

    return run


def _combined(parts):
    """A kubeconfig with a context for each cluster and none of them the current one."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": part["clusters"][0]["cluster"]} for name, part in parts.items()],
        "users": [{"name": name, "user": part["users"][0]["user"]} for name, part in parts.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in parts],
    }


def test_the_connection_is_one_line_and_of_the_account(command, administrators):
    finished = command("host", "--context", "host")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("\n") == 1
    connection = json.loads(finished.stdout)
    assert connection["conn_type"] == "kubernetes"
    document = connection["extra"]["kube_config"]
    assert [entry["user"].keys() for entry in document["users"]] == [{"token"}]
    assert document["clusters"][0]["cluster"] == administrators["host"]["clusters"][0]["cluster"]
    with kubernetes.config.new_client_from_config_dict(document) as api:
        review = kubernetes.client.V1SelfSubjectRulesReview(spec={"namespace": "kubesphere-system"})
        rules = kubernetes.client.AuthorizationV1Api(api).create_self_subject_rules_review(review)
    assert any("clusterconfigurations" in rule.resources for rule in rules.status.resource_rules)
    with kubernetes.config.new_client_from_config_dict(administrators["host"]) as api:
        review = kubernetes.client.V1TokenReview(spec={"token": document["users"][0]["user"]["token"]})
        asked = kubernetes.client.AuthenticationV1Api(api).create_token_review(review)
    assert asked.status.user.username == ACCOUNT


def test_a_second_time_prints_the_same(command):
    first, second = (command("host", "--context=host") for _ in range(2))
    assert (second.returncode, second.stdout) == (0, first.stdout)


def test_no_secret_is_in_the_arguments_of_a_process_or_on_the_disk_or_told(command, tmp_path):
    told, kubectl = tmp_path / "told", tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{told}\nexec {KUBECTL} "$@"\n')
    kubectl.chmod(0o755)
    finished = command("host", "--context", "host", kubectl=kubectl)
    (user,) = json.loads(finished.stdout)["extra"]["kube_config"]["users"]
    token = user["user"]["token"]
    assert "apply" in told.read_text()
    assert token not in told.read_text() + finished.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file() and token.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["host"], "give --context", id="no-current-context"),
        pytest.param(["host", "--context", "nowhere"], "there is no context nowhere", id="no-such-context"),
        pytest.param(["host", "--context", "bare"], "KubeSphere has to be installed there", id="no-kubesphere"),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_printed(command, arguments, says):
    finished = command(*arguments)
    assert finished.returncode == 1
    assert says in finished.stderr
    assert finished.stdout == ""


def test_a_server_that_is_not_verified_gets_no_token(command, administrators):
    document = _combined(administrators)
    unverified = {"server": document["clusters"][0]["cluster"]["server"], "insecure-skip-tls-verify": True}
    document["clusters"][0]["cluster"] = unverified
    finished = command("host", "--context", "host", kubeconfig=document)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "does not verify the server's certificate" in finished.stderr


@pytest.mark.parametrize("arguments", [[], ["guest"], ["host", "--context"], ["host", "host"]], ids=" ".join)
def test_a_wrong_use_shows_the_right_one(command, arguments):
    finished = command(*arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "deploy/rbac/connection.sh host|member [--context CONTEXT]\n"


def test_a_secret_without_a_token_ends_the_command(command, tmp_path):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\ncase "$*" in *"get secret"*) exit 0 ;; esac\nexec {KUBECTL} "$@"\n')
    kubectl.chmod(0o755)
    finished = command("host", "--context", "host", kubectl=kubectl, TOKEN_TIMEOUT="1")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "has no token after 1 s" in finished.stderr


@pytest.mark.parametrize("side", rules.SIDES)
def test_the_account_is_told_that_it_has_the_rights_of_the_file_and_no_other(command, monkeypatch, side):
    """A review agrees with RBAC: of each right on a name, that on any name is not granted."""
    connection = command(side, "--context", "host").stdout
    monkeypatch.setenv("AIRFLOW_CONN_ACCOUNT", connection)
    parts = [part for rule in rules.read(side) for part in rule.parts]
    granted = {_right(part) for part in parts}
    named = {_right(dataclasses.replace(part, names=())) for part in parts if part.names and not _is_granted(part)}

    async def ask():
        async with clusters.connect("account", role=side, limits=settings.Settings()) as cluster:
            return {right: await cluster.may(right) for right in (*granted, *named)}

    told = asyncio.run(ask())
    assert [str(right) for right in granted if not told[right]] == []
    assert [str(right) for right in named if told[right]] == []


def _is_granted(part):
    """Tell whether another rule of the file grants a right on any name, perhaps in all namespaces."""
    (verb,), (group,), (resource,) = part.verbs, part.groups, part.resources
    return any(rule.covers(verb, group, resource, part.namespace, "") for rule in rules.read(part.side))


def _right(part):
    """The right that a part of a rule grants."""
    ((plural, _, subresource),) = [resource.partition("/") for resource in part.resources]
    kind = kinds.Kind(plural, part.groups[0], "", "", namespaced=bool(part.namespace))
    name = part.names[0] if part.names else None
    return kinds.Right(part.verbs[0], kind, part.namespace or None, name, subresource or None)
