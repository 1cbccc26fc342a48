"""Verification: scores against fields and reports, and baselines."""
