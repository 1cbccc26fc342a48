#!/usr/bin/env bash
# xarray 2026.9.0 with zarr 3.1.6: an append that xarray refuses, because Dask chunks would overlap chunks of the store,
# has made some arrays longer before it is refused. The store, whole before, can then no longer be opened.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check "xarray==2026.9.0" "dask==2026.8.0" "zarr==3.1.6" 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import pandas as pd
import xarray as xr
import zarr

print("xarray", xr.__version__, "zarr", zarr.__version__)


def days(number):
    times = pd.date_range("2020-01-01", periods=5) + pd.Timedelta(days=5 * number)
    return xr.Dataset({name: ("time", np.arange(5.0)) for name in "ab"}, {"time": times})


encoding = {name: {"chunks": (3,)} for name in "ab"}
days(0).chunk(time=5).to_zarr("a.zarr", encoding=encoding, safe_chunks=False)
assert xr.open_zarr("a.zarr").sizes["time"] == 5
try:
    days(1).chunk(time=1).to_zarr("a.zarr", append_dim="time")
except ValueError as error:
    print("append refused:", str(error)[:90])
else:
    raise SystemExit("the append is no longer refused")
try:
    xr.open_zarr("a.zarr")
except ValueError as error:
    print("the store afterwards:", str(error)[:120])
else:
    raise SystemExit("the store can be opened")
PYTHON
