"""How long this project waits and how often it looks, where the conf of a run does not say; and where things are.

Pure. The Airflow side fills it from section [fleet] of Airflow's configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True)
class Settings:
    """Seconds, where nothing else is said."""

    request_timeout: float = 30.0
    """An API server has this long to answer one request."""
    connect_timeout: float = 5.0
    """A connection has this long to be made."""
    watch_timeout: float = 300.0
    """The server ends a watch after this long, and it is opened again."""
    inline_wait: float = 20.0
    """A wait keeps its worker this long, then it moves to the triggerer (a move costs about 3 s)."""
    poll: float = 10.0
    """Look this often at what cannot be watched: the installer's queue, ks-apiserver behind its proxy."""
    slow_poll: float = 30.0
    """Look this often at what a watch should have told already."""
    failed_after: float = 30.0
    """An installer that is idle and has not done its work for this long has failed (kubesphere-facts 12.2)."""
    quiet: float = 120.0
    """A ConfigMap unchanged for this long is loaded by the processes that mount it (kubesphere-facts 12.2)."""
    resync: float = 120.0
    """The host's controller looks at each Cluster this often, unless its ConfigMap says otherwise."""
    probe_timeout: float = 60.0
    """The Job of a probe has this long to run, from its first pull to its log."""
    probe_image: str = "curlimages/curl:8.10.1"
    """An image with curl 7.75 or newer, where the conf names none."""
    acceptance: float = 12.0
    """What a joined member is asked for after the proof is asked for again this long: ks-apiserver reloads right after
    Ready (kubesphere-facts 7.6), and kubefed looks at a new member within 10 s."""
    watch_held: float = 2.0
    """A forwarded watch that lasts this long stays open."""
    turn_duration: float = 300.0
    """A run that died lets the next one in after this long; between two steps nobody renews its Lease, so that an
    Airflow whose scheduler is away for half of this loses its turn."""
    handoff_dir: str = ""
    """The folder for the files that a person needs to join a member which Airflow does not reach; "" is `handoff` in
    AIRFLOW_HOME. All workers have to see the same one: the last task deletes what another one has written."""
    run_deadline: float = 18000.0
    """A run that takes longer is reported as late: 17400 is what all waits take together that use up the conf's
    default time-outs, a person's 3600, other runs' 3600 for the member and again for the host, the installer's 3600,
    tower's 300, by proxy twice the host's 1200, and the proof's 300."""
    run_timeout: float = 21600.0
    """A run that takes longer is ended by Airflow: between this and the deadline there is time to look at it."""
    survey_at_once: int = 16
    """So many members are looked at at the same time in one reconcile."""
    survey_timeout: float = 20.0
    """All that a reconcile asks of one cluster is answered within this long, or the cluster counts as unreachable."""
    expires_soon: float = 1209600.0
    """A credential of the host that is valid for less than this (14 days) is replaced."""
    reconcile_schedule: str = "*/10 * * * *"
    """When the fleet is reconciled, as cron writes it, in UTC."""
    records_kept: int = 100
    """Records of so many reconciles are kept."""
    inventory: str = "include/fleet.yaml"
    """The fleet's inventory: a file, relative to the project's folder, or a URL that Airflow's ObjectStoragePath reads,
    such as s3://CONNECTION@BUCKET/fleet.yaml."""
    notifier: str = ""
    """By what people are told of the fleet: the dotted path of any subclass of Airflow's BaseNotifier, such as
    airflow.providers.smtp.notifications.smtp.SmtpNotifier. "" tells nobody."""
    notifier_options: str = field(default="", repr=False)
    """Its arguments, as a JSON object. Those that it takes as templates may have {{ news.subject }}, {{ news.text }},
    {{ news.markdown }} and {{ news.html }}. Credentials belong into the Airflow connection that it takes."""
    metrics_token_file: str = ""
    """The absolute path of a file with the token that opens /fleet/metrics, of at least 32 characters. A file, since
    Airflow shows values of this section to whoever may see its configuration. "" opens it to signed-in users alone."""

    @classmethod
    def read(cls, lookup: Callable[[str], str | None]) -> Settings:
        """Return the settings with the values that *lookup* knows by name; raises ValueError on no number."""
        given = {each.name: lookup(each.name) for each in fields(cls)}
        default = cls()
        texts = {name: text for name, text in given.items() if text is not None}
        read: dict[str, Any] = {name: type(getattr(default, name))(text) for name, text in texts.items()}
        return replace(default, **read)
