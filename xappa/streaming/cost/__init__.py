"""Predicted cost of a run: operations, memory, seconds; and its division so as to fit."""
