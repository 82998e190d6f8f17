import time

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fedmammo.phantom.patches import draw_patches
from fedmammo.phantom.rates import MALIGNANT_RATE


@pytest.fixture(scope="module")
def drawn():
    return draw_patches(200, 17)


def test_patches_depend_on_seed_and_place_only():
    patches, masses = draw_patches(6, 3, size=64)
    again, masses_again = draw_patches(4, 3, size=64)
    other, _ = draw_patches(4, 4, size=64)
    assert patches.shape == (6, 64, 64) and patches.dtype == np.uint16
    assert np.array_equal(patches[:4], again) and masses[:4] == masses_again
    assert not np.array_equal(again, other)


def test_a_smaller_patch_shows_the_same():
    """Half the size is the mean of four pixels, but for the resampling's wider kernel."""
    large, small = draw_patches(3, 3)[0].astype(float), draw_patches(3, 3, size=64)[0].astype(float)
    means = large.reshape(3, 64, 2, 64, 2).mean(axis=(2, 4))
    assert np.abs(means - small).mean() < 0.01 * 65535


def test_prevalence(drawn):
    """200 patches: the standard error of a rate of .45 is .035."""
    assert np.mean([mass.malignant for mass in drawn[1]]) == pytest.approx(MALIGNANT_RATE, abs=0.1)


def test_more_than_fifty_patches_a_second_on_one_core():
    """Measured in processor time, which other work on the machine lengthens a little."""
    start = time.process_time()
    draw_patches(40, 5)
    assert 40 / (time.process_time() - start) > 50


def score(patches: np.ndarray, malignant: np.ndarray) -> float:
    """AUROC of rings around the middle, their brightness and edges, in a logistic regression on half the patches."""
    images = patches / 65535
    y, x = np.mgrid[:128, :128] - 63.5
    distance = np.hypot(y, x)
    down, right = np.gradient(images, axis=(1, 2))
    outwards, around = (down * y + right * x) / distance, (right * y - down * x) / distance
    rings = [(distance >= r) & (distance < r + 9) for r in range(0, 63, 9)]
    parts = [part[:, ring] for ring in rings for part in (images, outwards, around)]
    features = np.stack([f(part, axis=1) for part in parts for f in (np.mean, np.std)], axis=1)
    half = len(images) // 2
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    scores = model.fit(features[:half], malignant[:half]).decision_function(features[half:])
    return float(roc_auc_score(malignant[half:], scores))


@pytest.mark.long
def test_difficulty_makes_it_harder():
    """The standard error of an AUROC of .75 on 300 patches is about .03."""
    scores = {}
    for difficulty in (0.0, 0.5, 1.0):
        patches, masses = draw_patches(600, 17, difficulty=difficulty)
        scores[difficulty] = score(patches, np.array([mass.malignant for mass in masses]))
    assert scores[0.0] > scores[0.5] + 0.05 > scores[1.0] + 0.1
    assert 0.65 < scores[0.5] < 0.95


def test_patches_look_like_real_ones_to_a_standardiser(drawn, shared):
    """Mean and spread of the gray values, within images and between them, against 150 real patches."""
    files = sorted((shared / "data/cbis-ddsm-masses/train").rglob("*.png"))[::7][:150]
    real = np.stack([np.asarray(Image.open(file).convert("L")) for file in files]) / 255
    ours = drawn[0] / 65535
    assert ours.mean() == pytest.approx(real.mean(), abs=0.06)
    assert ours.std(axis=(1, 2)).mean() == pytest.approx(real.std(axis=(1, 2)).mean(), rel=0.3)
    assert ours.mean(axis=(1, 2)).std() == pytest.approx(real.mean(axis=(1, 2)).std(), rel=0.3)
