"""Private parts of other libraries: they are there, do what is needed of them, and are named in one place only."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import dask
import torch
import zarr
from dask.highlevelgraph import HighLevelGraph
from dask.threaded import get

from xappa._compat import dask as dask_parts
from xappa._compat import torch as torch_parts
from xappa._compat import zarr as zarr_parts

PACKAGE = Path(dask_parts.__file__).parents[1]
PRIVATE = re.compile(r"(dask|distributed|torch|zarr|xarray|pandas|numpy|scipy|pint)(\..+)?\.(_|core\b|task_spec\b).*")
# Named in Dask's pages, and in Xarray's on how to write a backend.
DOCUMENTED = {"dask.core", "xarray.core.indexing"}


def imported(file: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    return plain + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]


def test_private_modules_are_imported_by_their_adapters_alone():
    found = {
        (file.relative_to(PACKAGE).as_posix(), name)
        for file in PACKAGE.rglob("*.py")
        for name in imported(file)
        if PRIVATE.fullmatch(name) and name not in DOCUMENTED
    }
    assert {file for file, _ in found} == {"_compat/dask.py", "_compat/torch.py", "_compat/zarr.py"}, found


def test_tasks_of_dask():
    """A task takes lists of references; if this fails, see what has become of `dask.task_spec`."""
    one = dask_parts.Task("one", lambda: 1)
    total = dask_parts.Task("total", sum, dask_parts.List(dask_parts.TaskRef("one"), dask_parts.TaskRef("one")))
    graph = HighLevelGraph.from_collections("total", {"one": one, "total": total})
    assert get(graph, "total") == 2
    assert total.dependencies == {"one"}
    assert dask.compute(dask.delayed(sum)([1, 2])) == (3,)


def test_tensors_without_memory():
    """They keep shapes and are seen by a mode; if this fails, see what has become of `torch._subclasses`."""
    seen = []

    class Mode(torch_parts.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            seen.extend(torch_parts.tree_leaves(out))
            return out

    real = torch.ones(3)
    with torch_parts.FakeTensorMode(allow_non_fake_inputs=True), Mode():
        made = torch.empty(2**40, 4).sum(1)
        with torch_parts.unset_fake_temporarily():
            assert real.sum().item() == 3
    assert isinstance(made, torch_parts.FakeTensor)
    assert made.shape == (2**40,)
    assert any(tensor is made for tensor in seen)


def test_keys_of_a_zarr_store():
    """They are written and read at once; if this fails, see what has become of `zarr.core.sync`."""
    store = zarr.storage.MemoryStore()
    prototype = zarr_parts.default_buffer_prototype()
    zarr_parts.sync(store.set("a", prototype.buffer.from_bytes(b"text")))
    assert zarr_parts.sync(store.get("a", prototype)).to_bytes() == b"text"
