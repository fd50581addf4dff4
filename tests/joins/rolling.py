"""Runs that fail and are rolled back, as Airflow would run them: record, the steps up to the failing one, roll back."""

import base64
import copy
import multiprocessing
import os
import traceback

import yaml

from include.fleet import errors, join, rollback
from include.simulator import resources
from tests.chaos import steps

STEPS = {"record": rollback.record, "roll_back": rollback.roll_back}
RUN = "manual__2026-11-26T11:00:00+00:00"
# Each is a fork of one process that has imported all this: what takes seconds is done once for all that are killed.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])
_PASSING = {"events", "pods", "endpoints", "nodes", "leases"}
"""What comes and goes by itself."""
_STAMPS = {
    "kubectl.kubernetes.io/restartedAt",
    "join-member-cluster/forced-run",
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
}


def fail(stage, *, after=None, run_id=RUN):
    """Record what stands, and play the join until it fails, or until it is said to after a step; return its reports."""
    reports = {"record": steps.with_retries("record", stage.conf, run_id=run_id, reports={})}
    for step in steps.ORDER[stage.conf["connection"]]:
        try:
            reports[step] = steps.with_retries(step, stage.conf, run_id=run_id, reports=reports)
        except errors.FleetError as error:
            reports["error"] = str(error)
            break
        if step == after:
            break
    else:
        raise AssertionError("the join has not failed")
    return reports


def undo(stage, *, conf=None, run_id=RUN, reports=None):
    """Roll a run back, with all retries, and return the report."""
    return steps.with_retries("roll_back", conf or stage.conf, run_id=run_id, reports=reports or {})


def undo_in_a_process(stage, *, run_id=RUN):
    """Roll a run back in a process of its own, which may be killed; return its exit code and what it said."""
    return in_a_process(stage, _undo, stage.conf, run_id)


def in_a_process(stage, play, *args):
    """Call a function of a module in a process of its own, which may be killed; return exit code and what it said."""
    said, saying = _PROCESSES.Pipe(duplex=False)
    stage.child = _PROCESSES.Process(target=_call, args=(play, args, dict(os.environ), saying))
    stage.child.start()
    saying.close()
    stage.child.join(timeout=120)
    # Who is killed says nothing.
    output = said.recv() if stage.child.exitcode == 1 else ""
    code = stage.child.exitcode
    stage.child.close()
    return code, output


def _undo(conf, run_id):
    join.STEPS.update(STEPS)
    steps.with_retries("roll_back", conf, run_id=run_id, reports={})


def _call(play, args, environment, saying):
    os.environ.clear()
    os.environ.update(environment)
    try:
        play(*args)
    except BaseException:
        saying.send(traceback.format_exc())
        raise


def photograph(cluster):
    """Everything on a cluster that a user would mind, by kind, namespace and name; read past the product."""
    found = {}
    for resource in resources.ALL:
        if resource.plural not in _PASSING:
            for item in cluster.objects(resource.plural):
                metadata = item["metadata"]
                found[resource.plural, metadata.get("namespace", ""), metadata["name"]] = _essence(resource, item)
    in_force = found.get(("secrets", "kubesphere-system", "kubesphere-secret"))
    asked = found.get(("clusterconfigurations", "kubesphere-system", "ks-installer"))
    if asked and not asked["spec"]["authentication"].get("jwtSecret"):
        # Empty stands for the one in force (kubesphere-facts 2.4).
        value = base64.b64decode(in_force["data"]["secret"]).decode()
        asked["spec"]["authentication"]["jwtSecret"] = value
    return found


def _essence(resource, item):
    item = copy.deepcopy(item)
    item.pop("status", None)
    metadata = {key: item["metadata"].get(key) or {} for key in ("labels", "annotations")}
    metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key not in _STAMPS}
    metadata["ownerReferences"] = item["metadata"].get("ownerReferences") or []
    item["metadata"] = metadata
    if resource == resources.DEPLOYMENTS:
        inner = item["spec"]["template"].get("metadata") or {}
        marks = inner.get("annotations") or {}
        inner["annotations"] = {key: value for key, value in marks.items() if key not in _STAMPS}
    if resource == resources.SECRETS and "initAdminPassword" in item.get("data", {}):
        # ks-installer makes the Secret anew, with another password for a first login that is long over, and another
        # time of issue in the token.
        item["data"] = {"secret": item["data"]["secret"]}
    if resource == resources.CONFIGMAPS and "kubesphere.yaml" in item.get("data", {}):
        item["data"] = yaml.safe_load(item["data"]["kubesphere.yaml"])
    return item


def differences(before, after):
    """What two photographs do not have in common, by name."""
    return sorted("/".join(key) for key in {*before, *after} if before.get(key) != after.get(key))
