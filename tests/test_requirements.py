import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pins(lock):
    found = re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", (ROOT / lock).read_text(), flags=re.MULTILINE)
    assert found
    return set(found)


def test_what_is_deployed_is_what_is_tested():
    """Both locks come from `make lock`; one edited by hand would tell on them."""
    assert pins("requirements.lock") - pins("requirements-dev.lock") == set()


def test_the_locks_leave_the_choice_of_a_registry_to_the_machine():
    for lock in ("requirements.lock", "requirements-dev.lock"):
        assert "://" not in (ROOT / lock).read_text()
