"""The full sweep of what can be swept by counting: every write killed, every request disturbed, both ways."""

import itertools
import logging
import multiprocessing
import os
import tempfile

import yaml

from include.simulator import fence
from tests.chaos import cases

CASES_A_PROCESS = 20
"""Airflow's masker searches for every secret that a process has ever seen, and each case has new ones."""
TRIES = 3
"""How often a case is played whose request was not sent: in which order things happen differs from run to run."""


def prepare():
    """Make this process one that can play cases: Airflow's library without an Airflow."""
    fence.put_up()
    home = tempfile.mkdtemp(prefix="chaos-airflow-")
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    logging.getLogger("include.fleet").propagate = False
    # The same parser, in C: a case reads a hundred documents, and the slower one takes half a second for them.
    yaml.SafeLoader = yaml.CSafeLoader


def cases_of(way, kubesphere):
    """Return the cases of one kind of join as (function, arguments, options)."""
    requests, expected = cases.undisturbed(way, kubesphere=kubesphere)
    options = {"expected": expected, "kubesphere": kubesphere}
    found = [
        (cases.killed, (way, request, moment), options)
        for request in requests
        if request.writes
        for moment in cases.MOMENTS
    ]
    # The requests of 3.0 are the same, but for a few; its writes are worth the time.
    if kubesphere == "v3.4.1":
        found += [(cases.api_fails, (way, request, fault), options) for request in requests for fault in request.faults]
    return found


def play(case):
    """Play one case until its request is sent, a few times at most."""
    function, arguments, options = case
    for _ in range(TRIES):
        outcome = function(*arguments, **options)
        if outcome.met or outcome.problem:
            break
    return outcome


def run(*, jobs, only=None):
    """Play all cases, or those whose words hold *only*; return their outcomes."""
    # Not concurrent.futures, whose pools can stop for ever when they replace a process (python/cpython#115634).
    with multiprocessing.get_context("spawn").Pool(jobs, prepare, maxtasksperchild=CASES_A_PROCESS) as pool:
        found = pool.starmap(cases_of, itertools.product(cases.WAYS, cases.KUBESPHERES))
        chosen = [case for case in itertools.chain(*found) if only is None or only in words(case)]
        print(f"{len(chosen)} cases, {jobs} at a time", flush=True)
        outcomes = []
        for outcome in pool.imap_unordered(play, chosen):
            outcomes.append(outcome)
            if outcome.problem or len(outcomes) % 100 == 0:
                print(f"{len(outcomes)}/{len(chosen)} {words_of(outcome)}: {outcome.problem or 'joined'}", flush=True)
        return outcomes


def words(case):
    """Name a case."""
    function, (way, request, fault), options = case
    return f"{function.__name__} {way} {options.get('kubesphere', '')} {request}, {fault}"


def words_of(outcome):
    """Name the case of an outcome, of this sweep or of a live Airflow."""
    parts = [getattr(outcome, name, None) for name in ("name", "way", "kubesphere", "request", "fault")]
    return ", ".join(str(part) for part in parts if part)
