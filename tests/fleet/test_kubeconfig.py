"""Kubeconfigs for the host's pods: what is refused, what is inlined, what is left out."""

import base64

import pytest
import yaml

from include.fleet import kubeconfig

PEM = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n").decode()


def make_kubeconfig(*, user=None, **cluster):
    """A kubeconfig as KubeKey writes one; each test changes one thing."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}, {"name": "b", "context": {}}],
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": "https://192.168.10.5:6443", "certificate-authority-data": PEM, **cluster},
            }
        ],
        "users": [{"name": "u", "user": {"token": "s3cr3t-t0ken"} if user is None else user}],
    }


def read_nothing(name):
    raise AssertionError(f"{name} was read")


def contained(document, **options):
    return kubeconfig.self_contained(
        document, **{"context": None, "server": None, "read_file": read_nothing, **options}
    )


def problems(document, **options):
    with pytest.raises(kubeconfig.KubeconfigError) as caught:
        contained(document, **options)
    return caught.value.problems


def test_only_the_chosen_cluster_and_user_are_kept():
    document = make_kubeconfig()
    document["users"].append({"name": "other", "user": {"token": "0ther-t0ken"}})
    kept = contained(document).document
    assert [entry["user"] for entry in kept["users"]] == [{"token": "s3cr3t-t0ken"}]
    assert kubeconfig.essence(yaml.safe_dump(kept)) == kubeconfig.essence(yaml.safe_dump(document))


def test_the_same_content_gives_the_same_text():
    assert contained(make_kubeconfig()).text == contained(make_kubeconfig()).text


def test_files_are_inlined():
    files = {"ca.pem": base64.b64decode(PEM), "crt.pem": base64.b64decode(PEM), "key.pem": base64.b64decode(PEM)}
    document = make_kubeconfig(user={"client-certificate": "crt.pem", "client-key": "key.pem"})
    del document["clusters"][0]["cluster"]["certificate-authority-data"]
    document["clusters"][0]["cluster"]["certificate-authority"] = "ca.pem"
    kept = contained(document, read_file=files.__getitem__).document
    assert kept["users"][0]["user"] == {"client-certificate-data": PEM, "client-key-data": PEM}
    assert kept["clusters"][0]["cluster"] == {"server": "https://192.168.10.5:6443", "certificate-authority-data": PEM}


def test_a_file_that_is_not_there_is_named():
    def missing(name):
        raise FileNotFoundError(2, "No such file or directory")

    (problem,) = problems(make_kubeconfig(user={"token": "t0ken", "client-key": "key.pem"}), read_file=missing)
    assert "client-key cannot be read: No such file or directory: key.pem" in problem


@pytest.mark.parametrize(
    ("user", "says"),
    [
        pytest.param({"exec": {"command": "aws"}}, "plugin (exec)", id="exec-plugin"),
        pytest.param({"auth-provider": {"name": "gcp"}}, "plugin (auth-provider)", id="auth-provider"),
        pytest.param({"tokenFile": "/var/run/secrets/token"}, "from a file", id="token-file"),
        pytest.param({"username": "admin", "password": "s3cr3t"}, "password", id="password"),
        pytest.param({}, "neither a token nor a client certificate", id="nobody"),
        pytest.param({"client-certificate-data": PEM}, "neither a token", id="certificate-without-key"),
        pytest.param({"client-certificate-data": "x", "client-key-data": PEM}, "not a base64-encoded PEM", id="no-pem"),
    ],
)
def test_a_user_that_the_hosts_pods_cannot_use_is_refused(user, says):
    assert says in problems(make_kubeconfig(user=user))[0]


@pytest.mark.parametrize(
    "server",
    [
        "https://127.0.0.1:6443",
        "https://127.1.2.3:6443",
        "https://[::1]:6443",
        "https://localhost:6443",
        "https://0.0.0.0:6443",
        "https://169.254.1.1",
        "https://[fe80::1]:6443",
        "https://lb.kubesphere.local:6443",
        "https://kubernetes.default.svc",
    ],
)
def test_an_address_that_only_its_own_machine_knows_is_refused_by_its_form(server):
    (problem,) = problems(make_kubeconfig(server=server))
    assert server in problem
    assert "Set member_server in the conf" in problem


def test_a_local_address_that_the_conf_names_is_taken_with_a_warning():
    found = contained(make_kubeconfig(), server="https://127.0.0.1:6443")
    assert found.server == "https://127.0.0.1:6443"
    assert "loopback" in found.warnings[0]


def test_member_server_replaces_a_local_address():
    found = contained(make_kubeconfig(server="https://127.0.0.1:6443"), server="https://10.1.1.1:6443")
    assert (found.server, found.warnings) == ("https://10.1.1.1:6443", ())


def test_a_proxy_of_airflows_place_is_left_out_and_an_insecure_server_is_told():
    found = contained(make_kubeconfig(**{"proxy-url": "http://proxy:3128", "insecure-skip-tls-verify": True}))
    assert "proxy-url" not in found.document["clusters"][0]["cluster"]
    assert len(found.warnings) == 2


@pytest.mark.parametrize("document", [None, "text", 3, {}, {"current-context": "x"}, {"contexts": "x"}])
def test_what_is_no_kubeconfig_is_refused(document):
    assert problems(document)


def test_another_context_than_the_current_one_can_be_named():
    assert problems(make_kubeconfig(), context="nowhere") == ("it has no context 'nowhere'",)


def test_every_problem_is_told_at_once():
    assert len(problems(make_kubeconfig(user={"exec": {}, "tokenFile": "x"}, server="https://localhost"))) == 3


def test_repr_shows_no_secret():
    assert "s3cr3t" not in repr(contained(make_kubeconfig()))


def test_secrets_are_the_tokens_passwords_and_keys_plain_and_encoded():
    key = base64.b64encode(b"-----BEGIN KEY-----").decode()
    found = kubeconfig.secrets(make_kubeconfig(user={"token": "t0ken", "password": "pw", "client-key-data": key}))
    assert {"t0ken", "pw", key, "-----BEGIN KEY-----"} <= set(found)
    assert kubeconfig.secrets(None) == []


@pytest.mark.parametrize("text", ["", "not: a kubeconfig", "[", "users: 3"])
def test_essence_of_what_is_no_kubeconfig_is_none(text):
    assert kubeconfig.essence(text) is None
    assert kubeconfig.server(text) is None
