"""The waiting part of a step, in the triggerer: no worker is held while a cluster takes its time."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf as airflow_conf
from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from include.fleet import errors, journal, settings

if TYPE_CHECKING:
    from airflow.sdk.api.datamodels._generated import HITLDetailResponse


def configured_settings() -> settings.Settings:
    """Return the settings in section [fleet] of Airflow's configuration, the defaults where it is silent."""
    return settings.Settings.read(lambda name: airflow_conf.get("fleet", name, fallback=None))


JOIN, LEAVE, ROTATION = "join", "leave", "rotation"
"""What a DAG does; the names of the modules that hold its steps."""


def runner(work: str) -> Callable[..., Coroutine[Any, Any, dict[str, Any]]]:
    """Return what runs a step of a join, of a leave or of a rotation by its name."""
    from include.fleet import join, leave, rotation  # the Kubernetes client takes seconds to import

    return {JOIN: join.run, LEAVE: leave.run, ROTATION: rotation.run}[work]


class StepTrigger(BaseTrigger):
    """Runs one step of a join, of a leave or of a rotation until it has nothing to wait for any more, or has failed.

    The arguments are references only: they are stored in Airflow's database.

    :param step: name of the step, which is the task's id
    :param conf: the conf of the run: connection ids and names
    :param attempt: run id and number of the try
    :param started: when the attempt began, in seconds since the epoch
    :param held: the turn that the run holds, a Lease's name
    :param last_try: whether nothing is tried again after this attempt
    :param work: whose step it is, `join`, `leave` or `rotation`
    """

    def __init__(
        self,
        *,
        step: str,
        conf: dict[str, Any],
        attempt: str,
        started: float,
        held: str | None = None,
        last_try: bool = False,
        work: str = JOIN,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Airflow
        self.step = step
        self.conf = conf
        self.attempt = attempt
        self.started = started
        self.held = held
        self.last_try = last_try
        self.work = work

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and exactly the arguments of the constructor."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "step": self.step,
                "conf": self.conf,
                "attempt": self.attempt,
                "started": self.started,
                "held": self.held,
                "last_try": self.last_try,
                "work": self.work,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: when the attempt began, what was written, and the report or a failure's message and kind."""
        noted = journal.Journal()
        event: dict[str, Any] = {"started": self.started}
        try:
            event["report"] = await runner(self.work)(
                self.step,
                self.conf,
                limits=configured_settings(),
                attempt=self.attempt,
                started=self.started,
                changes=noted,
                held=self.held,
                last_try=self.last_try,
            )
        except errors.FleetError as error:
            event |= {"permanent": isinstance(error, errors.PermanentError), "message": str(error)}
            if isinstance(error, errors.TemporaryError) and error.retry_after is not None:
                event["retry_after"] = error.retry_after
            if error.diagnosis is not None:
                event["diagnosis"] = dict(error.diagnosis)
        event["written"] = noted.notes
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # untyped in Airflow


class FleetTrigger(BaseEventTrigger):
    """Fires when something has changed on a host of the inventory, at most once a minute.

    It has no arguments: which hosts there are is read from the inventory while it runs.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class; there are no arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event with the names of the hosts that have changed, for ever."""
        from include.fleet import inventories, watching  # the Kubernetes client takes seconds to import

        limits = configured_settings()
        async for hosts in watching.changes(lambda: inventories.read(limits.inventory), limits=limits):
            yield TriggerEvent({"hosts": hosts})  # type: ignore[no-untyped-call]  # untyped in Airflow


class HandOverTrigger(StepTrigger):
    """Runs the step `hand_over` while a person may answer: what comes first ends the wait.

    Airflow resumes a deferred task with a person's answer by itself. So there is only one answer to ask for: one that
    was given before the task was deferred.

    :param ti_id: id of the task instance, which the question to the person belongs to
    """

    def __init__(self, *, ti_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ti_id = ti_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and exactly the arguments of the constructor."""
        path, arguments = super().serialize()
        return path, {**arguments, "ti_id": self.ti_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: that of the step, or a person's answer in Airflow's own form."""
        ask = sync_to_async(get_hitl_detail_content_detail)
        # None in `dag.test()`, which knows of no answers.
        found: HITLDetailResponse | None = await ask(ti_id=uuid.UUID(self.ti_id))
        if found is not None and found.response_received and found.chosen_options:
            answer = {"chosen_options": list(found.chosen_options), "params_input": found.params_input or {}}
            yield TriggerEvent(answer)  # type: ignore[no-untyped-call]  # untyped in Airflow
            return
        async for event in super().run():
            yield event
