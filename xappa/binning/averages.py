r"""Weighted means by cell, from sums that can be put together part by part.

With the weights :math:`w_i = \sigma_i^{-2}` of the n reports of a cell, :math:`W = \sum w_i` and
:math:`\bar y = W^{-1} \sum w_i y_i`, two parts a, b of a cell are one by

.. math:: \bar y = \frac{W_a \bar y_a + W_b \bar y_b}{W_a + W_b}, \qquad
   Q = Q_a + Q_b + W_a (\bar y_a - \bar y)^2 + W_b (\bar y_b - \bar y)^2,

where :math:`Q = \sum w_i (y_i - \bar y)^2`; no large numbers are subtracted.

The error of the mean has a part that is independent from report to report and a part, of the share :math:`\rho` in the
variance, that all reports of a cell have in common and that no averaging reduces:

.. math:: \sigma^2 = \frac{\max (1 - \rho, \, Q / (n - 1))}{W} + \rho \left( \frac{\sum \sigma_i^{-1}}{W} \right)^2 .

For equal errors that is :math:`\sigma_i^2 ((1 - \rho) / n + \rho)`. Where the reports of a cell scatter more than their
errors allow, the scatter takes the place of the first term (the factor of Birge): the cell is not uniform, and its mean
is known less well.

References
----------
Berger (2004), report on superobbing satellite winds as a visiting scientist of the NWP SAF at the Met Office (the idea;
the formulas are those of a mean of equally correlated numbers).
Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance, Am. Stat. 37, 242-247.
Birge (1932), The calculation of errors by the method of least squares, Phys. Rev. 40, 207-227.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xappa._typing import Array
from xappa.binning.cells import number_groups


@dataclass(frozen=True)
class GroupMeans:
    """What is known of one quantity in each of G groups.

    Parameters
    ----------
    count : array of float, (G,)
        n.
    weight : array of float, (G,)
        W.
    mean : array of float, (G,)
        0 where n is.
    scatter : array of float, (G,)
        Q.
    precision : array of float, (G,)
        Sum of the inverse deviations.
    """

    count: Array
    weight: Array
    mean: Array
    scatter: Array
    precision: Array

    def compute_spread(self) -> Array:
        """Standard deviation of the reports round their mean; NaN where there are not two."""
        several = self.count > 1
        share = np.where(several, self.count / np.maximum(self.count - 1, 1), np.nan)
        return np.sqrt(self.scatter / np.where(several, self.weight, 1.0) * share)

    def compute_error(self, correlation: float) -> Array:
        """Deviation of the mean's error, if the errors of a cell have the share `correlation` in common."""
        there = self.count > 0
        weight = np.where(there, self.weight, 1.0)
        excess = np.where(self.count > 1, self.scatter / np.maximum(self.count - 1, 1), 0.0)
        independent = np.maximum(1.0 - correlation, excess) / weight
        common = correlation * (self.precision / weight) ** 2
        return np.where(there, np.sqrt(np.where(self.count > 1, independent + common, 1 / weight)), np.nan)


@dataclass(frozen=True)
class GroupSums:
    """Groups, and the means of their quantities and coordinates.

    Parameters
    ----------
    keys : array of int, (K, G)
    means : dict of GroupMeans
        By name.
    """

    keys: Array
    means: dict[str, GroupMeans]


def sum_groups(
    keys: Sequence[Array], values: Mapping[str, Array], deviations: Mapping[str, Array], usable: Mapping[str, Array]
) -> GroupSums:
    """Sums over the rows of each group.

    Parameters
    ----------
    keys : sequence of array of int, (N,)
        Rows with equal keys are one group.
    values : mapping of str to array of float, (N,)
    deviations : mapping of str to array of float, (N,)
        Deviations of the errors; a value without them has the deviation 1.
    usable : mapping of str to array of bool, (N,)
        Which values count; all, where there is no entry.
    """
    group, unique = number_groups(keys)
    size = unique.shape[1]
    number = np.bincount(group, minlength=size).astype(float)
    means = {
        name: _compute_means(group, size, number, value, deviations.get(name), usable.get(name))
        for name, value in values.items()
    }
    return GroupSums(unique, means)


def _compute_means(
    group: Array, size: int, number: Array, value: Array, deviation: Array | None, usable: Array | None
) -> GroupMeans:
    if usable is not None and not usable.all():
        group, value = group[usable], value[usable]
        deviation = None if deviation is None else deviation[usable]
        number = np.bincount(group, minlength=size).astype(float)
    if deviation is None:
        total = np.bincount(group, value, minlength=size)
        mean = total / np.maximum(number, 1)
        departure = value - mean[group]
        departure *= departure
        return GroupMeans(number, number, mean, np.bincount(group, departure, minlength=size), number)
    inverse = 1 / deviation
    weight = inverse * inverse
    whole = np.bincount(group, weight, minlength=size)
    mean = np.bincount(group, weight * value, minlength=size) / np.where(whole > 0, whole, 1)
    departure = value - mean[group]
    departure *= departure
    departure *= weight
    scatter = np.bincount(group, departure, minlength=size)
    return GroupMeans(number, whole, mean, scatter, np.bincount(group, inverse, minlength=size))


def get_mean_coordinate(group_of: GroupSums, name: str) -> Array:
    """Mean of a coordinate by group; NaN where no report has it."""
    means = group_of.means[name]
    return np.where(means.count > 0, means.mean, np.nan)


def merge_sums(parts: Sequence[GroupSums]) -> GroupSums:
    """Sums of all rows that the parts are sums of."""
    if len(parts) == 1:
        return parts[0]
    group, unique = number_groups(list(np.concatenate([part.keys for part in parts], axis=1)))
    names = parts[0].means
    return GroupSums(
        unique, {name: _merge_means(group, unique.shape[1], [part.means[name] for part in parts]) for name in names}
    )


def _merge_means(group: Array, size: int, parts: Sequence[GroupMeans]) -> GroupMeans:
    def joined(field: str) -> Array:
        return np.concatenate([getattr(part, field) for part in parts])

    def added(column: Array) -> Array:
        return np.bincount(group, column, minlength=size)

    weight, mean = joined("weight"), joined("mean")
    whole = added(weight)
    together = added(weight * mean) / np.where(whole > 0, whole, 1)
    scatter = added(joined("scatter") + weight * (mean - together[group]) ** 2)
    return GroupMeans(added(joined("count")), whole, together, scatter, added(joined("precision")))
