"""How many patients of which kind each hospital gets: whole numbers that come as near to the targets as they can."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

from fedmammo.hospitals.profiles import Profile

Real = NDArray[np.float64]
Whole = NDArray[np.int64]

_CYCLES = 1000  # enough for tables of this size: what is left over is far below one patient
_TOLERANCE = 1e-9
_LEAST = 1e-6  # a target of 0 is treated as this, so that a hospital can take patients nobody wants


def apportion(total: int, shares: ArrayLike) -> Whole:
    """Divide `total` patients in proportion to `shares` (not negative, sum above 0) by the largest remainder.

    Each number is its exact quota rounded down or up; of equal remainders the first is rounded up.
    """
    weights = np.asarray(shares, dtype=np.float64)
    quotas = total * (weights / weights.sum())
    counts = np.floor(quotas + _TOLERANCE).astype(np.int64)
    remainders = np.round(quotas - counts, 9)
    counts[np.argsort(-remainders, kind="stable")[: total - counts.sum()]] += 1
    return counts


def rake(table: Real, rows: ArrayLike, columns: ArrayLike) -> Real:
    """Scale rows and columns of a positive table in turn until they sum to `rows` and `columns`.

    Iterative proportional fitting (Deming and Stephan 1940, Ann. Math. Statist. 11:427): of all tables with these
    sums, the result has the least Kullback-Leibler divergence from `table`.
    """
    row_sums, column_sums = np.asarray(rows, dtype=np.float64), np.asarray(columns, dtype=np.float64)
    for _ in range(_CYCLES):
        table = table * _factor(row_sums, table.sum(1))[:, None]
        table = table * _factor(column_sums, table.sum(0))
        if np.abs(table.sum(1) - row_sums).max() < _TOLERANCE:
            break
    return table


def nearest_whole(table: Real, rows: ArrayLike, columns: ArrayLike) -> Whole:
    """Round a table that (nearly) sums to the whole numbers `rows` and `columns` so that it does so exactly.

    Of all such roundings to a neighbouring whole number it returns one with the least squared change. Counting a
    cell up from k to k + 1 changes its square by 2 (k + 1/2 - x), so this is a transport problem, and a linear
    program's corners are whole (controlled rounding: Causey, Cox and Ernst 1985, JASA 80:903).
    """
    start = np.maximum(np.floor(table).astype(np.int64) - 1, 0)
    steps = np.arange(3)[:, None, None]
    cost = start + steps + 0.5 - table
    cells = np.arange(cost.size).reshape(cost.shape)
    in_row = [np.isin(np.arange(cost.size), cells[:, i]) for i in range(table.shape[0])]
    in_column = [np.isin(np.arange(cost.size), cells[:, :, j]) for j in range(table.shape[1])]
    left = [*(np.asarray(rows) - start.sum(1)), *(np.asarray(columns) - start.sum(0))]
    solution = linprog(cost.ravel(), A_eq=np.array([*in_row, *in_column]), b_eq=left, bounds=(0, 1), method="highs-ds")
    assert solution.x is not None, solution.message
    return start + np.rint(solution.x).astype(np.int64).reshape(cost.shape).sum(0)


def fit(kinds: Whole, profiles: Sequence[Profile]) -> Whole:
    """Fit the hospitals' sizes and case mixes to the patients there are.

    `kinds` (2 x 5) counts the patients: benign and malignant, by density class with 0 for unknown. Returns the counts
    hospitals x 2 x 5, which add up to `kinds`. Sizes follow the shares. The targets that the profiles name are met
    where the patients suffice, by iterative proportional fitting from the cohort's own mix, hospitals without targets
    taking what is left; else all hospitals give way (with prevalences alone, by the same factor on their odds).
    Rounding keeps each hospital's malignant patients nearest to the fit, then its density classes.
    """
    sizes = apportion(int(kinds.sum()), [profile.share for profile in profiles])
    prevalence = np.array([np.nan if p.prevalence is None else p.prevalence for p in profiles])
    prevalence = np.clip(prevalence, _LEAST, 1 - _LEAST)
    labels = sizes[:, None] * np.column_stack([1 - prevalence, prevalence])
    density = np.array([[np.nan] * 4 if p.density is None else p.density for p in profiles])
    density = np.clip(density, _LEAST, None)

    table = sizes[:, None, None] * (kinds / max(kinds.sum(), 1))
    for _ in range(_CYCLES):
        before = table
        table = table * _factor(labels, table.sum(2))[:, :, None]
        known = table[:, :, 1:].sum(1)
        classes = density * known.sum(1, keepdims=True)
        table = np.concatenate([table[:, :, :1], table[:, :, 1:] * _factor(classes, known)[:, None, :]], axis=2)
        table = table * _factor(sizes, table.sum((1, 2)))[:, None, None]
        table = table * _factor(kinds, table.sum(0))
        if np.abs(table - before).max() < _TOLERANCE:
            break

    table = np.maximum(table, _LEAST)  # nothing is ruled out before the sums are right
    flat = rake(table.reshape(len(profiles), -1), sizes, kinds.ravel()).reshape(table.shape)
    of_label = nearest_whole(flat.sum(2), sizes, kinds.sum(1))
    parts = [rake(flat[:, label], of_label[:, label], kinds[label]) for label in (0, 1)]
    return np.stack([nearest_whole(parts[label], of_label[:, label], kinds[label]) for label in (0, 1)], axis=1)


def _factor(wanted: ArrayLike, present: Real) -> Real:
    """Return wanted / present, and 1 where nothing is wanted (nan) or nothing is there to be scaled."""
    target = np.broadcast_to(np.asarray(wanted, dtype=np.float64), present.shape)
    return np.divide(target, present, out=np.ones_like(present), where=(present > 0) & ~np.isnan(target))
