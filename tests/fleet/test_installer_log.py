"""ks-installer's log: which run is the last, how it ended, and which lines tell why."""

import pytest

from include.fleet import installer_log

START = "Running hook 'kubesphere/installRunner.py' binding 'KUBE_EVENTS' ..."
BANNER = "###              Welcome to KubeSphere!           ###"
FATAL = 'fatal: [localhost]: FAILED! => {"cmd": "jwt.sh OldSecretValue123", "secret": "OldSecretValue123"}'
RECAP = "localhost : ok=12 changed=3 unreachable=0 failed=1 skipped=4"
CRASH = (
    "TASK_RUN TASK_HOOK_RUN 'kubesphere/installRunner.py' on 'KUBE_EVENTS' failed. "
    "Will retry after delay. Failed count is 7"
)


@pytest.mark.parametrize(
    ("lines", "activity"),
    [
        pytest.param([], installer_log.Activity.UNKNOWN, id="empty"),
        pytest.param([START, "TASK [ks-core]"], installer_log.Activity.RUNNING, id="in-a-run"),
        pytest.param([START, BANNER], installer_log.Activity.IDLE, id="succeeded"),
        pytest.param([START, BANNER, START], installer_log.Activity.RUNNING, id="old-banner-proves-nothing"),
        pytest.param([START, FATAL, RECAP], installer_log.Activity.IDLE, id="silent-stop"),
        pytest.param([START, "Task 'multicluster' failed:", "*" * 150], installer_log.Activity.IDLE, id="component"),
        pytest.param([START, "Failed to ansible-playbook ks-config.yaml"], installer_log.Activity.IDLE, id="config"),
        pytest.param([START, RECAP, CRASH], installer_log.Activity.RUNNING, id="crash-loop-is-never-idle"),
    ],
)
def test_the_log_tells_what_the_installer_does(lines, activity):
    assert installer_log.activity("\n".join(lines)) is activity


def test_only_the_last_run_tells():
    text = f"{START}\nfatal: old trouble\n{START}\n{FATAL}\n{RECAP}"
    lines = installer_log.telling_lines(text)
    assert len(lines) == 2
    assert not any("old trouble" in line for line in lines)


def test_a_secret_that_is_no_longer_in_use_is_hidden_by_its_form():
    (line,) = installer_log.telling_lines('fatal: {"secret": "OldSecretValue123"}')
    assert "OldSecretValue123" not in line
    assert "<hidden>" in line
