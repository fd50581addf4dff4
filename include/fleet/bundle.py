"""The file with which a person joins a member that Airflow does not reach: a POSIX shell script that holds all.

Pure: values in, text out, around the script that stands beside this module. The text holds the host's jwtSecret and
the agent's token. The script gives them to kubectl through pipes, so that they stand in no argument and no environment,
and it prints neither.
"""

from __future__ import annotations

import datetime
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from include.fleet import redaction, tower

VALID_UNTIL = re.compile(r"^valid_until=(\d+)$", re.MULTILINE)
"""When a script refuses to begin, as its text has it."""
_SCRIPT = Path(__file__).with_name("bundle.sh")


@dataclass(frozen=True)
class Bundle:
    """What one file is made for."""

    cluster: str
    """The member's name on the host."""
    run: str
    """The run that waits for it."""
    valid_until: int
    """When the script refuses to begin, in seconds since the epoch."""
    host_uid: str
    """The host's kube-system UID."""
    member_uid: str
    """The member's, where the host knows it already; else ""."""
    release: str
    """The host's minor version of KubeSphere, which has to be the member's too."""
    installer_timeout: int
    """Seconds."""
    jwt_secret: str = field(repr=False)
    agent: Mapping[str, Any] = field(repr=False)
    """The agent's Deployment."""

    def text(self) -> str:
        """Return the script."""
        until = datetime.datetime.fromtimestamp(self.valid_until, datetime.UTC)
        values = {
            "cluster": self.cluster,
            "run": self.run,
            "valid_until": str(self.valid_until),
            "valid_until_text": f"{until:%Y-%m-%d %H:%M:%S} UTC",
            "host_uid": self.host_uid,
            "member_uid": self.member_uid,
            "release": self.release,
            "installer_timeout": str(self.installer_timeout),
            "tower": tower.arguments(self.agent)["proxy-server"],
            "fingerprint": redaction.fingerprint(self.jwt_secret),
            "jwt_secret": self.jwt_secret,
        }
        header = "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())
        manifest = json.dumps(self.agent, indent=2)
        agent = f"agent_manifest() {{\n    cat <<'END_OF_MANIFEST'\n{manifest}\nEND_OF_MANIFEST\n}}\n"
        return _SCRIPT.read_text().replace("@VALUES@\n", header + agent)
