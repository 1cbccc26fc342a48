"""Archives with names and units of their own, recognised by their columns or lines: one file each.

A table is an archive's by columns that only it has, and never where ``rename=`` says what one of them means. What
``units=`` says of its columns counts for more than the archive's documentation, where that is offered.
"""

from __future__ import annotations

from collections.abc import Collection

from xappa.observations.readers.archives.registry import TABLES, ReadTable
from xappa.registry import import_modules

import_modules(__name__, __path__)


def find_table_reader(columns: Collection[str]) -> ReadTable | None:
    """Reader of the archive that has these columns, or None."""
    return next((archive.read for archive in TABLES.values() if archive.matches(columns)), None)
