"""The fleet in Airflow's UI: what the plugin in `plugins/` serves.

- `view.py` makes what the page shows out of a record and of runs. Pure.
- `report.py` makes the report of a run. Pure.
- `metrics.py` makes what Prometheus reads. Pure.
- `stored.py` reads what these are made of from Airflow's own database.
- `links.py` has the buttons on the pages of tasks.
- `scraping.py` gives the metrics, and says who may have them.
- `app.py` says who may see what, and has the routes.
- `static/` is the page, and with `card.js` the card on Airflow's home: files as they are; there is no build step.

It runs in Airflow's API server. Nothing here asks a cluster, or writes anything: runs are started through Airflow's own
REST API, with the rights of whoever looks at the page.
"""
