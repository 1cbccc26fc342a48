"""Texts that no path can be, and numbers that no float holds, wherever a path or a number is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import xappa
from tests.bad_inputs.settings import REPORTS, fields
from xappa.errors import ModelError, XappaError
from xappa.model.appa.statistics import _values

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


@pytest.mark.parametrize("names", [[["a"]], [{}], [1], [None], ["snow"], [("a", 1)]], ids=repr)
@pytest.mark.parametrize(
    "taken",
    [
        lambda names: xappa.platforms.stations(fields(), variables=names),
        lambda names: xappa.platforms.swaths(fields(), variables=names),
        lambda names: xappa.verify(fields(), fields(), by=names),
        lambda names: xappa.verify(fields(), fields(), metrics=names),
        lambda names: xappa.read_observations(REPORTS, unknown=[*names, 1]),
    ],
    ids=["stations", "swaths", "verify(by=)", "verify(metrics=)", "read_observations(unknown=)"],
)
def test_lists_of_what_is_no_name_are_refused_in_words(taken, names) -> None:
    with pytest.raises(XappaError):
        taken(names)


@pytest.mark.parametrize(
    "options",
    [{"width": np.inf}, {"width": 1e300}, {"spacing": 1e-9}, {"spacing": 1e-300}, {"channels": 10**30}],
    ids=repr,
)
def test_swaths_of_more_than_fits_are_refused_before_they_take_memory(options) -> None:
    with pytest.raises(XappaError):
        xappa.platforms.swaths(fields(), **options)


def test_statistics_that_memory_does_not_hold_are_refused_in_words(monkeypatch) -> None:
    group = zarr.group(zarr.storage.MemoryStore())
    group.create_array("mean", shape=(2,), dtype="f4")

    def full(self: zarr.Array, key: object) -> None:
        raise MemoryError("Unable to allocate 8 GiB")

    monkeypatch.setattr(zarr.Array, "__getitem__", full)
    with pytest.raises(ModelError, match="mean claims more memory than there is"):
        _values(group, "mean")
