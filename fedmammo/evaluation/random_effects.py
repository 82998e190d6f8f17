"""Random effects over hospitals: their mean, how much they differ, what a new one may expect, and regressions.

The variance between hospitals, tau², is estimated by restricted maximum likelihood (Viechtbauer 2005, Journal of
Educational and Behavioral Statistics 30:261; Langan et al. 2019, Research Synthesis Methods 10:83). The mean has the
interval of Hartung and Knapp 2001 (Statistics in Medicine 20:3875) and Sidik and Jonkman 2002 (21:3153): Student's t
with one degree of freedom less than there are hospitals. It is guarded as Röver, Knapp and Friede 2015 do (BMC Medical
Research Methodology 15:99): where hospitals differ by less than their patients explain, the error is not made smaller
than the usual one of random effects, which is never below that of a fixed effect. I² is that of Higgins and Thompson
2002 (Statistics in Medicine 21:1539) by tau²; the prediction interval that of Higgins, Thompson and Spiegelhalter 2009
(Journal of the Royal Statistical Society A 172:137) with the error above, as IntHout et al. 2016 (BMJ Open 6:e010247)
do, widened where it has to be. Regressions: Knapp and Hartung 2003 (Statistics in Medicine 22:2693), same guard.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from fedmammo.evaluation.intervals import COVERAGE, limits_around
from fedmammo.evaluation.tested import Floats

LEVELS = 100  # values of tau² that stand for its confidence distribution


class Fit(NamedTuple):
    """Random effects over hospitals, of a mean or of a regression.

    Attributes:
        estimates: (terms,) the mean, or intercept and slope.
        errors: (terms,) their standard errors, by observed differences and guarded.
        lines: (terms, hospitals) how each is summed up from hospitals' effects.
        tau2: variance between hospitals that is left.
        q: Cochran's Q of what is left.
        freedom: hospitals less terms.
        effects: (hospitals,) as given.
        variances: (hospitals,) as given.
        typical: what hospitals' own variances amount to, as Higgins and Thompson sum them up.
    """

    estimates: Floats
    errors: Floats
    lines: Floats
    tau2: float
    q: float
    freedom: int
    effects: Floats
    variances: Floats
    typical: float

    @property
    def i2(self) -> float:
        """The part of the variation between hospitals that is not chance, 0 to 1: by tau²."""
        return self.tau2 / (self.tau2 + self.typical)


def fit(effects: Floats, variances: Floats, design: Floats | None = None) -> Fit:
    """Fit random effects.

    Args:
        effects: (hospitals,).
        variances: (hospitals,) of each effect over its own patients, above 0.
        design: (hospitals, terms); without, a column of ones: the mean.
    """
    design = np.ones((len(effects), 1)) if design is None else design
    tau2 = _between(effects, variances, design)
    weights = 1 / (variances + tau2)
    inverse = np.linalg.inv(design.T @ (weights[:, None] * design))
    lines = inverse @ (design.T * weights)
    estimates = lines @ effects
    freedom = len(effects) - design.shape[1]
    observed = float((weights * (effects - design @ estimates) ** 2).sum()) / freedom
    errors = np.sqrt(np.diag(inverse) * max(1.0, observed))
    rest = _rest(effects, variances, design, 0.0)
    typical = freedom / float(np.trace(rest))
    return Fit(estimates, errors, lines, tau2, float(effects @ rest @ effects), freedom, effects, variances, typical)


def predicted(found: Fit, extra: float = 0.0) -> tuple[float, float]:
    """Return the limits between which a new hospital's true effect lies with a probability of 95 %.

    Those of Higgins et al., by Student's t with two degrees less than there are hospitals; or, where they lie further
    out, those that let tau² be as uncertain as it is. Alone the former cover too seldom where hospitals are of unequal
    size and tau is small, as its estimate is then often 0 (Partlett and Riley 2017, Statistics in Medicine 36:301).

    Args:
        found: the fit of a mean, of at least three hospitals.
        extra: squared error of the mean beside.
    """
    error = (found.tau2 + found.errors[0] ** 2 + extra) ** 0.5
    low, high, _ = limits_around(float(found.estimates[0]), float(error), found.freedom - 1, "number")
    least, most = _by_confidence(found, extra)
    return min(low, least), max(high, most)


def _by_confidence(found: Fit, extra: float) -> tuple[float, float]:
    """Return prediction limits over the confidence distribution of tau².

    As Nagashima, Noma and Furukawa 2019 do (Statistical Methods in Medical Research 28:1689), here by the distribution
    of generalised Q (Viechtbauer 2007, Statistics in Medicine 26:37), which is chi-square at the true tau², and at
    LEVELS equally likely values of tau² instead of drawn ones. Given tau², effect and mean are normal.
    """
    effects, variances = found.effects, found.variances

    def above(tau2: float, quantile: float) -> float:
        weights = 1 / (variances + tau2)
        return float(weights @ (effects - weights @ effects / weights.sum()) ** 2) - quantile

    quantiles = chi2.ppf((np.arange(LEVELS) + 0.5) / LEVELS, found.freedom)
    most = float(variances.max() + np.ptp(effects) ** 2)
    while above(most, quantiles[0]) > 0:
        most *= 4
    tau2 = np.array([brentq(above, 0, most, args=(one,)) if above(0, one) > 0 else 0.0 for one in quantiles])
    weights = 1 / (variances + tau2[:, None])
    means = weights @ effects / weights.sum(axis=1)
    errors = np.sqrt(tau2 + 1 / weights.sum(axis=1) + extra)
    ends = float((means - 9 * errors).min()), float((means + 9 * errors).max())
    low, high = (
        float(brentq(lambda at, level=level: float(norm.cdf((at - means) / errors).mean()) - level, *ends))
        for level in ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)
    )
    return low, high


def _rest(effects: Floats, variances: Floats, design: Floats, tau2: float) -> Floats:
    """Return the matrix P of restricted likelihood, by which y'Py is the weighted square of what is left."""
    weights = 1 / (variances + tau2)
    weighted = weights[:, None] * design
    found: Floats = np.diag(weights) - weighted @ np.linalg.solve(design.T @ weighted, weighted.T)
    return found


def _between(effects: Floats, variances: Floats, design: Floats) -> float:
    """Return the variance between hospitals of the highest restricted likelihood, at least 0."""

    def slope(tau2: float) -> float:
        rest = _rest(effects, variances, design, tau2)
        away = rest @ effects
        return float(away @ away - np.trace(rest))

    def likelihood(tau2: float) -> float:
        whole, rest = variances + tau2, _rest(effects, variances, design, tau2)
        within = np.linalg.slogdet(design.T @ (design / whole[:, None]))[1]
        return float(-np.log(whole).sum() - within - effects @ rest @ effects)

    most = 10 * float(np.var(effects)) + float(variances.max())
    grid = [0.0, *np.geomspace(1e-4 * float(variances.min()), most, 60)]
    best = int(np.argmax([likelihood(tau2) for tau2 in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    if not slope(low) > 0 > slope(high):
        return grid[best]
    return float(brentq(slope, low, high, xtol=1e-12 * high, rtol=1e-12))
