"""What a plan counts of its reports, without taking them out window by window."""

from __future__ import annotations

import numpy as np
import pytest

from xappa.operators.sparse import SparseOperator
from xappa.sampling.evaluation_cost import _count_reports


@pytest.mark.parametrize("size", [0, 1, 200])
def test_reports_and_times_of_windows_are_those_of_the_windows_themselves(rng, size):
    first = rng.integers(0, 18, size)
    time = first[:, None] + rng.integers(0, 3, (size, 5)) * rng.integers(0, 2, (size, 1))
    zero, whole = np.zeros((size, 5)), np.zeros(size, int)
    stencil = SparseOperator(
        time, time * 0, time * 0, zero, whole * 0.0, whole * 0.0, whole * 0.0, whole, whole, ("a",)
    )
    cuts = [(start, length, 1) for start in (0, 3, 9, 15, 30) for length in (1, 2, 4, 20)]
    parts = [stencil.select_window(start, length) for start, length, _ in cuts]
    assert _count_reports(stencil, cuts) == [(len(part), len(part.frames)) for part in parts]
