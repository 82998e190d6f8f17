"""Whether 95 % intervals cover: simulated studies with known truth, through this software's own functions.

Scores of two arms are binormal (AUROC .78 and .71, or .71 twice), correlated within patients, who have one or two
lesions, and between arms; in every repeat the models' skill moves, and so does each score. `quiet` repeats move as
seeds did on real features (an AUROC by .006), `noisy` ones as new noise of a budget does (.03), `uneven` ones as
hospitals dealt by a Dirichlet distribution do (differences follow a gamma distribution: mean .033, SD .047). In `still`
ones, on which all metrics are tried, skill does not move.

Prints a row for each design and kind of interval: how many data sets had one, how many of these it covers (Monte Carlo
error .005 at 2000), and how often p is below .05 where both arms are alike. Writes the rows to results/coverage.csv.

    python benchmarks/coverage.py [data sets, 2000] [processes, 2]
"""

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from typing import Literal, NamedTuple
from zlib import crc32

import numpy as np
import pandas as pd
from common import RESULTS
from scipy.stats import norm

from fedmammo.evaluation import calibration, decisions, intervals, ranking
from fedmammo.evaluation.intervals import Interval, interval_of
from fedmammo.evaluation.tested import Measure, Tested, UndefinedError
from fedmammo.evaluation.variance import Sample

SKILL = {"quiet": 0.006, "noisy": 0.03, "uneven": 0.0, "still": 0.0}  # SD of an AUROC between repeats
SHARED = {"noisy": (0.35, 0.1)}  # variance of scores that repeats share: of the patient, of the arm
ROOT = 2**0.5
SECOND, AGREE, WITHIN = 0.3, 0.85, 0.5  # patients with a second lesion; of its label with the first; correlation
LIMITS = intervals.FEWEST_DRAWS, intervals.FEWEST_SEEDS
GAMMA = 0.49, 0.067  # shape and scale of uneven differences
CUT, PREVALENCE, THRESHOLD = 0.7, 0.1, 0.3
MEASURES: dict[str, tuple[Measure, Literal["share", "number"]]] = {
    "auroc": (ranking.auroc, "share"),
    "partial_auroc": (ranking.partial_auroc, "share"),
    "auprc": (ranking.average_precision, "share"),
    "sensitivity_at_90_specificity": (ranking.sensitivity_on_curve, "share"),
    "sensitivity": (decisions.sensitivity, "share"),
    "balanced_accuracy": (decisions.balanced_accuracy, "share"),
    "ppv": (partial(decisions.positive_value, prevalence=PREVALENCE), "share"),
    "brier": (calibration.brier, "share"),
    "calibration_slope": (calibration.slope, "number"),
    "calibration_intercept": (calibration.intercept, "number"),
    "net_benefit": (partial(decisions.net_benefit, threshold=THRESHOLD), "number"),
}


class Design(NamedTuple):
    """What is simulated. `repeats` are seeds, or where `draws` is set draws of hospitals."""

    patients: int
    repeats: int
    kind: str
    draws: bool = False
    prevalence: float = 0.5
    alike: bool = False  # both arms
    refused: bool = False  # none is printed: what the interval would have covered


def designs() -> Iterator[Design]:
    """List them."""
    for kind in ("quiet", "noisy"):
        for patients in (12, 26, 40, 102, 340, 680):
            for repeats in (1, 3, 5, 10, 20):
                yield Design(patients, repeats, kind)
        for patients in (60, 102, 340):
            yield from (Design(patients, repeats, kind, prevalence=0.25) for repeats in (1, 3, 10))
        for patients in (26, 102, 680):
            yield from (Design(patients, repeats, kind, alike=True) for repeats in (3, 10))
    yield from (Design(patients, 1, "still", alike=True) for patients in (26, 102, 680))
    for patients in (40, 102, 340):
        for prevalence in (0.25, 0.5):
            yield from (Design(patients, repeats, "still", prevalence=prevalence) for repeats in (1, 3))
    for patients in (102, 680):
        for repeats in (10, 20):
            yield Design(patients, repeats, "noisy", draws=True)
            yield Design(patients, repeats, "uneven", draws=True)


def refusals() -> Iterator[Design]:
    """List designs whose intervals are not printed, to see what is refused."""
    for kind in ("noisy", "uneven"):
        yield from (Design(680, repeats, kind, draws=True, refused=True) for repeats in (3, 6, 10))
    yield from (Design(patients, 2, "noisy", refused=True) for patients in (102, 680))


class Data(NamedTuple):
    """One data set: scores are (2 arms, repeats, lesions)."""

    patient: np.ndarray
    label: np.ndarray
    score: np.ndarray
    truth: tuple[float, float]  # AUROC of each arm


def draw(design: Design, generator: np.random.Generator) -> Data:
    """Draw one."""
    count, repeats = design.patients, design.repeats
    first = (generator.random(count) < design.prevalence).astype(int)
    second = np.flatnonzero(generator.random(count) < SECOND)
    patient = np.concatenate([np.arange(count), second])
    agrees = generator.random(len(second)) < AGREE
    label = np.concatenate([first, np.where(agrees, first[second], 1 - first[second])])
    shift = ROOT * norm.ppf([0.71 if design.alike else 0.78, 0.71])
    moved = SKILL[design.kind] / (norm.pdf(shift / ROOT) / ROOT)
    skill = shift[:, None] + moved[:, None] * generator.normal(size=(2, repeats))
    truth = norm.cdf(shift / np.sqrt(2 + moved**2)) if repeats > 1 else norm.cdf(skill[:, 0] / ROOT)
    if design.kind == "uneven":  # the second arm is the better one, the first loses what was drawn
        skill[1] = ROOT * norm.ppf(0.79)
        lost = generator.gamma(*GAMMA, size=repeats)
        skill[0] = ROOT * norm.ppf(0.79 - np.minimum(lost, 0.5))
        truth = np.array([0.79 - GAMMA[0] * GAMMA[1], 0.79])
    of_patient, of_arm = SHARED.get(design.kind, (0.65, 0.15))
    common = WITHIN**0.5 * generator.normal(size=count)[patient] + WITHIN**0.5 * generator.normal(size=len(patient))
    own = generator.normal(size=(2, 1, len(patient)))
    rest = generator.normal(size=(2, repeats, len(patient)))
    noise = of_patient**0.5 * common + of_arm**0.5 * own + (1 - of_patient - of_arm) ** 0.5 * rest
    logit = 1.2 * (skill[:, :, None] * label + noise - 0.5)
    return Data(patient, label, 1 / (1 + np.exp(-logit)), (float(truth[0]), float(truth[1])))


def sample(data: Data, arm: int, measure: Measure, design: Design) -> Sample:
    """Measure an arm in every repeat."""
    count, lesions = design.patients, len(data.label)
    values, influence = np.empty(design.repeats), np.zeros((design.repeats, 2, count))
    nothing = np.zeros(lesions, dtype=np.int64)
    for repeat in range(design.repeats):
        cuts = np.full(lesions, CUT)
        measured = measure(Tested(data.label, data.score[arm, repeat], data.patient, nothing, cuts, cuts, cuts))
        values[repeat] = measured.value
        for kind in (0, 1):
            own = data.label == kind
            influence[repeat, kind] = np.bincount(data.patient[own], measured.influence[own], count)
    has = np.stack([np.bincount(data.patient[data.label == kind], minlength=count) > 0 for kind in (0, 1)])
    shape = (1, design.repeats) if design.draws else (design.repeats, 1)
    return Sample(values.reshape(shape), influence.reshape(*shape, 2, count), has, int(has.sum(axis=1).min()))


@lru_cache
def truth_of(name: str, prevalence: float) -> float:
    """Return a metric's value in the population of patients, where skill does not move."""
    design = Design(400_000, 1, "still", prevalence=prevalence)
    data = draw(design, np.random.default_rng(1))
    return float(sample(data, 0, MEASURES[name][0], design).values.item())


def judge(interval: Interval, truth: float) -> str:
    """Say what became of an interval."""
    if np.isnan(interval.low):
        return "none"
    return "covers" if interval.low <= truth <= interval.high else "misses"


def simulate(design: Design, sets: int) -> list[dict[str, object]]:
    """Run a design; returns a row for each kind of interval."""
    intervals.FEWEST_DRAWS, intervals.FEWEST_SEEDS = (2, 2) if design.refused else LIMITS
    generator, counts = np.random.default_rng(crc32(repr(design).encode())), Counter[tuple[str, str]]()
    rejected = tried = 0
    for _ in range(sets):
        data = draw(design, generator)
        try:
            one, other = (sample(data, arm, ranking.auroc, design) for arm in (0, 1))
        except UndefinedError:
            counts["auroc", "none"] += 1
            counts["difference of auroc", "none"] += 1
            continue
        if design.kind != "still":
            counts["auroc", judge(interval_of(one, "share"), data.truth[0])] += 1
        difference = interval_of(one - other, "number")
        counts["difference of auroc", judge(difference, data.truth[0] - data.truth[1])] += 1
        if design.alike and not np.isnan(difference.p):
            tried, rejected = tried + 1, rejected + (difference.p < 0.05)
        for name, (measure, kind) in MEASURES.items() if design.kind == "still" and not design.alike else ():
            try:
                interval = interval_of(sample(data, 0, measure, design), kind)
            except UndefinedError:
                counts[name, "none"] += 1
                continue
            counts[name, judge(interval, truth_of(name, design.prevalence))] += 1
    rows = []
    for name in dict.fromkeys(name for name, _ in counts):
        covers, misses, none = (counts[name, what] for what in ("covers", "misses", "none"))
        shown = covers + misses
        rows.append(
            design._asdict()
            | {
                "interval": name,
                "shown": shown / (shown + none),
                "covers": covers / shown if shown else np.nan,
                "rejects": rejected / tried if tried and name.startswith("difference") else np.nan,
            }
        )
    return rows


def main() -> None:
    """Run all designs."""
    sets, processes = (int(word) for word in (*sys.argv[1:], *("2000", "2")[len(sys.argv) - 1 :]))
    shown = [
        "kind",
        "patients",
        "repeats",
        "draws",
        "prevalence",
        "alike",
        "refused",
        "interval",
        "shown",
        "covers",
        "rejects",
    ]
    tables = []
    with ProcessPoolExecutor(processes) as pool:
        for rows in pool.map(simulate, every := [*designs(), *refusals()], [sets] * len(every)):
            tables.append(pd.DataFrame(rows)[shown])
            print(tables[-1].to_string(header=len(tables) == 1, index=False, float_format="%.3f"), flush=True)
    table = pd.concat(tables)
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "coverage.csv", index=False, float_format="%.4f")
    printed = table[~table["refused"]]
    print(f"lowest coverage {printed['covers'].min():.3f}, largest rejection {printed['rejects'].max():.3f}")


if __name__ == "__main__":
    main()
