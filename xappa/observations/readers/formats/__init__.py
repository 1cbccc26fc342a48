"""Formats that this package reads, one file each, which registers its reader in `READERS`."""

from xappa.registry import import_modules

import_modules(__name__, __path__)
