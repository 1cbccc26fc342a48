#!/usr/bin/env bash
# ecCodes 2.50.0 names two descriptors of BUFR alike: 0 11 002 (wind speed, m/s) and 0 11 084 (wind speed, kt) are both
# the key windSpeed. pdbufr 0.15.1 reads by key, so that a file of both kinds gives one column of both units.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check "eccodes==2.50.0" "pdbufr==0.15.1" 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import eccodes
import pdbufr

print("ecCodes", eccodes.codes_get_api_version(), "pdbufr", version("pdbufr"))
with open("winds.bufr", "wb") as file:
    for descriptor in (11002, 11084):
        message = eccodes.codes_bufr_new_from_samples("BUFR4")
        eccodes.codes_set_array(message, "unexpandedDescriptors", [1001, 1002, 5001, 6001, descriptor])
        for key, value in {"blockNumber": 3, "stationNumber": 772, "latitude": 51.5, "longitude": 0.0, "windSpeed": 20.0}.items():
            eccodes.codes_set(message, key, value)
        eccodes.codes_set(message, "pack", 1)
        eccodes.codes_write(message, file)
        eccodes.codes_release(message)
units = []
with open("winds.bufr", "rb") as file:
    while (message := eccodes.codes_bufr_new_from_file(file)) is not None:
        eccodes.codes_set(message, "unpack", 1)
        units.append(eccodes.codes_get(message, "windSpeed->units"))
        eccodes.codes_release(message)
table = pdbufr.read_bufr("winds.bufr", columns=["latitude", "windSpeed"])
print("units of the key windSpeed:", units, " pdbufr:", table["windSpeed"].tolist(), list(table.columns))
assert units == ["m/s", "kt"], units
assert table["windSpeed"].tolist() == [20.0, 20.0] and list(table.columns) == ["latitude", "windSpeed"]
PYTHON
