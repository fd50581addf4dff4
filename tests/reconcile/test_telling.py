"""Telling people on the real way: the DAG as Airflow runs it, and mails by Airflow's own SmtpNotifier."""

import datetime
import json
import re
from pathlib import Path

import pytest
import yaml

from include.fleet import errors, settings, telling
from tests.joins.conftest import _schemas_checked_once, run_dag, simulate  # noqa: F401 - fixtures
from tests.reconcile import mail

DAG = "reconcile_fleet"
NOTIFIER = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
OPTIONS = {"to": "ops@example.com", "subject": "{{ news.subject }}", "html_content": "{{ news.html }}"}
MANY = 14


@pytest.fixture
def mails(monkeypatch):
    """A mail server, and the settings that have people told by it."""
    with mail.serving() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(server.connection))
        monkeypatch.setenv("AIRFLOW__FLEET__NOTIFIER", NOTIFIER)
        monkeypatch.setenv("AIRFLOW__FLEET__NOTIFIER_OPTIONS", json.dumps(OPTIONS))
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com")
        yield server


@pytest.fixture
def fleet(simulate, tmp_path, monkeypatch, dagbag):  # noqa: F811 - the fixture
    """A host that has none of the members that it is to have, on a day on which nothing may be changed."""
    simulation = simulate(host={"role": "host"})
    for number in range(MANY):
        simulation.connections[f"m{number:02}"] = simulation.connections["m1"]
    inventory = tmp_path / "fleet.yaml"
    monkeypatch.setenv("AIRFLOW__FLEET__INVENTORY", str(inventory))
    forget()
    yield Fleet(simulation, inventory)
    forget()


class Fleet:
    def __init__(self, simulation, path):
        self.simulation = simulation
        self._path = path
        self.declare(MANY)

    def declare(self, number):
        later = f"{datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3):%a}".lower()
        members = [{"cluster": f"m{index:02}", "member_conn_id": f"m{index:02}"} for index in range(number)]
        host = {"name": "europe", "host_conn_id": "host", "members": members}
        window = {"days": [later], "start": "00:00", "end": "01:00"}
        self._path.write_text(yaml.safe_dump({"version": 1, "hosts": [{**host, "windows": [window]}]}))

    def spoil(self):
        self._path.write_text("version: 1\nhosts: yes\n")


def forget():
    """Take out of Airflow's database what earlier tests have left there of the fleet."""
    from airflow.models.asset_state_store import AssetStateStoreModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id == DAG))
        session.execute(delete(AssetStateStoreModel))


@pytest.fixture
def reconcile(run_dag, fleet):  # noqa: F811 - the fixture
    return lambda **conf: run_dag(DAG, fleet.simulation, conf)


def test_nobody_is_told_unless_a_notifier_is_set(reconcile):
    run = reconcile()
    assert (run.state, run.tasks["tell_people"]) == ("success", "skipped")
    assert "Nobody is told: no notifier is set (notifier in section [fleet])." in run.output


def test_many_members_are_one_mail_and_the_next_reconcile_sends_none(reconcile, mails):
    run = reconcile()
    assert run.state == "success", run.output
    (sent,) = mails.mails
    assert sent["to"] == "ops@example.com"
    assert sent["subject"] == f"KubeSphere fleet: {MANY} drifted"
    assert run.reports["tell_people"] == {"subject": sent["subject"]}
    told = mail.html(sent)
    assert "<strong>m00</strong>: (missing) The host has no Cluster m00. Outside of this host&#x27;s maint" in told
    assert f"and {MANY - 12} more" in told
    assert '<a href="https://airflow.example.com/plugin/fleet">The fleet</a>' in told
    assert reconcile().reports["tell_people"] == {"subject": ""}
    assert len(mails.mails) == 1


def test_what_could_not_be_sent_fails_its_task_alone_and_is_sent_by_the_next_reconcile(reconcile, fleet, mails):
    fleet.declare(2)
    assert reconcile(dry_run=True).tasks["tell_people"] == "skipped"
    mails.refuses = True
    run = reconcile()
    assert run.failed == ["tell_people"]
    assert run.tasks["report"] == "success"
    assert run.state == "failed", "who looks at Airflow sees that nobody was told"
    assert run.error.startswith("tell people by SmtpNotifier: SMTPSenderRefused. The record and the repairs of this")
    assert mails.mails == []
    mails.refuses = False
    fleet.declare(3)
    reconcile()
    (sent,) = mails.mails
    assert sent["subject"] == "KubeSphere fleet: 3 drifted"


def test_a_reconcile_that_fails_is_told_once_and_so_is_its_end(reconcile, fleet, mails):
    fleet.spoil()
    for _ in range(2):
        run = reconcile()
        assert (run.state, run.failed) == ("failed", ["observe_fleet"])
        assert run.tasks["tell_people"] == "success"
    fleet.declare(0)
    assert reconcile(members=["nobody"]).state == "failed"
    assert reconcile().state == "success"
    assert [sent["subject"] for sent in mails.mails] == [
        "KubeSphere fleet: reconciling fails",
        "KubeSphere fleet: reconciling works again",
    ]
    assert "Failed: observe_fleet. Nobody has looked at the fleet." in mail.html(mails.mails[0])
    assert "/dags/reconcile_fleet/runs/manual__" in mail.html(mails.mails[0])


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        pytest.param(
            "airflow.none.Such", "", "notifier: there is no 'airflow.none.Such': No module named", id="module"
        ),
        pytest.param(f"{NOTIFIER}s", "", f"notifier: there is no '{NOTIFIER}s': module", id="class"),
        pytest.param(
            "Smtp", "", "notifier: there is no 'Smtp': Empty module name. Write the dotted path", id="no-path"
        ),
        pytest.param("json.JSONDecoder", "", "notifier: json.JSONDecoder is no notifier. Write", id="no-notifier"),
        pytest.param(NOTIFIER, "{to: x}", "notifier_options: not JSON: Expecting property name", id="no-json"),
        pytest.param(NOTIFIER, "[1]", "notifier_options: no JSON object. Write the notifier's", id="no-object"),
        pytest.param(NOTIFIER, "", "notifier_options: SmtpNotifier does not take them: SmtpNotifier.", id="missing"),
        pytest.param(
            NOTIFIER,
            '{"to": "x", "html": "sentinel"}',
            "notifier_options: SmtpNotifier does not take them: BaseNotifier.__init__() got an unexpected keyword "
            "argument 'html'.",
            id="unknown",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_what_to_write(path, options, said):
    with pytest.raises(errors.SettingError) as caught:
        telling.build(path, options=options)
    (problem,) = caught.value.problems
    assert problem.startswith(said)
    assert "sentinel" not in str(caught.value)


def test_the_documented_example_is_a_notifier_and_a_connection(monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()
    example = re.search(r"```yaml\n(  AIRFLOW__FLEET__NOTIFIER:.*?)```", text, re.DOTALL).group(1)
    given = settings.Settings.read(_settings(yaml.safe_load(example)).get)
    made = telling.build(given.notifier, options=given.notifier_options)
    assert (made.to, made.subject, made.html_content) == tuple(OPTIONS.values())
    connection = yaml.safe_load(re.search(r"```json\n(\"smtp_default\".*?)```", text, re.DOTALL).group(1))
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection[made.smtp_conn_id]))
    hook = made.hook
    hook.smtp_connection = hook.get_connection(made.smtp_conn_id)
    assert (hook.host, hook.port, hook.smtp_user, hook.from_email) == (
        "smtp.example.com",
        587,
        "airflow",
        "airflow@example.com",
    )
    assert (hook.use_ssl, hook.smtp_starttls) == (False, True)


def _settings(environment):
    return {name.removeprefix("AIRFLOW__FLEET__").lower(): value for name, value in environment.items()}


def test_both_settings_are_complained_of_at_once():
    with pytest.raises(errors.SettingError) as caught:
        telling.build("Smtp", options="[]")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["notifier", "notifier_options"]


def test_a_notifiers_options_are_not_shown_with_the_settings():
    assert "sentinel" not in repr(settings.Settings(notifier_options='{"token": "sentinel"}'))
