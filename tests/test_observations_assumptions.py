"""What reading assumes is kept, said once, and refused if it must not be."""

from __future__ import annotations

import warnings

import pandas as pd
import pytest

import xappa
from xappa.errors import AssumptionWarning, ObservationError, UnitsWarning
from xappa.observations.assumptions import assumptions_of, tell, with_assumption
from xappa.observations.form import concat

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
        assert assumptions_of(both) == ["one", "two"]
        with pytest.warns(AssumptionWarning) as said:
            tell(both, None, strict=False)
        assert [str(warning.message) for warning in said] == ["one", "two"]
