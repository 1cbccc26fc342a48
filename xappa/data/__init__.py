"""Files that come with the package: the embedded model, its registry, and the demonstration's window."""
