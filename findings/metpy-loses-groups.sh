#!/usr/bin/env bash
# MetPy 1.7.1: parse_metar stops at groups that it does not know and returns NaN for all that follow, without an error.
#
# Valid reports (WMO-No. 306, FM 15): an automatic station without a ceilometer reports "//////" for clouds; a corrected
# Canadian report says CCA. Temperature, dew point and altimeter setting behind these groups are lost. In two real
# bulletins of 36,000 reports this concerns 1 % of the temperatures.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check "metpy==1.7.1" 2>/dev/null
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import math

import metpy
from metpy.io.metar import parse_metar

print("MetPy", metpy.__version__)
known = parse_metar("LFMC 011200Z AUTO 10007KT 9999 SCT030 35/18 Q1016", 2019, 7, station_metadata={})
clouds = parse_metar("LFMC 011200Z AUTO 10007KT 9999 ////// 35/18 Q1016", 2019, 7, station_metadata={})
corrected = parse_metar("CYYT 011200Z CCA 06006KT 1/4SM FG VV001 10/09 A2990", 2019, 7, station_metadata={})
for name, found in (("usual clouds", known), ("clouds //////", clouds), ("CCA", corrected)):
    print(f"{name}: temperature {found.temperature}, dew point {found.dewpoint}, altimeter {found.altimeter}, wind {found.wind_speed}")
assert known.temperature == 35 and known.dewpoint == 18
assert math.isnan(clouds.temperature) and math.isnan(clouds.dewpoint) and math.isnan(clouds.altimeter)
assert math.isnan(corrected.temperature) and math.isnan(corrected.wind_speed)
PYTHON
