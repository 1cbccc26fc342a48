"""Errors of observations: deviations, correlations, representativeness and random draws."""
