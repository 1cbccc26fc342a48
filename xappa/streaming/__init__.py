"""Results on their way to the user: the Dask graph, its costs, and stores."""
