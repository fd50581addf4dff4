"""The join by DAG measured against the same join by hand: `make bench`.

- `runbook.sh` is the guide as a careful person would script it; it needs nothing of this project.
- `joins.py` plays one join, by runbook or by DAG, on fresh simulated clusters, and tells what it has cost.
- `audit.py` counts requests in the clusters' audit logs, `records.py` reads Airflow's own records, `start_up.py`
  measures what a task costs before it does anything.
- `fleet.py` measures a look at a fleet, `page.py` what its page asks for.
- `lines.py` makes JSON lines of all that, `table.py` the page docs/performance.md of these.
"""
