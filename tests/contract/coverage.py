"""Whether the contract covers what clients use: a plugin of pytest that compares both with `used.txt`.

- Every run: what simulated clusters were asked for and answered, as their audit logs tell, has to be in the file. The
  actors' requests count, what a disturbance answers in the API's place does not.
- A run of the whole contract, on either server: its tests have to show every line of the file, as recorded at the
  official client.
"""

import datetime
import functools
import json
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.contract import usage

HERE = Path(__file__).parent


@dataclass
class Coverage:
    """What this process knows; `whole` says that it runs, or some other does, all tests of the contract."""

    seen: set = field(default_factory=set)
    shown: set = field(default_factory=set)
    whole: bool = False
    problems: list = field(default_factory=list)

    def record(self, api):
        """Note from now on what goes through a client of the official library."""
        pool = api.rest_client.pool_manager
        pool.request = functools.partial(self._request, pool.request)

    def _request(self, request, method, url, *, fields=None, headers=None, **options):
        response = request(method, url, fields=fields, headers=headers, **options)
        query = f"?{urllib.parse.urlencode(fields)}" if fields else ""
        sent = {key.lower(): value for key, value in (headers or {}).items()}.get("content-type", "")
        self.shown.add(usage.classify(method, url + query, content_type=sent, code=response.status))
        return response

    def read(self, entries):
        """Note what an audit log tells, except for what tests do to a cluster past its API."""
        self.seen |= {usage.of_entry(entry) for entry in entries if not entry.disturbed and entry.user != "person"}

    def dump(self):
        """Return this for another process, in plain types."""
        return {"seen": [*map(list, self.seen)], "shown": [*map(list, self.shown)], "whole": self.whole}

    def add(self, dumped):
        """Take in what another process knows."""
        self.seen |= {usage.Usage(*fields) for fields in dumped["seen"]}
        self.shown |= {usage.Usage(*fields) for fields in dumped["shown"]}
        self.whole |= dumped["whole"]


def find_problems(coverage, *, listed, limits):
    """Return what is wrong, as sentences."""
    problems = [
        f"{missing}: a simulated cluster was asked for this and answered so, but the contract does not list it. Write "
        f"a test in tests/contract that shows it on both servers, and add the line to {usage.FILE.name}."
        for missing in sorted(coverage.seen - listed - limits)
    ]
    if coverage.whole:
        problems += [
            f"{missing}: no test of the contract shows this. Write one; or, if nothing else asks a cluster for it, "
            f"take the line out of {usage.FILE.name}."
            for missing in sorted(listed - coverage.shown)
        ]
    return problems


COVERAGE = pytest.StashKey[Coverage]()


def pytest_configure(config):
    config.stash[COVERAGE] = Coverage()


def pytest_collection_finish(session):
    option = session.config.option
    chosen = option.keyword or option.markexpr or any("::" in argument for argument in session.config.args)
    files = {item.path for item in session.items}
    session.config.stash[COVERAGE].whole = not chosen and files >= set(HERE.glob("test_*.py"))


@pytest.fixture(scope="session")
def coverage(request):
    """What is noted for the comparison with the file."""
    return request.config.stash[COVERAGE]


@pytest.fixture(scope="session", autouse=True)
def _audits(coverage, tmp_path_factory):
    """Read the audit logs of simulated clusters: of those in this process when they stop, of others in the end."""
    from include.simulator.access import Entry
    from include.simulator.cluster import Cluster

    stop = Cluster.stop

    async def read_and_stop(cluster):
        coverage.read(cluster._api.audit)
        await stop(cluster)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cluster, "stop", read_and_stop)
        yield
    for file in tmp_path_factory.getbasetemp().rglob("*.audit.jsonl"):
        lines = map(json.loads, file.read_text().splitlines())
        coverage.read(Entry(**{**line, "time": datetime.datetime.fromisoformat(line["time"])}) for line in lines)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    # One that has died knows nothing; the run has failed by that.
    dumped = getattr(node, "workeroutput", {}).get("coverage")
    if dumped is not None:
        node.config.stash[COVERAGE].add(dumped)


def pytest_sessionfinish(session, exitstatus):
    config = session.config
    coverage = config.stash[COVERAGE]
    if hasattr(config, "workeroutput"):
        config.workeroutput["coverage"] = coverage.dump()
    elif exitstatus == pytest.ExitCode.OK:
        coverage.problems = find_problems(coverage, listed=usage.read(), limits=usage.read_limits())
        if coverage.problems:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    problems = config.stash[COVERAGE].problems
    if problems:
        terminalreporter.section("the contract does not cover what is used", red=True)
        for problem in problems:
            terminalreporter.line(problem)
