"""Many reports made few: means over cells of a grid (superobs), and one report a cell (thinning)."""
