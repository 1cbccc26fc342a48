"""The verdict of the source itself: CF flags of ancillary variables, in the schemes that networks use."""

import json

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import AssumptionWarning, ObservationError, OptionError
from xappa.observations import Flag, read_observations
from xappa.observations.readers.cf.quality import read_flag
from xappa.observations.readers.quality_words import classify_meaning

T = "2m_temperature"
KEPT, OUT = 0, Flag.REJECTED_BY_SOURCE.value
QARTOD = {"flag_values": np.array([1, 2, 3, 4, 9], "i1"), "flag_meanings": "PASS NOT_EVALUATED SUSPECT FAIL MISSING"}
SEADATANET = {
    "flag_values": np.array([49, 50, 51, 56], "i1"),
    "flag_meanings": "good_value probably_good_value probably_bad_value interpolated_value",
}
BITS = {"flag_masks": np.array([1, 2], "i4")}


def flagged(codes, name: str = "airt_qc", linked: bool = True, **attrs) -> xr.Dataset:
    """Four temperatures, and what their flag says."""
    own = {"units": "K", "standard_name": "air_temperature"} | ({"ancillary_variables": name} if linked else {})
    return xr.Dataset(
        {"airt": ("time", np.arange(280.0, 284.0), own), name: ("time", np.asarray(codes), attrs)},
        {"time": pd.date_range("2018-11-02", periods=4, freq="h"), "lat": 50.0, "lon": 8.0},
    )


def flags(obs: xr.Dataset) -> list[int]:
    return obs.compute()[f"{T}_flag"].values.tolist()


@pytest.mark.parametrize(
    ("ds", "expected", "suspected"),
    [
        (flagged([1, 2, 3, 4], **QARTOD), [0, 0, 0, 1], [0, 0, 1, 1]),
        (flagged([1.0, np.nan, 3.0, 4.0], **QARTOD), [0, 0, 0, 1], [0, 0, 1, 1]),
        (flagged([1, 2, 3, 4], "qc_airt", False, **QARTOD), [0, 0, 0, 1], [0, 0, 1, 1]),
        (flagged([1, 2, 3, 4], "airt_quality_flag", False, **QARTOD), [0, 0, 0, 1], [0, 0, 1, 1]),
        (
            flagged(["1", "3", "4", "9"], flag_values="1 3 4 9", flag_meanings="good questionable bad missing"),
            [0, 0, 1, 1],
            [0, 1, 1, 1],
        ),
        (
            flagged([1, 2, 3, 4], flag_values="1, 2, 3, 4", flag_meanings="good, probably_good, probably_bad, bad"),
            [0, 0, 1, 1],
            [0, 0, 1, 1],
        ),
        (
            flagged([49, 50, 51, 56], "airt_SEADATANET_QC", **SEADATANET),
            [0, 0, 1, 0],
            [0, 0, 1, 1],
        ),
        (
            flagged([0, 1, 2, 3], "airt_qc", **BITS, flag_meanings="range_test_failed spike_suspected"),
            [0, 1, 0, 1],
            [0, 1, 1, 1],
        ),
        (
            flagged(
                [0, 1, 2, 3], "qc_airt", False, **BITS, flag_meanings="low high", flag_assessments="Bad Indeterminate"
            ),
            [0, 1, 0, 1],
            [0, 1, 1, 1],
        ),
        (
            flagged([0, 1, 2, 3], "qc_airt", False, bit_1_assessment="Bad", bit_2_assessment="Indeterminate"),
            [0, 1, 0, 1],
            [0, 1, 1, 1],
        ),
        (
            flagged(
                [0, 1, 2, 3],
                flag_masks=np.array([3, 3, 3, 3], "i1"),
                flag_values=np.array([0, 1, 2, 3], "i1"),
                flag_meanings="good bad suspect not_good",
            ),
            [0, 1, 0, 1],
            [0, 1, 1, 1],
        ),
        (flagged(np.array(["1", "2", "3", "4"], "S1"), "airt_QC", False), [0, 0, 1, 1], [0, 0, 1, 1]),
        (flagged([1, 5, 3, 4], conventions="OceanSITES QC Flags"), [0, 0, 1, 1], [0, 1, 1, 1]),
    ],
)
def test_values_that_failed_are_rejected_and_suspect_ones_if_wanted(ds, expected, suspected, tmp_path):
    pytest.importorskip("netCDF4")
    ds.to_netcdf(tmp_path / "flagged.nc")
    for source in (ds, ds.chunk(), tmp_path / "flagged.nc"):
        assert flags(read_observations(source)) == [OUT * wrong for wrong in expected]
        assert flags(read_observations(source, suspect="reject")) == [OUT * wrong for wrong in suspected]
    obs = read_observations(ds)
    np.testing.assert_array_equal(obs[T], ds["airt"])  # rejected values are kept
    assert "unknown_variables" not in obs.attrs and "assumptions" not in obs.attrs


def test_an_aggregate_outweighs_single_tests():
    single = {"standard_name": "gross_range_test_quality_flag"}
    ds = flagged([1, 1, 1, 4], "agg", standard_name="aggregate_quality_flag", **QARTOD)
    ds = ds.assign(gross=("time", [4, 1, 1, 1], QARTOD | single))
    ds["airt"].attrs["ancillary_variables"] = "gross agg"
    assert flags(read_observations(ds)) == [0, 0, 0, OUT]
    ds["agg"].attrs["standard_name"] = "flat_line_test_quality_flag"
    assert flags(read_observations(ds)) == [OUT, 0, 0, OUT]


def test_flags_of_times_and_places_concern_every_value():
    ds = flagged([1, 1, 1, 4], **QARTOD).assign(time_qc=("time", [4, 1, 1, 1], QARTOD))
    assert flags(read_observations(ds)) == [OUT, 0, 0, OUT]


def test_the_verdict_reaches_what_is_derived():
    wind = {"wind_speed": "m s-1", "wind_from_direction": "degree"}
    ds = flagged([1, 1, 1, 4], "wind_speed_qc", **QARTOD).drop_vars("airt")
    ds = ds.assign({name: ("time", [5.0, 6.0, 7.0, 8.0], {"units": units}) for name, units in wind.items()})
    obs = read_observations(ds)
    for name in ("wind_speed", "10m_u_component_of_wind", "10m_v_component_of_wind"):
        assert (obs[f"{name}_flag"].values == OUT).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("ds", "match"),
    [
        (flagged([1, 2, 3, 4]), "airt_qc: its flags are not understood"),
        (flagged([1, 2, 3, 4], "airt_QC", False), "airt_QC: its flags are not understood"),
        (flagged([1, 2, 3, 4], flag_values=[1, 2], flag_meanings="alpha beta"), "its flags are not understood"),
        (flagged([1, 2, 3, 4], flag_values=[1, 2, 3], flag_meanings="good bad"), "its flags are not understood"),
        (flagged([1, 1, 1, 1], flag_values=[1, 2], flag_meanings="good bird_strike"), "meanings 'bird_strike'"),
        (flagged(["A", "B", "A", "A"], conventions="Argo reference table 2a"), "its flags are not understood"),
    ],
)
def test_flags_that_are_not_understood_are_said(ds, match):
    with pytest.warns(AssumptionWarning, match=match):
        assert flags(read_observations(ds)) == [0] * 4
    with pytest.raises(ObservationError, match=f"strict=True.*{match}"):
        read_observations(ds, strict=True)


def test_flags_along_other_dimensions_are_said():
    ds = flagged([1, 1, 1, 4], **QARTOD)
    ds["airt_qc"] = (("time", "test"), np.full((4, 2), 4), QARTOD)
    with pytest.warns(AssumptionWarning, match="airt_qc: it lies along other dimensions than airt"):
        assert flags(read_observations(ds)) == [0] * 4


def test_verdicts_stay_lazy():
    def refuse(block):
        raise AssertionError("computed")

    ds = flagged([1, 2, 3, 4], **QARTOD)
    codes = da.from_array(ds["airt_qc"].values, chunks=2).map_blocks(refuse, dtype="i8", meta=np.empty(0, "i8"))
    values = da.from_array(ds["airt"].values, chunks=2).map_blocks(refuse, dtype=float, meta=np.empty(0))
    lazy = ds.assign(airt_qc=("time", codes, QARTOD), airt=("time", values, ds["airt"].attrs))
    assert read_observations(lazy)[f"{T}_flag"].chunks is not None


def test_errors_and_other_ancillary_variables_are_no_flags():
    ds = flagged([0.5] * 4, "sd", standard_name="air_temperature standard_error", units="K")
    obs = read_observations(ds)
    assert flags(obs) == [0] * 4 and "assumptions" not in obs.attrs
    np.testing.assert_array_equal(obs[f"{T}_error"], 0.5)


def test_wrong_options_are_refused():
    with pytest.raises(OptionError, match=r"suspect='drop': expected 'keep' or 'reject'"):
        read_observations(flagged([1, 2, 3, 4], **QARTOD), suspect="drop")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("failed", "FAIL bad_data invalid erroneous not_good out_of_range spike missing_value sensor_malfunction"),
        ("suspect", "suspect questionable doubtful Indeterminate interpolated estimated suspect_or_of_high_interest"),
        ("good", "pass good_data ok not_failed not_evaluated no_quality_control unchecked valid corrected no_bad_data"),
        (None, "land rain_detected alpha"),
    ],
)
def test_words_of_meanings(kind, words):
    assert {word: classify_meaning(word) for word in words.split()} == dict.fromkeys(words.split(), kind)


def test_verdicts_of_one_flag():
    flag = flagged([1, 2, 3, 4], **QARTOD)["airt_qc"]
    verdict = read_flag(flag)
    assert verdict.failed.values.tolist() == [False, False, False, True]
    assert verdict.suspect.values.tolist() == [False, False, True, False]
    assert read_flag(flag.drop_attrs()) is None
    assert json.dumps(read_observations(flagged([1, 2, 3, 4], **QARTOD)).attrs)
