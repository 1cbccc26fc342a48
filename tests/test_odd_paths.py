"""Texts that no path can be, and numbers that no float holds, wherever a path or a number is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xappa
from tests.bad_inputs.settings import REPORTS, fields
from xappa.errors import XappaError

TAKEN: dict[str, Callable[[Any], Any]] = {
    "load": xappa.load,
    "fetch": xappa.fetch,
    "fetch(path=)": lambda v: xappa.fetch("speedy", path=v),
    "read_observations": xappa.read_observations,
    "read_observations(stations=)": lambda v: xappa.read_observations(REPORTS, stations=v),
    "to_zarr": lambda v: xappa.to_zarr(fields(), v, progress=False),
    "regrid": lambda v: xappa.regrid(fields(), v),
    "regrid(weights=)": lambda v: xappa.regrid(fields(), 30.0, weights=v),
    "regrid_weights": lambda v: xappa.regrid_weights(fields(), v),
    "write_weights": lambda v: xappa.write_weights(xappa.regrid_weights(fields(), 30.0), v),
    "sample(model=)": lambda v: fields().appa.sample(model=v, members=1),
    "assimilate(background=)": lambda v: fields().appa.assimilate(REPORTS, background=v),
    "superob": lambda v: xappa.superob(REPORTS, v),
    "superob(model=)": lambda v: xappa.superob(REPORTS, "model", model=v),
    "quality_control(model=)": lambda v: xappa.quality_control(REPORTS, model=v),
}
WRONG = {
    "a long name": "x" * 5000,
    "a long path": Path("a/" * 3000),
    "a zero byte": "a\0b",
    "a path with a zero byte": Path("a\0b"),
    "a number beyond floats": 10**400,
    "a length of time": np.timedelta64(1, "h"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
@pytest.mark.parametrize("taken", TAKEN.values(), ids=list(TAKEN))
def test_what_no_path_can_be_is_refused_in_words(taken, wrong, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(XappaError):
        taken(wrong)
