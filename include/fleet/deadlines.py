"""What is said when a run has missed its deadline; the triggerer calls it and has it in its log."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from asgiref.sync import sync_to_async

log = logging.getLogger(__name__)

FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""The states in which a task stays."""


async def tell(context: dict[str, Any]) -> str:
    """Say which run for whom is late, what it has not finished, and what to do. Airflow keeps the sentence.

    Airflow takes a deadline back from a run that succeeds in time, not from one that fails or is cancelled: of a
    run that has ended there is nothing to say but that.
    """
    run = context["dag_run"]
    run_id = run["dag_run_id"]
    conf = run["conf"]
    name = f"Run {run_id} for " + (f"host {conf['host']}" if "host" in conf else f"member {conf.get('cluster')}")
    if run["state"] in FINISHED:
        said = f"{name} had ended as {run['state']} before its deadline."
        log.info(said)
        return said
    found = await sync_to_async(RuntimeTaskInstance.get_task_states)(dag_id=run["dag_id"], run_ids=[run_id])
    states = found.get(run_id, {})
    open_tasks = sorted(f"{task} ({state or 'not begun'})" for task, state in states.items() if state not in FINISHED)
    said = (
        f"{name} has missed its deadline; not finished: {', '.join(open_tasks) or 'nothing that is known'}. See the "
        "log of the task that is deferred or running for what it waits for and mend that, or mark the run as failed "
        "and clear the task later: it begins with what it finds."
    )
    log.warning(said)
    return said
