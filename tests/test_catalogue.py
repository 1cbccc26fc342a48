"""Every input that is refused, as docs/errors.md lists it."""

from __future__ import annotations

import re

import pytest

from tests import catalogue
from tests.bad_inputs import BadInput, Places, tables
from tests.test_observations_bad_input import DOCS as OBSERVATIONS

CASES = [pytest.param(heading, bad, id=f"{heading}: {bad.what}") for heading, listed in tables() for bad in listed]
PAGE = catalogue.PAGE.read_text(encoding="utf-8")
TELLS = re.compile(
    r"expected|give|take|choose|fetch|copy|correct|make|remove|delete|leave|run |write|say|name|did you mean|reads? \d"
    r"|keep|only|sign them|is none of|needs?|wait|ask|add|sort|drop",
    re.IGNORECASE,
)
"""Words of messages that say what was expected, or what to do."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize(("heading", "bad"), CASES)
def test_it_is_refused_as_the_document_says(heading: str, bad: BadInput, places: Places) -> None:
    row = catalogue.row(bad, places)
    said = row.rpartition(" | `")[2]
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    assert row in section.splitlines(), "run python -m tests.catalogue"
    assert TELLS.search(said) and len(said) > 30
    assert not re.search(r"Traceback|<class|object at|/tmp/", said)


def test_the_document_lists_nothing_else() -> None:
    generated = [line for line in PAGE.partition(catalogue.START)[2].splitlines() if line.startswith("| ")]
    headings = [line for line in generated if line == "| what | error | what it says |"]
    assert len(headings) == len(tables()) and len(generated) - len(headings) == len(CASES)


def test_both_documents_list_enough() -> None:
    """Inputs that are refused, and, of observations, what becomes of them instead."""
    others = [line for line in OBSERVATIONS.read_text().splitlines() if re.match(r"\| (?!what )", line)]
    assert len(CASES) >= 200 and len(others) >= 100


def test_no_input_is_listed_twice() -> None:
    for heading, listed in tables():
        assert len({bad.what for bad in listed}) == len(listed), heading
