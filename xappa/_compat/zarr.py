"""Keys of a Zarr store, read and written without being asynchronous.

Zarr's stores are asynchronous, and it has no public function that waits for one key: ``sync`` of ``zarr.core.sync``
does, on Zarr's own loop. Contents come in buffers, of the kind that ``default_buffer_prototype`` tells. Used with 3.1.2
to 3.1.6.
"""

from __future__ import annotations

from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync

__all__ = ["default_buffer_prototype", "sync"]
