"""What is stored while a step waits: references only, in a form that stays."""

import json

from airflow.sdk.module_loading import import_string

from include.fleet import triggers

CONF = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "member_server": None}
STORED = (
    "include.fleet.triggers.StepTrigger",
    {"step": "wait_installer", "conf": CONF, "attempt": "manual__1/1", "started": 1795441577.2},
)
"""The form in which a waiting run is in the database: a run that waits through an upgrade needs it to stay."""


def test_a_trigger_is_stored_as_the_arguments_of_its_constructor():
    path, arguments = STORED
    assert import_string(path)(**arguments).serialize() == STORED
    assert json.loads(json.dumps(arguments)) == arguments


def test_settings_come_from_airflows_configuration(monkeypatch):
    monkeypatch.setenv("AIRFLOW__FLEET__POLL", "7.5")
    found = triggers.configured_settings()
    assert found.poll == 7.5
    assert found.failed_after == 30.0
