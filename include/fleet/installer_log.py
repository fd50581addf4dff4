"""ks-installer's log: where a run begins and ends, what the installer does, and which lines tell why it failed.

Pure: text in, values out (kubesphere-facts 2.6).
"""

from __future__ import annotations

import enum
import re

_RUN_BEGINS = "Running hook 'kubesphere/installRunner.py'"
_RUN_ENDS = re.compile(
    r"Welcome to KubeSphere!|Failed to ansible-playbook|^Task '.+' failed:|failed=[1-9]", re.MULTILINE
)
_HOOK_FAILED = re.compile(r"installRunner\.py' .*failed\. Will retry after delay\. Failed count is (\d+)")
_TELLING = re.compile(
    r"fatal:|failed=[1-9]|^Task '.+' failed:|Failed to ansible-playbook|Will retry after delay"
    r"|was not found !|is not supported|Traceback|Error:"
)
_LOOKS_SECRET = re.compile(r"(?i)((?:secret|token|password)\w*[\"']?\s*[=:]\s*[\"']?)([^\s\"',}]{4,})")


class Activity(enum.Enum):
    """What the installer is doing, as far as it can be told."""

    RUNNING = "running"
    IDLE = "idle"
    UNKNOWN = "unknown"


def begins_run(line: str) -> bool:
    """Tell whether a run begins with this line."""
    return _RUN_BEGINS in line


def ends_run(line: str) -> bool:
    """Tell whether a run is over, or nearly, when it has written this line."""
    return bool(_RUN_ENDS.search(line))


def crashes(line: str) -> int:
    """Return how often in a row the hook has crashed, as this line tells; 0 if it tells nothing of that."""
    match = _HOOK_FAILED.search(line)
    return int(match.group(1)) if match else 0


def last_run(text: str) -> str:
    """Return the part of a log that belongs to the last run: the log goes on from run to run."""
    begins = text.rfind(_RUN_BEGINS)
    return text[begins:] if begins >= 0 else text


def activity(text: str) -> Activity:
    """Tell from a log alone what the installer does."""
    run = last_run(text)
    if not run.strip():
        return Activity.UNKNOWN
    if crashes(run):
        return Activity.RUNNING
    return Activity.IDLE if ends_run(run) else Activity.RUNNING


def telling_lines(text: str) -> list[str]:
    """Return the lines of the last run that tell why it failed, shortened, at most eight.

    Redacted by the caller by value; here also by form, for a value that is a secret no longer in use.
    """
    lines = [line.strip() for line in last_run(text).splitlines() if _TELLING.search(line)]
    return [_LOOKS_SECRET.sub(r"\1<hidden>", line)[:300] for line in lines[-8:]]
