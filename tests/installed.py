"""What is installed, without importing it: eccodes and pyproj in one process crash it, at its end if not before."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def needs(*packages: str) -> None:
    """Skip the test unless all packages are installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install 'xappa[obs]'")
