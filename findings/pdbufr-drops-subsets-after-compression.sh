#!/usr/bin/env bash
# pdbufr 0.15.1: a file with a compressed and an uncompressed BUFR message of three subsets each. Each is read whole by
# itself. With the compressed one first, two subsets of the other are lost; in the other order, rows without values come
# between those of the compressed message. There is no error.
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


def message(compressed, first):
    handle = eccodes.codes_bufr_new_from_samples("BUFR4")
    eccodes.codes_set(handle, "numberOfSubsets", 3)
    eccodes.codes_set(handle, "compressedData", compressed)
    eccodes.codes_set_array(handle, "unexpandedDescriptors", [5001, 6001, 12101])
    values = {"latitude": [first, first + 1, first + 2], "longitude": [10.0] * 3, "airTemperature": [280.0, 281.0, 282.0]}
    for key, numbers in values.items():
        if compressed:
            eccodes.codes_set_array(handle, key, numbers)
        else:
            for subset, number in enumerate(numbers, 1):
                eccodes.codes_set(handle, f"#{subset}#{key}", number)
    eccodes.codes_set(handle, "pack", 1)
    return eccodes.codes_get_message(handle)


def latitudes(*parts):
    with open("mixed.bufr", "wb") as file:
        file.writelines(parts)
    return pdbufr.read_bufr("mixed.bufr", columns=["latitude", "airTemperature"])["latitude"].tolist()


compressed, plain = message(1, 10.0), message(0, 40.0)
for name, found in (
    ("compressed alone", latitudes(compressed)), ("uncompressed alone", latitudes(plain)),
    ("compressed, uncompressed", latitudes(compressed, plain)), ("uncompressed, compressed", latitudes(plain, compressed)),
):
    print(f"{name}: {found}")
assert len(latitudes(compressed)) == len(latitudes(plain)) == 3
assert len(latitudes(compressed, plain)) == 4, "two of six subsets are lost"
assert len(latitudes(plain, compressed)) == 12, "two empty rows follow each of the compressed subsets"
PYTHON
