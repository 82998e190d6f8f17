"""How good synthetic images are: every measure beside its value for real images against real images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fedmammo.features.resize import resize
from fedmammo.randomness import generator_of
from fedmammo.synthesis import radiomics
from fedmammo.synthesis.copies import nearest_patients
from fedmammo.synthesis.coverage import NEIGHBOURS, coverage_of
from fedmammo.synthesis.distances import extrapolated_frechet_distance, kernel_distance

FULL_SCALE = 65535
SUBSETS = 20  # over which distances and shares are averaged
AXES = 16  # of the Fréchet distance
NEEDED = 4 * AXES  # patients of each kind for it: so few scatter it by .2, where 70 % of the spread is worth 1.4
IMAGES_AT_ONCE = 500  # of a subset, at most
RADIOMIC_IMAGES = 400  # of each kind, at most: they take a quarter of a second each; half as many are a subset
LOWEST = 0.01  # the quantile of nearest patient ratios that tells of copies
INVERSE_PENALTY = 1e-3  # C of the head: strong, as there are more features than images


@dataclass(frozen=True, eq=False)
class Images:
    """Images as quality is measured on them.

    Attributes:
        patches: (images, side, side), uint16, 0-65535; every kind may have its own side.
        features: (images, columns), what a network reads of them.
        malignant: (images,) labels.
        patients: (images,) whose image it is; synthetic images are nobody's and need none.
    """

    patches: NDArray[np.uint16]
    features: NDArray[np.float32]
    malignant: NDArray[np.bool_]
    patients: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.patches)


class Quality(NamedTuple):
    """One measure.

    Attributes:
        metric: its name.
        value: of the synthetic images; NaN where it is undefined.
        sd: its standard deviation over subsets; NaN where there is one set only.
        real_to_real: the same of real training images, or of real test images where training is what is compared to.
        real_to_real_sd: its standard deviation over subsets.
        images: synthetic images that it was measured on (in each subset).
        note: what it was compared to; why it is undefined.
    """

    metric: str
    value: float
    sd: float
    real_to_real: float
    real_to_real_sd: float
    images: int
    note: str


def quality_of(
    train: Images,
    test: Images,
    synthetic: Images,
    seed: int,
    processes: int = 1,
    report: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Measure synthetic images against real ones; a row for each measure, columns as in `Quality`.

    Distances, precision, recall, density and coverage compare with test images, on features in units of the standard
    deviation of training images, at equal numbers: `SUBSETS` random subsets of each kind, the same seed draws the
    same. The Fréchet distance alone takes all images (`_frechet`). Nearest patient ratios and adjacent pixels compare
    with training images.

    Args:
        train: real images with patients, that generators may have learned from.
        test: real images of other patients.
        synthetic: the images to measure.
        seed: of the subsets.
        processes: that extract radiomic features, on which results do not depend; 0 leaves these out.
        report: is told what is being done.
    """
    report("distances of features")
    rows = [_frechet(train, test, synthetic, seed), *_overlap(train, test, synthetic, seed)]
    rows.append(_radiomics(train, test, synthetic, seed, processes, report))
    report("training a head on synthetic images")
    rows.append(_trained_head(train, test, synthetic))
    report("nearest patients")
    rows += _nearest(train, test, synthetic)
    rows.append(_adjacent(train, test, synthetic))
    return pd.DataFrame(rows, columns=Quality._fields)


def _frechet(train: Images, test: Images, synthetic: Images, seed: int) -> Quality:
    """Fréchet distance to test images along the first principal axes of half of the training patients' images.

    The other half are the real images beside it: images spread more along axes that are their own than any others do.
    """
    note = f"undefined: needs {NEEDED} synthetic images, {NEEDED} test and {2 * NEEDED} training patients"
    patients, patient = np.unique(train.patients, return_inverse=True)
    number = len(synthetic)
    if min(number, len(set(test.patients)), len(patients) // 2) < NEEDED:
        return Quality("frechet_distance", np.nan, np.nan, np.nan, np.nan, number, note)
    half = (generator_of(seed, "quality", "axes").permutation(len(patients)) < len(patients) // 2)[patient]
    number_of_axes = min(AXES, train.features.shape[1])
    axes = make_pipeline(StandardScaler(), PCA(number_of_axes, random_state=0)).fit(train.features[half])
    real = axes.transform(test.features)
    others = (
        (axes.transform(synthetic.features), np.arange(number)),
        (axes.transform(train.features[~half]), patient[~half]),
    )
    found = []
    for kind, (other, whose) in enumerate(others):
        streams = (generator_of(seed, "quality", "frechet", kind, drawing) for drawing in range(SUBSETS))
        found.append([extrapolated_frechet_distance(real, other, test.patients, whose, stream) for stream in streams])
    (value, floor), (sd, floor_sd) = np.mean(found, axis=1), np.std(found, axis=1)
    note = f"to test images, along {number_of_axes} principal axes, extrapolated to infinitely many patients, "
    note += f"{SUBSETS} drawings; read it with recall"
    return Quality("frechet_distance", value, sd, floor, floor_sd, number, note)


def _overlap(train: Images, test: Images, synthetic: Images, seed: int) -> list[Quality]:
    """Kernel distance and shares over subsets of equal numbers."""
    number = min(len(train), len(test), len(synthetic), IMAGES_AT_ONCE)
    names = ("kernel_distance", "precision", "recall", "density", "coverage")
    if number <= NEIGHBOURS:
        note = f"undefined: needs more than {NEIGHBOURS} images of each kind"
        return [Quality(name, np.nan, np.nan, np.nan, np.nan, number, note) for name in names]
    scaler = StandardScaler().fit(train.features)
    scaled = [scaler.transform(kind.features) for kind in (test, synthetic, train)]
    patient = np.unique([*test.patients, *train.patients], return_inverse=True)[1]
    nobody = len(patient) + np.arange(len(synthetic))
    whose = [patient[: len(test)], nobody, patient[len(test) :]]
    found = []
    for subset in range(SUBSETS):
        drawn = [_some(np.arange(len(kind)), number, seed, "subset", subset, i) for i, kind in enumerate(scaled)]
        real, *others = (kind[rows] for kind, rows in zip(scaled, drawn, strict=True))
        own, *theirs = (kind[rows] for kind, rows in zip(whose, drawn, strict=True))
        found.append(
            [
                [kernel_distance(real, other, own, their), *coverage_of(real, other)]
                for other, their in zip(others, theirs, strict=True)
            ]
        )
    means, spreads = np.mean(found, axis=0), np.std(found, axis=0)
    note, without = f"to test images, {SUBSETS} subsets", "undefined: needs two patients of each kind in every subset"
    return [
        Quality(
            name,
            means[0, i],
            spreads[0, i],
            means[1, i],
            spreads[1, i],
            number,
            without if np.isnan(means[:, i]).any() else note,
        )
        for i, name in enumerate(names)
    ]


def _radiomics(
    train: Images, test: Images, synthetic: Images, seed: int, processes: int, report: Callable[[str], None]
) -> Quality:
    """Radiomics distance over subsets, as a few odd images weigh much in it."""
    side, value, floor = _side(synthetic), np.array([np.nan]), np.array([np.nan])
    number = min(len(train), len(test), len(synthetic), RADIOMIC_IMAGES // 2)
    note = f"to test images, at {side} pixels, {SUBSETS} subsets"
    if not processes:
        note = "left out"
    elif not radiomics.is_installed():
        note = radiomics.INSTALL
    else:
        found = []
        for place, kind in enumerate((test, synthetic, train)):
            some = _some(kind.patches, min(len(kind), RADIOMIC_IMAGES), seed, "radiomics", place)
            found.append(radiomics.radiomic_features(resized(some, side), processes, report))
        if lost := min(len(synthetic), RADIOMIC_IMAGES) - len(found[1]):
            note += f"; {lost} synthetic images have no radiomic features"
        number = min(number, *map(len, found))
        if number < 2:
            note = "undefined: needs more images of each kind that have radiomic features"
        else:
            value, floor = np.transpose(
                [
                    [radiomics.radiomics_distance(real, other) for other in others]
                    for real, *others in (
                        [_some(kind, number, seed, "radiomics", place, subset) for place, kind in enumerate(found)]
                        for subset in range(SUBSETS)
                    )
                ]
            )
    return Quality("radiomics_distance", value.mean(), value.std(), floor.mean(), floor.std(), number, note)


def _trained_head(train: Images, test: Images, synthetic: Images) -> Quality:
    value, floor = (head_auroc(kind, test) for kind in (synthetic, train))
    note = f"on test images; real: trained on {len(train)} images"
    if np.isnan(value):
        note = "undefined: both classes are needed, in synthetic and in test images"
    return Quality("auroc_trained_on_it", value, np.nan, floor, np.nan, len(synthetic), note)


def _nearest(train: Images, test: Images, synthetic: Images) -> list[Quality]:
    scaler = StandardScaler().fit(train.features)
    training = scaler.transform(train.features)
    ratios = [
        nearest_patients(scaler.transform(kind.features), training, train.patients).ratio for kind in (synthetic, test)
    ]
    rows = []
    for name, share in (("nearest_patient_ratio", 0.5), ("nearest_patient_ratio_lowest", LOWEST)):
        value, floor = (np.nan if np.isnan(ratio).all() else float(np.nanquantile(ratio, share)) for ratio in ratios)
        note = "to training patients; " + (
            "median" if share == 0.5 else f"quantile {share}: near 0 where some are copies"
        )
        rows.append(Quality(name, value, np.nan, floor, np.nan, len(synthetic), note))
    return rows


def _adjacent(train: Images, test: Images, synthetic: Images) -> Quality:
    side = _side(synthetic)
    real = adjacent_difference(resized(train.patches, side))
    value, floor = (
        adjacent_difference(resized(kind.patches, side)) / real if real else np.nan for kind in (synthetic, test)
    )
    note = f"over that of training images, at {side} pixels"
    return Quality("adjacent_difference_ratio", value, np.nan, floor, np.nan, len(synthetic), note)


def head_auroc(trained_on: Images, tested_on: Images) -> float:
    """AUROC on `tested_on` of a logistic regression trained on the features of `trained_on` alone.

    Features are in units of the standard deviation of what it is trained on; the penalty is a constant
    (`INVERSE_PENALTY`), chosen on nothing. NaN where either has one class only.
    """
    if len(set(trained_on.malignant)) < 2 or len(set(tested_on.malignant)) < 2:
        return float("nan")
    scaler = StandardScaler().fit(trained_on.features)
    head = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000)
    head.fit(scaler.transform(trained_on.features), trained_on.malignant)
    return float(roc_auc_score(tested_on.malignant, head.decision_function(scaler.transform(tested_on.features))))


def adjacent_difference(patches: NDArray[np.uint16]) -> float:
    """Mean absolute difference between pixels that are side by side or one above the other, in gray values.

    Args:
        patches: (images, side, side), of at least two pixels' side.
    """
    across, down = (
        np.mean([np.abs(np.diff(patch.astype(np.int32), axis=axis)).mean() for patch in patches]) for axis in (0, 1)
    )
    return float((across + down) / 2)


def resized(patches: NDArray[np.uint16], side: int) -> NDArray[np.uint16]:
    """Bring patches (images, any, any) to (images, side, side), as generators see them (fedmammo.features.resize)."""
    if patches.shape[-1] == side:
        return patches
    gray = torch.from_numpy(patches.astype(np.float32) / FULL_SCALE)
    return np.rint(FULL_SCALE * resize(gray[:, None], side)[:, 0].numpy()).astype(np.uint16)


def _side(images: Images) -> int:
    return int(images.patches.shape[-1])


def _some(rows: NDArray, number: int, seed: int, *name: str | int) -> NDArray:
    """Draw rows without replacement, by the stream of this name."""
    return rows[generator_of(seed, "quality", *name).choice(len(rows), number, replace=False)]
