"""
### Reconcile the fleet

Looks at every host cluster and member cluster of the inventory, says what is not as declared, and repairs it by runs of `join_member_cluster`. Nothing is written by this DAG itself.

#### Before the first run

- Write the inventory, `include/fleet.yaml`, or have it written from what a host has: `python -m include.fleet adopt`. `AIRFLOW__FLEET__INVENTORY` names another place. Check it with `python -m include.fleet check FILE`.
- Each host and member in it needs its Airflow connection, as for a join.

#### When it runs

Every 10 minutes (`AIRFLOW__FLEET__RECONCILE_SCHEDULE`), and within seconds after something has changed on a host, at most once a minute. Trigger it by hand for the whole fleet, for some hosts or members, or to *only look*.

#### What it does

The last error of a task's log says what was tried and what to do. A reconcile that has failed need not be cleared: the next one looks anew.

- **observe_fleet** asks each host six questions and each member three, all at the same time, and writes nothing. *Fails:* the inventory has problems; the log lists every one with its line.
- **decide** compares with the last record, leaves a new one (XCom `record`), and picks what to start. The log has one line for each member that is not well: why, what waits for what, and what to do. *Fails:* Airflow does not keep the record, most often because of its database or its XCom backend. Nothing was started.
- **start_runs** starts a run for each repair. A run has an id made from the member, what has drifted and the number of the try: the same repair never runs twice. Its note says why. *Fails:* Airflow does not have the DAG of a repair, or its API does not answer. The next reconcile starts what was not started.
- **report** tells the sum, and deletes records older than the last 100 (`AIRFLOW__FLEET__RECORDS_KEPT`). *Fails:* Airflow's API does not answer. The record and the repairs stand.
- **tell_people** sends one message about what has come up or is over, by an Airflow notifier; skipped unless one is set (`AIRFLOW__FLEET__NOTIFIER`, see docs/fleet.md). It runs after a failure, too, and tells of it. *Fails:* the notifier's settings, or what it sends to. The record and the repairs stand, the next reconcile tells all of it again.

#### What it is careful about

- At most `max_joins` runs at once on a host (default 4), runs that others have started included.
- Of more than three members that have drifted alike, one goes first; the others follow when it is joined.
- A member whose repair has failed is tried again after 10 minutes, then 20, and so on up to a day.
- What most members have in common, tower down above all, is told once; nothing is started for them until it is over.
- `paused: true` and maintenance windows of the inventory hold everything back but looking.
- A member that is taken out of the inventory leaves only with `prune: true` on its host, when two reconciles in a row do not find it, and at most one in ten, three at the most, in one reconcile. One that a change on a host has woken takes nobody out.
"""

from __future__ import annotations

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, chain

from include.fleet.operators import explain_tasks
from include.fleet.reconciling import (
    DecideOperator,
    ObserveFleetOperator,
    ReportFleetOperator,
    params,
    schedule,
)
from include.fleet.telling import TellPeopleOperator

with DAG(
    dag_id="reconcile_fleet",
    dag_display_name="Reconcile the fleet",
    description="Find what is not as the inventory declares it, say it, and repair it",
    doc_md=__doc__,
    schedule=schedule(),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    tags=["kubesphere", "multicluster"],
    default_args={"owner": "platform"},
    params=params(),
) as dag:
    observe_fleet = ObserveFleetOperator(task_id="observe_fleet")
    decide = DecideOperator(task_id="decide", observed_by="observe_fleet")
    start_runs = TriggerDagRunOperator.partial(
        task_id="start_runs",
        logical_date=None,
        skip_when_already_exists=True,
        map_index_template="{{ task.conf['cluster'] }} ({{ task.conf['host_conn_id'] }})",
    ).expand_kwargs(decide.output)
    report = ReportFleetOperator(
        task_id="report", observed_by="observe_fleet", decided_by="decide", trigger_rule="none_failed"
    )

    tell_people = TellPeopleOperator(task_id="tell_people", decided_by="decide")

    # Beside the report and not after it: a reconcile that fails has failed, whether people could be told or not.
    chain(observe_fleet, decide, start_runs, [report, tell_people])
    explain_tasks(dag)
