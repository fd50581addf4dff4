"""The Airflow side of telling people: the task at the end of a reconcile, and the notifier that is configured.

A task and not a callback of the DAG: it runs where connections are known and remembers what has been told, so that
what is not over is told once. It is told of tasks that have failed before it, too.
"""

from __future__ import annotations

import datetime
import importlib
import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseNotifier, BaseOperator
from airflow.sdk.configuration import conf as airflow_conf
from airflow.sdk.exceptions import AirflowSkipException

from include.fleet import errors, messages, news, records, triggers
from include.fleet.reconciling import FLEET

if TYPE_CHECKING:
    from airflow.sdk import Context
    from pydantic import JsonValue

_TOLD = "told"
"""What the asset's state store remembers: what people have been told, as `news` has it."""
_LONGEST = datetime.timedelta(minutes=5)
"""A notifier has this long: only one reconcile runs at a time, and the next one waits for it."""
_EXAMPLE = '{"to": "ops@example.com", "subject": "{{ news.subject }}", "html_content": "{{ news.html }}"}'


class TellPeopleOperator(BaseOperator):
    """Tells people by the configured notifier what has come up, or is over, since they were told last.

    It is skipped where no notifier is set. What has been told is remembered after it was sent: what could not be sent
    is sent by the next reconcile.

    :param decided_by: id of the task that leaves the record
    """

    def __init__(self, *, decided_by: str, **kwargs: Any) -> None:
        super().__init__(inlets=[FLEET], trigger_rule="all_done", execution_timeout=_LONGEST, **kwargs)
        self.decided_by = decided_by

    def execute(self, context: Context) -> dict[str, str]:
        """Return the subject of the message, "" if there was nothing to tell.

        Raises SettingError for a notifier that cannot be made, NotToldError for one that fails.
        """
        limits = triggers.configured_settings()
        if not limits.notifier:
            raise AirflowSkipException("Nobody is told: no notifier is set (notifier in section [fleet]).")
        notifier = build(limits.notifier, options=limits.notifier_options)
        if context["params"]["dry_run"]:
            raise AirflowSkipException("Nobody is told of a run that only looks.")
        ti, store = context["ti"], context["asset_state_store"]
        record = records.usable(ti.xcom_pull(task_ids=self.decided_by, key=records.KEY))
        told = cast("Mapping[str, Any] | None", store.get(_TOLD))
        if record and news.is_older(record, told):
            raise AirflowSkipException("People have been told of a newer record than that of this run.")
        found = news.gather(record, told, failing=self._failing(context))
        subject = self._tell(notifier, context, found.items) if found.items else ""
        store.set(_TOLD, cast("JsonValue", found.told))
        return {"subject": subject}

    def _failing(self, context: Context) -> list[str] | None:
        """Return the tasks of this run that have failed, None if that says nothing of the fleet as a whole."""
        ti, asked = context["ti"], context["params"]
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
        # Airflow tells of each instance of a mapped task as TASK_NUMBER.
        found = {re.sub(r"_\d+$", "", name) for name, state in states.items() if state == "failed"}
        failed = sorted(found - {self.task_id})
        # Whoever asks for a part of it may have named what there is not, and sees the run fail.
        return None if failed and (asked["hosts"] or asked["members"]) else failed

    def _tell(self, notifier: BaseNotifier, context: Context, items: Any) -> str:
        message = messages.compose(items, links=_links(context["ti"]))
        self.log.info("Telling people:\n%s", message.text)
        try:
            notifier(cast("Context", {**context, "news": message}))
        except Exception as error:
            # What it says is in the traceback, with the secrets that Airflow knows taken out.
            raise errors.NotToldError(
                f"tell people by {type(notifier).__name__}: {type(error).__name__}. The record and the repairs of this "
                "reconcile stand. Mend the notifier (notifier_options in section [fleet]), its connection, or what it "
                "sends to; the next reconcile tells all of it again."
            ) from error
        return message.subject


def _links(ti: Any) -> dict[str, str]:
    base = (airflow_conf.get("api", "base_url", fallback="") or "").rstrip("/")
    if not base:
        return {}
    run = urllib.parse.quote(ti.run_id, safe="")
    return {"The fleet": f"{base}/plugin/fleet", "This reconcile": f"{base}/dags/{ti.dag_id}/runs/{run}"}


def build(path: str, *, options: str) -> BaseNotifier:
    """Return the notifier of a class, by its dotted path, with arguments that are a JSON object.

    Raises SettingError with every problem. No value of *options* is quoted, which may be a secret.
    """
    problems = []
    found = _class(path)
    if isinstance(found, str):
        problems.append(found)
    arguments = _arguments(options)
    if isinstance(arguments, str):
        problems.append(arguments)
    if problems or isinstance(found, str) or isinstance(arguments, str):
        raise errors.SettingError(problems)
    try:
        return found(**arguments)
    except TypeError as error:
        raise errors.SettingError([f"notifier_options: {found.__name__} does not take them: {error}."]) from None
    except Exception as error:  # noqa: BLE001 - any notifier, and its text may quote an argument
        said = f"notifier_options: {found.__name__} does not take them: {type(error).__name__}."
        raise errors.SettingError([said]) from None


def _class(path: str) -> type[BaseNotifier] | str:
    module, _, name = path.rpartition(".")
    wanted = (
        "Write the dotted path of a subclass of Airflow's BaseNotifier, for example "
        "airflow.providers.smtp.notifications.smtp.SmtpNotifier, and install the provider that has it."
    )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        return f"notifier: there is no {path!r}: {error}. {wanted}"
    if not (isinstance(found, type) and issubclass(found, BaseNotifier)):
        return f"notifier: {path} is no notifier. {wanted}"
    return found


def _arguments(options: str) -> dict[str, Any] | str:
    wanted = f"Write the notifier's arguments as a JSON object, for example {_EXAMPLE}."
    try:
        found = json.loads(options or "{}")
    except ValueError as error:
        return f"notifier_options: not JSON: {error}. {wanted}"
    return found if isinstance(found, dict) else f"notifier_options: no JSON object. {wanted}"
