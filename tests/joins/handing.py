"""A person to whom a member is handed over: fetches the file, and does what it says."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

KUBECTL = Path(sys.executable).with_name("kubectl")
QUICK = {"POLL": "0.2", "FAILED_AFTER": "3", "ROLLOUT_TIMEOUT": "30"}


def use(path, cluster, *arguments, folder, typed="", kubectl=KUBECTL, **environment):
    """Run a file against a simulated cluster, as that person does; returns the finished process."""
    kubeconfig = folder / f"{cluster.name}.kubeconfig"
    kubeconfig.write_text(json.dumps(cluster.kubeconfig("admin")))
    return subprocess.run(
        ["sh", str(path), "--kubeconfig", str(kubeconfig), *arguments],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECTL": str(kubectl),
            "NO_PROXY": "127.0.0.1,localhost",
            **QUICK,
            **environment,
        },
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


class Person(threading.Thread):
    """Waits for the file of a run, and uses it once; what came of it is in `finished`."""

    def __init__(self, folder, act):
        super().__init__(daemon=True)
        self._folder, self._act, self._over = folder, act, threading.Event()
        self.path = self.text = self.finished = None

    def run(self):
        while self.path is None and not self._over.wait(0.05):
            self.path = next(iter(self._folder.glob("*.sh")), None)
        if self.path is not None:
            self.text = self.path.read_text()
            self.finished = self._act(self.path)

    def go(self):
        """Wait no more, and finish what was begun."""
        self._over.set()
        self.join()
