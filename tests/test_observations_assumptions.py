"""What reading assumes is kept, said once, and refused if it must not be."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import AssumptionWarning, ObservationError, UnitsWarning
from xappa.observations.assumptions import AssumptionLog, get_assumptions, with_assumption
from xappa.observations.schema import concat

TABLE = pd.DataFrame({"time": ["2020-01-01"], "lat": 50.0, "lon": 4.0, "elev": 10.0, "t2m": 280.0, "msl": 101300.0})


def read(**options):
    return xappa.read_observations(TABLE, **options)


class TestUnits:
    def test_one_warning_names_quantity_unit_and_remedy(self):
        with pytest.warns(UnitsWarning, match=r"2m_temperature \(K\), mean_sea_level_pressure \(Pa\).*units=") as said:
            read()
        assert len(said) == 1
        assert said[0].filename == __file__

    def test_what_was_told_is_not_assumed(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(units={"t2m": "K", "msl": "Pa"})

    def test_strict_refuses(self):
        with pytest.raises(ObservationError, match="nothing may be assumed.*2m_temperature"):
            read(strict=True)
        read(strict=True, units={"t2m": "K", "msl": "Pa"})

    def test_observations_that_are_read_again_say_nothing_new(self):
        with pytest.warns(UnitsWarning):
            obs = read()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert xappa.read_observations(obs).attrs["units_assumed"] == obs.attrs["units_assumed"]


class TestSentences:
    def test_joined_and_said_once(self):
        obs = read(units={"t2m": "K", "msl": "Pa"})
        both = concat([with_assumption(obs, "one"), with_assumption(with_assumption(obs, "one"), "two")])
        assert get_assumptions(both) == ["one", "two"]
        assumed, already_warned = AssumptionLog(), {"two"}
        assumed.add(both)
        with pytest.warns(AssumptionWarning) as said:
            assumed.warn()
        assert [str(warning.message) for warning in said] == ["one", "two"]
        with pytest.warns(AssumptionWarning) as said:
            assumed.warn(already_warned=already_warned)
        assert [str(warning.message) for warning in said] == ["one"] and already_warned == {"one", "two"}


OTHER = TABLE[["time", "lat", "lon", "t2m"]].assign(lat=60.0)


class TestSeveralSources:
    @pytest.mark.parametrize(
        "sources",
        [
            [TABLE, OTHER],
            {"a": TABLE, "b": OTHER},
            OTHER.set_index("time")["t2m"].to_xarray().assign_coords(latitude=50.0, longitude=4.0),
        ],
    )
    def test_one_warning_for_all_of_them(self, sources):
        with pytest.warns(UnitsWarning) as said:
            xappa.read_observations(sources)
        assert len(said) == 1 and said[0].filename == __file__
        with pytest.raises(ObservationError, match="nothing may be assumed.*2m_temperature"):
            xappa.read_observations(sources, strict=True)

    def test_what_one_source_said_before_is_news_of_another(self):
        with pytest.warns(UnitsWarning):
            obs = read()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            xappa.read_observations({"a": obs, "b": xappa.read_observations(OTHER, units={"t2m": "K"})})
        with pytest.warns(UnitsWarning, match=r"assumed, of 2m_temperature \(K\)\. "):
            xappa.read_observations([obs, OTHER])


class TestReadOnTheUsersBehalf:
    """Every function that reads says it once, of the user's own line."""

    def test_once_and_here(self, tiny_model):
        ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
        table = TABLE.assign(time="2001-03-13T06")
        fields = xappa.tutorial.nature_run().isel(time=slice(2))
        at_fields = table.assign(time=fields.time.values[0])
        calls = {
            "assimilate": lambda: ds.appa.assimilate(table, model=tiny_model, seed=0, steps=2),
            "filter": lambda: ds.appa.filter(table, model=tiny_model, seed=0, steps=2),
            "superob": lambda: xappa.superob(table, 1.0),
            "thin": lambda: xappa.thin(table, 1.0),
            "quality_control": lambda: xappa.quality_control(table, model=tiny_model),
            "observe": lambda: fields.appa.observe(at_fields),
            "verify": lambda: fields.appa.verify(at_fields),
        }
        for name, call in calls.items():
            with pytest.warns(UserWarning) as said:
                call()
            units = [warning for warning in said if warning.category is UnitsWarning]
            assert len(units) == 1 and units[0].filename == __file__, name

    def test_once_where_dask_reads(self, tiny_model):
        ds = xappa.template("2001-03-13T00", "2001-03-14T18", model=tiny_model)
        time = pd.date_range("2001-03-13", periods=40, freq="h")
        coords = {"time": ("obs", time), "lat": ("obs", np.linspace(-60, 60, 40)), "lon": ("obs", np.zeros(40))}
        lazy = xr.Dataset({"t2m": ("obs", np.full(40, 280.0))}, coords).chunk(obs=10)
        with pytest.warns(UserWarning) as said:
            analysis = ds.appa.assimilate(lazy, model=tiny_model, seed=0, steps=2)
            analysis["2m_temperature"].isel(time=0).compute()
        units = [warning for warning in said if warning.category is UnitsWarning]
        assert len(units) == 1 and units[0].filename == __file__


def test_a_warning_in_a_thread_names_the_line_that_waits_for_it():
    from concurrent.futures import ThreadPoolExecutor

    from xappa import errors

    with pytest.warns(UserWarning) as said, ThreadPoolExecutor(1) as pool:
        pool.submit(errors.warn, "in a thread").result()
    assert str(said[0].message) == "in a thread" and said[0].filename == __file__
