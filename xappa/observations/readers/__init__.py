"""Readers of reports: one format a file, and what they share."""
