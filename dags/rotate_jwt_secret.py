"""
### Rotate the jwtSecret of a host and its members

One run gives a KubeSphere host cluster and all members that follow it a new jwtSecret, with as little time between them as possible. **Everybody is logged out.** It cannot be undone, only gone on with: a run that was cut off is run again, and takes up the same secret.

#### What users notice

- Everybody is logged out of the host and of its members, and logs in again. Tokens that programs have got by logging in are refused from then on. Workloads, and kubectl with credentials of Kubernetes itself, notice nothing.
- What the host forwards to a member is refused with 401 while the one has loaded the new secret and the other has not: most often 1 to 3 minutes. The report says for how long it was for each member.

#### Before anything is written

- Who follows: the members of this host in the inventory. A member that the host calls Ready and that cannot follow stops the run: it is not in the inventory, paused, or not reached. It would be cut off silently; name it in *Left out* if that is wanted.
- Every ks-installer has done what it was asked for, and is idle. Nothing else may change these clusters meanwhile: no join, no leave, no upgrade of KubeSphere. Joins that are at work are waited for, and `reconcile_fleet` starts nothing on this host.
- **The plan** shows each cluster, old secret and new one as fingerprints or `(new)`. A person is asked, unless *Ask a person* is off.

#### What a run writes

- On the host: Secret `next-jwt-secret` in `kubesphere-system` with the new secret, from before the first change until all members are proven; and Leases while it lasts.
- On host and members: one patch of the jwtSecret in ClusterConfiguration `ks-installer`. ks-installer does the rest.

#### When a task fails

The last error of its log says what was tried, on which object of which cluster, what the server said, and what to do. Mend the cause, then clear the task, or trigger the DAG again: it goes on with the secret in `next-jwt-secret`.

- **plan** looks at all clusters and shows what would change. *Fails:* every reason not to begin is listed; the log says what to mend or to leave out.
- **approve_plan** asks a person. *Fails:* rejected, or nobody answered in time.
- **take_turn** waits for other runs that change the host or a member, and keeps them out. *Fails:* the log names the run that it waited for, or what has changed since the plan.
- **rotate** waits until every ks-installer is idle, patches the host and with its answer all members, and waits for all of them together. A member that fails stops no other. *Fails:* the host's own ks-installer; its telling lines are in the log.
- **verify_rotation** proves each member by a request that the host forwards with the new secret, and deletes `next-jwt-secret`. *Fails:* the log names each member that does not follow, and why. The others work; `reconcile_fleet` gives the rest the new secret when they can take it.
- **end_turn** lets other runs in, however this one has ended. *Fails:* a cluster does not answer. Other runs get in when this one's Leases have run out, within five minutes.
"""

from __future__ import annotations

from airflow.sdk import DAG, TaskGroup, chain

from include.fleet import rotation_conf
from include.fleet.operators import (
    EndTurnOperator,
    StepOperator,
    explain_tasks,
    on_demand,
    opening,
    params,
    run_deadline,
)
from include.fleet.triggers import ROTATION

with DAG(
    dag_id="rotate_jwt_secret",
    dag_display_name="Rotate the jwtSecret",
    description="Give a host cluster and its members a new jwtSecret, which logs everybody out",
    doc_md=__doc__,
    schedule=None,
    deadline=run_deadline("rotated in time"),
    params=params(rotation_conf.SCHEMA),
    **on_demand(at_once=8),
) as dag:
    with TaskGroup(
        "check",
        group_display_name="Check and plan",
        prefix_group_id=False,
        tooltip="Look at all clusters, show what would change, ask a person, and take the turns",
    ):
        take_turn = opening(ROTATION, subject="Rotate the jwtSecret of {{ params.host }}: everybody is logged out")
    rotate = StepOperator(task_id="rotate", work=ROTATION)
    verify_rotation = StepOperator(task_id="verify_rotation", work=ROTATION, earlier=["plan", "take_turn", "rotate"])
    end_turn = EndTurnOperator(task_id="end_turn", work=ROTATION, earlier=["take_turn"]).as_teardown(setups=take_turn)

    chain(take_turn, rotate, verify_rotation, end_turn)
    explain_tasks(dag)
