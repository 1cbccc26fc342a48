"""From a plan to results: the Dask graph, devices, storage. Nothing is imported here: sampling uses parts of it."""
