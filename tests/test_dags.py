"""The DAG files: they parse fast, hold the promised tasks in the promised order, and explain themselves."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DAGS = sorted(path.stem for path in (ROOT / "dags").glob("*.py"))


@pytest.fixture
def dag(dagbag):
    assert dagbag.import_errors == {}
    return dagbag.dags["join_member_cluster"]


@pytest.fixture
def leave(dagbag):
    assert dagbag.import_errors == {}
    return dagbag.dags["leave_member_cluster"]


def test_the_given_task_ids_are_there(dag):
    assert {
        "fetch_jwt",
        "configure_host",
        "configure_member",
        "wait_installer",
        "resolve_tower_address",
        "import_cluster",
        "wait_agent_ready",
    } <= set(dag.task_ids)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        pytest.param("preflight", "fetch_jwt", id="nothing-is-read-before-the-conf-is-checked"),
        pytest.param("fetch_jwt", "configure_member", id="the-member-gets-the-hosts-secret"),
        pytest.param("configure_host", "wait_installer", id="the-installer-is-waited-for-after-both"),
        pytest.param("configure_member", "wait_installer", id="the-installer-is-waited-for-after-both-2"),
        pytest.param("wait_installer", "import_cluster", id="the-host-can-take-a-cluster-only-as-a-host"),
        pytest.param("wait_agent_ready", "verify_join", id="proof-comes-last"),
    ],
)
def test_vital_orderings(dag, earlier, later):
    assert later in dag.get_task(earlier).get_flat_relative_ids(upstream=False)


def test_the_agent_is_skipped_with_its_arm_before_a_worker_begins_it(dag):
    """A task that skips itself holds a worker for 1 s, and its run for 6 s: Airflow hears of it when it has died."""
    deploy_agent = dag.get_task("deploy_agent")
    assert {"resolve_tower_address", "import_cluster"} == deploy_agent.upstream_task_ids
    assert deploy_agent.trigger_rule == "all_success"
    hand_over = dag.get_task("hand_over")
    assert {"resolve_tower_address", "import_cluster"} == hand_over.upstream_task_ids
    assert hand_over.trigger_rule == "all_success"
    assert {"deploy_agent", "hand_over", "import_cluster"} == dag.get_task("wait_agent_ready").upstream_task_ids


def test_every_task_is_a_step_or_asks_a_person(dag, leave):
    from include.fleet import join
    from include.fleet import leave as leaving

    assert set(dag.task_ids) - set(join.STEPS) == {"approve_plan"}
    assert set(leave.task_ids) - set(leaving.STEPS) == {"approve_plan"}
    assert {task.work for task in leave.tasks if task.task_id != "approve_plan"} == {"leave"}


def test_a_rotation_plans_takes_its_turns_changes_proves_and_lets_others_in(dagbag):
    from include.fleet import rotation

    dag = dagbag.dags["rotate_jwt_secret"]
    assert [task.task_id for task in dag.topological_sort()] == [
        "plan",
        "approve_plan",
        "take_turn",
        "rotate",
        "verify_rotation",
        "end_turn",
    ]
    assert set(dag.task_ids) - set(rotation.STEPS) == {"approve_plan"}
    assert dag.params["approve"] is True
    assert dag.get_task("end_turn").is_teardown


@pytest.mark.parametrize("dag_id", DAGS)
def test_the_page_of_a_dag_says_of_each_task_and_of_nothing_else_why_it_fails(dagbag, dag_id):
    from include.fleet import operators

    dag = dagbag.dags[dag_id]
    assert set(operators.task_docs(dag.doc_md)) == set(dag.task_ids)
    marked = [line for line in dag.doc_md.splitlines() if line.startswith("- **") and "*Fail" in line]
    assert sum(line.split("*Fail")[0].count("**") // 2 for line in marked) == len(dag.task_ids)


@pytest.mark.parametrize("dag_id", DAGS)
def test_each_task_has_its_own_documentation_in_what_airflow_keeps_of_the_dag(dagbag, dag_id):
    from airflow.serialization.serialized_objects import DagSerialization

    kept = DagSerialization.from_dict(DagSerialization.to_dict(dagbag.dags[dag_id]))
    for task_id, task in kept.task_dict.items():
        about, _, why = task.doc_md.partition("#### When this task fails")
        assert f"**{task_id}**" in about
        assert "The last error of " in why


def test_two_tasks_that_share_a_bullet_have_the_same_documentation(dag):
    assert dag.get_task("configure_host").doc_md == dag.get_task("configure_member").doc_md
    assert dag.get_task("fetch_jwt").doc_md == (
        "**fetch_jwt** finds the host's jwtSecret; keeps a reference and a fingerprint.\n\n"
        "#### When this task fails\n\n"
        "Is KubeSphere finished on the host?\n\n"
        "The last error of its log says what was tried, on which object of which cluster, what the server said, and "
        "what to do. Its last line, and XCom `diagnosis`, say what is most likely wrong, by what evidence, and the "
        "next step; where no known cause fits, they show what was seen. Mend the cause, then clear the task: it begins "
        "with what it finds.\n"
    )


OPENING = ["approve_plan", "plan", "take_turn"]
CONNECTING = [
    "choose_connection",
    "deploy_agent",
    "hand_over",
    "import_cluster",
    "prepare_kubeconfig",
    "resolve_tower_address",
    "wait_agent_ready",
]
CONFIGURING = ["configure_host", "configure_member", "fetch_jwt", "wait_installer"]
GROUPS = {
    "join_member_cluster": {
        "check": sorted([*OPENING, "preflight"]),
        "configure": CONFIGURING,
        "connect": CONNECTING,
    },
    "leave_member_cluster": {"check": OPENING, "give_back": ["clean_member", "restore_member"]},
    "rotate_jwt_secret": {"check": OPENING},
    "reconcile_fleet": {},
}


@pytest.mark.parametrize("dag_id", DAGS)
def test_tasks_are_in_groups_whose_names_are_no_part_of_their_ids(dagbag, dag_id):
    dag = dagbag.dags[dag_id]
    groups = {group_id: group for group_id, group in dag.task_group.children.items() if group_id not in dag.task_ids}
    assert {group_id: sorted(group.children) for group_id, group in groups.items()} == GROUPS[dag_id]
    assert all(group.tooltip and group.group_display_name for group in groups.values())


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        pytest.param("take_turn", "remove_cluster", id="nothing-is-written-without-a-turn"),
        pytest.param("remove_cluster", "clean_member", id="the-agent-runs-until-the-host-has-let-go"),
        pytest.param("clean_member", "restore_member", id="whose-the-member-is-can-be-told-until-it-is-clean"),
        pytest.param("verify_leave", "end_turn", id="the-next-run-is-let-in-last"),
    ],
)
def test_vital_orderings_of_a_leave(leave, earlier, later):
    assert later in leave.get_task(earlier).get_flat_relative_ids(upstream=False)


def test_the_form_shows_what_is_required_without_opening_a_section(dag):
    for name in ("cluster", "host_conn_id", "member_conn_id"):
        schema = dag.params.get_param(name).schema
        assert "section" not in schema
        assert schema["title"]


def test_there_is_a_file_for_each_dag(dagbag):
    assert dagbag.import_errors == {}
    assert set(dagbag.dags) == set(DAGS)


@pytest.mark.parametrize("dag_id", DAGS)
def test_parsing_a_dag_imports_no_kubernetes_client(dag_id):
    """Every task parses its DAG again, and the client takes a second to import."""
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('dag', 'dags/{dag_id}.py')\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "print([name for name in ('kubernetes', 'kubernetes_asyncio', 'aiohttp', 'fastapi') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
