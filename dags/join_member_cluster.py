"""
### Join a member cluster to a host cluster

One run joins one KubeSphere member cluster to one host cluster, and proves it. Run it again at any time: what is there already is left alone, and a joined member is only verified.

#### Before the first run

- Create two Airflow connections of type *Kubernetes*: one to the host cluster, one to the member cluster. What rights they need stands in `deploy/rbac`.
- KubeSphere 3.4 or 3.0 is installed on both.
- **direct**: the host's pods reach the member's API server, and the kubeconfig that the host receives is cluster-admin on the member.
- **proxy**: the member's pods reach tower on the host, at its LoadBalancer's address or at one that you give.
- **proxy** with `member_access: handoff`: Airflow does not reach the member. Leave the member connection out; a person with kubectl there gets a file, valid for this join, and the run goes on by itself when the agent connects.
- **auto**: with `probe`, the run finds out which of the two it is.

#### Before anything is written

- **Preflight** looks at both clusters and stops the run for what would make it fail. *Only check* ends the run after it; an error is waived by its id in *Waived checks*.
- **The plan** shows every object and field that the join would create or change, old and new, secrets as fingerprints; it comes from a dry run of the join's own steps. *Only plan* ends the run after it. *Ask a person* shows it under Required Actions and goes on when it is approved, if it is still true then.
- **One at a time.** Runs that change the same member, or the host's configuration, take turns, also from two Airflows: each holds a Lease in `kubesphere-system` of the host meanwhile. A waiting run says who holds it. A dead run's Lease expires after 5 minutes.

#### What a run writes

- On the host: the role in ClusterConfiguration `ks-installer`, tower's address if you give one, and the Cluster object.
- On the member: role and jwtSecret in its ClusterConfiguration, which logs out its users; by proxy also Deployment `cluster-agent`.
- On each, before its first change: Secret `before-join` in `kubesphere-system`, with what was there before.
- On the host, while the run lasts: its Leases.
- With `probe`, a Job on each, which asks what its pods reach and is removed.

#### When a task fails

The last error of its log says what was tried, on which object of which cluster, what the server said, and what to do. Its last line, and XCom `diagnosis`, say what is most likely wrong, by what evidence, and the next step; where no known cause fits, they show what was seen. Mend the cause, then clear the task: it begins with what it finds.

- **preflight** looks at both clusters for whatever would stop or trouble the join, before anything is written: versions, installers, names, left-overs, certificates, credentials, rights, clocks, workspaces, tower; docs/preflight.md has each check. *Fails:* every error is listed with what was seen and what to do. Mend it, or name the check in `waive` to go on in spite of it; what would mix up clusters cannot be waived.
- **plan** shows what would be written. *Fails:* the server refuses one of the writes; the log says which.
- **approve_plan** asks a person, if the conf says so. *Fails:* rejected, or nobody answered in time.
- **take_turn** waits for other runs of this member. *Fails:* the log names the run that it waited for.
- **fetch_jwt** finds the host's jwtSecret; keeps a reference and a fingerprint. *Fails:* is KubeSphere finished on the host?
- **configure_host**, **configure_member** send one patch of the ClusterConfiguration each, none if it is right. *Fail:* a right is missing; the log names it.
- **wait_installer** waits for ks-installer on both clusters, and forces one new run if one died silently. *Fails:* the installer's telling lines are in the log.
- **choose_connection** picks the arm of the connection type. With `auto` it asks the clusters' pods: direct if the host's reach the member with a valid certificate, else proxy if the member's reach tower. *Fails:* both broken ways are named; or, if a probe could not run, set connection to direct or proxy.
- **prepare_kubeconfig** makes the kubeconfig that the host receives, without files or plugins. *Fails:* give the connection a token or a certificate.
- **resolve_tower_address** waits until tower has an address. *Fails:* the log has the port to forward to, and the line to add to the conf.
- **import_cluster** creates or mends the Cluster on the host. *Fails:* the name or the cluster is taken; the log says by whom.
- **deploy_agent** brings the agent with its token onto the member. Skipped on a direct connection. *Fails:* does tower run on the host?
- **hand_over** makes the file for a person, shows under Required Actions what to do with it, and waits for the agent. Skipped unless Airflow does not reach the member. *Fails:* answered with *Cannot be done*, or the time is up; run the join again for a new file.
- **wait_agent_ready** waits until the host calls the member Ready. *Fails:* the log has the host's own reason or the agent's, most often an address that cannot be reached.
- **verify_join** compares secret, role, identity and connection, asks for what a user does next (a failure there is a warning), and reports. *Fails:* the log says which proof is missing.
- **end_turn** lets the next run in, however this one has ended; before that it undoes what a failed run has written, with *When the join fails: rollback*. Of a member that was handed over it deletes the file, and takes back a token that nobody has used. Its report says which tasks failed and why. *Fails:* the log says what is left to undo.

#### To stop a run

Mark it as failed: within seconds it asks the clusters for nothing any more but to undo what the conf wants undone and to let the next run in. After `run_timeout` Airflow ends a run itself, and skips `end_turn` too: nothing is undone, and the next run gets its turn when this one's Lease has run out, within five minutes. After `run_deadline` the triggerer's log says which run is late and what it waits for.

#### What the guide does and this does not

ks-apiserver is not restarted: the installer does that (3.0), or it loads a changed configuration by itself (3.4). Before the installer has finished, a restart would only load the old one.
"""

from __future__ import annotations

from airflow.sdk import DAG, Label, TaskGroup, chain

from include.fleet.operators import (
    ConnectionBranchOperator,
    EndTurnOperator,
    HandOverOperator,
    PreflightOperator,
    ProxyArmOperator,
    StepOperator,
    explain_tasks,
    on_demand,
    opening,
    params,
    run_deadline,
)
from include.fleet.triggers import JOIN

with DAG(
    dag_id="join_member_cluster",
    dag_display_name="Join a member cluster",
    description="Join one KubeSphere member cluster to a host cluster, and prove it",
    doc_md=__doc__,
    schedule=None,
    deadline=run_deadline(),
    params=params(),
    **on_demand(),
) as dag:
    with TaskGroup(
        "check",
        group_display_name="Check and plan",
        prefix_group_id=False,
        tooltip="Look at both clusters, show what would be written, ask if that is wanted, and take the turn",
    ):
        preflight = PreflightOperator(task_id="preflight", in_turn=False)
        take_turn = opening(
            JOIN, subject="Join {{ params.cluster }} to its host ({{ params.connection }})", after=preflight
        )
    with TaskGroup(
        "configure",
        group_display_name="Configure both clusters",
        prefix_group_id=False,
        tooltip="Give the member its role and the host's jwtSecret, and wait for ks-installer",
    ):
        fetch_jwt = StepOperator(task_id="fetch_jwt")
        configure_host = StepOperator(task_id="configure_host", earlier=["fetch_jwt"])
        configure_member = StepOperator(task_id="configure_member", earlier=["fetch_jwt"])
        wait_installer = StepOperator(task_id="wait_installer", long_after=["configure_host", "configure_member"])
    with TaskGroup(
        "connect",
        group_display_name="Connect",
        prefix_group_id=False,
        tooltip="Make the Cluster on the host, direct or by proxy with an agent, and wait until it is Ready",
    ):
        choose_connection = ConnectionBranchOperator(
            task_id="choose_connection",
            arms={"direct": "prepare_kubeconfig", "proxy": "resolve_tower_address"},
        )
        resolve_tower_address = ProxyArmOperator(task_id="resolve_tower_address")
        prepare_kubeconfig = StepOperator(task_id="prepare_kubeconfig")
        import_cluster = StepOperator(task_id="import_cluster", trigger_rule="none_failed_min_one_success")
        deploy_agent = StepOperator(task_id="deploy_agent")
        hand_over = HandOverOperator(task_id="hand_over")
        wait_agent_ready = StepOperator(task_id="wait_agent_ready", trigger_rule="none_failed")
    verify_join = StepOperator(
        task_id="verify_join",
        earlier=[
            "preflight",
            "plan",
            "take_turn",
            "fetch_jwt",
            "configure_host",
            "configure_member",
            "wait_installer",
            "choose_connection",
            "resolve_tower_address",
            "prepare_kubeconfig",
            "import_cluster",
            "deploy_agent",
            "hand_over",
            "wait_agent_ready",
        ],
    )

    end_turn = EndTurnOperator(task_id="end_turn", earlier=["verify_join"], again=False).as_teardown(setups=take_turn)

    chain(take_turn, fetch_jwt, [configure_host, configure_member], wait_installer, choose_connection)
    choose_connection >> Label("proxy") >> resolve_tower_address >> import_cluster
    choose_connection >> Label("direct") >> prepare_kubeconfig >> import_cluster
    chain(import_cluster, [deploy_agent, hand_over], wait_agent_ready, verify_join)
    # On a direct connection the agent is skipped with the arm that it belongs to: no worker begins it to find that out.
    resolve_tower_address >> [deploy_agent, hand_over]
    import_cluster >> wait_agent_ready
    # A run that fails early must not let the next one in while one of its tasks is still at work.
    chain([configure_host, configure_member, verify_join], end_turn)
    explain_tasks(dag)
