"""What ks-installer and the shell-operator around it print (kubesphere-facts 2.2, 2.6)."""

from __future__ import annotations

import datetime
import json
import uuid

from include.simulator.release import Release

HOOK = "kubesphere/installRunner.py"


def _stamp(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def operator_line(text: str, *, moment: datetime.datetime, level: str = "INFO") -> str:
    """Return a line of shell-operator."""
    return f"{_stamp(moment)} {level:<9}: {text}"


def queued_lines(moment: datetime.datetime) -> str:
    """Return what is printed when an event puts a run into the queue."""
    return "\n".join(
        operator_line(text, moment=moment)
        for text in (f"EVENT Kube event '{uuid.uuid4()}'", f"QUEUE add TASK_HOOK_RUN@KUBE_EVENTS {HOOK}")
    )


def started_lines(moment: datetime.datetime) -> str:
    """Return what is printed when a run starts."""
    return "\n".join(
        operator_line(text, moment=moment)
        for text in (f"TASK_RUN HookRun@KUBE_EVENTS {HOOK}", f"Running hook '{HOOK}' binding 'KUBE_EVENTS' ...")
    )


def retry_line(count: int, *, moment: datetime.datetime) -> str:
    """Return what is printed when the hook has crashed."""
    text = f"TASK_RUN TASK_HOOK_RUN '{HOOK}' on 'KUBE_EVENTS' failed. Will retry after delay. Failed count is {count}"
    return operator_line(text, moment=moment, level="ERROR")


def play_header(play: str) -> str:
    """Return the opening lines of a playbook."""
    title = f"PLAY [{play}] "
    return f"\n{title}{'*' * (79 - len(title))}"


def task_lines(task: str, *, result: str = "changed") -> str:
    """Return a task with its result."""
    title = f"TASK [{task}] "
    return f"\n{title}{'*' * max(79 - len(title), 3)}\n{result}: [localhost]"


def recap(*, ok: int, failed: int) -> str:
    """Return the last lines of a playbook."""
    counts = f"ok={ok:<4} changed={ok - 5:<4} unreachable=0    failed={failed:<4} skipped=11   rescued=0    ignored=0"
    return f"\nPLAY RECAP {'*' * 69}\nlocalhost                  : {counts}"


def failed_token_lines(secret: str, *, moment: datetime.datetime) -> str:
    """Return the end of a run that died in role init-token.

    The shell command holds the secret, unquoted (kubesphere-facts 2.4); Ansible prints the command of a failed task.
    """
    result = {
        "changed": True,
        "cmd": f"/root/jwt-script/jwt.sh {secret}",
        "delta": "0:00:00.013904",
        "end": moment.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "msg": "non-zero return code",
        "rc": 127,
        "start": moment.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "stderr": "/bin/sh: openssl: not found",
        "stderr_lines": ["/bin/sh: openssl: not found"],
        "stdout": "",
        "stdout_lines": [],
    }
    title = "TASK [ks-core/init-token : KubeSphere | Getting KubeSphere Token] "
    fatal = f"fatal: [localhost]: FAILED! => {json.dumps(result)}"
    return f"\n{title}{'*' * (79 - len(title))}\n{fatal}\n{recap(ok=23, failed=1)}"


def undefined_lines(task: str, *, error: str) -> str:
    """Return the end of a playbook that read a variable which is not there."""
    message = f"The task includes an option with an undefined variable. The error was: {error}"
    fatal = f"fatal: [localhost]: FAILED! => {json.dumps({'msg': message})}"
    title = f"TASK [{task}] "
    return f"\n{title}{'*' * max(79 - len(title), 3)}\n{fatal}\n{recap(ok=23, failed=1)}"


def failed_check_lines(task: str, *, message: str) -> str:
    """Return the end of a playbook that found something that it cannot do without."""
    fatal = f"fatal: [localhost]: FAILED! => {json.dumps({'assertion': False, 'changed': False, 'msg': message})}"
    title = f"TASK [{task}] "
    return f"\n{title}{'*' * max(79 - len(title), 3)}\n{fatal}\n{recap(ok=6, failed=1)}"


def crash_lines(release: Release) -> str:
    """Return the traceback of a hook that exits with code 1."""
    if release.records_version:
        place, error = "line 513, in generate_new_cluster_configuration", "KeyError: 'es'"
    else:
        place, error = "line 325, in generateConfig", "kubernetes.client.rest.ApiException: (500)"
    return f'Traceback (most recent call last):\n  File "/hooks/{HOOK}", {place}\n{error}'


def component_lines(release: Release, *, failed: str | None) -> str:
    """Return the report on the component playbooks once all have ended (kubesphere-facts 2.6)."""
    names, stars = release.components, "*" * 50
    states = {name: "failed" if name == failed else "successful" for name in names}
    if not release.records_version:
        lines = [f"task {name} status is {states[name]}" for name in names]
        return "\n".join([*lines, f"total: {len(names)}     completed:{len(names)}", stars])
    lines = [f"task {name} status is {states[name]}  ({n}/{len(names)})" for n, name in enumerate(names, start=1)]
    return "\n".join([*lines, stars, "Collecting installation results ..."])


def failed_component_lines(component: str, *, moment: datetime.datetime) -> str:
    """Return the report on a component whose playbook failed."""
    stdout = 'fatal: [localhost]: FAILED! => Error: UPGRADE FAILED: "kubefed" has no deployed releases'
    event = {
        "counter": 57,
        "created": _stamp(moment),
        "end_line": 55,
        "event": "runner_on_failed",
        "event_data": {
            "duration": 38.1,
            "play": "localhost",
            "role": f"ks-{component}",
            "task": f"{component} | installing",
            "res": {"changed": True, "msg": "All items completed", "stderr": stdout},
        },
        "stdout": stdout,
        "uuid": str(uuid.uuid4()),
    }
    return f"Task '{component}' failed:\n{'*' * 150}\n{json.dumps(event, indent=2)}\n{'*' * 150}"


def banner(*, node: str, moment: datetime.datetime) -> str:
    """Return the last lines of a successful run."""
    return f"""#####################################################
###              Welcome to KubeSphere!           ###
#####################################################

Console: http://{node}:30880
Account: admin
Password: P@88w0rd
NOTES\uff1a
  1. After you log into the console, please check the
     monitoring status of service components in
     "Cluster Management". If any service is not
     ready, please wait patiently until all components
     are up and running.
  2. Please change the default password after login.

#####################################################
https://kubesphere.io             {moment.strftime("%Y-%m-%d %H:%M:%S")}
#####################################################"""
