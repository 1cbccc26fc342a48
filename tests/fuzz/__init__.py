"""Damaged inputs for every reader: targets, mutators, worker processes and a table of outcomes (see ci/fuzz).

A target (a module in `targets`) makes valid inputs by code, damages one, reads it as users do, and says what of the
result is absurd. Mutation number ``index`` of a target is a function of (seed, target, index), so that what is found
can be repeated without keeping the input.
"""
