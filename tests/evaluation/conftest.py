"""A made-up study for the evaluation's tests: binormal scores, patients with several images."""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from fedmammo.evaluation.tested import Floats, Measure, Tested


def make_study(
    *,
    hospitals: int = 3,
    patients: int = 24,
    images: int = 2,
    seeds: int = 2,
    folds: int = 1,
    arms: tuple[str, ...] = ("centralized", "local", "federated"),
    generator: int = 0,
) -> pd.DataFrame:
    """Predictions of `patients` test patients with `images` images each, and as many for validation.

    Patients go round the hospitals and folds, and alternate in label within a hospital and fold. A patient has one
    breast with one lesion, of which all images are.
    """
    rng = np.random.default_rng(generator)
    names = [f"H{number}" for number in range(hospitals)]
    rows = []
    for arm in arms:
        for trained_at in names if arm == "local" else ["all"]:
            for seed in range(seeds):
                for patient in range(patients):
                    hospital, fold = names[patient % hospitals], patient // hospitals % folds
                    label = patient // (hospitals * folds) % 2
                    for image in range(images):
                        score = 1 / (1 + np.exp(-rng.normal(1.2 * label)))
                        one = (arm, "real", seed, 0, fold, trained_at, "test", hospital, f"p{patient:04d}", image)
                        rows.append((*one, label, score))
                        if arm != "local" or hospital == trained_at:
                            for other in range(folds):
                                score = 1 / (1 + np.exp(-rng.normal(1.2 * label)))
                                one = (arm, "real", seed, 0, other, trained_at, "validation", hospital)
                                rows.append((*one, f"v{patient:04d}", image, label, score))
    columns = [
        *("arm", "setting", "seed", "draw", "fold", "trained_at", "split"),
        *("hospital", "patient", "image", "label", "score"),
    ]
    table = pd.DataFrame(rows, columns=columns)
    image = table["patient"] + "-" + table["image"].astype(str)
    return table.assign(image=image, breast=table["patient"] + "-L", lesion=table["patient"] + "-L1")


Derivative = Callable[[Measure, Tested], Floats]


@pytest.fixture(scope="session")
def derivative() -> Derivative:
    """How a metric moves with each unit's weight: 60 copies of all, of one unit one more and one less."""

    def move(measure: Measure, one: Tested) -> Floats:
        found, copies = np.empty(len(one.label)), 60
        for unit in range(len(found)):
            values = []
            for more in (1, -1):
                times = np.full(len(found), copies)
                times[unit] += more
                weighted = Tested(*(np.repeat(getattr(one, each.name), times) for each in fields(one)))
                values.append(measure(weighted).value)
            found[unit] = (values[0] - values[1]) * copies / 2
        return found

    return move


@pytest.fixture(scope="session")
def study() -> Callable[..., pd.DataFrame]:
    """See `make_study`."""
    return make_study
