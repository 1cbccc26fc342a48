"""METAR bulletins: the reports of a bulletin, dates, tables of stations, the real ones, and what can be wrong."""

import importlib.util
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from xappa.errors import MissingDependency, ObservationError
from xappa.observations import Flag, flag_counts, read_observations
from xappa.observations.stations import station_table

needs_metpy = pytest.mark.skipif(importlib.util.find_spec("metpy") is None, reason="MetPy is not installed")

T, TD, P = "2m_temperature", "2m_dewpoint_temperature", "mean_sea_level_pressure"
U, V, QNH = "10m_u_component_of_wind", "10m_v_component_of_wind", "altimeter_setting"
BULLETIN = """
455
SAUS70 KWBC 311200

METAR

KRCM 311155Z AUTO 27010KT 10SM CLR 21/20 A3005 RMK AO2 SLP172 T02120198=
EDDF 311150Z VRB03KT CAVOK M02/M05 Q1025 NOSIG=
KRCM 311155Z COR AUTO 27012KT 10SM CLR 21/20 A3005 RMK AO2=
LFPG 010020Z 18010MPS 9999 FEW030
     20/10 Q0998=
ZZZZ 311155Z 00000KT 10SM CLR 10/05 A2992=
EGLL 311150Z NIL=
"""


@pytest.fixture
def stations() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "icao": ["KRCM", "EDDF", "LFPG"],
            "lat": [38.8, 50.0, 49.0],
            "lon": [-93.8, 8.6, 2.5],
            "elev": [243.0, 100.0, 109.0],
        }
    )


@pytest.fixture
def bulletin(tmp_path):
    path = tmp_path / "sao_20191231_1200.txt"
    path.write_text(BULLETIN)
    return path


@needs_metpy
def test_a_bulletin(bulletin, stations):
    obs = read_observations(bulletin, stations=stations)
    assert obs["station"].values.tolist() == ["KRCM", "KRCM", "EDDF", "LFPG", "ZZZZ"]  # the correction comes first
    np.testing.assert_allclose(obs[T] - 273.15, [21.0, 21.2, -2.0, 20.0, 10.0], atol=1e-9)
    np.testing.assert_allclose(obs[TD] - 273.15, [20.0, 19.8, -5.0, 10.0, 5.0], atol=1e-9)
    np.testing.assert_allclose(obs[QNH] / 100, [1017.6, 1017.6, 1025.0, 998.0, 1013.2], atol=0.1)
    np.testing.assert_allclose(obs[P].values[1], 101720.0)
    np.testing.assert_allclose(obs["10m_wind_speed"], np.array([12, 10, 3, 0, 0]) * 1852 / 3600 + [0, 0, 0, 10, 0])
    assert np.isnan(obs["10m_wind_from_direction"].values[2])
    np.testing.assert_allclose(obs[U].values[[1, 4]], [10 * 1852 / 3600, 0.0])
    assert obs["time"].values[3] == np.datetime64("2020-01-01T00:20")  # the next month, and year
    assert obs[f"{T}_flag"].values.tolist() == [Flag.GOOD, Flag.DUPLICATE, 0, 0, Flag.MISSING_PLACE]
    assert obs.attrs["reports_read"] == 5


@needs_metpy
def test_the_date_may_be_told(bulletin, stations):
    unnamed = bulletin.rename(bulletin.with_name("bulletin.txt"))
    with pytest.raises(ObservationError, match=r"day of the month only.*date='2019-07-01'"):
        read_observations(unnamed, stations=stations)
    obs = read_observations(unnamed, stations=stations, date="2020-03-31")
    assert obs["time"].values[0] == np.datetime64("2020-03-31T11:55")
    assert obs["time"].values[3] == np.datetime64("2020-04-01T00:20")


def test_places_have_to_be_told(bulletin):
    with pytest.raises(ObservationError, match=r"name their stations only.*stations='master.txt'"):
        read_observations(bulletin)


def test_without_metpy_the_command_is_named(bulletin, stations, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r'pip install "xappa\[obs\]"'):
        read_observations(bulletin, stations=stations)


@needs_metpy
def test_reading_leaves_the_registry_of_units_alone(bulletin, stations, tmp_path):
    stations.to_csv(tmp_path / "stations.csv", index=False)
    code = (
        "import pint, sys; from xappa.observations import read_observations;"
        f"read_observations({str(bulletin)!r}, stations={str(tmp_path / 'stations.csv')!r});"
        "print('metpy' in sys.modules, 'gpm' in pint.get_application_registry())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_real_tables_of_stations(shared):
    master = station_table(shared("real/stations/master.txt"))
    assert master.loc["EDDF"].round(2).tolist() == master.loc["10637"].round(2).tolist()
    assert abs(master.loc["EDDF", "latitude"] - 50.03) < 0.1 and abs(master.loc["EDDF", "longitude"] - 8.55) < 0.1
    assert (master["latitude"].abs() <= 90).all() and len(master) > 20_000
    soundings = station_table(shared("real/stations/gempak_snworld.tbl"))
    assert soundings.loc["01001"].tolist() == soundings.loc["ENJA"].tolist() == [70.93, -8.67, 9.0]
    both = station_table([shared("real/stations/master.txt"), shared("real/stations/gempak_synop.tbl")])
    assert both.loc["KRCM"].tolist() == master.loc["KRCM"].tolist() and len(both) > len(master)


@needs_metpy
def test_real_bulletins(shared):
    reported = read_observations(
        shared("real/metar-global-2019-2020/metar_20190701_1200.txt"),
        stations=shared("real/stations/master.txt"),
        derive=False,
    )
    obs = read_observations(reported.assign_attrs(derived=""))
    counts = flag_counts(obs)
    # MetPy's own splitting of the file finds 5,002 stations and 8,980 reports.
    assert np.unique(obs["station"]).size > 5000
    assert counts.loc[T, "good"] > 8600
    assert counts.loc[T, "missing_place"] < 0.05 * counts.loc[T, "good"]
    # Pressure reduced from the altimeter setting, against what the same stations report in their remarks.
    both = read_observations(reported.drop_vars([P, f"{P}_flag"]).assign_attrs(derived=""))
    difference = (both[P] - reported[P]).where(both["altitude"] < 300.0).to_numpy()
    difference = difference[np.abs(difference) < 2000.0]
    assert len(difference) > 1500
    assert abs(np.median(difference)) < 30.0 and np.std(difference) < 100.0
