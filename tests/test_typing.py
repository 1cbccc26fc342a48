"""What a type checker sees of the public functions and of the methods of the accessors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
ROOT = Path(__file__).resolve().parents[1]

CALLS = """
from typing import assert_type

import xarray as xr

import xappa
from xappa.accessor import AppaAccessor
from xappa.array_accessor import AppaArrayAccessor
from xappa.tasks.cycle import CycleResult
from xappa.tasks.plan import Cost
from xappa.verification.result import Scores

ds, da = xr.Dataset(), xr.DataArray()
of_ds, of_da = AppaAccessor(ds), AppaArrayAccessor(da)

assert_type(xappa.assimilate(ds, "synop.bufr", "nearest", members=range(3), seed=0), xr.Dataset)
assert_type(xappa.assimilate(ds=ds, obs=[ds], memory="6GB"), xr.Dataset)
assert_type(of_ds.forecast("3D", obs=ds, segments="chain"), xr.Dataset)
assert_type(of_ds.plan(lead="3D"), Cost)
assert_type(of_ds.regrid(1.0), xr.Dataset)
assert_type(of_da.regrid(1.0), xr.DataArray)
assert_type(of_da.verify(ds), Scores)
assert_type(xappa.cycle(ds, ds, store="november", memory=6e9), CycleResult)
xappa.experimental.constrain(ds, forcing=ds, memory="6GB", segments="chain")
"""

WRONG = {
    'xappa.assimilate(ds, ds, members="a")': 'Argument "members" .*incompatible type "str"',
    "xappa.filter(ds, ds, membres=3)": 'Unexpected keyword argument "membres".* did you mean "members"',
    "xappa.sample(ds, guidance=None)": 'Unexpected keyword argument "guidance"',
    'xappa.cycle(ds, ds, store="x", seed=None)': 'Argument "seed" .*incompatible type "None"',
    "xappa.experimental.constrain(ds, background=ds)": 'Unexpected keyword argument "background"',
    'of_ds.assimilate(ds, members="a")': 'Argument "members" .*incompatible type "str"',
    "of_ds.forecast('3D', membres=3)": 'Unexpected keyword argument "membres".* did you mean "members"',
    "of_ds.filter()": "Too few arguments",
    "of_ds.plan(progress=3)": 'Argument "progress" .*incompatible type "int"',
    "of_da.observe(ds, sed=3)": 'Unexpected keyword argument "sed".* did you mean "seed"',
    "of_ds.summary(3)": "Too many arguments",
}


@pytest.mark.slow
def test_a_type_checker_finds_wrong_arguments_and_no_others(tmp_path):
    lines = CALLS.splitlines() + list(WRONG)
    (tmp_path / "calls.py").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "mypy", "--hide-error-context", "--no-pretty", str(tmp_path / "calls.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    found = {
        int(line.split(":")[1]): line for line in done.stdout.splitlines() if "calls.py:" in line and ": error:" in line
    }
    expected = {lines.index(call) + 1: text for call, text in WRONG.items()}
    assert set(found) == set(expected), done.stdout + done.stderr
    for number, text in expected.items():
        assert re.search(text, found[number]), found[number]
