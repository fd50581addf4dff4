"""The executor that has the Kubernetes clients loaded before it forks."""

import os
import subprocess
import sys

CODE = """
import os, sys
from include.fleet import executors

CLIENTS = ("kubernetes.client", "kubernetes_asyncio.client")
print("imported", [name for name in CLIENTS if name in sys.modules])
executor = executors.PreloadingExecutor(parallelism=1)
start = executor._spawn_worker
executor._spawn_worker = lambda: print("forking with", [name for name in CLIENTS if name in sys.modules]) or start()
executor.start()
# In one piece: the worker writes to the same pipe.
sys.stdout.write(f"ours {[name for name in sys.modules if name.startswith('include.fleet.')]}\\n")
executor.end()
"""


def test_workers_are_forked_with_the_kubernetes_clients_and_nothing_of_ours(airflow_database):
    """Who only names the executor, as the API server does, does not pay for them."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if not line.startswith("20")] == [
        "imported []",
        "forking with ['kubernetes.client', 'kubernetes_asyncio.client']",
        "ours ['include.fleet.executors']",
    ]


COMPILING = """
import os, pathlib, sys
from include.fleet import executors

def in_a_fork(module):
    pid = os.fork()
    if not pid:
        __import__(module)
        os._exit(0)
    os.waitpid(pid, 0)

executor = executors.PreloadingExecutor(parallelism=1)
executor.start()
kept = pathlib.Path(sys.pycache_prefix)
in_a_fork("ours")
written = [path for path in kept.rglob("ours.*.pyc")]
times = [path.stat().st_mtime_ns for path in written]
in_a_fork("ours")
again = [path.stat().st_mtime_ns for path in written]
executor.end()
after = ("there" if kept.exists() else "gone", sys.pycache_prefix, sys.dont_write_bytecode)
sys.stdout.write(f"{len(written)} {again == times} {after}\\n")
"""


def test_what_a_task_has_compiled_is_kept_for_the_next_ones_and_not_beside_the_files(airflow_database, tmp_path):
    (tmp_path / "ours.py").write_text("VALUE = 1\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", COMPILING], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1 True ('gone', None, True)"
    assert [path.name for path in tmp_path.iterdir()] == ["ours.py"]
