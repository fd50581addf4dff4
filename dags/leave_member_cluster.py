"""
### Take a member cluster out of its host cluster

One run takes one KubeSphere member cluster out of its host cluster and brings it back to what it was before the join. Run it again at any time: what is done already is left alone, and of a member that has left nothing is written.

#### Before anything is written

- **The plan** shows every object and field that would be deleted or changed; it comes from a dry run of the leave's own steps. *Only plan* ends the run after it. *Ask a person* shows it under Required Actions and goes on when it is approved, if it is still true then.
- **Who is who.** Only a Cluster that is proven to be this member is deleted, by its kube-system UID, also one that was made by hand. The host's own Cluster never is.
- **One at a time.** The run takes the same turn as a join of this member.

#### What a run removes and restores

- On the host: the Cluster, and with it KubeFedCluster, its Secret and Service `mc-NAME`.
- On the member: Deployment `cluster-agent`; account, ClusterRole and ClusterRoleBinding of this name, namespace `kube-federation-system` if nobody else uses it, and the label `kubefed.io/managed` on what stays. Then role and jwtSecret as Secret `before-join` tells, **which logs out its users**, and that Secret.
- A member that another host has joined since is left alone.

#### Where one of the two is lost

- **The member is dead** (`force`): the host lets go of it all the same. On KubeSphere 3.4 the host's webhook `cluster.kubesphere.io` lets nobody change the Cluster of a member that does not answer: it is set aside for this one Cluster, and always put back. What is left on the member is said; run it again without `force` if it comes back.
- **The host is lost** (`host_lost`): only the member is cleaned.

#### When a task fails

The last error of its log says what was tried, on which object of which cluster, what the server said, and what to do. Mend the cause, then clear the task: it begins with what it finds.

- **plan** shows what would be written. *Fails:* the Cluster may be another's, a right is missing, or the member does not answer; the log says which.
- **approve_plan** asks a person, if the conf says so. *Fails:* rejected, or nobody answered in time.
- **take_turn** waits for other runs of this member, and sees what stands. *Fails:* the log names the run that it waited for.
- **remove_cluster** deletes the Cluster and waits until the host has let go; the agent runs until then. *Fails:* the host's controller is down, or the host does not reach the member.
- **clean_member** takes off the member what the membership has brought. *Fails:* a right is missing; the log names it.
- **restore_member** brings back role and jwtSecret and waits for ks-installer. *Fails:* the installer's telling lines are in the log.
- **verify_leave** compares both clusters with what stood before, and reports what was removed, restored, left and why. *Fails:* the Cluster is there again.
- **end_turn** puts the webhook back, if that is not done, and lets the next run in. *Fails:* the log says what keeps the webhook set aside; clear it.
"""

from __future__ import annotations

from airflow.sdk import DAG, TaskGroup, chain

from include.fleet import leave_conf
from include.fleet.operators import (
    EndTurnOperator,
    StepOperator,
    explain_tasks,
    on_demand,
    opening,
    params,
    run_deadline,
)
from include.fleet.triggers import LEAVE

with DAG(
    dag_id="leave_member_cluster",
    dag_display_name="Take a member cluster out",
    description="Take one KubeSphere member cluster out of its host cluster, and bring back what it was",
    doc_md=__doc__,
    schedule=None,
    deadline=run_deadline("left in time"),
    params=params(leave_conf.SCHEMA),
    **on_demand(),
) as dag:
    with TaskGroup(
        "check",
        group_display_name="Check and plan",
        prefix_group_id=False,
        tooltip="Show what would be deleted and changed, ask if that is wanted, and take the turn",
    ):
        take_turn = opening(LEAVE, subject="Take {{ params.cluster }} out of its host")
    remove_cluster = StepOperator(task_id="remove_cluster", work=LEAVE)
    with TaskGroup(
        "give_back",
        group_display_name="Give the member back",
        prefix_group_id=False,
        tooltip="Take off the member what the membership has brought, and bring back what stood before it",
    ):
        clean_member = StepOperator(task_id="clean_member", work=LEAVE)
        restore_member = StepOperator(task_id="restore_member", work=LEAVE)
    verify_leave = StepOperator(
        task_id="verify_leave",
        work=LEAVE,
        earlier=["take_turn", "remove_cluster", "clean_member", "restore_member"],
    )
    end_turn = EndTurnOperator(task_id="end_turn", work=LEAVE).as_teardown(setups=take_turn)

    chain(take_turn, remove_cluster, clean_member, restore_member, verify_leave, end_turn)
    explain_tasks(dag)
