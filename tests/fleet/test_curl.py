"""What curl's answers mean, and what a pod is doing that gives none."""

import pytest

from include.fleet import curl

NO_SUBJECT = "SSL: no alternative certificate subject name matches target host name '10.0.0.9'"


def test_answers_are_found_among_other_lines():
    log = (
        "probe upgrade 101 28 Operation timed out after 5001 milliseconds with 12 bytes received\n"
        "probe health 200 0 \nOK\n"
    )
    found = curl.answers(log)
    assert found["health"] == curl.Answer(200, 0, "")
    assert (found["upgrade"].status, found["upgrade"].code) == (101, 28)
    assert curl.is_well(log)
    assert not curl.is_well(log.replace("OK", "not OK"))


@pytest.mark.parametrize("log", ["", "sh: curl: not found\n", "curl: unknown --write-out variable: 'errormsg'\n"])
def test_other_programs_answer_nothing(log):
    assert curl.answers(log) == {}


# The words of 7.88 and 8.10, as run: older ones said 51 for a name, and newer ones put it differently.
@pytest.mark.parametrize(
    ("code", "said", "why"),
    [
        (60, NO_SUBJECT, "does not name this address"),
        (60, NO_SUBJECT.replace("host name", "ipv4 address"), "does not name this address"),
        (51, "SSL: certificate subject name 'a' does not match target host name 'b'", "does not name this address"),
        (60, "SSL certificate problem: certificate has expired", "has expired or is not valid yet"),
        (60, "SSL certificate problem: certificate is not yet valid", "has expired or is not valid yet"),
        (60, "SSL certificate problem: unable to get local issuer certificate", "of an authority that is not trusted"),
        (60, "SSL certificate problem: self-signed certificate", "of an authority that is not trusted"),
        (77, "error setting certificate file: /probe/authority.crt", "cannot be read"),
        (6, "Could not resolve host: x", "its name is not resolved"),
        (7, "Failed to connect to x port 1 after 0 ms: Couldn't connect to server", "nothing listens there"),
        (28, "Connection timed out after 5001 milliseconds", "no answer in time"),
        (35, "TLS connect error: error:0A00010B:SSL routines::wrong version number", "does not speak TLS"),
        (52, "Empty reply from server", "the connection is cut"),
        (16, "something new", "no answer (curl: (16) something new)"),
    ],
)
def test_why_there_was_no_answer_is_told_with_what_to_do(code, said, why):
    found, what = curl.trouble(curl.Answer(0, code, said))
    assert why in found
    assert f"curl: ({code}) {said}" in found
    assert what.endswith(".")


def test_an_answer_is_no_trouble_even_if_its_time_was_up():
    assert curl.trouble(curl.Answer(101, 28, "Operation timed out")) == ("", "")


def make_pod(**status):
    return {"metadata": {"name": "p"}, "status": {"phase": "Pending", **status}}


def make_waiting(reason):
    return make_pod(containerStatuses=[{"state": {"waiting": {"reason": reason, "message": "why"}}}])


@pytest.mark.parametrize(
    ("pod", "says", "stuck"),
    [
        (make_pod(), "its pod is Pending", False),
        (make_waiting("ContainerCreating"), "its pod waits: ContainerCreating: why", False),
        (make_waiting("ErrImagePull"), "its pod waits: ErrImagePull: why", False),
        (make_waiting("ImagePullBackOff"), "its pod waits: ImagePullBackOff: why", True),
        (make_pod(containerStatuses=[{"state": {"running": {}}}]), "its pod is running", False),
        (
            make_pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]),
            "its pod has no node: 0/1 nodes",
            False,
        ),
    ],
)
def test_what_a_pod_is_doing_is_told_in_words(pod, says, stuck):
    assert curl.pod_state(pod) == (says, stuck)
    assert curl.ending(pod) == ""


def test_how_a_container_ended_is_told_in_words():
    ended = {"exitCode": 128, "reason": "StartError", "message": 'exec: "curl": executable file not found in $PATH'}
    pod = make_pod(phase="Failed", containerStatuses=[{"state": {"terminated": ended}}])
    assert curl.ending(pod) == f"StartError, exit code 128: {ended['message']}"
    assert curl.ending(make_pod(phase="Failed", reason="Evicted", message="no disk")) == "Evicted: no disk"


def test_an_address_keeps_its_port_and_form():
    command = curl.version_command(curl.Target("https://[fd00::1]:6443"), seconds=5)
    assert command[-1] == "https://[fd00::1]:6443/version"
    command = curl.version_command(curl.Target("https://[fd00::1]", server_name="k.example"), seconds=5)
    assert command[-1] == "https://k.example:443/version"
    assert "k.example:443:[fd00::1]:443" in command
