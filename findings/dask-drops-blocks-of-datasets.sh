#!/usr/bin/env bash
# Dask 2026.8.0 with xarray 2026.9.0: a lazily opened Dataset one of whose variables was made from another cannot be
# passed to dask.delayed: "Missing dependency" at compute. With either variable alone, or values in memory, it works.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check "xarray==2026.9.0" "dask==2026.8.0" "netCDF4==1.7.4" 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import dask
import numpy as np
import xarray as xr

print("xarray", xr.__version__, "dask", dask.__version__)
xr.Dataset({"a": ("x", np.arange(3.0))}).to_netcdf("a.nc")
ds = xr.open_dataset("a.nc", chunks={})
ds["b"] = ds["a"] + 1
total = dask.delayed(lambda d: float(d["b"].sum()))
print("b alone:", total(ds[["b"]]).compute(), " in memory:", total(ds.load().copy()).compute())
ds = xr.open_dataset("a.nc", chunks={})
ds["b"] = ds["a"] + 1
try:
    total(ds).compute()
except ValueError as error:
    print("a and b together:", str(error)[:70])
    assert "Missing dependency" in str(error)
else:
    raise SystemExit("it works now")
PYTHON
