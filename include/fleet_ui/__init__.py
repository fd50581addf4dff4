"""The fleet in Airflow's UI: what the plugin in `plugins/` serves.

- `view.py` makes what the page shows out of a record and of runs. Pure.
- `metrics.py` makes what Prometheus reads out of the same. Pure.
- `stored.py` reads both from Airflow's own database.
- `scraping.py` gives the metrics, and says who may have them.
- `app.py` says who may see what, and has the routes.
- `static/` is the page: HTML, one script, one style sheet, as they are; there is no build step.

It runs in Airflow's API server. Nothing here asks a cluster, or writes anything: runs are started through Airflow's own
REST API, with the rights of whoever looks at the page.
"""
