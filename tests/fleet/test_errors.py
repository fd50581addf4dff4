"""Each error decides once whether trying again can help, and says what to do."""

import inspect

from include.fleet import errors


def test_every_error_is_either_permanent_or_temporary():
    leaves = [
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.FleetError) and cls is not errors.FleetError
    ]
    assert leaves
    for cls in leaves:
        assert issubclass(cls, errors.PermanentError) != issubclass(cls, errors.TemporaryError), cls


def test_one_problem_stands_in_the_sentence_and_several_are_listed():
    assert str(errors.ConfError(["cluster: missing"])).endswith("nothing was written: cluster: missing")
    assert str(errors.ConfError(["a: 1", "b: 2"])).endswith(":\n  - a: 1\n  - b: 2")


def test_an_error_from_the_triggerer_keeps_its_kind_and_words():
    for permanent, cls in ((True, errors.PermanentError), (False, errors.TemporaryError)):
        error = errors.restored(permanent, "words")
        assert isinstance(error, cls)
        assert str(error) == "words"
