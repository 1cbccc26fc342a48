#!/usr/bin/env bash
# xarray 2026.9.0: xr.open_groups(path, chunks={}) gives variables of one name in several groups the same Dask name.
#
# Each group computes right by itself. Computed together, as in any expression that uses two groups, one of them silently
# gives the data of the other. xr.open_datatree names them apart.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check "xarray==2026.9.0" "dask==2026.8.0" "netCDF4==1.7.4" 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import dask
import xarray as xr

print("xarray", xr.__version__, "dask", dask.__version__)
xr.Dataset({"t": ("x", [280.0, 281.0])}).to_netcdf("two.nc", group="observed")
xr.Dataset({"t": ("x", [1.0, 2.0])}).to_netcdf("two.nc", group="error", mode="a")
groups = xr.open_groups("two.nc", chunks={})
observed, error = groups["/observed"]["t"], groups["/error"]["t"]
alone = error.values.tolist()
together = [array.tolist() for array in dask.compute(observed.data, error.data)]
print("error by itself:", alone, " with observed:", together, " difference:", (observed - error).values.tolist())
assert alone == [1.0, 2.0]
assert together[0] == together[1]
tree = xr.open_datatree("two.nc", chunks={})
assert dask.compute(tree["observed/t"].data, tree["error/t"].data)[1].tolist() == [1.0, 2.0]
PYTHON
