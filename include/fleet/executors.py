"""An executor for an Airflow whose tasks reach clusters: the LocalExecutor, with the Kubernetes clients loaded."""

from __future__ import annotations

from airflow.executors.local_executor import LocalExecutor


class PreloadingExecutor(LocalExecutor):
    """Loads the Kubernetes clients before it forks its workers, so that no task has to.

    They take a task two thirds of its time. Nothing of this project is loaded, so that its tasks always run what is in
    its files. Where Airflow does not fork (`[core] mp_start_method`, macOS) it is the LocalExecutor and no more.
    """

    def start(self) -> None:
        """Load the clients and start the workers."""
        # Only here: whatever names the executor imports this module, and only the scheduler starts it.
        import airflow.providers.cncf.kubernetes.hooks.kubernetes  # noqa: F401, PLC0415

        super().start()
