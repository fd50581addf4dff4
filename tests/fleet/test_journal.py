"""What a step has changed is known however the step ends."""

import pytest

from include.fleet import errors, journal


def test_a_change_is_noted_before_it_is_made():
    """A process that dies in the middle of the write can tell nobody afterwards."""
    kept = []
    changes = journal.Journal(keep=kept.append)
    with changes.noted("role none -> member"):
        assert kept == [["role none -> member"]]
    assert changes.notes == ["role none -> member"]


@pytest.mark.parametrize(
    "error", [errors.ForbiddenError("no right"), errors.ConflictError("overtaken")], ids=["forbidden", "overtaken"]
)
def test_what_the_server_has_refused_is_taken_back(error):
    kept = []
    changes = journal.Journal(keep=kept.append)
    with pytest.raises(errors.FleetError), changes.noted("a change"):
        raise error
    assert changes.notes == kept[-1] == []


def test_a_write_without_an_answer_stays_noted_and_is_noted_once_when_it_is_tried_again():
    changes = journal.Journal()
    with pytest.raises(errors.UnreachableError), changes.noted("a change"):
        raise errors.UnreachableError("reset")
    with changes.noted("a change"):
        pass
    assert changes.notes == ["a change"]


def test_a_write_that_is_refused_when_it_is_tried_again_may_have_been_made_before():
    changes = journal.Journal(["a change"])
    with pytest.raises(errors.ConflictError), changes.noted("a change"):
        raise errors.ConflictError("exists")
    assert changes.notes == ["a change"]


def test_the_notes_of_the_triggerer_are_added():
    changes = journal.Journal(["earlier"])
    changes.add(["in the triggerer"])
    assert changes.notes == ["earlier", "in the triggerer"]
