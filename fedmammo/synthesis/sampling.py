"""Pools of images sampled from generators, by quota."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmammo.models.mcgan import build_mcgan, sample
from fedmammo.synthesis.pool import Synthetic
from fedmammo.synthesis.sources import FromGan


def sample_pool(
    source: FromGan, generators: dict[str, dict[str, Tensor]], patients: dict[str, NDArray[np.float64]]
) -> Synthetic:
    """Sample a pool, half of each class, from each generator in proportion to the patients it learned that class from.

    A class of which nobody has a patient has no image.
    """
    gan = build_mcgan(source)
    images, malignant, origin = [], [], []
    for label in (0, 1):
        quotas = shares(np.array([patients[name][label] for name in generators]), source.images // 2)
        for (name, generator), quota in zip(generators.items(), quotas.tolist(), strict=True):
            if not quota:
                continue
            gan.load(generator)
            drawn = sample(gan, bool(label), quota, source.seed, "sample", name)
            images.append(np.rint(65535 * drawn[:, 0].numpy()).astype(np.uint16))
            malignant += [bool(label)] * quota
            origin += [name] * quota
    return Synthetic(np.concatenate(images), np.array(malignant), np.array(origin))


def shares(weights: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Split `total` in proportion to weights, none below 0, by largest remainder; nothing where all are 0."""
    if not weights.sum():
        return np.zeros(len(weights), dtype=np.int64)
    exact = total * weights / weights.sum()
    parts = np.floor(exact).astype(np.int64)
    parts[np.argsort(parts - exact, kind="stable")[: total - parts.sum()]] += 1
    return parts
