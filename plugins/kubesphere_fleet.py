"""The fleet in Airflow's UI: this says what there is and where; `include.fleet_ui` has it.

Airflow loads this file in every process, each task's included: the app and the links, with all that they import, are
made where the API server asks for them.
"""

from __future__ import annotations

import functools
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class FleetPlugin(AirflowPlugin):
    """The fleet page in the navigation, the card on Airflow's home, a report as a tab of each run, links from tasks."""

    name = "kubesphere_fleet"
    # Relative to Airflow's own address, which may have a path.
    external_views = [
        {
            "name": "Fleet",
            "href": "fleet/page",
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "fleet",
            "icon": "fleet/icon.svg",
            "icon_dark_mode": "fleet/icon-dark.svg",
        },
        {
            "name": "Report",
            "href": "fleet/run?dag={DAG_ID}&run={RUN_ID}",
            "destination": "dag_run",
            "url_route": "report",
            "icon": "fleet/icon.svg",
            "icon_dark_mode": "fleet/icon-dark.svg",
        },
    ]
    react_apps = [
        {"name": "Fleet card", "bundle_url": "fleet/card.js", "destination": "dashboard", "url_route": "fleet_card"}
    ]

    @functools.cached_property
    def operator_extra_links(self) -> list[Any]:  # type: ignore[override]  # Airflow only reads it
        """The links, made when they are first asked for: by the API server, never by a task."""
        from include.fleet import operators, reconciling
        from include.fleet_ui import links

        return [*links.buttons(anywhere=reconciling, on_hosts=operators)]

    @functools.cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # Airflow only reads it
        """The app, made when it is first asked for."""
        from include.fleet_ui import app

        return [{"app": app.create(), "url_prefix": "/fleet", "name": "Fleet"}]
