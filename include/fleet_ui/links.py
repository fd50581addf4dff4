"""Buttons on the pages of tasks: to the fleet page, and to the cluster in the KubeSphere console.

Airflow's API server asks for them when somebody looks at a task, whatever state it is in. A link holds the names of DAG
and run, no more: what the run is about is looked up when it is followed, by `app`, with the rights of who follows it.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import attrs
from airflow.sdk import BaseOperator, BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


@attrs.define
class RunLink(BaseOperatorLink):
    """A button on the pages of tasks, which leads to what their run is about."""

    name: str
    """What stands on it."""
    route: str
    """The route that knows where it leads."""
    operators: list[type[BaseOperator]]  # type: ignore[misc]  # of the class in Airflow, which only reads it
    """Whose tasks have it."""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - Airflow's signature
        """Return an address that is relative to Airflow's own, which may have a path."""
        return f"fleet/{self.route}?{urlencode({'dag_id': ti_key.dag_id, 'run_id': ti_key.run_id})}"


def buttons(*, anywhere: ModuleType, on_hosts: ModuleType) -> list[RunLink]:
    """Return the buttons for the operators of both modules; the runs of those of *on_hosts* are about one host."""
    wide, narrow = _operators(anywhere), _operators(on_hosts)
    return [RunLink("Fleet page", "of-run", [*wide, *narrow]), RunLink("KubeSphere console", "console-of-run", narrow)]


def _operators(module: ModuleType) -> list[type[BaseOperator]]:
    """Return the operators that a module has of its own."""
    found = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, BaseOperator)]
    return [each for each in found if each.__module__ == module.__name__]
