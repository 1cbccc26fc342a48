"""Tensors without memory, and a look at every operation: what a computation takes is found out without doing it.

PyTorch documents these parts, but keeps them in private modules: ``FakeTensorMode`` and ``unset_fake_temporarily`` in
``torch._subclasses.fake_tensor``, ``TorchDispatchMode`` in ``torch.utils._python_dispatch``, ``tree_leaves`` in
``torch.utils._pytree``. Used with 2.10 to 2.13.
"""

from __future__ import annotations

from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["FakeTensor", "FakeTensorMode", "TorchDispatchMode", "tree_leaves", "unset_fake_temporarily"]
