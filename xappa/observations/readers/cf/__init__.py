"""CF Datasets of reports: points, ragged arrays and arrays of any layout."""
