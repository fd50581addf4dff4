"""Secrets, and those that hold the tokens of service accounts."""

import base64

import pytest

from tests.contract.conftest import MERGE, PLAIN

SECRETS = "/api/v1/namespaces/default/secrets"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


def encode(text):
    return base64.b64encode(text.encode()).decode()


def test_a_secret_takes_texts_and_keeps_base64(send, name):
    content = {"metadata": {"name": name}, "stringData": {"x": "y"}, "data": {"z": encode("a")}}
    created = send("POST", SECRETS, content).body
    assert (created["data"], created["type"]) == ({"x": encode("y"), "z": encode("a")}, "Opaque")
    assert "stringData" not in created
    patched = send("PATCH", f"{SECRETS}/{name}", {"stringData": {"z": "b"}, "data": {"x": None}}, content_type=MERGE)
    assert patched.body["data"] == {"z": encode("b")}


def test_a_secret_that_is_not_base64_is_a_bad_request(send, name):
    answer = send("POST", SECRETS, {"metadata": {"name": name}, "data": {"z": "not base64!"}})
    assert answer.refusal == (400, "BadRequest")
    assert "illegal base64 data at input byte 3" in answer.body["message"]


def test_the_type_of_a_secret_stays(send, name):
    send("POST", SECRETS, {"metadata": {"name": name}})
    answer = send("PATCH", f"{SECRETS}/{name}", {"type": "other"}, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == (f'Secret "{name}" is invalid: type: Invalid value: "other": field is immutable')


@pytest.mark.parametrize("path", [SECRETS, PLAIN.path], ids=["secret", "config map"])
def test_keys_of_data_are_as_file_names(send, name, path):
    answer = send("POST", path, {"metadata": {"name": name}, "data": {"a key": encode("a")}})
    assert answer.refusal == (422, "Invalid")
    assert 'data[a key]: Invalid value: "a key": a valid config key must consist of ' in answer.body["message"]


def test_a_token_secret_is_filled_for_its_account(send, name, connect, eventually):
    account = send("POST", ACCOUNTS, {"metadata": {"name": name}}).body
    annotations = {"kubernetes.io/service-account.name": name}
    secret = {"metadata": {"name": name, "annotations": annotations}, "type": "kubernetes.io/service-account-token"}
    send("POST", SECRETS, secret)
    filled = eventually(
        lambda: send("GET", f"{SECRETS}/{name}"), lambda answer: "token" in answer.body.get("data", {})
    ).body
    assert filled["data"].keys() == {"token", "ca.crt", "namespace"}
    assert filled["data"]["namespace"] == encode("default")
    assert filled["metadata"]["annotations"] == {
        **annotations,
        "kubernetes.io/service-account.uid": account["metadata"]["uid"],
    }
    token = base64.b64decode(filled["data"]["token"]).decode()
    bearer = {"authorization": f"Bearer {token}"}
    nobody = connect(user=None)
    assert nobody("GET", "/api", headers=bearer).code == 200, "whoever is known may look around"
    send("DELETE", f"{ACCOUNTS}/{name}")
    eventually(lambda: nobody("GET", "/api", headers=bearer), lambda answer: answer.code == 401)


def test_a_token_secret_names_an_account(send, name):
    answer = send("POST", SECRETS, {"metadata": {"name": name}, "type": "kubernetes.io/service-account-token"})
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"].endswith("metadata.annotations[kubernetes.io/service-account.name]: Required value")


def test_a_token_secret_of_no_account_is_not_kept(send, name, eventually):
    annotations = {"kubernetes.io/service-account.name": "nobody"}
    secret = {"metadata": {"name": name, "annotations": annotations}, "type": "kubernetes.io/service-account-token"}
    assert send("POST", SECRETS, secret).code == 201
    eventually(lambda: send("GET", f"{SECRETS}/{name}"), lambda answer: answer.code == 404)
