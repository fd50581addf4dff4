"""What the log of ks-installer tells whoever follows it."""

import pytest

from include.fleet import installer, journal, settings

CRASHED = "installRunner.py' on 'KUBE_EVENTS' failed. Will retry after delay. Failed count is 7"
BEGINS = "Running hook 'kubesphere/installRunner.py' binding 'KUBE_EVENTS' ..."


@pytest.mark.parametrize(
    ("lines", "crashes"),
    [
        pytest.param([CRASHED], 7, id="the-last-run-crashed"),
        pytest.param([CRASHED, BEGINS], 0, id="a-new-run-has-begun"),
    ],
)
def test_crashes_before_the_last_run_do_not_count(lines, crashes):
    """Who clears the task after mending the cause finds them in the log still, beside the run that will succeed."""
    follower = installer._Follower(None, "r/1", settings.Settings(), journal.Journal(), in_worker=False)
    for line in lines:
        assert follower._heard(line)
    assert follower._crashes == crashes
