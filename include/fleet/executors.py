"""An executor for an Airflow whose tasks reach clusters: the LocalExecutor, with the Kubernetes clients loaded."""

from __future__ import annotations

import shutil
import sys
import tempfile

from airflow.executors.local_executor import LocalExecutor


class PreloadingExecutor(LocalExecutor):
    """Loads the Kubernetes clients before it forks its workers, so that no task has to.

    They take a task two thirds of its time. Nothing of this project is loaded, so that its tasks always run what is in
    its files; but what one task has compiled, the next ones need not, also where nothing can be written beside the
    files (docker-compose.yaml has them read-only). Where Airflow does not fork (`[core] mp_start_method`, macOS) it is
    the LocalExecutor and no more.
    """

    _compiled: str | None = None
    """The folder with what tasks have compiled, of this process and its children alone."""

    def start(self) -> None:
        """Load the clients and start the workers."""
        # Only here: whatever names the executor imports this module, and only the scheduler starts it.
        import airflow.providers.cncf.kubernetes.hooks.kubernetes  # noqa: F401, PLC0415

        if sys.pycache_prefix is None:
            self._compiled = tempfile.mkdtemp(prefix="compiled-")
            sys.pycache_prefix, sys.dont_write_bytecode = self._compiled, False
        super().start()

    def end(self) -> None:
        """Wait for the workers to end."""
        super().end()
        if self._compiled is not None:
            # Python would make the folder anew, for everybody to read.
            sys.pycache_prefix, sys.dont_write_bytecode = None, bool(sys.flags.dont_write_bytecode)
            shutil.rmtree(self._compiled, ignore_errors=True)
