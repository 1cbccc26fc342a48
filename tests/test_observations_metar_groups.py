"""The groups of one METAR report: each by its own form, wherever it stands, with MetPy as the oracle."""

import importlib.util
import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xappa.observations.readers.metar.bulletins import MetarReport, read_bulletin_text, split_reports
from xappa.observations.readers.metar.decode import (
    ALTIMETER,
    DEWPOINT,
    DIRECTION,
    MAXIMUM,
    MINIMUM,
    RAIN,
    SEA_LEVEL,
    TEMPERATURE,
    WIND,
    ReportValues,
    decode_report,
)

needs_metpy = pytest.mark.skipif(importlib.util.find_spec("metpy") is None, reason="MetPy is not installed")

# MetPy stays out of the process of the tests: importing it changes pint's registry of the process.
ORACLE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from metpy.io.metar import parse_metar
for text in json.load(sys.stdin):
    m = parse_metar(text, 2000, 1, station_metadata={})
    print(json.dumps([m.temperature, m.dewpoint, m.wind_speed, m.wind_direction, m.altimeter]))
"""

KNOT, INCH = 1852.0 / 3600.0, 3386.38864
GROUPS = (
    ("T", TEMPERATURE, 273.15, 1.0),
    ("Td", DEWPOINT, 273.15, 1.0),
    ("ff", WIND, 0.0, KNOT),
    ("dd", DIRECTION, 0.0, 1.0),
    ("Q", ALTIMETER, 0.0, 100.0),
    ("SLP", SEA_LEVEL, 0.0, 100.0),
)


def read(text: str, station: str = "KSUX", time: str = "011152") -> ReportValues:
    return decode_report(MetarReport(station, time, text, "", 0))


def said(text: str) -> dict[str, float]:
    """Values in the units of the code: degrees Celsius, knots, degrees, hPa."""
    values = read(text).by_name
    return {short: round((values[n] - zero) / unit, 2) for short, n, zero, unit in GROUPS if n in values}


WHOLE = {"T": 12.0, "Td": 8.0, "ff": 10.0, "dd": 240.0, "Q": 998.0}


@pytest.mark.parametrize(
    "text",
    [
        "24010KT 9999 SCT030 12/08 Q0998",
        "RTD 24010KT 10SM FEW100 12/08 Q0998",
        "COR 24010KT 9999 12/08 Q0998",
        "AUTO CCA 24010KT 1/4SM R11/2200FT/N R16/1600V2200FT/D FG VV001 12/08 Q0998",
        "AMD 24010KT CAVOK 12/08 Q0998 NOSIG",
        "AUTO 24010KT 9999 ////// 12/08 Q0998",
        "AUTO 24010KT 9999NDV // ////// 12/08 Q0998",
        "AUTO 24010KT 210V270 9000 //////TCU 12/08 Q0998",
        "AUTO 24010KT //// // ///////// 12/08 Q0998",
        "24010KT ////SM //// FEW100 12/08 Q0998",
        "24010KT 0500 R05///// MIFG FEW020 12/08 Q0998",
        "24010KT / // CLR 12/08 Q0998",
        "24010KT M M 12/08 Q0998",
        "9999 24010KT SCT030 12/08 Q0998",
        "24010KT NOSIG Q0998 12/08",
        "24010KT 1 1/2SM BR BKN002 12/08 Q0998",
        "24010G25KT 9999 RERA WS ALL RWY 12/08 Q0998 W15/S4 R24/290050",
        "24010GKT 9999 WS R06 12/08 Q0998",
        "24010KT(E) 9999 12/08 Q0998",
        "E24010KT 9999 12/08 Q0998",
        "240/10KT 9999 12/08 Q0998",
        "24010 KT 9999 12 / 08 Q 0998",
        "24010KT9999 12/08Q0998",
        "24010KT 9999 12/08 Q998",
        "24010KT 9999 12/08 QNH0998 QFE0975",
        "24010KT 9999 12/08 Q09 98",
        "24010KT 8000NW SCT///CB 12/08 Q0998.0",
        "24010KT 9999 FEWCB1800FT 12/08 Q0998 RMK QFE752/1003 QFE0975",
        "24010KT 9999 12/08 Q0998 TEMPO 30030G50KT 2000 TSRA BECMG 12005KT CAVOK",
        "24010KT 9999 12/08 Q0998 FM1330 31020KT RMK A2947",
        "24010KT 9999 12/08 Q0998 RMKS CB SE 06/24 31045KT",
    ],
)
def test_a_group_that_is_not_known_loses_none_behind_it(text):
    assert said(text) == WHOLE
    assert not read(text).unread


OTHERS = [
    *("AUTO", "COR", "RTD", "CCA", "9999", "9999NDV", "////", "//", "//////", "/////////", "CAVOK", "NOSIG", "$"),
    *("1/2SM", "M1/4SM", "P6SM", "M", "R05/////", "R11/2200FT/N", "R24/290050", "R88/19//95", "W15/S4", "W///H///"),
    *("180V240", "FEW020", "SCT///CB", "VV///", "OVC0070", "BCFG", "+TSRA", "RERA", "RE//", "WS", "R06", "BLU+"),
    *("RF00.0/000.0", "QFE", "QFF1008"),
]


@given(st.data(), st.permutations(["24010KT", "12/08", "Q0998"]), st.lists(st.sampled_from(OTHERS), max_size=12))
def test_groups_may_stand_anywhere_among_others(data, groups, others):
    for group in groups:
        others.insert(data.draw(st.integers(0, len(others))), group)
    assert said(" ".join(others)) == WHOLE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00000KT 9999", {"ff": 0.0, "dd": 0.0}),
        ("CALM 0200M", {"ff": 0.0, "dd": 0.0}),
        ("VRB02KT 9999", {"ff": 2.0}),
        ("36005KT", {"ff": 5.0, "dd": 360.0}),
        ("240105KT", {"ff": 105.0, "dd": 240.0}),
        ("///05KT", {"ff": 5.0}),
        ("/////KT", {}),
        ("240//KT", {}),
        ("24010MPS", {"ff": 19.44, "dd": 240.0}),
        ("24036KMH", {"ff": 19.44, "dd": 240.0}),
        ("M05/M10", {"T": -5.0, "Td": -10.0}),
        ("-05/-10", {"T": -5.0, "Td": -10.0}),
        ("M00/M01", {"T": 0.0, "Td": -1.0}),
        ("+12/+08", {"T": 12.0, "Td": 8.0}),
        ("23/-1", {"T": 23.0, "Td": -1.0}),
        ("05/", {"T": 5.0}),
        ("05///", {"T": 5.0}),
        ("05/XX", {"T": 5.0}),
        ("27/M", {"T": 27.0}),
        ("///M02", {"Td": -2.0}),
        ("//// ///// 12/08", {"T": 12.0, "Td": 8.0}),
        ("/////", {}),
        ("MM/MM", {}),
        ("Q////", {}),
        ("A////", {}),
        ("A2992", {"Q": 1013.21}),
        ("A29.92", {"Q": 1013.21}),
        ("QNH2992INS", {"Q": 1013.21}),
        ("A2992 Q1013", {"Q": 1013.21}),
        ("Q1013/A2992", {"Q": 1013.21}),
        ("Q1013 RMK A2992", {"Q": 1013.0}),
        ("Q//// RMK A2992", {"Q": 1013.21}),
        ("RMK SLP132", {"SLP": 1013.2}),
        ("RMK SLP988", {"SLP": 998.8}),
        ("RMK SLPNO", {}),
        ("M/M RMK T01230078", {"T": 12.3, "Td": 7.8}),
        ("12/08 AO2 T01230078 $", {"T": 12.3, "Td": 7.8}),
        ("M12/M18 RMK T11231178", {"T": -12.3, "Td": -17.8}),
        ("M00/M01 RMK T10041005", {"T": -0.4, "Td": -0.5}),
        ("12/08 RMK T0123////", {"T": 12.3, "Td": 8.0}),
        ("12/ RMK T0123", {"T": 12.3}),
    ],
)
def test_forms_of_groups(text, expected):
    assert said(text) == expected
    assert not read(text).unread


@pytest.mark.parametrize(
    ("text", "expected", "unread"),
    [
        ("240P99KT 12/08", {"T": 12.0, "Td": 8.0}, {WIND}),  # more than 99 knots
        ("1801KT", {}, {WIND}),
        ("24010KI 9999", {}, {WIND}),
        ("3.70833304KT", {}, {WIND}),
        ("24010 9999", {}, {WIND}),  # knots, or metres a second?
        ("00005KT", {"ff": 5.0}, {DIRECTION}),  # north is 360
        ("99010KT", {"ff": 10.0}, {DIRECTION}),
        ("15/122", {"T": 15.0}, {DEWPOINT}),
        ("15/O8", {"T": 15.0}, {DEWPOINT}),
        ("WS RWY 06/24L", {}, set()),
        ("R06/24L 06/24/12", {}, set()),
        ("1O/08", {}, {TEMPERATURE, DEWPOINT}),
        ("L2/08", {}, {TEMPERATURE, DEWPOINT}),
        ("12.5/08.1", {}, {TEMPERATURE, DEWPOINT}),
        ("12/08 RMK T02120178", {"T": 12.0, "Td": 8.0}, {TEMPERATURE, DEWPOINT}),  # not the same temperature
        ("Q10I3", {}, {ALTIMETER}),
        ("Q1311", {}, {ALTIMETER}),
        ("Q1012 A2999", {}, {ALTIMETER}),
        ("RMK SLP13", {}, {SEA_LEVEL}),
        ("A3006 RMK SLP759", {"Q": 1017.95}, {SEA_LEVEL}),  # 975.9 or 1075.9 hPa
        ("RMK SLP512", {}, {SEA_LEVEL}),  # 951.2 or 1051.2 hPa
    ],
)
def test_what_cannot_be_read_is_named(text, expected, unread):
    assert said(text) == expected
    assert read(text).unread == unread


@given(st.integers(9300, 10690), st.integers(-300, 300), st.booleans())
def test_the_altimeter_setting_tells_the_hundreds_of_pressure_at_sea_level(tenths, other, inches):
    """Up to 30 hPa apart, whichever side of 1000 hPa."""
    setting = tenths + other
    group = f"A{round(setting * 10 / INCH * 100):04d}" if inches else f"Q{setting // 10:04d}"
    assert said(f"24010KT {group} RMK SLP{tenths % 1000:03d}")["SLP"] == pytest.approx(tenths / 10)


@pytest.mark.parametrize(
    ("time", "text", "expected"),
    [
        ("011153", "P0012 60034 70056", {(RAIN, 1): 0.12, (RAIN, 6): 0.34, (RAIN, 24): 0.56}),
        ("011455", "P0000 60000", {(RAIN, 1): 0.0, (RAIN, 3): 0.0}),
        ("012356", "60110 6////", {(RAIN, 6): 1.10}),
        ("010002", "60110", {(RAIN, 6): 1.10}),
        ("011153", "PK WND 26032/1113 57012 8/370 933036", {}),
    ],
)
def test_precipitation_of_the_remarks_has_the_period_of_its_hour(time, text, expected):
    values = read(f"24010KT 12/08 A2992 RMK AO2 {text}", time=time)
    assert values.over.keys() == expected.keys() and not values.unread
    for key, inches in expected.items():
        assert values.over[key] == pytest.approx(inches * 0.0254)


def test_extreme_temperatures_of_the_remarks():
    over = read("24010KT M12/M18 A2992 RMK AO2 T11231178 11067 21233 57012", time="010553").over
    assert over == {(MAXIMUM, 6): pytest.approx(266.45), (MINIMUM, 6): pytest.approx(249.85)}


def test_remarks_of_other_countries_and_hours_are_not_taken_for_precipitation():
    assert not read("24010KT 12/08 A2992 RMK SLP047 60031 10123").over  # Mexico: groups of SYNOP
    assert not read("24010KT 12/08 RMK AO1 P0007", station="CXVW").over  # Canada: tenths of a millimetre
    special = read("24010KT 12/08 A2992 RMK AO2 P0007 60031", time="011224")  # since the report of the hour
    assert not special.over and special.unread == {RAIN}


@needs_metpy
@pytest.mark.parametrize("name", ["metar_20190701_1200.txt", "2020010600_sao.wmo"])
def test_metpy_reads_the_same_of_real_reports(shared, name):
    """Every third report. Where MetPy has a value, so have we, but for what is named; where both have, they agree."""
    reports = list(dict.fromkeys(split_reports(read_bulletin_text(shared(f"real/metar-global-2019-2020/{name}")))[0]))[
        ::3
    ]
    texts = json.dumps([f"{report.station} {report.time}Z {report.text}" for report in reports])
    done = subprocess.run([sys.executable, "-c", ORACLE], input=texts, capture_output=True, text=True, check=True)
    compared, only_ours, only_theirs = 0, 0, 0
    for report, line in zip(reports, done.stdout.splitlines(), strict=True):
        temperature, dewpoint, speed, direction, altimeter = json.loads(line)
        values, tenths = decode_report(report), 1.01 if "RMK" in report.text else 0.01
        theirs = {
            TEMPERATURE: (temperature + 273.15, tenths),
            DEWPOINT: (dewpoint + 273.15, tenths),
            WIND: (speed * KNOT, 1e-6),
            DIRECTION: (direction, 1e-6),
            ALTIMETER: (altimeter * INCH, 140.0),  # of two settings it takes the first, we the finer
        }
        for quantity, (value, tolerance) in theirs.items():
            ours = values.by_name.get(quantity, math.nan)
            if math.isnan(value):
                only_ours += not math.isnan(ours)
            elif math.isnan(ours):
                only_theirs += 1
                assert quantity in values.unread, report
            else:
                compared += 1
                assert ours == pytest.approx(value, abs=tolerance), report
    assert compared > 14_000 and only_ours > 5 * only_theirs
