"""Dask graphs: segments of time, tasks of sampling and decoding, what is cut out of them, and where they run."""
