"""Tasks of a Dask graph, which are made by hand where regions, segments and slices have tasks of their own.

Dask makes its graphs of these classes since 2024.12, and names them in ``dask.task_spec`` without a page that describes
them. Tuples, which were tasks before, are no longer looked into everywhere. Used with 2025.4.1 to 2026.8.0.
"""

from __future__ import annotations

from dask.task_spec import List, Task, TaskRef

__all__ = ["List", "Task", "TaskRef"]
