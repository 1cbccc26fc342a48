"""One module a format; each has a list ``TARGETS``."""
