"""Where Airflow lives for the whole suite: a throw-away home with SQLite, set before anything can import it.

Nothing here imports Airflow, which takes seconds: a test that needs it asks for `airflow_database` or
`dagbag`. (`dag.test()` works for DAGs in dags/ only: Airflow looks its versions up in the bundle.)
"""

import atexit
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from include.simulator import fence

ROOT = Path(__file__).parents[1]

pytest_plugins = ["tests.contract.coverage"]

# Airflow reads its settings once, when it is first imported, and pytest imports every test module
# before any fixture runs: so this is done here, and not in a fixture.
HOME = Path(tempfile.mkdtemp(prefix="airflow-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES": "kube_config,kubeconfig",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    # A proxy meant for the registry must not get in the way of clusters on loopback.
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}

fence.put_up()
# The same parser, in C: a join reads a hundred documents.
yaml.SafeLoader = yaml.CSafeLoader

# Who ends the suite from outside wants its servers ended too: as with Ctrl-C, fixtures are torn down.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _secrets_of_other_tests_are_forgotten():
    """Each secret that is new to Airflow's masker has it compile one pattern of all that it has ever seen."""
    for name in ("airflow.sdk._shared.secrets_masker", "airflow._shared.secrets_masker"):
        if name in sys.modules:
            sys.modules[name].reset_secrets_masker()


def pytest_addoption(parser):
    parser.addoption(
        "--real",
        action="store_true",
        help="run against real control planes, with the tests that need one (`make test-envtest` builds them first)",
    )
    parser.addoption("--every-kill", action="store_true", help="kill what is killed in a test at each of its writes")
    parser.addoption("--browser", action="store_true", help="run the tests that look at pages in chromium, too")
    parser.addoption("--pictures", metavar="DIR", help="where the tests with a browser leave what they have seen")


def pytest_ignore_collect(collection_path, config):
    """Leave out what needs a real control plane, or a browser, where none is asked for."""
    needed = {"envtest": "--real", "browser": "--browser"}.get(collection_path.name)
    return True if needed and not config.getoption(needed) else None


@pytest.fixture(scope="session")
def make_cluster(request):
    """What makes the clusters of a simulation: with a real control plane each where that is asked for."""
    if request.config.getoption("--real"):
        from tests.envtest.cluster import RealCluster as Cluster
    else:
        from include.simulator.cluster import Cluster
    return Cluster


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """AIRFLOW_HOME of this run of the suite."""
    return HOME


@pytest.fixture(scope="session")
def airflow_database(airflow_home):
    """Airflow's metadata database, made when the first test asks for it. The value is its URL."""
    from airflow.utils.db import initdb

    initdb()
    return os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


@pytest.fixture(scope="session")
def dagbag(airflow_database):
    """The DAGs of this repository, parsed once."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(ROOT / "dags"), bundle_path=ROOT / "dags", bundle_name="dags-folder")
