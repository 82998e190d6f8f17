import numpy as np
import pytest
from scipy import fft

from fedmammo.phantom import tissue
from fedmammo.phantom.breast import draw_anatomy
from fedmammo.phantom.points import splat
from fedmammo.phantom.tissue import Window, draw_tissue


def patch(density: int, difficulty: float, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    anatomy = draw_anatomy(density, "CC", generator)
    return draw_tissue(Window(round(anatomy.middle) - 50, 250, 96, 80), anatomy, difficulty, generator)


def test_texture_filter_has_the_power_law_by_hand():
    """400 pixels: column k stands for k/400, the cutoff 1/200 is k = 2.

    Below it the amplitude is sqrt(200^3 / (2 pi 200)) = 200 / sqrt(2 pi) = 79.79; above it, twice the frequency
    means 2^-1.5 of the amplitude (power 1/f^3).
    """
    texture = tissue._kernels((400, 400)).texture
    assert texture[0, :3] == pytest.approx([79.79] * 3, rel=1e-4)
    assert texture[0, 40] / texture[0, 20] == pytest.approx(2**-1.5, rel=1e-5)
    assert texture[30, 40] == pytest.approx(texture[0, 50])  # 3-4-5 triangle: the spectrum is isotropic


def test_texture_filter_gives_unit_variance_whatever_the_size():
    """Outside the cutoff the variance is 1 less a tail of some percent; the flat disc inside adds a half.

    The disc: pi (1/200)^2 * 200^2 / (2 pi) = 1/2.
    """
    for n in (640, 1280):
        power = tissue._kernels((n, n)).texture.astype(float) ** 2
        variance = (power.sum() + power[:, 1 : n // 2].sum()) / n**2
        assert variance == pytest.approx(1.49, abs=0.04)


def test_a_lump_follows_its_formula():
    """Orientation 0 is long along x. At r = 4: exp(-2.1 (4/14)^.6) = .3715 along it, exp(-2.1 2^.6) = .0414 across."""
    lump = fft.irfft2(tissue._kernels((256, 256)).lumps[0], (256, 256))
    assert lump[0, 0] == pytest.approx(1, abs=1e-3)
    assert lump[0, 4] == pytest.approx(0.3715, abs=1e-3)
    assert lump[4, 0] == pytest.approx(0.0414, abs=1e-3)


def test_lumps_are_turned_from_x_towards_y():
    """Orientation 3 of 6 is a quarter turn: long along y."""
    kernels = tissue._kernels((256, 256))
    first, quarter = (fft.irfft2(kernels.lumps[k], (256, 256)) for k in (0, 3))
    assert quarter == pytest.approx(first.T, abs=1e-3)
    diagonal = fft.irfft2(kernels.lumps[1], (256, 256))  # 30 degrees
    assert diagonal[4, 7] > 2 * diagonal[-4, 7]


def test_a_line_of_points_becomes_a_ridge_of_unit_height():
    for width, kernel in zip(tissue.LINE_WIDTHS, tissue._kernels((256, 256)).lines, strict=True):
        points = splat((256, 256), np.full(256, 100.0), np.arange(256.0), np.array(1.0))
        ridge = fft.irfft2(fft.rfft2(points) * kernel, (256, 256))
        assert ridge[100, 128] == pytest.approx(1, abs=0.02)  # a width of .8 pixels is a little under-sampled
        assert ridge[104, 128] == pytest.approx(np.exp(-8 / width**2), abs=0.01)


def test_denser_tissue_is_brighter_and_has_more_contrast():
    images = [[patch(density, 0.5, i) for i in range(16)] for density in (1, 2, 3, 4)]
    assert images[0][0].shape == (96, 80)
    means = [np.mean(kind) for kind in images]
    assert means == sorted(means)
    assert np.mean([image.std() for image in images[0]]) < np.mean([image.std() for image in images[2]])


def test_difficulty_adds_distractors_and_nothing_else_is_random():
    assert np.array_equal(patch(2, 0.5, 3), patch(2, 0.5, 3))
    sharpness = [
        np.mean([np.abs(np.diff(patch(1, difficulty, i))).mean() for i in range(16)]) for difficulty in (0, 0.5, 1)
    ]
    assert sharpness == sorted(sharpness)


def test_a_window_reaches_beyond_the_mammogram():
    anatomy = draw_anatomy(3, "CC", np.random.default_rng(0))
    drawn = draw_tissue(Window(-40, -30, 64, 200), anatomy, 0.5, np.random.default_rng(0))
    assert drawn.shape == (64, 200) and np.isfinite(drawn).all()
