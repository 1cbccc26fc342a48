"""Models: networks, statistics, directories, registry; called, the package lists the models that are known by name."""

from __future__ import annotations

import sys
from types import ModuleType


class _Models(ModuleType):
    """The package; ``xappa.models()`` lists the models that `xappa.load` knows.

    Importing any of its modules binds the package to the name that the function has among the public names.
    """

    def __call__(self) -> dict[str, str]:
        from xappa.models.registry import models

        return models()


sys.modules[__name__].__class__ = _Models
