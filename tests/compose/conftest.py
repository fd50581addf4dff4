import subprocess

import pytest

from tests.compose import composition


@pytest.fixture(scope="package")
def env_file(tmp_path_factory):
    """A .env as `make env` writes it, with secrets of its own."""
    file = tmp_path_factory.mktemp("env") / ".env"
    command = ["make", "--no-print-directory", f"ENV_FILE={file}", "env"]
    subprocess.run(command, cwd=composition.ROOT, check=True)
    written = file.read_text()
    subprocess.run(command, cwd=composition.ROOT, check=True)
    assert file.read_text() == written, "secrets that are in use were overwritten"
    return file
