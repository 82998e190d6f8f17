"""How many patients of which kind each hospital gets: whole numbers that come as near to the targets as they can."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedmammo.hospitals.profiles import Profile

Real = NDArray[np.float64]
Whole = NDArray[np.int64]


class Mix(NamedTuple):
    """A part of the case mix: its axis in a table hospitals x labels x densities x lesions, its first known class."""

    axis: int
    first: int


PREVALENCE, DENSITY, MASSES = Mix(1, 0), Mix(2, 1), Mix(3, 1)

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
    from scipy.optimize import linprog

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

    `kinds` (2 x 5 x 3) counts the patients: benign and malignant; by density class, with 0 for unknown; by type of
    lesion: unknown, mass, calcification. Returns the counts hospitals x 2 x 5 x 3, which add up to `kinds`. Sizes
    follow the shares. The targets that the profiles name are met where the patients suffice, by iterative proportional
    fitting from the cohort's own mix, hospitals without targets taking what is left; else all hospitals give way (with
    prevalences alone, by the same factor on their odds). A target for what does not differ between the cohort's
    patients, such as masses where all lesions are, is ignored. Rounding keeps each hospital's malignant patients
    nearest to the fit, then its density classes, then its types of lesion.
    """
    sizes = apportion(int(kinds.sum()), [profile.share for profile in profiles])
    wanted = targets(kinds, profiles)
    table = sizes[:, None, None, None] * (kinds / max(kinds.sum(), 1))
    for _ in range(_CYCLES):
        before = table
        for mix, fractions in wanted.items():
            table = _towards(table, mix, fractions)
        table = table * _factor(sizes, table.sum((1, 2, 3)))[:, None, None, None]
        table = table * _factor(kinds, table.sum(0))
        if np.abs(table - before).max() < _TOLERANCE:
            break
    return _whole(np.maximum(table, _LEAST), sizes, kinds)  # nothing is ruled out before the sums are right


def targets(kinds: Whole, profiles: Sequence[Profile]) -> dict[Mix, Real]:
    """Return the fractions that the profiles aim at, hospitals x known classes, nan where one names none.

    What does not differ between the patients whose class is known (`kinds`, as in `fit`) is left out.
    """
    nothing = np.nan
    asked: dict[Mix, list[Sequence[float]]] = {
        PREVALENCE: [[nothing] * 2 if p.prevalence is None else [1 - p.prevalence, p.prevalence] for p in profiles],
        DENSITY: [[nothing] * 4 if p.density is None else p.density for p in profiles],
        MASSES: [[nothing] * 2 if p.masses is None else [p.masses, 1 - p.masses] for p in profiles],
    }
    differing = {mix for mix in asked if np.count_nonzero(known(kinds[None], mix)) > 1}
    return {mix: np.clip(np.array(asked[mix], dtype=np.float64), _LEAST, None) for mix in asked if mix in differing}


def known(table: NDArray[np.generic], mix: Mix) -> NDArray[Any]:
    """Count each hospital's patients by their known classes: hospitals x classes, of a table hospitals x 2 x 5 x 3."""
    others = tuple(axis for axis in (1, 2, 3) if axis != mix.axis)
    counts: NDArray[Any] = table.sum(others)
    return counts[:, mix.first :]


def _towards(table: Real, mix: Mix, fractions: Real) -> Real:
    """Scale the known classes so that they have these fractions of each hospital's patients of known class."""
    present = known(table, mix)
    factor = np.ones((len(table), table.shape[mix.axis]))
    factor[:, mix.first :] = _factor(fractions * present.sum(1, keepdims=True), present)
    shape = [len(table), 1, 1, 1]
    shape[mix.axis] = -1
    return table * factor.reshape(shape)


def _whole(table: Real, sizes: Whole, kinds: Whole) -> Whole:
    """Round a table hospitals x kinds to whole patients, the first axis of kinds before the next."""
    if kinds.ndim == 0:
        return sizes
    table = rake(table.reshape(len(sizes), -1), sizes, kinds.ravel()).reshape(table.shape)
    later = tuple(range(1, kinds.ndim))
    totals = kinds.sum(later)
    if np.count_nonzero(totals) > 1:
        counts = nearest_whole(table.sum(tuple(axis + 1 for axis in later)), sizes, totals)
    else:  # they are all alike, as lesions are in a cohort of masses
        counts = np.outer(sizes, totals > 0)
    parts = [_whole(table[:, number], counts[:, number], kinds[number]) for number in range(len(kinds))]
    return np.stack(parts, axis=1)


def _factor(wanted: ArrayLike, present: Real) -> Real:
    """Return wanted / present, and 1 where nothing is wanted (nan) or nothing is there to be scaled."""
    target = np.broadcast_to(np.asarray(wanted, dtype=np.float64), present.shape)
    return np.divide(target, present, out=np.ones_like(present), where=(present > 0) & ~np.isnan(target))
