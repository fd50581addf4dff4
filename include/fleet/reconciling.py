"""The Airflow side of reconciling a fleet: what is observed, decided, and told; joins are started by Airflow's own.

The Kubernetes client takes seconds to import, so nothing that needs it is imported before a task runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    AssetWatcher,
    BaseOperator,
    BaseXCom,
    CronTriggerTimetable,
    DagRunState,
    Param,
)
from airflow.sdk.exceptions import AirflowRuntimeError

from include.fleet import deciding, errors, records, triggers

if TYPE_CHECKING:
    from airflow.sdk import Context
    from pydantic import JsonValue

_KEPT = "records"
"""What the asset's state store remembers: ids of the runs that have left a record, the newest last."""

FLEET = Asset(
    name="kubesphere_fleet",
    uri="x-kubesphere://fleet",
    group="kubesphere",
    watchers=[AssetWatcher(name="kubesphere_fleet_changes", trigger=triggers.FleetTrigger())],  # type: ignore[no-untyped-call]
)
"""All members of all hosts in the inventory; changes on the hosts are its events."""


def schedule() -> AssetOrTimeSchedule:
    """Return when the fleet is reconciled: by the clock, and soon after something has changed on a host."""
    cron = triggers.configured_settings().reconcile_schedule
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(cron, timezone="UTC"), assets=[FLEET])


def params() -> dict[str, Param]:
    """Return the trigger form: which part of the fleet, and whether anything is started."""
    return {
        "hosts": _names("Only these hosts", "Names as in the inventory, a line each. Empty: all."),
        "members": _names("Only these members", "Names of Clusters, a line each. Empty: all."),
        "dry_run": Param(
            default=False,
            type="boolean",
            title="Only look",
            description="Observe, compare, decide and say what would be started; start nothing.",
        ),
    }


def _names(title: str, description: str) -> Param:
    return Param(default=[], type="array", items={"type": "string"}, title=title, description=description)


class ObserveFleetOperator(BaseOperator):
    """Looks at every host and member of the inventory and returns what is there and how it differs; writes nothing."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the inventory and look; raises InventoryError with every problem of the inventory."""
        from include.fleet import inventories, surveying  # the Kubernetes client takes seconds to import

        limits, asked = triggers.configured_settings(), context["params"]
        fleet = inventories.read(limits.inventory)
        part = surveying.part(fleet, hosts=asked["hosts"], members=asked["members"])
        found: dict[str, Any] = asyncio.run(
            surveying.survey(
                part,
                path=limits.inventory,
                limits=limits,
                now=datetime.datetime.now(datetime.UTC),
                partial=part != fleet,
            )
        )
        for host in found["hosts"]:
            seen = host["error"] or f"{len(host['members'])} members looked at"
            self.log.info("Host %s: %s in %.1f s", host["name"], seen, host["seconds"])
        return found


class DecideOperator(BaseOperator):
    """Decides what is to be done about what was observed, leaves the record, and returns what to start.

    The record stands before anything is started, so that a killed reconcile starts the same runs again by the same
    ids, which Airflow has only once.

    :param observed_by: id of the task that has observed
    """

    def __init__(self, *, observed_by: str, **kwargs: Any) -> None:
        super().__init__(inlets=[FLEET], **kwargs)
        self.observed_by = observed_by

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return what `TriggerDagRunOperator` takes, for each run to start."""
        ti, store = context["ti"], context["asset_state_store"]
        kept = [run_id for run_id in cast("list[str]", store.get(_KEPT) or []) if run_id != ti.run_id]
        last = self._last(ti, kept)
        record = deciding.decide(
            ti.xcom_pull(task_ids=self.observed_by),
            last,
            self._known(ti, last),
            run_id=ti.run_id,
            now=datetime.datetime.now(datetime.UTC),
            dry_run=bool(context["params"]["dry_run"]),
            woken=context["dag_run"].run_type == _WOKEN,
        )
        ti.xcom_push(key=records.KEY, value=record)
        newest = [*kept, ti.run_id][-triggers.configured_settings().records_kept :]
        store.set(_KEPT, cast("JsonValue", newest))
        for line in records.lines(record):
            self.log.info("%s", line)
        if record["dry_run"]:
            return []
        return [
            {
                "trigger_dag_id": action["dag_id"],
                "trigger_run_id": action["run_id"],
                "conf": action["conf"],
                "note": deciding.note(action, by=ti.run_id),
            }
            for action in record["actions"]
        ]

    def _last(self, ti: Any, kept: Sequence[str]) -> Mapping[str, Any] | None:
        """Return the newest record that can be gone on from; one of a dry run has started nothing and is none."""
        for run_id in reversed(kept):
            record = records.usable(ti.xcom_pull(task_ids=self.task_id, key=records.KEY, run_id=run_id))
            if record is not None and not record["dry_run"]:
                return record
        return None

    def _known(self, ti: Any, last: Mapping[str, Any] | None) -> deciding.Known:
        states: dict[str, str] = {}
        diagnoses: dict[str, Mapping[str, str]] = {}
        for dag_id, run_id in records.unfinished(last):
            if not ti.get_dr_count(dag_id=dag_id, run_ids=[run_id]):
                continue
            states[run_id] = DagRunState(ti.get_dagrun_state(dag_id, run_id)).value
            if states[run_id] == "failed":
                diagnoses[run_id] = _why(ti, dag_id, run_id)
        return deciding.Known(states, diagnoses)


def _why(ti: Any, dag_id: str, run_id: str) -> Mapping[str, str]:
    """Return why a run has failed, as its tasks tell: what is most likely wrong, else what the first of them says."""
    states = ti.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
    told = [
        {
            key: ti.xcom_pull(dag_id=dag_id, run_id=run_id, task_ids=task_id, key=key)
            for key in (errors.DIAGNOSIS, errors.FAILURE)
        }
        for task_id, state in sorted(states.items())
        if state == "failed"
    ]
    return deciding.why(
        [(each[errors.DIAGNOSIS] or {}, (each[errors.FAILURE] or {}).get("error", "")) for each in told]
    )


_WOKEN = "asset_triggered"
"""The type of a run that a change on a host has started (airflow.utils.types.DagRunType)."""


class ReportFleetOperator(BaseOperator):
    """Tells how the fleet is, and lets go of records that are older than the last so many, and of the observation.

    :param observed_by: id of the task that has observed
    :param decided_by: id of the task that has left the record
    """

    def __init__(self, *, observed_by: str, decided_by: str, **kwargs: Any) -> None:
        super().__init__(inlets=[FLEET], **kwargs)
        self.observed_by = observed_by
        self.decided_by = decided_by

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the counts of members by state, and how many runs were started."""
        ti = context["ti"]
        record = ti.xcom_pull(task_ids=self.decided_by, key=records.KEY)
        self.log.info("%s See the log of %s for each member that is not well.", records.total(record), self.decided_by)
        _forget(ti.dag_id, self.observed_by, BaseXCom.XCOM_RETURN_KEY, [ti.run_id])
        self._forget_old(context)
        return {"counts": record["counts"], "started": 0 if record["dry_run"] else len(record["actions"])}

    def _forget_old(self, context: Context) -> None:
        """Delete the records that the state store does not name any more."""
        ti, store = context["ti"], context["asset_state_store"]
        kept, present = cast("list[str]", store.get(_KEPT) or []), cast("list[str]", store.get(_PRESENT) or [])
        _forget(ti.dag_id, self.decided_by, records.KEY, [run_id for run_id in present if run_id not in kept])
        store.set(_PRESENT, cast("JsonValue", kept))


_PRESENT = "present"
"""What the state store remembers beside: the runs whose records have not been deleted."""


def _forget(dag_id: str, task_id: str, key: str, run_ids: Iterable[str]) -> None:
    for run_id in run_ids:
        with contextlib.suppress(AirflowRuntimeError):
            BaseXCom.delete(key=key, task_id=task_id, dag_id=dag_id, run_id=run_id)
