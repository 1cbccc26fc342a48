"""Parquet: tables by columns."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from xappa.errors import MissingDependency, ObservationError
from xappa.observations.readers.isolated import copy_parquet_isolated
from xappa.observations.readers.registry import READERS, Evidence, FormatReader
from xappa.options import get_options
from xappa.sizes import require_size


@READERS.register("parquet")
class Parquet(FormatReader):
    """Parquet, by a process of its own with the option ``isolate_readers``."""

    evidence = Evidence.SIGNATURE
    suffixes = (".parquet", ".pq")

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether a file begins as Parquet does."""
        return head.startswith(b"PAR1")

    def read(self, path: Path) -> pd.DataFrame:
        """The table.

        Raises
        ------
        MissingDependency
            If pyarrow is not installed.
        ObservationError
            If it claims to be larger than the option ``reader_memory`` allows.
        """
        if get_options().isolate_readers:
            with copy_parquet_isolated(path) as plain:
                return pd.read_parquet(plain)
        try:
            _require_size(path)
            return pd.read_parquet(path)
        except ImportError as error:
            raise MissingDependency(
                f'{path}: reading Parquet needs pyarrow, which is not installed: pip install "xappa[obs]"'
            ) from error


def _require_size(path: Path) -> None:
    import pyarrow.parquet as pq

    about = pq.read_metadata(path)
    require_size(float(about.num_rows) * about.num_columns, f"{path}: its table", ObservationError)
