"""Votes of patients for drawn patches under a budget, in the manner of private evolution: whether they help a head.

The 2048 drawn patches that give a head its directions are sorted into cells (k-means, along 128 directions in which
they differ, whitened). Every training patient votes for the cells in which its images lie, and for its own label, in
one vector of length 1; each of five hospitals adds noise to its counts, as `trust: local` does. A head that begins as
drawn masses taught it then learns from the drawn patches alone, which count as often, and with which label, as their
cells' votes say (negative counts are cut to 0). In private evolution (Lin et al. 2023, arXiv 2305.15560) votes choose
which synthetic images are varied next; here nothing is varied, and there is one turn.

Beside it: descent on the patients' own gradients with the whole budget, close to the recipe of
configs/paper/private.yaml (all hospitals' gradients in one step, of the mean over a patch's views; clipped also where
there is no noise), and a fifth of the budget (of mu squared) for votes, the rest for descent from there.

Five folds by patient over `train`, five ways to deal them, with noise of their own. AUROC per lesion; the same minus
descent's, with an interval over patients (of the mean over the five deals; noise and patients learned from are those of
these five), and the standard deviation between the five.

    python benchmarks/votes.py COHORT WEIGHTS

Prints a row for each way, and writes them to results/votes.csv. The best of them flatters votes.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from common import RESULTS
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm
from sklearn.cluster import KMeans
from sklearn.model_selection import StratifiedKFold

from fedmammo.cohort.store import Cohort
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.evaluation.ranking import auroc
from fedmammo.evaluation.tested import Measured, Tested
from fedmammo.evaluation.units import Grouping
from fedmammo.features.inputs import Inputs
from fedmammo.features.opening import stand_ins_of
from fedmammo.hospitals.records import true_records
from fedmammo.models.head import OneLogit
from fedmammo.planning.tested import KEYS
from fedmammo.privacy.accounting import mu_of

Floats = NDArray[np.float64]
HOSPITALS, FOLDS, DEALS, DELTA, SHARE = 5, 5, 5, 1e-4, 0.2
STEPS, CLIPPING, MOMENTUM = 100, 0.3, 0.9
DESCENT = {None: 4.0, 6.0: 2.0, 1.0: 0.12}  # rates of configs/paper/private.yaml
DIRECTIONS, CELLS, RATES = 128, (10, 30, 100), (0.03, 0.1, 0.5)


class Space(NamedTuple):
    """What is read along some directions: of a cohort's patches, the mean of all eight views, and of drawn ones.

    Attributes:
        real: (images, directions).
        drawn: (patches, directions).
        head: that drawn masses taught.
    """

    real: Floats
    drawn: Floats
    head: OneLogit

    @classmethod
    def of(cls, cohort: Cohort, weights: str, **space: float) -> "Space":
        """Read them."""
        config = DiagnosisConfig.model_validate({
            "network": "vit_small_patch14_dinov2", "weights": weights, "image_size": 224, "features": [6, 10],
            "head": "weights", "stand_ins": "varied", "augmentation": {"flips": "dihedral"},
            "optimizer": {"learning_rate": 1.0}, **space,
        })  # fmt: skip
        device, rows = torch.device("cpu"), np.arange(len(cohort.manifest))
        inputs = Inputs(cohort, config, device, true_records(cohort))
        inputs.compute(rows)
        with torch.no_grad():
            views = [inputs.standard(rows, np.full(len(rows), view)).numpy() for view in range(len(inputs.views))]
            drawn = inputs.model.standard(stand_ins_of(config, device, cohort.features))
        return cls(np.mean(views, axis=0, dtype=np.float64), drawn.double().numpy(), inputs.model.head)


class Patches:
    """What is learned from.

    Attributes:
        read, drawn: what the head reads of real and drawn patches, and the bias's input, (images, 257).
        start: the head that drawn masses taught, (257,).
        place, drawn_place: where they lie for votes, (images, directions).
    """

    def __init__(self, cohort: Cohort, weights: str) -> None:
        self.table = cohort.manifest
        read, place = (
            Space.of(cohort, weights, directions=count, whitening=power)
            for count, power in ((256, 0.25), (DIRECTIONS, 0.5))
        )
        bias = read.head.bias_input
        self.read, self.drawn = (np.column_stack([one, np.full(len(one), bias)]) for one in (read.real, read.drawn))
        self.start = np.append(read.head.weight.detach().numpy()[0], read.head.bias.item())
        self.place, self.drawn_place = place.real, place.drawn


def noise_multiplier(epsilon: float | None, steps: int, share: float) -> float:
    """Return that of each step, of a stage with this share of the budget's mu squared; all patients are in a step."""
    if epsilon is None:
        return 0.0
    return float(np.sqrt(steps / share)) / mu_of(epsilon, DELTA)


def descend(start: Floats, gradient: Callable[[Floats], Floats], steps: int, rate: float, last: int) -> Floats:
    """Return the mean of the last models of SGD with momentum."""
    weights, velocity, total = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for step in range(steps):
        velocity = MOMENTUM * velocity + gradient(weights)
        weights = weights - rate * velocity
        total += weights if step >= steps - last else 0
    return total / last


class Training:
    """The training patients of a fold: rows of images, whose they are."""

    def __init__(self, real: Patches, rows: NDArray[np.int64], noise: np.random.Generator) -> None:
        self.read, self.place, self.noise = real.read[rows], real.place[rows], noise
        self.malignant = real.table["malignant"].to_numpy(dtype=float)[rows]
        self.patient, names = pd.factorize(real.table["patient"].iloc[rows])
        self.part = 1 / np.bincount(self.patient)[self.patient]  # of an image in its patient
        self.patients = len(names)

    def votes(self, cells: KMeans, epsilon: float | None, share: float) -> Floats:
        """Count votes, (labels, cells), with the noise of all hospitals; nothing below 0."""
        own = np.zeros((self.patients, 2, cells.n_clusters))
        np.add.at(own, (self.patient, self.malignant.astype(int), cells.predict(self.place)), self.part)
        counts = (own / np.linalg.norm(own, axis=(1, 2), keepdims=True)).sum(axis=0)
        scale = noise_multiplier(epsilon, 1, share) * HOSPITALS**0.5
        return np.maximum(counts + scale * self.noise.normal(size=counts.shape), 0)

    def descent(self, start: Floats, epsilon: float | None, share: float) -> Floats:
        """Learn from patients' clipped gradients, noised."""
        scale = noise_multiplier(epsilon, STEPS, share) * HOSPITALS**0.5 * CLIPPING

        def gradient(weights: Floats) -> Floats:
            slopes = self.part * (expit(self.read @ weights) - self.malignant)
            own = np.zeros((self.patients, len(weights)))
            np.add.at(own, self.patient, slopes[:, None] * self.read)
            own *= np.minimum(1, CLIPPING / np.linalg.norm(own, axis=1))[:, None]
            return (own.sum(axis=0) + scale * self.noise.normal(size=len(weights))) / self.patients

        return descend(start, gradient, STEPS, DESCENT[epsilon], STEPS // 2)


def of_drawn(patches: Patches, cells: KMeans, votes: Floats, rate: float) -> Floats:
    """Learn from drawn images, each of which counts as often as its cell's votes say, with both labels."""
    benign, malignant = (votes / np.bincount(cells.labels_))[:, cells.labels_]
    total = max(float(votes.sum()), 1.0)

    def gradient(weights: Floats) -> Floats:
        return patches.drawn.T @ (expit(patches.drawn @ weights) * (benign + malignant) - malignant) / total

    return descend(patches.start, gradient, 2 * STEPS, rate, 1)


Way = tuple[float | None, str]
"""Epsilon, and what is learned from."""


def ways(training: Training, patches: Patches, cells: list[KMeans]) -> Iterator[tuple[Way, Floats]]:
    """Learn in every way from the training patients of a fold."""
    yield (None, "no patient"), patches.start
    for epsilon in DESCENT:
        yield (epsilon, "descent"), training.descent(patches.start, epsilon, 1)
        for one in cells:
            votes, some = training.votes(one, epsilon, 1), training.votes(one, epsilon, SHARE)
            for rate in RATES:
                name = f"votes, {one.n_clusters} cells, rate {rate}"
                yield (epsilon, name), of_drawn(patches, one, votes, rate)
                if epsilon is not None:
                    start = of_drawn(patches, one, some, rate)
                    yield (epsilon, f"{name}, then descent"), training.descent(start, epsilon, 1 - SHARE)


class Scored:
    """AUROC per lesion over `train`, each fold's by models that did not learn from it."""

    def __init__(self, real: Patches) -> None:
        table = real.table
        self.trained = np.flatnonzero(table["split"] == "train")
        self.table = table.iloc[self.trained]
        self.lesions = Grouping.of(self.table.groupby(list(KEYS["lesion"]), dropna=False).ngroup().to_numpy())
        self.label = self.lesions.label(self.table["malignant"].to_numpy(dtype=np.int64))
        self.patients = self.table.groupby("patient", sort=False)["malignant"].max()

    def folds(self, deal: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Yield rows of the cohort that train, and which images of `train` are tested."""
        split = StratifiedKFold(FOLDS, shuffle=True, random_state=deal).split(self.patients, self.patients)
        for _, tested in split:
            own = self.table["patient"].isin(self.patients.index[tested]).to_numpy()
            yield self.trained[~own], own

    def auroc(self, logits: Floats, fold: NDArray[np.int64]) -> Measured:
        """Measure it, and its influence by lesion, from logits and folds of images, (images of `train`,)."""
        score, nothing = self.lesions.mean(expit(logits), "log_odds"), np.full(len(self.label), np.nan)
        units = np.arange(len(self.label))
        return auroc(Tested(self.label, score, units, fold[self.lesions.at], nothing, nothing, nothing))

    def half_width(self, influences: list[Floats]) -> float:
        """Return that of a 95 % interval over patients of a mean difference."""
        patient = pd.factorize(self.table["patient"].to_numpy()[self.lesions.at])[0]
        own = np.bincount(patient, np.mean(influences, axis=0))
        return float(norm.ppf(0.975) * np.sqrt((own**2).sum()))


def main(cohort: str, weights: str) -> None:
    """Measure all ways on the same folds."""
    patches = Patches(Cohort.open(Path(cohort)), weights)
    cells = [KMeans(count, n_init=4, random_state=0).fit(patches.drawn_place) for count in CELLS]
    scored, found = Scored(patches), dict[Way, list[Measured]]()
    for deal in range(DEALS):
        logits, fold_of = dict[Way, Floats](), np.zeros(len(scored.trained), dtype=np.int64)
        for fold, (rows, own) in enumerate(scored.folds(deal)):
            fold_of[own] = fold
            training = Training(patches, rows, np.random.default_rng([deal, fold]))
            for way, model in ways(training, patches, cells):
                logits.setdefault(way, np.zeros(len(own)))[own] = patches.read[scored.trained[own]] @ model
        for way, one in logits.items():
            found.setdefault(way, []).append(scored.auroc(one, fold_of))
        print(f"deal {deal + 1} of {DEALS}", file=sys.stderr, flush=True)
    table = []
    for (epsilon, way), measured in found.items():
        pairs = list(zip(measured, found[epsilon, "descent"], strict=True))
        against = np.array([one.value - other.value for one, other in pairs])
        width = scored.half_width([one.influence - other.influence for one, other in pairs])
        value, mean = np.mean([one.value for one in measured]), against.mean()
        table.append((epsilon or "none", way, value, mean, mean - width, mean + width, against.std(ddof=1)))
    columns = ["epsilon", "way", "auroc_per_lesion", "minus_descent", "ci_low", "ci_high", "sd"]
    result = pd.DataFrame(table, columns=columns).round(4)
    print(result.to_string(index=False))
    result.to_csv(RESULTS / "votes.csv", index=False)


if __name__ == "__main__":
    main(*sys.argv[1:3])
