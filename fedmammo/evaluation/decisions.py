"""What a cut in score leads to: who is recalled, who is missed, and what that is worth."""

import numpy as np

from fedmammo.evaluation.tested import Flags, Floats, Measured, Tested, UndefinedError, ratio


def balanced_accuracy(tested: Tested) -> Measured:
    """The mean of sensitivity and specificity at the cut chosen for it on validation patients."""
    tested.need_both()
    _need(tested.balanced, "no cut: validation needs both classes")
    called = tested.score > tested.balanced
    parts = [_share(called, tested.malignant), _share(~called, ~tested.malignant)]
    return Measured(sum(part.value for part in parts) / 2, (parts[0].influence + parts[1].influence) / 2)


def sensitivity(tested: Tested) -> Measured:
    """The share of malignant units above the cut for a specificity of 90 %, chosen on validation patients."""
    tested.need_malignant()
    return _share(_called(tested), tested.malignant)


def specificity(tested: Tested) -> Measured:
    """The share of benign units that do not exceed that cut."""
    if tested.malignant.all():
        raise UndefinedError("nobody benign tested" if len(tested.label) else "nobody tested")
    return _share(~_called(tested), ~tested.malignant)


def recall_rate(tested: Tested, prevalence: float) -> Measured:
    """The share of all that exceed that cut, at this prevalence of malignancy."""
    hit, false = _rates(tested)
    return Measured(
        prevalence * hit.value + (1 - prevalence) * false.value,
        prevalence * hit.influence + (1 - prevalence) * false.influence,
    )


def positive_value(tested: Tested, prevalence: float) -> Measured:
    """The share of malignant among those that exceed that cut, at this prevalence (PPV)."""
    hit, false = _rates(tested)
    return _value(hit, false, prevalence, "nobody exceeds the cut")


def negative_value(tested: Tested, prevalence: float) -> Measured:
    """The share of benign among those that do not exceed that cut, at this prevalence (NPV)."""
    hit, false = _rates(tested)
    cleared, missed = (Measured(1 - one.value, -one.influence) for one in (false, hit))
    return _value(cleared, missed, 1 - prevalence, "everybody exceeds the cut")


def net_benefit(tested: Tested, threshold: float, prevalence: float | None = None) -> Measured:
    """Net benefit of acting where the probability exceeds a threshold: true positives less weighed false ones.

    Vickers and Elkin 2006 (Medical Decision Making 26:565): sensitivity x prevalence - (1 - specificity) x
    (1 - prevalence) x threshold / (1 - threshold).

    Args:
        tested: units and their scores.
        threshold: probability of malignancy from which on one would act, between 0 and 1.
        prevalence: to which probabilities are moved from that of the model's validation units, odds times the ratio of
            odds; without one, probabilities stay, and it is that of the tested.
    """
    tested.need_both()
    weight = threshold / (1 - threshold)
    if prevalence is None:
        called = tested.score > threshold
        gained = np.where(tested.malignant, 1.0, -weight) * called
        return ratio(gained, np.ones(len(called)))
    _need(tested.learned, "validation needs both classes")
    called = tested.score > moved_threshold(threshold, prevalence, tested.learned)
    hit, false = _share(called, tested.malignant), _share(called, ~tested.malignant)
    return Measured(
        prevalence * hit.value - (1 - prevalence) * weight * false.value,
        prevalence * hit.influence - (1 - prevalence) * weight * false.influence,
    )


def moved_threshold(threshold: float, prevalence: float, learned: Floats) -> Floats:
    """Return which probability, of a model that learned where `learned` are malignant, stands for a threshold."""
    odds = threshold / (1 - threshold) * (learned / (1 - learned)) / (prevalence / (1 - prevalence))
    return odds / (1 + odds)


def _rates(tested: Tested) -> tuple[Measured, Measured]:
    """Return sensitivity, and one minus specificity."""
    tested.need_both()
    called = _called(tested)
    return _share(called, tested.malignant), _share(called, ~tested.malignant)


def _value(right: Measured, wrong: Measured, share: float, why: str) -> Measured:
    """Return share x right / (share x right + (1 - share) x wrong)."""
    gained, lost = share * right.value, (1 - share) * wrong.value
    if not gained + lost:
        raise UndefinedError(why)
    influence = (lost * share * right.influence - gained * (1 - share) * wrong.influence) / (gained + lost) ** 2
    return Measured(gained / (gained + lost), influence)


def _called(tested: Tested) -> Flags:
    _need(tested.specific, "no cut: too few benign in validation")
    called: Flags = tested.score > tested.specific
    return called


def _need(cuts: Floats, why: str) -> None:
    if np.isnan(cuts).any():
        raise UndefinedError(why)


def _share(of: Flags, among: Flags) -> Measured:
    return ratio((of & among).astype(float), among.astype(float))
