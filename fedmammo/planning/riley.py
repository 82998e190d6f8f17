"""How many patients a prediction model needs, for developing it and for validating it: Riley's criteria.

Development, binary outcome: Riley et al. 2019 (Statistics in Medicine 38:1276) and 2020 (BMJ 368:m441); Cox-Snell's R²
from a C statistic: Riley et al. 2021 (Statistics in Medicine 40:859). Validation: Riley et al. 2021 (Statistics in
Medicine 40:4230). Scores are taken to be normal in each class, with one width, and calibrated.

A parameter is a candidate predictor's coefficient. A head on a frozen network has as many as tensors that are trained
hold numbers; stopped early or penalised it moves in fewer effective directions, whose number shows from fitting alone.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, xlogy
from scipy.stats import norm

from fedmammo.evaluation.tested import Floats

SHRINKAGE = 0.9  # expected, of predictor effects: what 2019 and 2020 ask for at least
OPTIMISM = 0.05  # largest difference of apparent and adjusted R² (Nagelkerke's), likewise
RISK = 0.05  # half the width of the interval of the overall risk, likewise
QUANTILE = float(norm.ppf(0.975))
_NODES = 4001  # of integrals over scores


class Developing(NamedTuple):
    """How many patients each criterion asks for.

    Attributes:
        shrinkage: that effects of predictors shrink by a tenth at most.
        optimism: that apparent and adjusted R² differ by .05 at most.
        risk: that the overall risk is known to within .05.
    """

    shrinkage: int
    optimism: int
    risk: int

    @property
    def needed(self) -> int:
        """The most of the three."""
        return max(self)


class Validating(NamedTuple):
    """How many patients each measure asks for; see `validating`."""

    observed_to_expected: int
    slope: int
    c_statistic: int
    net_benefit: int

    @property
    def needed(self) -> int:
        """The most of the four."""
        return max(self)


class Scores(NamedTuple):
    """The distribution of scores in a population.

    Attributes:
        predictor: (points,) log odds that the model tells.
        weight: (points,) share of patients there, summing to 1.
    """

    predictor: Floats
    weight: Floats


def scores_of(c_statistic: float, prevalence: float) -> Scores:
    """Return the distribution of calibrated log odds that has this C statistic (.5 to 1) at this prevalence (0 to 1).

    Normal in each class with one width (Riley et al. 2021): in the malignant class they lie a variance higher.
    """
    width = 2**0.5 * float(norm.ppf(c_statistic))
    middle = float(np.log(prevalence / (1 - prevalence)))
    at = np.linspace(middle - width**2 / 2 - 8 * width, middle + width**2 / 2 + 8 * width, _NODES)
    density = (1 - prevalence) * norm.pdf(at, middle - width**2 / 2, width)
    density += prevalence * norm.pdf(at, middle + width**2 / 2, width)
    return Scores(at, density / density.sum())


def normal_scores(mean: float, deviation: float) -> Scores:
    """Return log odds that are normal over all patients."""
    at = np.linspace(mean - 8 * deviation, mean + 8 * deviation, _NODES)
    density = norm.pdf(at, mean, deviation)
    return Scores(at, density / density.sum())


def cox_snell(scores: Scores) -> float:
    """Return the Cox-Snell R² of calibrated scores, 0 to below 1: from the mean log likelihood of a patient."""
    risk = expit(scores.predictor)
    likelihood = float((scores.weight * (xlogy(risk, risk) + xlogy(1 - risk, 1 - risk))).sum())
    return 1 - float(np.exp(2 * (_null(float((scores.weight * risk).sum())) - likelihood)))


def largest_cox_snell(prevalence: float) -> float:
    """Return the largest Cox-Snell R² that a model can have at this prevalence."""
    return 1 - float(np.exp(2 * _null(prevalence)))


def _null(prevalence: float) -> float:
    """Mean log likelihood of a patient, of the overall risk alone."""
    return float(xlogy(prevalence, prevalence) + xlogy(1 - prevalence, 1 - prevalence))


def developing(parameters: float, r_squared: float, prevalence: float, shrinkage: float = SHRINKAGE) -> Developing:
    """Return how many patients it takes to develop a model.

    Args:
        parameters: candidate predictors' coefficients, or effective degrees of freedom.
        r_squared: Cox-Snell, that is expected of the model (`cox_snell`).
        prevalence: malignant share of the patients, 0 to 1.
        shrinkage: the least that is accepted, 0 to 1.
    """
    needed = patients_for(parameters, r_squared, shrinkage)
    least = r_squared / (r_squared + OPTIMISM * largest_cox_snell(prevalence))
    of_risk = (QUANTILE / RISK) ** 2 * prevalence * (1 - prevalence)
    return Developing(_up(needed), _up(patients_for(parameters, r_squared, least)), _up(of_risk))


def patients_for(parameters: float, r_squared: float, shrinkage: float) -> float:
    """Return with how many patients predictors' effects are expected to shrink to this (Riley et al. 2019, eq. 11)."""
    return float(parameters / ((shrinkage - 1) * np.log1p(-r_squared / shrinkage)))


def parameters_borne(patients: float, r_squared: float, shrinkage: float = SHRINKAGE) -> float:
    """Return how many parameters so many patients bear with this shrinkage: the inverse of `patients_for`."""
    return float(patients * (shrinkage - 1) * np.log1p(-r_squared / shrinkage))


class Widths(NamedTuple):
    """How wide 95 % intervals may be, both sides together."""

    observed_to_expected: float = 0.2
    slope: float = 0.2
    c_statistic: float = 0.1
    net_benefit: float = 0.2


class Acting(NamedTuple):
    """At which probability one would act, and what this finds.

    Attributes:
        threshold: probability, 0 to 1.
        sensitivity: share of malignant patients above it.
        specificity: share of benign ones not above it.
    """

    threshold: float
    sensitivity: float
    specificity: float


def acting(scores: Scores, threshold: float) -> Acting:
    """Return what calibrated scores find at a threshold."""
    risk, acts = expit(scores.predictor), expit(scores.predictor) > threshold
    malignant, benign = scores.weight * risk, scores.weight * (1 - risk)
    return Acting(threshold, float(malignant[acts].sum() / malignant.sum()), float(benign[~acts].sum() / benign.sum()))


def validating(
    c_statistic: float,
    prevalence: float,
    scores: Scores,
    acts: Acting,
    widths: Widths = Widths(),  # noqa: B008
) -> Validating:
    """Return how many patients it takes to validate a model, measure by measure (Riley et al. 2021).

    Args:
        c_statistic: that is expected.
        prevalence: malignant share, 0 to 1.
        scores: log odds that the model is expected to tell in these patients, calibrated.
        acts: where net benefit is to be known.
        widths: of the intervals. That of the ratio of observed and expected cases is made on its logarithm, around 1;
            that of net benefit is of the standardised one, its share of the prevalence.
    """
    of_ratio = float(np.arcsinh(widths.observed_to_expected / 2)) / QUANTILE
    ratio = (1 - prevalence) / (prevalence * of_ratio**2)
    risk = expit(scores.predictor)
    information = scores.weight * risk * (1 - risk)
    whole, first, second = (float((information * scores.predictor**power).sum()) for power in (0, 1, 2))
    slope = whole / (_error(widths.slope) ** 2 * (whole * second - first**2))
    odds = (1 - prevalence) / prevalence * acts.threshold / (1 - acts.threshold)
    found, spared = acts.sensitivity, acts.specificity
    of_benefit = found * (1 - found) / prevalence + odds**2 * spared * (1 - spared) / (1 - prevalence)
    of_benefit += odds**2 * (1 - spared) ** 2 / (prevalence * (1 - prevalence))
    benefit = of_benefit / _error(widths.net_benefit) ** 2
    return Validating(_up(ratio), _up(slope), _for_c(c_statistic, prevalence, widths.c_statistic), _up(benefit))


def _error(width: float) -> float:
    """Standard error of a symmetric 95 % interval."""
    return width / (2 * QUANTILE)


def _for_c(c_statistic: float, prevalence: float, width: float) -> int:
    """Return the fewest patients with whom the C statistic's interval is no wider (Newcombe 2006, method 4)."""

    def error(patients: float) -> float:
        halves = patients / 2 - 1
        spread = 1 + halves * (1 - c_statistic) / (2 - c_statistic) + halves * c_statistic / (1 + c_statistic)
        return float((c_statistic * (1 - c_statistic) * spread / (patients**2 * prevalence * (1 - prevalence))) ** 0.5)

    low, high = 2, 4
    while error(high) > _error(width):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if error(middle) > _error(width) else (low, middle)
    return high


def _up(patients: float) -> int:
    return int(np.ceil(patients - 1e-9))
