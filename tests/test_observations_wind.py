"""Wind components from speed and direction."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xappa.observations import Flag, flag_counts, read_observations

U, V = "10m_u_component_of_wind", "10m_v_component_of_wind"


def table(**columns) -> pd.DataFrame:
    size = max(len(values) for values in columns.values())
    place = {"time": ["2024-01-01T00"] * size, "lat": np.linspace(-60, 60, size), "lon": np.linspace(0, 90, size)}
    return pd.DataFrame(place | columns)


@pytest.mark.parametrize(
    ("direction", "u", "v"),
    [(0.0, 0.0, -5.0), (90.0, -5.0, 0.0), (180.0, 0.0, 5.0), (270.0, 5.0, 0.0), (360.0, 0, -5.0)],
)
def test_direction_is_where_the_wind_blows_from(direction, u, v):
    obs = read_observations(table(**{"10m_wind_speed": [5.0], "10m_wind_from_direction": [direction]}))
    np.testing.assert_allclose([obs[U][0], obs[V][0]], [u, v], atol=1e-14)


def test_oceanographic_direction_is_where_it_blows_to():
    ds = xr.Dataset(
        {
            "ws": ("x", [5.0], {"standard_name": "wind_speed", "units": "m s-1"}),
            "wd": ("x", [90.0], {"standard_name": "wind_to_direction", "units": "degree"}),
        },
        coords={
            "time": ("x", np.array(["2024-01-01"], dtype="datetime64[s]")),
            "lat": ("x", [0.0], {"standard_name": "latitude"}),
            "lon": ("x", [0.0], {"standard_name": "longitude"}),
        },
    )
    obs = read_observations(ds)
    np.testing.assert_allclose([obs[U][0], obs[V][0]], [5.0, 0.0], atol=1e-14)
    assert obs[U].attrs["derived_from"] == "10m_wind_speed 10m_wind_to_direction"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0.1, 80.0), st.floats(0.0, 359.99)), min_size=1, max_size=20))
def test_components_bring_speed_and_direction_back(winds):
    speed, direction = map(np.array, zip(*winds, strict=True))
    obs = read_observations(table(wind_speed=speed, wind_direction=direction))
    u, v = obs[U].to_numpy(), obs[V].to_numpy()
    np.testing.assert_allclose(np.hypot(u, v), speed, rtol=1e-12)
    turned = (np.degrees(np.arctan2(-u, -v)) - direction + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(turned, 0.0, atol=1e-9)


def test_calm_needs_no_direction_and_wind_without_one_has_no_components():
    obs = read_observations(table(wind_speed=[0.0, 3.0, np.nan], wind_direction=[np.nan, np.nan, 90.0]))
    np.testing.assert_array_equal(obs[U], [0.0, np.nan, np.nan])
    np.testing.assert_array_equal(obs[V], [0.0, np.nan, np.nan])


def test_what_was_reported_is_kept_and_used_once():
    obs = read_observations(table(wind_speed=[4.0, 3.0], wind_direction=[90.0, np.nan]))
    np.testing.assert_array_equal(obs["wind_speed"], [4.0, 3.0])
    assert obs["wind_speed_flag"].values.tolist() == [Flag.UNUSED, Flag.GOOD]
    assert obs[f"{U}_flag"].values.tolist() == [Flag.GOOD, Flag.GOOD]
    counts = flag_counts(obs)
    assert counts.loc[U, "good"] == 1
    assert [counts[reason]["wind_speed"] for reason in ("good", "unused")] == [1, 1]


def test_reported_components_are_not_derived_again():
    obs = read_observations(table(u10=[1.0, np.nan], v10=[2.0, np.nan], ws10=[9.0, 9.0], wd10=[270.0, 270.0]))
    np.testing.assert_allclose(obs[U], [1.0, 9.0])
    np.testing.assert_allclose(obs[V], [2.0, 0.0], atol=1e-14)
    assert obs["10m_wind_speed_flag"].values.tolist() == [Flag.UNUSED, Flag.UNUSED]


def test_derive_can_be_left_out():
    obs = read_observations(table(wind_speed=[4.0], wind_direction=[90.0]), derive=False)
    assert U not in obs
    assert obs["wind_speed_flag"].values.tolist() == [Flag.GOOD]


def test_on_levels_the_components_are_those_of_the_level():
    obs = read_observations(table(wind_speed=[4.0], wind_direction=[180.0], level=[500.0]))
    assert float(obs["v_component_of_wind"][0]) == pytest.approx(4.0)
    assert U not in obs


def test_components_have_the_error_of_the_speed():
    frame = table(wind_speed=[4.0, 5.0], wind_direction=[90.0, 180.0], wind_speed_error=[1.5, np.nan])
    obs = read_observations(frame, error={"wind_speed": "2 m/s"})
    np.testing.assert_array_equal(obs[f"{U}_error"], [1.5, 2.0])
    np.testing.assert_array_equal(obs[f"{V}_error"], [1.5, 2.0])
    obs = read_observations(frame, error={U: 3.0, "wind_speed": 2.0})
    np.testing.assert_array_equal(obs[f"{U}_error"], [1.5, 3.0])
    np.testing.assert_array_equal(obs[f"{V}_error"], [1.5, 2.0])


def test_an_absurd_speed_rejects_both_components_however_small_they_are():
    obs = read_observations(table(wind_speed=[349.0], wind_direction=[90.0]))
    assert abs(float(obs[V][0])) < 1e-9
    for name in (U, V, "wind_speed"):
        assert obs[f"{name}_flag"].values.tolist() == [Flag.OUT_OF_RANGE]


def test_one_bad_component_rejects_the_other():
    obs = read_observations(table(u10=[200.0, 1.0], v10=[1.0, 1.0]))
    assert obs[f"{V}_flag"].values.tolist() == [Flag.OUT_OF_RANGE, Flag.GOOD]


def test_a_duplicate_without_direction_does_not_take_the_components_away():
    frame = pd.DataFrame(
        {
            "time": ["2024-01-01T00"] * 2,
            "lat": [1.0, 1.0],
            "lon": [2.0, 2.0],
            "wind_speed": [4.0, 4.0],
            "wind_direction": [np.nan, 90.0],
        }
    )
    counts = flag_counts(read_observations(frame))
    assert counts.loc[U, "good"] == 1
    assert [counts[reason]["wind_speed"] for reason in ("good", "duplicate")] == [1, 1]
