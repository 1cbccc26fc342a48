"""Rows that are equal, also where hashes are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xappa import distinct_rows as module
from xappa.distinct_rows import find_distinct
from xappa.operators import SparseOperator


@pytest.fixture(params=[False, True], ids=["hashes", "one hash for all"])
def hashed(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(module, "_hash_rows", lambda words: np.zeros(len(words[0]), np.uint64))


COLUMNS = {
    "numbers": (np.array([1.0, -0.0, np.nan, 1.0, 0.0, np.nan]),),
    "pairs": (np.array([1.0, 2.0, 1.0, 2.0, 1.0]), np.array([5, 5, 6, 5, 5])),
    "text": (np.array(["b", "a", "", "b", "ä", "ab", "abcdefg"]),),
    "text and numbers": (np.array(["b", "a", "b"]), np.array([1, 1, 1])),
    "nothing": (np.array([], "U3"),),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.usefixtures("hashed")
def test_kinds_come_in_the_order_of_rows(name):
    columns = COLUMNS[name]
    kinds: dict[tuple, int] = {}
    keys = [tuple(value.tobytes() for value in row) for row in zip(*columns, strict=True)]
    number = [kinds.setdefault(key, len(kinds)) for key in keys]
    first, found = find_distinct(*columns)
    assert found.tolist() == number
    assert first.tolist() == [keys.index(key) for key in kinds]


@given(st.permutations(range(6)))
def test_rows_of_an_operator_are_sorted_by_their_own_numbers(order):
    rng = np.random.default_rng(0)
    time, channel, cell = (rng.integers(0, 2, (6, 3)) for _ in range(3))
    offset, value, error = rng.integers(0, 2, (3, 6)).astype(float)
    rows = SparseOperator(
        time, channel, cell, rng.normal(size=(6, 3)), offset, value, error, np.arange(6), np.zeros(6, int), ("a",)
    )
    one, other = rows.sort(), rows.select(np.array(order)).sort()
    assert sorted(one.observation) == list(range(6))
    for name in ("time", "channel", "cell", "weight", "offset", "value", "error"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
