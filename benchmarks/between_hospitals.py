"""Whether intervals over hospitals cover: their mean, a new one, their worth, and what lies beyond a learning curve.

Simulated studies with known truth, through this software's own functions. Scores are binormal; of a patient's noise
half to nine tenths are shared between models. Differences of AUROC vary between hospitals with a standard deviation tau
around .04; hospitals keep their patients, or are dealt anew in each of 20 draws, in which the mean moves by .01 beside.
Coalitions' AUROC follow an inverse power law, each lying off it by a normal distance.

Prints a row for each design and kind of interval: how many data sets had one, how many of these it covers (Monte Carlo
error .010 at 500). Writes the rows to results/between_hospitals.csv.

    python benchmarks/between_hospitals.py [data sets, 500]
"""

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from zlib import crc32

import numpy as np
import pandas as pd
from common import RESULTS
from scipy.stats import norm

from fedmammo.evaluation.heterogeneity import Dealing, interval_over, of_new_hospital, stacked
from fedmammo.evaluation.intervals import interval_of
from fedmammo.evaluation.learning import Law, Point, UntoldError, extrapolated
from fedmammo.evaluation.ranking import auroc
from fedmammo.evaluation.tested import Tested
from fedmammo.evaluation.value import last_in, shapley
from fedmammo.evaluation.variance import Sample

ROOT, LOCAL, GAIN, DRAWS = 2**0.5, 0.72, 0.04, 20
BETWEEN_DRAWS = 0.01
SIZES = {"even": (80, 80, 80, 80), "uneven": (160, 80, 50, 30), "eight": (120, 80, 80, 60, 60, 40, 30, 30)}
LAWS = (Law(0.85, 0.25, 0.7), Law(0.9, 0.3, 0.3), Law(0.8, 0.2, 1.5))
Verdicts = Counter[tuple[str, str]]


def sampled(label: np.ndarray, logit: np.ndarray, patient: np.ndarray, patients: int) -> Sample:
    """Measure an AUROC on some of the patients, one lesion each."""
    count, none = len(label), np.full(len(label), np.nan)
    score = 1 / (1 + np.exp(-logit))
    found = auroc(Tested(label, score, patient, np.zeros(count, dtype=np.int64), none, none, none))
    influence, has = np.zeros((1, 1, 2, patients)), np.zeros((2, patients), dtype=bool)
    influence[0, 0, label, patient] = found.influence
    has[label, patient] = True
    return Sample(np.array([[found.value]]), influence, has, int(has.sum(axis=1).min()))


def gain_at(generator: np.random.Generator, label: np.ndarray, common: np.ndarray, gain: float) -> np.ndarray:
    """Draw scores of two models, local and a better one, of patients with some noise in common."""
    shift = ROOT * norm.ppf([LOCAL, min(LOCAL + gain, 0.99)])
    own = generator.normal(size=(2, len(label)))
    logits: np.ndarray = shift[:, None] * label + 0.7**0.5 * common + 0.3**0.5 * own
    return logits


def dealt(generator: np.random.Generator, sizes: tuple[int, ...], tau: float, draws: int) -> list[Dealing]:
    """Deal patients to hospitals, once or anew in each draw, and test both models of each."""
    patients = sum(sizes)
    common, label = generator.normal(size=patients), np.arange(patients) % 2
    found = []
    for draw in range(draws):
        mean = GAIN + (BETWEEN_DRAWS * generator.normal() if draws > 1 else 0)
        order = [generator.permutation(np.flatnonzero(label == kind)) for kind in (0, 1)]
        cuts = np.cumsum(sizes)[:-1] // 2
        samples = {}
        for number, whose in enumerate(zip(*(np.split(one, cuts) for one in order), strict=True)):
            patient = np.sort(np.concatenate(whose))
            logits = gain_at(generator, label[patient], common[patient], mean + tau * generator.normal())
            local, better = (sampled(label[patient], one, patient, patients) for one in logits)
            samples[f"h{number}"] = better - local
        found.append(Dealing(draw, samples, {}, {}))
    return found


def of_hospitals(generator: np.random.Generator, sizes: tuple[int, ...], tau: float, draws: int) -> dict[str, str]:
    """Judge the interval of the mean, and the limits for a new hospital."""
    dealings = dealt(generator, sizes, tau, draws)
    fits = [dealing.fit() for dealing in dealings]
    sample = stacked([dealing.summed(one) for dealing, one in zip(dealings, fits, strict=True)])
    interval = interval_over(sample, fits)
    low, high = of_new_hospital(sample, fits, interval)
    new = GAIN + tau * generator.normal() + (BETWEEN_DRAWS * generator.normal() if draws > 1 else 0)
    return {"mean": judged(interval.low, interval.high, GAIN), "new hospital": judged(low, high, new)}


def of_coalitions(generator: np.random.Generator, patients: int) -> dict[str, str]:
    """Judge Shapley values and last-in gains of the first of three hospitals."""
    names = ["a", "b", "c"]
    every = [frozenset(one) for size in (1, 2, 3) for one in combinations(names, size)]
    truth = {one: 0.55 + 0.06 * len(one) + 0.04 * ("a" in one) for one in every}
    samples = models(generator, list(truth.values()), patients)
    coalitions = dict(zip(every, samples, strict=True))
    exact = {one: Sample(np.array([[value]]), samples[0].influence, samples[0].has, 1) for one, value in truth.items()}
    judgements = {}
    for what, found, true in (
        ("shapley", shapley(coalitions, 0.5), shapley(exact, 0.5)),
        ("last-in", last_in(coalitions), last_in(exact)),
    ):
        interval = interval_of(found["a"], "number")
        judgements[what] = judged(interval.low, interval.high, float(true["a"].values.item()))
    return judgements


def of_curve(generator: np.random.Generator, law: Law, count: int, off: float, patients: int) -> dict[str, str]:
    """Judge what an extrapolation says of one and a half, and of twice the largest size."""
    values = [law.at(size) + off * generator.normal() for size in range(1, count + 1)]
    samples = models(generator, values, patients)
    points = [Point(size, sample) for size, sample in enumerate(samples, start=1)]
    beyond = {"1.5 times as large": 1.5 * count, "twice as large": 2.0 * count}
    try:
        _, told = extrapolated(points, list(beyond.values()), "share")
    except UntoldError:
        return dict.fromkeys(beyond, "none")
    return {what: judged(one.low, one.high, law.at(one.size)) for what, one in zip(beyond, told, strict=True)}


def models(generator: np.random.Generator, values: list[float], patients: int) -> list[Sample]:
    """Test models of known AUROC on the same patients; nine tenths of a patient's noise are shared."""
    label, common = np.arange(patients) % 2, generator.normal(size=patients)
    shift = ROOT * norm.ppf(values)
    own = generator.normal(size=(len(values), patients))
    logits = shift[:, None] * label + 0.9**0.5 * common + 0.1**0.5 * own
    return [sampled(label, one, np.arange(patients), patients) for one in logits]


def judged(low: float, high: float, truth: float) -> str:
    """Say what became of an interval."""
    return "none" if np.isnan(low) else "covers" if low <= truth <= high else "misses"


def designs() -> Iterator[tuple[str, str, tuple[object, ...]]]:
    """List what is simulated: the kind, a name, and what the kind takes."""
    for name, sizes in SIZES.items():
        for tau in (0.0, 0.02, 0.05, 0.1):
            yield "hospitals", f"{name}, tau {tau}", (sizes, tau, 1)
    for tau in (0.0, 0.05):
        yield "draws", f"uneven, tau {tau}", (SIZES["uneven"], tau, DRAWS)
    yield from (("worth", f"{patients} patients", (patients,)) for patients in (60, 200, 680))
    for law in LAWS:
        for count in (4, 5, 8):
            for off, patients in ((0.0, 200), (0.0, 680), (0.01, 680)):
                about = f"rate {law.rate}, {count} sizes, {patients} patients, off by {off}"
                yield "curve", about, (law, count, off, patients)


def main() -> None:
    """Run all designs."""
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    simulated = {"hospitals": of_hospitals, "draws": of_hospitals, "worth": of_coalitions, "curve": of_curve}
    rows = []
    for kind, name, arguments in designs():
        generator, counts = np.random.default_rng(crc32(f"{kind} {name}".encode())), Verdicts()
        for _ in range(sets // 5 if kind == "draws" else sets):
            counts.update(simulated[kind](generator, *arguments).items())  # type: ignore[operator]
        for what in dict.fromkeys(what for what, _ in counts):
            covers, misses, none = (counts[what, one] for one in ("covers", "misses", "none"))
            shown = covers + misses
            row = {"kind": kind, "design": name, "interval": what, "shown": shown / (shown + none)}
            rows.append(row | {"covers": covers / shown if shown else np.nan, "sets": shown + none})
            print(
                pd.DataFrame(rows[-1:]).to_string(header=len(rows) == 1, index=False, float_format="%.3f"), flush=True
            )
    RESULTS.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(RESULTS / "between_hospitals.csv", index=False, float_format="%.4f")


if __name__ == "__main__":
    main()
