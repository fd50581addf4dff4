"""How many requests a long installer run costs; `measure` plays it at full length on a live Airflow."""

import pytest

from bench import audit
from tests.chaos import cases, measure

HASTE = 7.5
"""How much sooner than by default everything happens here, and is looked at."""
TIMING = {"queue": 0.07, "reload": 0.27, "sync": 0.03, "resync": 16, "kubelet": 0.03}
SETTINGS = {
    "WATCH_TIMEOUT": 40,
    "INLINE_WAIT": 2.7,
    "POLL": 1.3,
    "SLOW_POLL": 4,
    "FAILED_AFTER": 4,
    "QUIET": 16,
    "RESYNC": 16,
}


def requests_before_the_import(way, *, run):
    """Count what a join sends until it creates the Cluster.

    What it looks at again afterwards, until the host has caught up, depends on how fast this machine is.
    """
    with cases.Stage(way, timing={**TIMING, "run": run / HASTE}, settings=SETTINGS) as stage:
        stage.play()
        written = cases.writes_of(stage.simulation)
        assert not stage.judge(written)
        logs = {name: cluster.audit() for name, cluster in stage.simulation.clusters.items()}
    sent = audit.sent_by(audit.PRODUCT, logs)
    imported = [audit.describe(entry) for _, entry in sent].index(("create", "clusters m1"))
    return audit.count(sent[:imported])


@pytest.mark.parametrize("way", cases.WAYS)
def test_a_long_installer_run_costs_few_requests_more_than_a_short_one(way):
    short, long = (requests_before_the_import(way, run=run) for run in (measure.SHORT, measure.LONG))
    assert long.total() - short.total() <= measure.MORE_REQUESTS, long - short
