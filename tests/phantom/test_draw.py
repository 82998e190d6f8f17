import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import fft
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fedmammo.phantom import draw
from fedmammo.phantom.draw import Lesion, choose_lesion, draw_lesion, draw_mammogram, draw_patches, draw_tissue


def generator(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed or 0)


def test_texture_filter_has_the_power_law_by_hand():
    """320 pixels: column k stands for k/320, the cutoff 1/160 is k = 2.

    Below it the amplitude is sqrt(160^3 / (2 pi 160)) = 160 / sqrt(2 pi) = 63.83; above it, twice the frequency
    means 2^-1.5 of the amplitude (power 1/f^3).
    """
    texture = draw._filters((320, 320))[0]
    assert texture[0, :3] == pytest.approx([63.83] * 3, rel=1e-4)
    assert texture[0, 40] / texture[0, 20] == pytest.approx(2**-1.5, rel=1e-5)
    assert texture[30, 40] == pytest.approx(texture[0, 50])  # 3-4-5 triangle: the spectrum is isotropic


def test_texture_filter_gives_unit_variance_whatever_the_size():
    """Outside the cutoff the variance is 1 less a tail of about 1/80; the flat disc inside adds a half.

    The disc: pi (1/160)^2 * 160^2 / (2 pi) = 1/2.
    """
    for n in (640, 1280):
        power = draw._filters((n, n))[0].astype(float) ** 2
        variance = (power.sum() + power[:, 1 : n // 2].sum()) / n**2
        assert variance == pytest.approx(1.49, abs=0.02)


def test_a_lump_is_a_gaussian_of_unit_height():
    lump = fft.irfft2(draw._filters((256, 256))[1], (256, 256))
    assert lump[0, 0] == pytest.approx(1, abs=1e-4)
    assert lump[0, 9] == pytest.approx(np.exp(-0.5), abs=1e-4)  # one standard deviation away


def test_denser_tissue_is_brighter_and_has_more_contrast():
    tissue = [[draw_tissue((96, 80), density, generator(density, i)) for i in range(12)] for density in (1, 2, 3, 4)]
    assert tissue[0][0].shape == (96, 80)
    means = [np.mean(images) for images in tissue]
    contrasts = [np.mean([image.std() for image in images]) for images in tissue]
    assert means == sorted(means)
    assert contrasts == sorted(contrasts)


@settings(max_examples=40, deadline=None)
@given(
    malignant=st.booleans(),
    shape=st.sampled_from(draw.SHAPES),
    margins=st.sampled_from(draw.MARGINS),
    radius=st.floats(12, 46),
    seed=st.integers(0, 10**6),
)
def test_every_mass_has_its_middle_inside_and_fades_before_the_edge(malignant, shape, margins, radius, seed):
    size = 2 * int(3 * radius) + 1
    profile, mask = draw_lesion(Lesion(malignant, shape, margins, radius, 4), size, generator(seed))
    assert profile.shape == mask.shape == (size, size)
    assert profile.min() >= 0 and profile.max() <= 1
    assert mask[size // 2, size // 2] and profile[size // 2, size // 2] > 0.9
    rim = np.concatenate([profile[0], profile[-1], profile[:, 0], profile[:, -1]])
    assert rim.max() < 0.02


def test_a_round_mass_has_the_area_of_its_circle():
    """The ellipse's half axes are r / sqrt(a) and r sqrt(a): area pi r^2; waves and roughness of a few percent."""
    areas = [draw_lesion(Lesion(False, "ROUND", "CIRCUMSCRIBED", 30, 5), 128, generator(i))[1].sum() for i in range(9)]
    assert np.mean(areas) == pytest.approx(np.pi * 30**2, rel=0.05)


def test_only_spicules_reach_beyond_the_body():
    y, x = np.mgrid[:181, :181] - 90
    beyond = np.hypot(y, x) > 1.5 * 30
    smooth, _ = draw_lesion(Lesion(False, "ROUND", "CIRCUMSCRIBED", 30, 5), 181, generator(1))
    spiculated, _ = draw_lesion(Lesion(True, "ROUND", "SPICULATED", 30, 5), 181, generator(1))
    assert smooth[beyond].max() < 0.01
    assert spiculated[beyond].max() > 0.1


@pytest.mark.parametrize("side", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_mammogram_shows_its_masses_where_masks_and_boxes_say(side, view):
    lesions = [Lesion(False, "OVAL", "CIRCUMSCRIBED", 30, 5), Lesion(True, "IRREGULAR", "SPICULATED", 40, 5)]
    image, masks, boxes = draw_mammogram(lesions, 1, side, view, generator(5))
    assert image.dtype == np.uint16 and image.shape == draw.MAMMOGRAM_SHAPE
    assert not (masks[0] & masks[1]).any()
    for mask, box in zip(masks, boxes, strict=True):
        assert mask.shape == image.shape and set(np.unique(mask)) == {0, 255}
        inside = mask[box]
        assert inside.any(axis=0)[[0, -1]].all()
        assert inside.any(axis=1)[[0, -1]].all()
        assert (inside > 0).sum() == (mask > 0).sum()
        around = (slice(box[0].start - 15, box[0].stop + 15), slice(box[1].start - 15, box[1].stop + 15))
        ring = image[around][mask[around] == 0]
        assert image[mask > 0].mean() > ring.mean() + 0.05 * 65535  # subtlety 5 adds .18 at the centre
    wall, air = (image[:, 0], image[:, -1]) if side == "LEFT" else (image[:, -1], image[:, 0])
    assert wall[280:360].mean() > 5 * air.mean()


def test_masses_without_room_are_refused():
    lesion = Lesion(False, "ROUND", "CIRCUMSCRIBED", 46, 5)
    with pytest.raises(ValueError, match="no room for a mass"):
        draw_mammogram([lesion] * 30, 2, "LEFT", "CC", generator())


def test_patches_depend_on_seed_and_place_only():
    patches, labels = draw_patches(6, 3, size=64)
    again, labels_again = draw_patches(4, 3, size=64)
    other, _ = draw_patches(4, 4, size=64)
    assert patches.shape == (6, 64, 64) and patches.dtype == np.uint16 and labels.dtype == np.bool_
    assert np.array_equal(patches[:4], again) and np.array_equal(labels[:4], labels_again)
    assert not np.array_equal(again, other)


def test_chosen_masses_follow_the_rates():
    """1500 masses of a kind: a rate of .74 has a standard error of .011, so .05 is more than four of them."""
    for malignant, irregular, spiculated in ((True, 0.74, 0.62), (False, 0.05, 0.01)):
        chosen = [choose_lesion(malignant, generator(i)) for i in range(1500)]
        assert np.mean([c.shape == "IRREGULAR" for c in chosen]) == pytest.approx(irregular, abs=0.05)
        assert np.mean([c.margins == "SPICULATED" for c in chosen]) == pytest.approx(spiculated, abs=0.05)
        assert {c.subtlety for c in chosen} == {1, 2, 3, 4, 5}
        assert all(18 <= c.radius <= 46 for c in chosen)


def test_patches_are_neither_trivial_nor_hopeless():
    """Rings around the middle, their brightness and edges, in a logistic regression on 200 patches."""
    patches, malignant = draw_patches(500, 17)
    images = patches / 65535
    y, x = np.mgrid[:128, :128] - 63.5
    distance = np.hypot(y, x)
    down, right = np.gradient(images, axis=(1, 2))
    outwards, around = (down * y + right * x) / distance, (right * y - down * x) / distance
    rings = [(distance >= r) & (distance < r + 9) for r in range(0, 63, 9)]
    features = np.stack(
        [f(part[:, ring]) for ring in rings for part in (images, outwards, around) for f in (_mean, _spread)], axis=1
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    scores = model.fit(features[:200], malignant[:200]).decision_function(features[200:])
    assert 0.75 < roc_auc_score(malignant[200:], scores) < 0.96


def _mean(values):
    return values.mean(axis=1)


def _spread(values):
    return values.std(axis=1)


def test_patches_look_like_real_ones_to_a_standardiser(shared):
    """Mean and spread of the gray values, within images and between them, against 150 real patches."""
    files = sorted((shared / "data/cbis-ddsm-masses/train").rglob("*.png"))[::7][:150]
    real = np.stack([np.asarray(Image.open(file).convert("L")) for file in files]) / 255
    drawn = draw_patches(150, 1)[0] / 65535
    assert drawn.mean() == pytest.approx(real.mean(), abs=0.06)
    assert drawn.std(axis=(1, 2)).mean() == pytest.approx(real.std(axis=(1, 2)).mean(), rel=0.3)
    assert drawn.mean(axis=(1, 2)).std() == pytest.approx(real.mean(axis=(1, 2)).std(), rel=0.3)
