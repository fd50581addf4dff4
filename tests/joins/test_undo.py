"""What docs/real-clusters.md says about undoing a join, done as it stands there."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.joins import evidence

DOCUMENT = Path(__file__).parents[2] / "docs" / "real-clusters.md"


def commands():
    block = re.search(r"## How to undo it.*?```\n(.*?)```", DOCUMENT.read_text(), re.DOTALL).group(1)
    return block.replace("--context HOST", "--context host").replace("--context MEMBER", "--context m1")


@pytest.mark.parametrize("way", ["direct", "proxy"])
def test_the_commands_of_the_docs_undo_a_join(simulate, join, tmp_path, way):
    simulation = simulate(host={"load_balancer": "139.198.110.23"})
    member = simulation.clusters["m1"]
    before = evidence.secret_of(member)
    by_proxy = {"connection": "proxy", "without": ("member_server",)}
    run = join(simulation, **(by_proxy if way == "proxy" else {}))
    assert run.state == "success", run.error
    assert evidence.secret_of(member) != before
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": path}
    done = subprocess.run(
        ["sh", "-eu", "-c", commands()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert before not in done.stdout + done.stderr
    until = time.monotonic() + 20
    while (evidence.secret_of(member), evidence.role_of(member)) != (before, "none"):
        assert time.monotonic() < until, (done.stdout, evidence.role_of(member))
        time.sleep(0.1)
    assert [item["metadata"]["name"] for item in simulation.clusters["host"].objects("clusters")] == ["host"]
    assert not [item for item in member.objects("deployments") if item["metadata"]["name"] == "cluster-agent"]
    assert not (tmp_path / "before-join.json").exists()
