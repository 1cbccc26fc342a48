"""Shared fixtures: where real data lie, and a seeded generator."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of a file or folder of the test data; the test is skipped, with the reason, where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared"
    root = Path(os.environ.get("XAPPA_TEST_DATA", default))

    def find(path: str) -> Path:
        if not (root / path).exists():
            pytest.skip(f"{path} is not in the test data (set XAPPA_TEST_DATA to the folder that holds it)")
        return root / path

    return find


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded generator of the test."""
    return np.random.default_rng(0)
