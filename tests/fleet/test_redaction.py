"""Secrets are named by fingerprint and found by value."""

import base64

from include.fleet import redaction

SECRET = "WaSEiGROspi5Xy7Q"


def test_a_fingerprint_tells_secrets_apart_and_holds_none():
    assert redaction.fingerprint(SECRET) != redaction.fingerprint(SECRET + "x")
    assert SECRET not in redaction.fingerprint(SECRET)


def test_a_secret_is_taken_out_plain_and_base64():
    text = f"cmd --from-literal=secret={SECRET} then {base64.b64encode(SECRET.encode()).decode()}"
    cleaned = redaction.redacted(text, [SECRET])
    assert SECRET not in cleaned
    assert base64.b64encode(SECRET.encode()).decode() not in cleaned
    assert cleaned.count(redaction.fingerprint(SECRET)) == 2


def test_a_longer_secret_goes_before_a_part_of_it():
    assert "tail" not in redaction.redacted(SECRET + "tail-of-it", [SECRET, SECRET + "tail-of-it"])


def test_a_very_short_value_is_left_alone():
    assert redaction.redacted("a host is a host", ["host"]) == "a host is a host"
