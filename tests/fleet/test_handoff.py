"""The file for a person on a worker's disk: for nobody else, whole or not at all, and gone in time."""

import hashlib
import stat
import time

import pytest

from include.fleet import bundle, errors, handoff, settings, tower

ATTEMPT = "manual__2026-11-26T19:48:10+00:00 of 2026-11-26T19:48:10.812968Z"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "handoff"


def place(folder, *, attempt=f"{ATTEMPT}/1"):
    return handoff.Place.of("m1", attempt=attempt, limits=settings.Settings(handoff_dir=str(folder)))


def text(*, valid_until=None):
    agent = tower.agent_deployment("m1", token="t" * 64, address="http://x:1", image="")
    until = int(time.time()) + 60 if valid_until is None else valid_until
    return bundle.Bundle("m1", "r", until, "h", "", "3.4", 1, "aSecret", agent).text()


def test_a_file_is_written_for_its_own_user_alone_and_nothing_else_is_left(folder):
    found, script = place(folder), text()
    assert found.write(script) == hashlib.sha256(script.encode()).hexdigest()
    assert list(folder.iterdir()) == [found.path]
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert found.path.name.startswith("m1.manual__2026-11-26T19-48-10-00-00-")


def test_all_tries_of_a_run_have_one_file_and_another_run_has_another(folder):
    assert place(folder) == place(folder, attempt=f"{ATTEMPT}/2")
    assert place(folder) != place(folder, attempt=f"{ATTEMPT[:-1]}1Z/1")


def test_a_file_that_others_were_let_read_is_made_anew(folder):
    found, script = place(folder), text()
    found.write(script)
    found.path.chmod(0o644)
    found.write(script)
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o600


def test_files_whose_time_is_over_are_deleted_by_whoever_writes_the_next_one(folder):
    lost, waiting, found = (place(folder, attempt=f"{number}/1") for number in range(3))
    lost.write(text(valid_until=1))
    waiting.write(text())
    foreign = folder / "notes.sh"
    foreign.write_bytes(b"echo mine \xff")
    found.write(text())
    assert {*folder.iterdir()} == {waiting.path, found.path, foreign}


def test_what_a_worker_that_died_has_begun_goes_with_the_file(folder):
    found = place(folder)
    found.write(text())
    (folder / f".{found.path.name}.x1y2z3").write_text("half of it")
    assert found.remove() == ""
    assert list(folder.iterdir()) == []
    assert found.remove() == ""


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.HandoffError, match=r"cannot be written to .*file/handoff/m1.*: Not a directory"):
        place(tmp_path / "file" / "handoff").write(text())


def test_the_default_folder_is_in_the_home_of_airflow(monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", "/opt/airflow")
    found = handoff.Place.of("m1", attempt="r/1", limits=settings.Settings())
    assert str(found.path.parent) == "/opt/airflow/handoff"


def test_what_a_person_is_shown_has_the_place_and_the_fingerprint_and_no_secret(folder):
    found = place(folder)
    fingerprint = found.write(text())
    shown = found.instructions(until=0, machine="worker-1")
    assert f"`worker-1`: `{found.path}`" in shown
    assert f"`{fingerprint}`" in shown
    assert "1970-01-01 00:00 UTC" in shown
    assert "aSecret" not in shown
