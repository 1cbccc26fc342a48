"""METAR bulletins: the reports among what else they hold, dates, tables of stations, the real ones."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import ObservationError, OptionError
from xappa.observations import Flag, flag_counts, read_observations
from xappa.observations.readers.station_tables import read_station_table

T, TD, P = "2m_temperature", "2m_dewpoint_temperature", "mean_sea_level_pressure"
U, V, QNH = "10m_u_component_of_wind", "10m_v_component_of_wind", "altimeter_setting"
BULLETIN = """
455
SAUS70 KWBC 311200

METAR

KRCM 311155Z AUTO 27010KT 10SM CLR 21/20 A3005 RMK AO2
     SLP172 T02120198=
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


def test_reading_leaves_the_registry_of_units_alone(bulletin, stations, tmp_path):
    stations.to_csv(tmp_path / "stations.csv", index=False)
    code = (
        "import pint, sys; from xappa.observations import read_observations;"
        f"read_observations({str(bulletin)!r}, stations={str(tmp_path / 'stations.csv')!r});"
        "print('metpy' in sys.modules, 'gpm' in pint.get_application_registry())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


REPORT = "24010KT 9999 SCT030 12/08 Q0987"


@pytest.fixture
def read(tmp_path, stations):
    """Reads the text of a file of bulletins."""

    def read_text(text: str, name: str = "metar_20190701_1200.txt", **options) -> xr.Dataset:
        data = text.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return read_observations(tmp_path / name, stations=stations, derive=False, **options)

    return read_text


def left_out(obs: xr.Dataset) -> dict[str, int]:
    return json.loads(obs.attrs["reports_left_out"])


@pytest.mark.parametrize(
    "other",
    [
        "TAF LFPG 011104Z 0112/0212 30020KT 9999 BKN005=",
        "TAF AMD LFPG 011104Z 0112/0212 30020KT\n     BECMG 0114/0116 4000 RA\n     FM011800 18005KT=",
        "TAF\nLFPG 011104Z 0112/0212 30020KT=",
        "FTUK31 EGRR 011100\nLFPG 011104Z 0112/0212 30020KT TX15/0114Z TN03/0203Z=",
        "FTUK31 EGRR 011100\nLFPG 011104Z 30020KT=",
        "FCUK31 EGRR 011100\nLFPG 011104Z 011221 30020KT=",
        "FCUK31 EGRR 011100 AAA\nTAF COR LFPG 011104Z 0112/0121 NIL=",
        "LFPG 011104Z 0112/0212 30020KT 9999=",
        "METAR LFPG 011104Z 0112/0212 30020KT 9999=",
    ],
)
def test_a_forecast_is_no_report(read, other):
    for text in (f"{other}\nMETAR EDDF 011250Z {REPORT}=", f"METAR EDDF 011250Z {REPORT}\n{other}\n"):
        obs = read(text)
        assert obs["station"].values.tolist() == ["EDDF"] and obs[QNH].values.tolist() == [98700.0]
        assert left_out(obs) == {"forecast": 1}


@pytest.mark.parametrize(
    "other",
    [
        "WSUK31 EGRR 011200\nEGTT SIGMET 01 VALID 011200/011600 EGRR-\nSEV ICE OBS AT 1150Z MOV E 15KT 33/11 Q1040=",
        "EGTT AIRMET 2 VALID 011200/011600 EGRR- MOD ICE WIND 30045KT 33/11 Q1040=",
        "UACN10 CYQT 011200\nUA /OV LFPG /TM 1250 /FL050 /TA M12 /WV 24030KT 33/11=",
        "SMUK01 EGRR 011200\nAAXX 01124\n03772 41598 32410 10120 20080 39870 49987=",
        "SACN31 CWAO 011200\nWOI SA 1200 AUTO8 M M M 159/15/10/1809+15/M/M 3005 55MM=",
        "YOUR OPINIONS WANTED, LFPG 2\nWIND WAS 24099KT=",
    ],
)
def test_other_pieces_of_a_bulletin_are_counted(read, other):
    before, after = read(f"{other}\nMETAR EDDF 011250Z {REPORT}="), read(f"METAR EDDF 011250Z {REPORT}=\n{other}\n")
    for obs in (before, after):
        assert obs["station"].values.tolist() == ["EDDF"]
        assert left_out(obs) == {"other": 1} and obs.attrs["reports_read"] == 1


def test_a_piece_without_an_end_before_it_does_not_add_to_a_report(read):
    obs = read("METAR EDDF 011250Z 24010KT 9999\nEGTT SIGMET 01 VALID 011200/011600 33/11 Q1040\nAAXX 01124 12/08=\n")
    assert T not in obs and QNH not in obs and obs["10m_wind_speed"].notnull().all()


def test_reports_without_a_value_are_counted(read):
    texts = ["ABC DEF GHI", "/////KT //// ////// ///// Q////", "", "NIL", "AUTO NIL", REPORT]
    obs = read("".join(f"METAR LFPG 0112{10 + i}Z {text}=\n" for i, text in enumerate(texts)) + "EDDF NIL=\n")
    assert obs.sizes["obs"] == 1 and obs.attrs["reports_read"] == 4 and obs.attrs["messages_broken"] == 3
    assert left_out(obs) == {"nil": 3}
    with pytest.raises(ObservationError, match="no METAR report with a value, of 1 found.*0 forecasts and 1 NIL"):
        read("METAR LFPG 011250Z ABC=\nMETAR EDDF 011250Z NIL=\n")


def test_groups_that_cannot_be_read_are_counted(read):
    obs = read("METAR LFPG 011250Z 1801KT 12/08 Q10I3=\nMETAR EDDF 011250Z 24010KT 1O/08 Q10I3=\n")
    groups = {"10m_wind_speed": 1, T: 1, TD: 1, QNH: 2}
    assert json.loads(obs.attrs["groups_unread"]) == groups
    both = read_observations([obs, obs])
    assert json.loads(both.attrs["groups_unread"]) == {name: 2 * number for name, number in groups.items()}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\n\n"])
@pytest.mark.parametrize("name", ["metar_20190701_1200.txt", "metar_20190701_1200.txt.gz"])
def test_a_report_goes_on_over_lines_however_they_end(read, end, name):
    lines = [
        "\x01", "455", "SAUK31 EGRR 011250", "METAR", "LFPG 011250Z 24010KT 9999", "     SCT030", "12/08 Q0987=",
        "EDDF 011250Z 24010KT 9999", "     13/09 Q0988", "\x03",
    ]  # fmt: skip
    obs = read(end.join(lines), name)
    np.testing.assert_allclose(obs[T], [285.15, 286.15])
    np.testing.assert_allclose(obs[QNH], [98700.0, 98800.0])
    assert left_out(obs) == {}


def test_reports_that_nothing_ends(read):
    obs = read(f"LFPG 011250Z {REPORT} NOSIG EDDF 011250Z AUTO {REPORT} RMK NEXT 021200Z\nLFPG 011250 {REPORT}")
    assert obs["station"].values.tolist() == ["LFPG", "EDDF", "LFPG"] and obs[T].notnull().all()


def test_a_damaged_packed_file_is_refused(tmp_path, stations):
    packed = gzip.compress(f"METAR LFPG 011250Z {REPORT}=\n".encode() * 20_000)
    (tmp_path / "metar_20190701.gz").write_bytes(packed[:-4])
    with pytest.raises(ObservationError, match="the packed file is damaged"):
        read_observations(tmp_path / "metar_20190701.gz", stations=stations)


def test_remains_of_a_page_of_the_web(read):
    first, second = "KRCM 011155Z 24010KT 21/20 A3005 RMK AO2 T02120198", "LFPG 011200Z 18010MPS 20/10"
    obs = read(f"SAXX01 KWBC 011200\n<pre>METAR {first}</pre><br />&nbsp;<p class='a'>{second}</p>")
    np.testing.assert_allclose(obs[T] - 273.15, [21.2, 20.0])
    assert (obs.attrs["reports_read"], left_out(obs)) == (2, {})


def test_the_last_correction_is_used(read):
    obs = read(
        "LFPG 011250Z 24010KT 12/08 Q0987=\nMETAR CCB LFPG 011250Z 24010KT 14/08 Q0987=\n"
        "LFPG 011250Z CCA 24010KT 13/08 Q0987=\nMETAR EDDF 011250Z RTD 24010KT 15/08 Q0987=\n"
    )
    good = obs[T].where(obs[f"{T}_flag"] == Flag.GOOD).dropna("obs")
    np.testing.assert_allclose(good, [287.15, 288.15])


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("302355Z", "2019-06-30T23:55"),
        ("302400Z", "2019-07-01T00:00"),
        ("012400Z", "2019-07-02T00:00"),
        ("011250", "2019-07-01T12:50"),
        ("311250Z", None),  # neither is there a 31 June, nor is 31 July near
        ("151250Z", None),
        ("001250Z", None),
        ("321250Z", None),
        ("012500Z", None),
        ("011260Z", None),
        ("1250Z", None),
        ("////1250Z", None),
        ("01125OZ", None),
    ],
)
def test_the_day_hour_and_minute_of_a_report(read, time, expected):
    obs = read(f"METAR LFPG {time} {REPORT}=\nMETAR EDDF 011250Z {REPORT}=")
    if expected is None:
        assert np.isnat(obs["time"].values[0]) and obs[f"{T}_flag"].values.tolist() == [Flag.MISSING_TIME, 0]
    else:
        assert obs["time"].values[0] == np.datetime64(expected) and (obs[f"{T}_flag"] == 0).all()


@pytest.mark.parametrize(
    ("issued", "time", "right"),
    [
        ("060030", "060025Z", True),
        ("060030", "061200Z", True),
        ("060030", "050200Z", True),
        ("010000", "302355Z", True),
        ("060030", "080030Z", False),  # made two days after it was sent
        ("060000", "050000Z", False),  # a day off
    ],
)
def test_the_heading_of_a_bulletin_tells_a_wrong_day(read, issued, time, right):
    text = f"SAUK31 EGRR {issued}\nMETAR LFPG {time} {REPORT}=\nMETAR EDDF {issued}Z {REPORT}=\n"
    obs = read(text, f"metar_201907{issued[:2]}.txt")
    assert (obs[f"{T}_flag"].values[0] == Flag.GOOD) == right
    assert np.isnat(obs["time"].values[0]) != right


def test_the_heading_tells_the_day_of_a_report_that_has_none(read):
    obs = read(f"SAUK31 EGRR 010010\nMETAR LFPG 2350Z {REPORT}=\n")
    assert obs["time"].values[0] == np.datetime64("2019-06-30T23:50")


@pytest.mark.parametrize("stamp", ["2019/07/01 12:50\n", "201907011250 METAR ", "2019-07-01T12:50 "])
def test_full_dates_before_the_reports(read, stamp):
    later = stamp.replace("2019", "2020")
    obs = read(f"{stamp}LFPG 011250Z {REPORT}\n\n{later}LFPG 011250Z {REPORT}\n", "12Z.txt")
    assert obs["time"].values.astype("datetime64[m]").astype(str).tolist() == ["2019-07-01T12:50", "2020-07-01T12:50"]
    assert left_out(obs) == {}


def test_a_date_that_is_none_is_refused(read):
    with pytest.raises(OptionError, match="date='July' is no date"):
        read(f"METAR LFPG 011250Z {REPORT}=", date="July")


def test_a_date_near_which_nothing_was_reported_is_refused(read):
    with pytest.raises(ObservationError, match=r"none of 1 METAR reports .* ten days of 2019-07-15.*'011250'"):
        read(f"METAR LFPG 011250Z {REPORT}=", date="2019-07-15")
    obs = read(f"metar lfpg 011250z {REPORT.lower()}=", date="2019-07-11")
    assert obs["time"].values[0] == np.datetime64("2019-07-01T12:50")


def test_precipitation_of_the_remarks_is_read_with_its_period(read):
    obs = read("METAR KRCM 011153Z 24010KT 12/08 A2992 RMK AO2 SLP132 P0012 60034 T01230078 10150 20100=")
    assert obs["period"].notnull().values.tolist() == [False, True, True, True, True]
    rain = obs["total_precipitation"].values
    hours = obs["period"].values[~np.isnan(rain)] / np.timedelta64(1, "h")
    np.testing.assert_allclose(rain[~np.isnan(rain)], [0.12 * 0.0254, 0.34 * 0.0254])
    assert hours.tolist() == [1.0, 6.0]
    assert float(obs["maximum_2m_temperature"].max()) == pytest.approx(288.15)
    assert float(obs["minimum_2m_temperature"].max()) == pytest.approx(283.15)


def test_real_tables_of_stations(shared):
    master = read_station_table(shared("real/stations/master.txt"))
    assert master.loc["EDDF"].round(2).tolist() == master.loc["10637"].round(2).tolist()
    assert abs(master.loc["EDDF", "latitude"] - 50.03) < 0.1 and abs(master.loc["EDDF", "longitude"] - 8.55) < 0.1
    assert (master["latitude"].abs() <= 90).all() and len(master) > 20_000
    soundings = read_station_table(shared("real/stations/gempak_snworld.tbl"))
    assert soundings.loc["01001"].tolist() == soundings.loc["ENJA"].tolist() == [70.93, -8.67, 9.0]
    both = read_station_table([shared("real/stations/master.txt"), shared("real/stations/gempak_synop.tbl")])
    assert both.loc["KRCM"].tolist() == master.loc["KRCM"].tolist() and len(both) > len(master)


@pytest.fixture(scope="module", params=["metar_20190701_1200.txt", "2020010600_sao.wmo"])
def real(request, shared) -> tuple[Path, xr.Dataset]:
    path = shared(f"real/metar-global-2019-2020/{request.param}")
    return path, read_observations(path, stations=shared("real/stations/master.txt"), derive=False)


def test_real_bulletins(real):
    path, reported = real
    obs = read_observations(reported.assign_attrs(derived=""))
    counts = flag_counts(obs)
    # MetPy's own splitting of the file finds 5,002 stations and 8,980 reports (2019), 4,790 and 8,802 (2020).
    stations, reports = (5002, 8980) if "2019" in path.name else (4790, 8802)
    assert np.unique(obs["station"]).size > stations
    assert obs.attrs["reports_read"] > reports and obs.attrs["messages_broken"] <= 20
    assert counts.loc[T, "good"] > 8600
    assert counts.loc[T, "missing_place"] < 0.05 * counts.loc[T, "good"]
    assert counts["missing_time"].max() <= 1
    # Pressure reduced from the altimeter setting, against what the same stations report in their remarks.
    both = read_observations(reported.drop_vars([P, f"{P}_flag"]).assign_attrs(derived=""))
    difference = (both[P] - reported[P]).where(both["altitude"] < 300.0).to_numpy()
    difference = difference[np.abs(difference) < 2000.0]
    assert len(difference) > 1500
    assert abs(np.median(difference)) < 30.0 and np.std(difference) < 100.0


def test_every_temperature_that_a_real_report_holds_is_read(real):
    """Found in the raw text by expressions of its own: from station and time to the end of the report."""
    path, obs = real
    text = " ".join(path.read_bytes().decode(errors="replace").split())
    reports = re.findall(r"\b([A-Z][A-Z0-9]{3}) (\d{6})Z ((?:(?!\b[A-Z][A-Z0-9]{3} \d{6}Z)[^=\x03])*)", text)
    found: dict[tuple[str, str], set[int]] = {}
    for station, time, groups in reports:
        body = re.split(r"\b(?:RMK|TEMPO|BECMG)", groups)[0]
        if group := re.search(r"(?<![\w/+])(M?\d\d)/(?:M?\d\d|//|XX|M)?(?![\w/])", body):
            found.setdefault((station, time), set()).add(int(group[1].replace("M", "-")))
    read: dict[tuple[str, str], list[float]] = {}
    here = obs[[T]].dropna("obs")
    times = pd.DatetimeIndex(here["time"].values).strftime("%d%H%M")
    for station, time, value in zip(here["station"].values, times, here[T].values - 273.15, strict=True):
        read.setdefault((station, time), []).append(value)
    assert len(found) > 8500
    found.pop(("UTSA", "080030"), None)  # two days after it was sent: without a time, and flagged
    for (station, time), degrees in found.items():
        for value in degrees:
            assert min(abs(other - value) for other in read.get((station, time), [np.inf])) <= 1.0, (station, time)
