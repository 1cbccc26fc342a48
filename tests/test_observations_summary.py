"""The summary that users print: in 80 columns, with units and everything that was left out; still a DataFrame."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xappa
from xappa.observations import Flag, concat, read_observations, with_flag
from xappa.observations.assumptions import with_assumption
from xappa.observations.qc.table import WIDTH, Summary

T, P, D = "2m_temperature", "mean_sea_level_pressure", "2m_dewpoint_temperature"
PLACES = {"time": "2024-01-01", "lat": [50.0, 51.0, 52.0], "lon": 4.0}


@pytest.fixture
def obs() -> xr.Dataset:
    table = pd.DataFrame(PLACES | {"t2m": [7.0, 8.0, 300.0], "msl": [1013.0] * 3, "d2m": 275.0, "snow": 0.3})
    return read_observations(table, units={"t2m": "degC", "msl": "hPa"})


def test_a_line_says_reports_used_rejected_and_units(obs):
    text = str(obs.appa.summary()).splitlines()
    assert text == [
        "variable                 reports  used  rejected  units",
        "2m_temperature                 3     2         1  degC -> K",
        "    out_of_range 1",
        "mean_sea_level_pressure        3     3         0  hPa -> Pa",
        "2m_dewpoint_temperature        3     3         0  K (assumed)",
        "unknown variables:",
        "    snow 3",
    ]


def test_it_says_what_was_assumed_and_not_checked(obs):
    told = with_assumption(obs, "Times without a zone are taken as UTC: date= tells otherwise.")
    text = str(xappa.quality_control(told).appa.summary())
    assert "assumed:\n    Times without a zone are taken as UTC: date= tells otherwise." in text
    assert f"reports not checked:\n    {D} 3" in text


def test_it_is_a_table_all_the_same(obs):
    found = obs.appa.summary()
    assert isinstance(found, pd.DataFrame) and found.index.name == "variable"
    assert found.loc[T].to_dict() == {"good": 2, "out_of_range": 1}
    assert found.loc[T, "good"] == 2 and found["out_of_range"].sum() == 1
    assert type(found.loc[[T]]) is type(found[found.good > 0]) is pd.DataFrame
    assert str(pickle.loads(pickle.dumps(found))) == str(found)
    assert found.equals(xappa.summary(obs))


def test_it_heads_the_representation_of_observations(obs):
    assert repr(obs.appa) == str(obs.appa.summary())
    html = obs.appa._repr_html_()
    assert html.startswith("<pre>variable  ") and "degC -&gt; K" in html and obs._repr_html_()[:20] in html
    assert obs.appa.summary()._repr_html_().startswith("<pre>variable")
    assert repr(xappa.template("2024-01-01", "2024-01-01").appa).startswith("<xappa on a Dataset of ")


def test_lazy_observations_are_not_computed_to_be_shown(obs):
    def explode(block):
        raise AssertionError("computed")

    lazy = obs.chunk(obs=1)
    lazy[T] = lazy[T].copy(data=lazy[T].data.map_blocks(explode, dtype=float, meta=np.zeros(0)))
    assert "3 reports, lazy" in repr(lazy.appa) and f"{T} degC -> K" in repr(lazy.appa)


def test_an_analysis_has_one_too(obs, tiny_model):
    ds = xappa.template("2024-01-01", "2024-01-01T18", model=tiny_model)
    text = str(ds.appa.assimilate(obs, model=tiny_model, seed=0, steps=2).appa.summary())
    assert "2m_temperature                 3     2         1\n    out_of_range 1" in text


@given(
    names=st.lists(st.text("abc_0", min_size=1, max_size=120), min_size=1, max_size=5, unique=True),
    counts=st.lists(st.integers(0, 10**12), min_size=len(Flag), max_size=len(Flag)),
    unit=st.text("m s-1()", max_size=100),
)
def test_nothing_is_wider_than_80_columns_or_cut(names, counts, unit):
    columns = [flag.name.lower() for flag in Flag]
    table = pd.DataFrame([counts] * len(names), names, columns)
    text = str(
        Summary.of(table, {"units": dict.fromkeys(names, unit), "counts": {"unknown_variables": {n: 1 for n in names}}})
    )
    assert max(map(len, text.splitlines())) <= WIDTH and "..." not in text and "…" not in text
    for name, count in zip(columns[1:], counts[1:], strict=True):
        assert not count or f"{name} {count}" in " ".join(text.split())


class TestUnitsAsRead:
    """What the source told stays beside the units in which values are kept."""

    def test_of_tables(self, obs):
        assert obs[T].attrs["units_read"] == "degC" and "units_read" not in obs[D].attrs
        tidy = pd.DataFrame(
            {"time": "2024-01-01", "lat": [50.0, 51.0], "lon": 4.0, "variable": "t2m", "observation": [7.0, 45.0]}
        )
        found = read_observations(tidy.assign(units=["degC", "degF"]))
        assert found[T].attrs["units_read"] == "degC, degF" and found[T].attrs["units"] == "K"
        assert "units_read" not in read_observations(tidy)[T].attrs

    def test_of_datasets(self):
        where = {
            "time": ("p", pd.date_range("2024-01-01", periods=2)),
            "lat": ("p", [1.0, 2.0]),
            "lon": ("p", [3.0, 4.0]),
        }
        ds = xr.Dataset({"t2m": ("p", [7.0, 8.0], {"units": "degC"}), "msl": ("p", [1e5, 1e5])}, where)
        found = read_observations(ds)
        assert found[T].attrs["units_read"] == "degC" and "units_read" not in found[P].attrs
        assert read_observations(found)[T].attrs["units_read"] == "degC"

    def test_of_several_sources(self, obs):
        other = read_observations(pd.DataFrame(PLACES | {"t2m": 280.0}), units={"t2m": "K"})
        both = concat([obs, other])
        assert both[T].attrs["units_read"] == "degC, K"
        assert "degC, K -> K" in str(both.appa.summary())


def test_rejections_of_every_reason_are_listed(obs):
    size = obs.sizes["obs"]
    for k, flag in enumerate((Flag.NO_ERROR, Flag.WITHHELD, Flag.THINNED)):
        obs = with_flag(obs, P, np.arange(size) == k, flag)
    assert "    withheld 1, thinned 1, no_error 1" in str(obs.appa.summary()).splitlines()
