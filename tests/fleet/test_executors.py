"""The executor that has the Kubernetes clients loaded before it forks."""

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
