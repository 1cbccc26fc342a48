"""Models: networks, statistics, directories and the registry of those that are known by name."""
