import pytest

from tests.compose import composition


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$A-$B", "1-"),
        ("${A}${B}", "1"),
        ("${A:-2}${B:-2}${EMPTY:-2}", "122"),
        ("${A:?needed}", "1"),
        ("$$A $${A} $$$A", "$A ${A} $1"),
        ("no reference", "no reference"),
    ],
)
def test_references_are_replaced_as_compose_does(text, expanded):
    """The expected values are what docker-compose 1.29.2 made of the same texts."""
    assert composition.interpolated({"key": [text]}, {"A": "1", "EMPTY": ""}) == {"key": [expanded]}


@pytest.mark.parametrize("values", [{}, {"A": ""}], ids=["absent", "empty"])
def test_a_value_that_is_demanded_must_be_given(values):
    with pytest.raises(composition.MissingError, match="A: no value"):
        composition.interpolated("${A:?no value in .env}", values)


@pytest.mark.parametrize("text", ["${A:+2}", "${A-2}", "a$", "$ {A}", "${A"])
def test_forms_that_are_not_known_are_refused_and_not_left_standing(text):
    with pytest.raises(ValueError, match="unknown form"):
        composition.interpolated(text, {"A": "1"})


def test_the_variables_of_a_document_are_found_wherever_they_are():
    document = {"a": ["$A ${B:-x}", {"b": "$$C ${D:?m}"}], "c": 1}
    assert composition.references(document) == {("A", False), ("B", False), ("D", True)}
