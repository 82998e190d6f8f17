"""What is assumed where nothing was measured: said each time, changed by `--assume`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from fedmammo.config.arm import ALL
from fedmammo.errors import InputError
from fedmammo.planning.auroc import variance
from fedmammo.planning.precision import Components, Repeats
from fedmammo.planning.tested import Tested

MEANING = {
    "auroc": "AUROC of the arm that is compared with",
    "correlation": "over patients, of the two arms' AUROCs",
    "correlation_of_local": "over patients, of the AUROCs of two hospitals' own models, and of one's in two draws",
    "within_patient": "of what two lesions of a patient add to an AUROC's error",
    "deviation_of_draws": "standard deviation of the difference between draws, beside what patients explain",
    "deviation_of_seeds": "standard deviation of the difference between seeds",
    "true_difference": "that is to be shown as non-inferior",
    "parameters": "directions in which the classifier effectively moves, for Riley's criteria",
}
RANGES = {
    "auroc": (0.5, 1.0), "correlation": (-1.0, 1.0), "correlation_of_local": (0.0, 1.0), "within_patient": (0.0, 1.0),
    "deviation_of_draws": (0.0, 0.5), "deviation_of_seeds": (0.0, 0.5),
    "true_difference": (-1.0, 1.0), "parameters": (0.0, 1e6),
}  # fmt: skip


@dataclass(frozen=True)
class Assumptions:
    """Numbers that a planner assumes; `MEANING` says of what, `RANGES` between which limits."""

    auroc: float = 0.75
    correlation: float = 0.6
    correlation_of_local: float = 0.3
    within_patient: float = 0.5
    deviation_of_draws: float = 0.015
    deviation_of_seeds: float = 0.006
    true_difference: float = 0.0
    parameters: float = 10.0

    def changed(self, words: Sequence[str]) -> "Assumptions":
        """Return the same with other numbers, each as `auroc=.8`. Raises InputError for what cannot be assumed."""
        found = {}
        for word in words:
            name, _, value = word.partition("=")
            if name not in MEANING:
                raise InputError(f"--assume {word}: nobody knows {name}; assume one of {', '.join(MEANING)}")
            low, high = RANGES[name]
            try:
                number = float(value)
            except ValueError:
                raise InputError(f"--assume {word}: expected {name}= and a number, such as auroc=.8") from None
            inside = low <= number < high if low == 0 and name != "parameters" else low < number < high
            if not inside:
                raise InputError(f"--assume {word}: expected a number between {low:g} and {high:g}")
            found[name] = number
        return replace(self, **found)

    def numbers(self) -> dict[str, float]:
        """Return them by name."""
        return asdict(self)


@dataclass(frozen=True)
class Arms:
    """How the two arms that are compared are related, and repeated.

    Attributes:
        local: hospitals whose own models one of the two arms has; 0 where neither is local.
        dealt_anew: whether draws deal hospitals other patients.
        repeats: of the study.
    """

    local: int
    dealt_anew: bool
    repeats: Repeats


def assumed_parts(assumed: Assumptions, arms: Arms, everybody: Tested, here: Tested) -> Components:
    """Return where the squared error of a difference is assumed to come from.

    The arm that pools keeps its model over draws; a hospital's own model is another in each draw that deals patients
    anew, and errs together with another hospital's by `correlation_of_local`. Over all, local is the mean of its
    models. At a hospital other patients are tested in each draw: what draws have in common is what all patients have.

    Args:
        assumed: the numbers.
        arms: that are compared.
        everybody: tested over all.
        here: tested at the place: a hospital, or over all again.

    Raises InputError where correlations contradict each other.
    """
    one, whole = (variance(assumed.auroc, place.sizes(assumed.within_patient)) for place in (here, everybody))
    both, own, at_hospital = assumed.correlation, assumed.correlation_of_local, here.name != ALL
    anew = arms.dealt_anew and arms.repeats.draws > 1
    if arms.local:
        of_mean = 1.0 if at_hospital else (1 + (arms.local - 1) * own) / arms.local
        alone, shared = one * (1 + of_mean - 2 * both), whole * (1 + own - 2 * both)
    else:
        alone, shared = 2 * one * (1 - both), 2 * (whole if at_hospital else one) * (1 - both)
    if min(alone, shared) <= 0:
        raise InputError(
            f"--assume correlation={both:g}: cannot be while correlation_of_local is {own:g}; assume a correlation "
            f"below {(1 + own) / 2:g}, or a higher correlation_of_local"
        )
    shared = min(alone, shared) if anew else alone
    seeds, draws = assumed.deviation_of_seeds**2, assumed.deviation_of_draws**2 + alone - shared
    freedom = max(1.0, here.benign + here.malignant - 2)
    return Components(seeds, draws, 0.0, alone, shared, here.patients, freedom)
