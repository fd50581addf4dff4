"""The Airflow side: each task runs one step, in the worker while that is quick, else in the triggerer.

An error's class decides whether Airflow tries again; nothing else here knows what a step does. The
Kubernetes client takes seconds to import, so nothing that needs it is imported before a task runs.
"""

from __future__ import annotations

import asyncio
import copy
import re
import socket
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.providers.standard.operators.branch import BranchMixIn
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.providers.standard.utils.skipmixin import SkipMixin
from airflow.sdk import DAG, BaseOperator, BaseXCom, Param, RetryDecision, RetryPolicy, TriggerRule, chain
from airflow.sdk.configuration import conf as airflow_conf
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from include.fleet import conf as confs
from include.fleet import deadlines, errors, journal, triggers

if TYPE_CHECKING:
    from airflow.sdk import Context

RETRIES = 8
"""With these delays a step bears an API server that is away for four minutes."""
_DELAYS = (5, 10, 20, 40)
"""Seconds before each new try; the last one from then on."""


class ErrorClassPolicy(RetryPolicy):
    """Lets an error's class decide whether a task is tried again, and the server when.

    An error that is none of ours, and a process that dies, are tried again as the task's own delay says.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 - Airflow's signature
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Return what to do about *exception*, raised in try *try_number*, counted from 1."""
        if isinstance(exception, errors.PermanentError):
            return RetryDecision.fail("trying again changes nothing")
        if isinstance(exception, errors.TemporaryError):
            usual = _DELAYS[min(try_number, len(_DELAYS)) - 1]
            delay = timedelta(seconds=max(usual, exception.retry_after or 0))
            return RetryDecision.retry(delay, "the cluster may answer later")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return nothing: the policy has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ErrorClassPolicy:  # noqa: ARG003 - Airflow's signature
        """Return the policy."""
        return cls()


_WRITTEN = "written"
_TAKE_TURN = "take_turn"
_DEPLOY_AGENT = "deploy_agent"
_HAND_OVER = "hand_over"
_BEGUN = "begun"
_REASON = "reason"
_REASON_SHOWN: dict[str, Any] = {
    "type": "string",
    "title": "Reason",
    "description": "If it cannot be done: why. It is shown in the log.",
    "source": "task",
}


def params(schema: Mapping[str, Mapping[str, Any]] = confs.SCHEMA) -> dict[str, Param]:
    """Return the trigger form: one Param for each key of the conf."""
    made = {}
    for key, fields in copy.deepcopy({key: dict(fields) for key, fields in schema.items()}).items():
        description = fields.pop("description")
        default = {"default": fields.pop("default")} if "default" in fields else {}
        made[key] = Param(**default, description=description, **fields)
    return made


def run_timeout() -> timedelta:
    """Return after how long Airflow ends a run as failed."""
    return timedelta(seconds=triggers.configured_settings().run_timeout)


def run_deadline(name: str = "joined in time") -> DeadlineAlert:
    """Return after how long a run counts as late, what that is called, and what is then said.

    As plain seconds, which Airflow takes too: with a timedelta, no task of a run can be cleared before its deadline
    (3.3: the API answers 500, https://github.com/apache/airflow/issues/70368).
    """
    return DeadlineAlert(
        name=name,
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=triggers.configured_settings().run_deadline,  # type: ignore[arg-type]  # see above
        callback=AsyncCallback(deadlines.tell),
    )


def on_demand(*, at_once: int = 32) -> dict[str, Any]:
    """Return what DAGs without a schedule have in common, as arguments; at most so many runs are at work *at_once*."""
    return {
        "catchup": False,
        "is_paused_upon_creation": False,
        "max_active_runs": at_once,
        "dagrun_timeout": run_timeout(),
        "tags": ["kubesphere", "multicluster"],
        "default_args": {"owner": "platform"},
    }


_TASKS = re.compile(r"^(?P<general>[^\n]+)\n\n(?=- \*\*\w+\*\*[^\n]* \*Fails?:\*)", re.MULTILINE)
_TASK = re.compile(r"^- (?P<ids>(?:\*\*\w+\*\*(?:, )?)+) (?P<does>.+) \*Fails?:\* (?P<fails>.+)$", re.MULTILINE)


def task_docs(page: str) -> dict[str, str]:
    """Return what the page of a DAG says of each task, by task id, in Markdown.

    A task has a bullet there: its id in bold, what it does, `*Fails:*`, and why and what to do then. Two tasks may
    share one. The paragraph before these bullets holds for all of them.
    """
    before = _TASKS.search(page)
    general = f"\n\n{before['general']}" if before else ""
    docs: dict[str, str] = {}
    for found in _TASK.finditer(page):
        fails = found["fails"][0].upper() + found["fails"][1:]
        doc = f"{found['ids']} {found['does']}\n\n#### When this task fails\n\n{fails}{general}\n"
        docs |= dict.fromkeys(re.findall(r"\w+", found["ids"]), doc)
    return docs


def explain_tasks(dag: DAG) -> None:
    """Give each task of a DAG, as its own documentation, what the DAG's page says of it."""
    docs = task_docs(dag.doc_md or "")
    for task in dag.tasks:
        if isinstance(task, MappedOperator):
            task.partial_kwargs["doc_md"] = docs.get(task.task_id)
        else:
            task.doc_md = docs.get(task.task_id)


class StepOperator(BaseOperator):
    """Runs the step of a join, of a leave or of a rotation that has the name of the task.

    A step that has to wait for minutes, or still waits after some seconds, moves to the triggerer, which ends it and
    hands on its report. A step that reads what earlier ones reported runs once more in the worker instead.

    :param earlier: ids of the tasks whose reports the step reads
    :param long_after: ids of the tasks after whose changes the step is known to take minutes: then no worker begins it
    :param in_turn: whether the step runs between `take_turn` and `end_turn`
    :param again: whether a step that reads earlier reports runs once more in the worker after the triggerer
    :param work: whose step it is, `join`, `leave` or `rotation`
    """

    def __init__(
        self,
        *,
        earlier: Iterable[str] = (),
        long_after: Iterable[str] = (),
        in_turn: bool = True,
        again: bool = True,
        work: str = triggers.JOIN,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("retries", RETRIES)
        kwargs.setdefault("retry_delay", timedelta(seconds=_DELAYS[0]))
        kwargs.setdefault("retry_policy", ErrorClassPolicy())
        super().__init__(**kwargs)
        self.earlier = tuple(earlier)
        self.long_after = tuple(long_after)
        self.in_turn = in_turn
        self.again = again
        self.work = work

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step and return its report."""
        started, ti = time.time(), context["ti"]
        if any("changed" in (ti.xcom_pull(task_ids=task_id) or {}) for task_id in self.long_after):
            self._leave_worker(context, started=started)
        return self._run(context, started=started)

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the triggerer; raises the error that ended the wait there.

        *event* may come from a triggerer of an earlier version of this project, see tests/fleet/test_triggers.py.
        """
        noted = self._noted(context)
        noted.add(event["written"])
        if "message" in event:
            ended = errors.restored(
                event["permanent"],
                event["message"],
                retry_after=event.get("retry_after"),
                diagnosis=event.get("diagnosis"),
            )
            self._tell(context, ended, noted)
            raise ended
        if (self.earlier and self.again) or "report" not in event:
            return self._run(context, started=event["started"])
        return self._reported(event["report"], started=event["started"], noted=noted)

    def _run(self, context: Context, *, started: float) -> dict[str, Any]:
        from include.fleet import waits  # the Kubernetes client takes seconds to import

        limits = triggers.configured_settings()
        ti = context["ti"]
        conf = self._conf(context)
        reports = {task_id: ti.xcom_pull(task_ids=task_id) for task_id in self.earlier}
        noted = self._noted(context)
        try:
            report = asyncio.run(
                triggers.runner(self.work)(
                    self.task_id,
                    conf,
                    limits=limits,
                    attempt=_attempt(context),
                    started=started,
                    leave_worker=time.time() + limits.inline_wait,
                    reports={task_id: found for task_id, found in reports.items() if found},
                    changes=noted,
                    held=self._held(context),
                    last_try=_last_try(context),
                )
            )
        except waits.Longer:
            self._leave_worker(context, started=started)
        except errors.FleetError as error:
            self._tell(context, error, noted)
            raise
        return self._reported(report, started=started, noted=noted)

    def _leave_worker(self, context: Context, *, started: float) -> NoReturn:
        self.log.info("The wait goes on in the triggerer")
        self.defer(trigger=self._trigger(context, started=started), method_name="resume")

    def _trigger(self, context: Context, *, started: float) -> triggers.StepTrigger:
        """Return what goes on with the step in the triggerer."""
        return triggers.StepTrigger(**self._references(context, started=started))

    def _references(self, context: Context, *, started: float) -> dict[str, Any]:
        """Return the arguments of a trigger."""
        return {
            "step": self.task_id,
            "conf": self._conf(context),
            "attempt": _attempt(context),
            "started": started,
            "held": self._held(context),
            "last_try": _last_try(context),
            "work": self.work,
        }

    def _held(self, context: Context) -> str | None:
        """Return the turn that the run has taken; a leave of a host that is lost has none."""
        taken = context["ti"].xcom_pull(task_ids=_TAKE_TURN) if self.in_turn else None
        return str(taken["turn"]) if taken and "turn" in taken else None

    def _conf(self, context: Context) -> dict[str, Any]:
        """Return the conf of the run; of a connection type that it leaves open, with what earlier steps have found."""
        conf = dict(context["params"])
        if conf.get("connection") != confs.Connection.AUTO.value:
            return conf
        earlier = self.get_flat_relative_ids(upstream=True) & set(confs.DECIDING)
        return dict(confs.decided(conf, {task_id: context["ti"].xcom_pull(task_ids=task_id) for task_id in earlier}))

    def _tell(self, context: Context, error: errors.FleetError, noted: journal.Journal) -> None:
        """Keep what went wrong where people and programs look: in XCom, and what it most likely is last in the log."""
        context["ti"].xcom_push(key=errors.FAILURE, value={"error": str(error), "changed": noted.notes})
        if error.diagnosis is not None:
            context["ti"].xcom_push(key=errors.DIAGNOSIS, value=dict(error.diagnosis))
            self.log.error("%s", str(error).splitlines()[-1])

    def _noted(self, context: Context) -> journal.Journal:
        """Return what this step has changed so far, in this try and in earlier ones: only so is the report true."""
        store = context["task_state_store"]
        return journal.Journal(
            cast("list[str]", store.get(_WRITTEN) or []), keep=lambda notes: store.set(_WRITTEN, [*notes])
        )

    def _reported(self, report: dict[str, Any], *, started: float, noted: journal.Journal) -> dict[str, Any]:
        if noted.notes:
            report = {**report, "changed": noted.notes}
        return {**report, "seconds": round(time.time() - started, 1)}


class EndingOperator(StepOperator, SkipMixin):
    """A step after which some of what follows is skipped, as the conf says."""

    inherits_from_skipmixin = True

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; return its report, or skip what does not follow."""
        return self._skipping(context, super().execute(context))

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the triggerer."""
        return self._skipping(context, super().resume(context, event))

    def _skipping(self, context: Context, report: dict[str, Any]) -> dict[str, Any]:
        left_out = self.left_out(context["params"])
        if left_out:
            # Skipping ends the task by an exception: what is returned afterwards would be lost.
            context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=report)
            self.skip(context["ti"], [self.dag.get_task(task_id) for task_id in left_out])
        return report

    def left_out(self, conf: Mapping[str, Any]) -> list[str]:
        """Return the ids of the tasks right after this one that do not run."""
        raise NotImplementedError


class PreflightOperator(EndingOperator):
    """Looks at both clusters, and ends the run where only that is asked for."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Look at Airflow as well, then at both clusters."""
        names = airflow_conf.get("core", "sensitive_var_conn_names", fallback="")
        if "kube_config" not in names.replace(" ", "").split(","):
            self.log.warning(
                "Airflow shows kubeconfigs of connections in clear. Set "
                "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES=kube_config,kubeconfig on every component."
            )
        return super().execute(context)

    def left_out(self, conf: Mapping[str, Any]) -> list[str]:
        """Leave out everything where only preflight is wanted."""
        return sorted(self.downstream_task_ids) if conf["preflight_only"] else []


class PlanOperator(EndingOperator):
    """Shows what the run would write; then the run ends, or a person is asked, or it goes on."""

    def left_out(self, conf: Mapping[str, Any]) -> list[str]:
        """Leave out the question where nobody is asked, and everything where only a plan is wanted."""
        if conf["plan_only"]:
            return sorted(self.downstream_task_ids)
        return [] if conf["approve"] else [_APPROVE]


_APPROVE = "approve_plan"


class PlanApprovalOperator(ApprovalOperator):
    """Shows the plan under Required Actions and waits for a person, as long as the conf says; then it is rejected.

    :param subject: what the person is asked
    """

    def __init__(self, *, subject: str, **kwargs: Any) -> None:
        super().__init__(
            subject=subject,
            body="{{ ti.xcom_pull(task_ids='plan')['markdown'] }}",
            defaults=self.REJECT,
            fail_on_reject=True,
            **kwargs,
        )

    def execute(self, context: Context) -> Any:
        """Ask."""
        self.response_timeout = timedelta(seconds=context["params"]["approve_timeout"])
        return super().execute(context)


def opening(work: str, *, subject: str, after: BaseOperator | None = None) -> StepOperator:
    """Wire the tasks `plan`, `approve_plan` and `take_turn`, by which each run that writes begins; return the last.

    :param work: whose steps they are, `join`, `leave` or `rotation`
    :param subject: what a person is asked who is to approve the plan
    :param after: the task that comes before them, if there is one
    """
    plan = PlanOperator(task_id="plan", work=work, in_turn=False)
    approve_plan = PlanApprovalOperator(task_id=_APPROVE, subject=subject)
    take_turn = StepOperator(
        task_id=_TAKE_TURN,
        work=work,
        in_turn=False,
        earlier=["plan"],
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    )
    take_turn.as_setup()  # type: ignore[no-untyped-call]  # untyped in Airflow
    chain(plan, approve_plan, take_turn)
    # Where nobody is asked, the question is skipped.
    chain(plan, take_turn)
    if after is not None:
        chain(after, plan)
    return take_turn


class ProxyArmOperator(EndingOperator):
    """The first step of a proxy connection, after which either Airflow or a person works on the member."""

    def left_out(self, conf: Mapping[str, Any]) -> list[str]:
        """Leave out what the other one does."""
        return [_DEPLOY_AGENT if _is_handed_over(conf) else _HAND_OVER]


class HandOverOperator(StepOperator, HITLOperator):
    """Hands a member over to a person, and waits for its agent or for the person's answer, whichever comes first.

    The worker makes the file; the wait is in the triggerer, and holds no worker. Under Required Actions stand the
    file's place and fingerprint, and what to do with it. A member that is connected already is not handed over.
    """

    DONE = "I have run it"
    IMPOSSIBLE = "Cannot be done"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            subject="Join {{ params.cluster }} by hand: Airflow does not reach it",
            options=[self.DONE, self.IMPOSSIBLE],
            **kwargs,
        )
        # Not as an argument: there Airflow mixes it with the params of the DAG, which a person is not to be shown here.
        self.params = ParamsDict({_REASON: Param("", **_REASON_SHOWN)})

    def execute(self, context: Context) -> dict[str, Any]:
        """Make the file, show it, and wait; tried again, the time-out goes on from the first try."""
        return self._run(context, started=self._begun(context))

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the triggerer, or with a person's answer; raises HandoffError if that is that it cannot be."""
        if "chosen_options" not in event:
            return super().resume(context, event)
        self.validate_chosen_options(event["chosen_options"])
        who = (event.get("responded_by_user") or {}).get("name") or "A person"
        cluster = context["params"]["cluster"]
        if self.IMPOSSIBLE in event["chosen_options"]:
            reason = str((event.get("params_input") or {}).get(_REASON) or "").strip() or "no reason was given"
            raise errors.HandoffError(
                f"hand_over of {cluster}: {who} answered that it cannot be done: {reason}. Mend that, then run the "
                "join again: it makes a new file, and the one of this run is good for nothing any more."
            )
        self.log.info("%s has answered that the file for %s was run", who, cluster)
        return self._reported(
            {"answer": f"{who}: {self.DONE}"}, started=self._begun(context), noted=self._noted(context)
        )

    def _trigger(self, context: Context, *, started: float) -> triggers.StepTrigger:
        from include.fleet import handoff  # the Kubernetes client takes seconds to import

        ti, references = context["ti"], self._references(context, started=started)
        conf = confs.parse(references["conf"])
        place = handoff.Place.of(conf.cluster, attempt=references["attempt"], limits=triggers.configured_settings())
        upsert_hitl_detail(
            ti_id=ti.id,
            options=self.options,
            subject=self.subject,
            body=place.instructions(until=started + (conf.handoff_timeout or 0), machine=socket.gethostname()),
            params=self.serialized_params,
        )
        self.log.info("Waiting until a person has joined %s with %s, see Required Actions", conf.cluster, place.path)
        return triggers.HandOverTrigger(**references, ti_id=str(ti.id))

    def _conf(self, context: Context) -> dict[str, Any]:
        """Return the conf of the run, with the time-out that the run's own leaves: Airflow would end it in between."""
        conf = super()._conf(context)
        conf.pop(_REASON, None)
        run = context["dag_run"].start_date
        ends = (run.timestamp() if run else time.time()) + triggers.configured_settings().run_timeout
        left = ends - confs.after_handoff(conf) - self._begun(context)
        wanted = conf.get("handoff_timeout") or confs.LONGEST_HANDOFF
        return {**conf, "handoff_timeout": max(1, int(min(wanted, left)))}

    def _begun(self, context: Context) -> float:
        """Return when the first try of this task began."""
        store = context["task_state_store"]
        found = cast("float | None", store.get(_BEGUN))
        wanted = context["params"].get("handoff_timeout") or confs.LONGEST_HANDOFF
        if found is None or time.time() > found + wanted:
            # One whose time is over was cleared since: it begins anew.
            found = time.time()
            store.set(_BEGUN, found)
        return found


class EndTurnOperator(StepOperator):
    """The last step, which runs however the run has ended, and tells how: its report is that of a failed run.

    What the step has to undo, it undoes in the triggerer, whose report is the one that counts.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Undo what is to be undone, let the next run in, and say what failed and why."""
        return self._telling(context, super().execute(context))

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the triggerer."""
        return self._telling(context, super().resume(context, event))

    def _telling(self, context: Context, report: dict[str, Any]) -> dict[str, Any]:
        ti = context["ti"]
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id])[ti.run_id]
        failed = {
            task_id: ti.xcom_pull(task_ids=task_id, key=errors.DIAGNOSIS)
            for task_id, state in sorted(states.items())
            if state == "failed"
        }
        for task_id, diagnosis in failed.items():
            why = "{sentence} ({cause}) Next: {next}".format(**diagnosis) if diagnosis else "Its log says why."
            self.log.error("%s has failed. %s", task_id, why)
        return {**report, "failed": failed} if failed else report


class ConnectionBranchOperator(StepOperator, BranchMixIn):
    """Picks the arm of the connection type; asks the clusters only where the conf leaves it open or wants a probe.

    :param arms: task id to go on with, by connection type
    """

    inherits_from_skipmixin = True

    def __init__(self, *, arms: dict[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arms = arms

    def execute(self, context: Context) -> dict[str, Any]:
        """Go on with the arm of the connection type, and return the step's report."""
        conf = self._conf(context)
        if conf["connection"] in self.arms and not conf.get("probe"):
            return self._branched(context, {"connection": conf["connection"]})
        return self._branched(context, super().execute(context))

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the triggerer with the arm that was found there."""
        return self._branched(context, super().resume(context, event))

    def _branched(self, context: Context, report: dict[str, Any]) -> dict[str, Any]:
        # Skipping the other arm ends the task by an exception: what is returned afterwards would be lost.
        context["ti"].xcom_push(key=BaseXCom.XCOM_RETURN_KEY, value=report)
        self.do_branch(context, self.arms[report["connection"]])
        return report


def _is_handed_over(conf: Mapping[str, Any]) -> bool:
    return conf.get("member_access") == confs.MemberAccess.HANDOFF.value


def _attempt(context: Context) -> str:
    """Return what names this try of this run in the marks that it leaves on clusters.

    Another Airflow may have a run of the same id, but not of the same moment.
    """
    ti, run = context["ti"], context["dag_run"]
    return f"{ti.run_id} of {run.run_after:%Y-%m-%dT%H:%M:%S.%fZ}/{ti.try_number}"


def _last_try(context: Context) -> bool:
    """Tell whether Airflow tries the task no more after this one."""
    return bool(context["ti"].try_number > context["ti"].max_tries)
