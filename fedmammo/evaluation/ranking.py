"""How well scores rank malignant above benign: AUROC, its part at high specificity, precision, a point of the curve."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from fedmammo.evaluation.tested import Floats, Integers, Measured, Tested, UndefinedError, ratio

FALSE_POSITIVES = 0.2  # the partial AUROC's largest false positive rate
SPECIFICITY = 0.9
FEWEST_BEYOND = 2  # units of a fold on either side of a point of a curve, for its interval
FEWEST_BENIGN = 9  # with fewer no cut has an expected specificity of 90 %


def auroc(tested: Tested) -> Measured:
    """The share of pairs, one malignant and one benign unit of one fold, that are ranked rightly; ties count half.

    With folds this is the sum of rightly ranked pairs over the sum of pairs: a fold of one class adds none.
    Influence: the structural components of DeLong et al. 1988 (Biometrics 44:837).
    """
    tested.need_both()
    key, start = _keys(tested)
    malignant = tested.malignant
    of_malignant, of_benign = np.sort(key[malignant]), np.sort(key[~malignant])
    first_malignant, first_benign = (np.searchsorted(kind, start) for kind in (of_malignant, of_benign))
    last_malignant, last_benign = (
        np.searchsorted(kind, start + len(key) + 1) for kind in (of_malignant, of_benign)
    )  # a key's rank is at most the number of units
    below, not_above = (np.searchsorted(of_benign, key, side=side) for side in ("left", "right"))
    won = (below + not_above) / 2 - first_benign
    lower, not_higher = (np.searchsorted(of_malignant, key, side=side) for side in ("left", "right"))
    lost = last_malignant - (lower + not_higher) / 2
    pairs_of = np.where(malignant, last_benign - first_benign, last_malignant - first_malignant)
    right = np.where(malignant, won, lost)
    pairs = pairs_of[malignant].sum()
    if not pairs:
        raise UndefinedError("no fold has both classes")
    value = right[malignant].sum() / pairs
    return Measured(float(value), (right - value * pairs_of) / pairs)


def _keys(tested: Tested) -> tuple[Integers, Integers]:
    """Return whole numbers in the order of scores within folds, (units,), and the least of each unit's fold."""
    ranks = np.unique(tested.score, return_inverse=True)[1]
    start = tested.fold * (len(ranks) + 1)
    return start + ranks, start


def average_precision(tested: Tested) -> Measured:
    """The mean, over malignant units, of the share of malignant ones among those of the fold that score no lower."""
    tested.need_both()
    part, malignant = np.zeros(len(tested.score)), tested.malignant
    for fold in tested.folds():
        order = fold[np.argsort(-tested.score[fold], kind="stable")]
        score, hit = tested.score[order], malignant[order].astype(float)
        last = np.searchsorted(-score, -score, side="right") - 1  # the last of equal scores
        first = np.searchsorted(-score, -score, side="left")
        true = hit.cumsum()[last]
        called = last + 1.0
        # A unit's weight moves the precision of all malignant units that score no higher.
        gain, loss = hit * (called - true) / called**2, hit * true / called**2
        later = [np.append(moved[::-1].cumsum()[::-1], 0.0)[first] for moved in (gain, loss)]
        part[order] = np.where(hit > 0, true / called + later[0], -later[1])
    return ratio(part, malignant.astype(float))


def partial_auroc(tested: Tested) -> Measured:
    """The area under the curve up to a false positive rate of `FALSE_POSITIVES`, .5 to 1 as McClish 1989 scales it.

    (Medical Decision Making 9:190.) Folds count as they have pairs.
    """
    tested.need_both()
    part, weight = np.zeros(len(tested.score)), np.zeros(len(tested.score))
    for fold in tested.folds():
        malignant, benign = fold[tested.malignant[fold]], fold[~tested.malignant[fold]]
        if not len(malignant) or not len(benign):
            continue
        weight[malignant], weight[benign] = len(benign), len(malignant)
        order = benign[np.argsort(-tested.score[benign], kind="stable")]
        scores, ordered = tested.score[malignant], tested.score[order]
        first, after = (np.searchsorted(-ordered, -ordered, side=side) for side in ("left", "right"))
        share = np.clip(FALSE_POSITIVES * len(ordered) - first, 0, after - first) / (after - first)  # that counts
        part[malignant] = _below(scores, ordered, share) + _equal(scores, ordered, share**2 / 2)
        each = np.full(len(scores), 1 / len(scores))
        tied = _equal(ordered, scores, each)
        above = 1 - _below(ordered, scores, each) - tied
        last = (above + share * tied)[np.flatnonzero(share)[-1]]
        part[order] = len(malignant) * (share * (above + share * tied / 2 - last) + FALSE_POSITIVES * last)
    if not weight.any():
        raise UndefinedError("no fold has both classes")
    # Both classes' parts sum to the area times the pairs: half of each makes one ratio, and each its own influence.
    pairs = weight[tested.malignant].sum()
    area = part[tested.malignant].sum() / pairs
    influence = (part - area * weight) / pairs
    least = FALSE_POSITIVES**2 / 2
    scale = 0.5 / (FALSE_POSITIVES - least)
    return Measured(float(0.5 + scale * (area - least)), scale * influence)


def _below(scores: Floats, others: Floats, weights: Floats) -> Floats:
    """Return what the others that score lower weigh in all, for each score."""
    return _up_to(scores, others, weights, "left")


def _equal(scores: Floats, others: Floats, weights: Floats) -> Floats:
    """Return what the others that score the same weigh in all, for each score."""
    return _up_to(scores, others, weights, "right") - _up_to(scores, others, weights, "left")


def _up_to(scores: Floats, others: Floats, weights: Floats, side: Literal["left", "right"]) -> Floats:
    order = np.argsort(others, kind="stable")
    total = np.append(0.0, weights[order].cumsum())
    found: Floats = total[np.searchsorted(others[order], scores, side=side)]
    return found


def sensitivity_on_curve(tested: Tested) -> Measured:
    """The share of malignant units above the lowest cut that 90 % of the fold's tested benign units do not exceed."""
    tested.need_both()
    if any((~tested.malignant[fold]).sum() < FEWEST_BENIGN for fold in tested.folds()):
        raise UndefinedError(f"fewer than {FEWEST_BENIGN} benign tested in a fold")
    return sensitivities(tested, [1 - SPECIFICITY])[0]


def cuts_on_curve(tested: Tested, rate: float) -> Floats:
    """Return each unit's cut of its fold's curve at a false positive rate, (units,), as `sensitivities` takes it."""
    cuts = np.full(len(tested.score), -np.inf)
    for fold in tested.folds():
        ordered = np.append(-np.sort(-tested.score[fold[~tested.malignant[fold]]]), -np.inf)
        cuts[fold] = (
            ordered[_beside(np.array([rate]), len(ordered) - 1, np.floor).at[0]] if len(ordered) > 1 else -np.inf
        )
    return cuts


def sensitivities(tested: Tested, rates: Sequence[float]) -> list[Measured]:
    """The tested units' own ROC curve: the share of malignant units above a cut, at each false positive rate (0 to 1).

    In each fold the cut is the lowest that at most this share of its benign units exceeds. A fold of one class adds
    none. Influence: that of a point of the ROC curve (Hsieh and Turnbull 1996, Annals of Statistics 24:25), whose slope
    is measured beside it; not known (NaN) with fewer than `FEWEST_BEYOND` benign units of a fold on a side of the
    point, so at neither end.
    """
    tested.need_both()
    shape = len(rates), len(tested.score)
    hit, part, counted = np.zeros(shape), np.zeros(shape), np.zeros(shape[1])
    for fold in tested.folds():
        malignant, benign = fold[tested.malignant[fold]], fold[~tested.malignant[fold]]
        if not len(malignant) or not len(benign):
            continue
        counted[malignant] = 1
        scores, ordered = tested.score[malignant], np.append(-np.sort(-tested.score[benign]), -np.inf)
        beside = _beside(np.asarray(rates), len(benign), np.floor)
        above = len(scores) - np.searchsorted(np.sort(scores), ordered, side="right")
        slope = (above[beside.high] - above[beside.low]) / beside.apart
        cut = ordered[beside.at][:, None]
        hit[:, malignant] = scores > cut
        exceeds = tested.score[benign] > cut
        part[:, benign] = slope[:, None] * (exceeds.mean(axis=1, keepdims=True) - exceeds) / len(benign)
    if not counted.any():
        raise UndefinedError("no fold has both classes")
    found = [ratio(of_point, counted) for of_point in hit]
    return [Measured(one.value, one.influence + moved / counted.sum()) for one, moved in zip(found, part, strict=True)]


def precisions(tested: Tested, recalls: Sequence[float]) -> list[Measured]:
    """The share of malignant among units at or above a cut, at each recall (above 0, at most 1).

    In each fold the cut is the highest that at least this share of its malignant units reaches; a fold without them
    adds none. Influence: the recall fixes how many malignant units reach the cut; how many benign ones do follows from
    the cut, by a slope that is measured beside the point. It is not known (NaN) with fewer than `FEWEST_BEYOND`
    malignant units of a fold on a side of the point, so not at full recall.
    """
    tested.need_both()
    shape = len(recalls), len(tested.score)
    true, called, moved = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for fold in tested.folds():
        malignant, benign = fold[tested.malignant[fold]], fold[~tested.malignant[fold]]
        if not len(malignant):
            continue
        scores = tested.score[malignant]
        ordered = np.append(np.inf, -np.sort(-scores))
        beside = _beside(np.asarray(recalls), len(malignant), np.ceil)
        false = len(benign) - np.searchsorted(np.sort(tested.score[benign]), ordered, side="left")
        slope = (false[beside.high] - false[beside.low]) / beside.apart
        cut = ordered[beside.at][:, None]
        reaches = scores >= cut
        recall = reaches.mean(axis=1, keepdims=True)
        true[:, malignant] = called[:, malignant] = recall
        called[:, benign] = tested.score[benign] >= cut
        moved[:, malignant] = slope[:, None] * (recall - reaches) / len(malignant)
    found = [ratio(*of_point) for of_point in zip(true, called, strict=True)]
    return [
        Measured(one.value, one.influence - one.value * more / of_point.sum())
        for one, more, of_point in zip(found, moved, called, strict=True)
    ]


class _Beside(NamedTuple):
    """Where points of a fold's curve lie among its ordered units, and two places beside each: (points,) each."""

    at: Integers
    low: Integers
    high: Integers
    apart: Floats


def _beside(points: Floats, units: int, rounded: Callable[[Floats], Floats]) -> _Beside:
    """Find points, shares of a fold's units of one class, and two places as far below and above each.

    A slope is measured between these; `apart` is how far they lie apart, as a share. NaN where the slope would say
    little: with fewer than `FEWEST_BEYOND` units on a side of the point.
    """
    inside = np.minimum(points, 1 - points)
    width = np.minimum(inside, units ** (-1 / 3) / 2)
    nearly = 1e-9 if rounded is np.floor else -1e-9  # .3 x 10 is a little more or less than 3
    at, low, high = (rounded((points + far) * units + nearly).astype(np.int64) for far in (0, -width, width))
    low, high = np.maximum(low, 0), np.minimum(high, units)
    known = (inside * units >= FEWEST_BEYOND - 1e-9) & (high > low)
    return _Beside(at, low, high, np.where(known, (high - low) / units, np.nan))
