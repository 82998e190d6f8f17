import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmammo.cohort.store import Cohort
from fedmammo.features.harmonisation import harmonise
from fedmammo.hospitals.digitiser import load_digitiser


def test_a_histogram_by_hand() -> None:
    """Ranks 1-4 of 4: quantiles .125, .375, .625, .875, whose normal quantiles are -+1.1503 and -+.3186.

    Gray .5 - .2 x 1.1503 = .26993 and .5 - .2 x .3186 = .43627, and their mirror images .56373 and .73007.
    """
    patch = np.array([[7, 900], [65535, 8]], np.uint16)
    expected = np.array([[0.26993, 0.56373], [0.73007, 0.43627]])
    np.testing.assert_allclose(harmonise(patch, "histogram", None) / 65535, expected, atol=1e-5)


@given(st.floats(0.3, 3), st.integers(0, 2**32))
def test_no_rising_response_changes_the_histogram(exponent: float, seed: int) -> None:
    patch = np.random.default_rng(seed).permutation(256).astype(np.uint16).reshape(16, 16)
    curved = np.rint(60000 * (patch / 255.0) ** exponent)
    if len(np.unique(curved)) == 256:  # no two grays fell together
        shown = harmonise(curved.astype(np.uint16), "histogram", None)
        assert np.array_equal(shown, harmonise(patch, "histogram", None))


def test_calibration_undoes_a_response(phantom_cohort: Cohort) -> None:
    """The device's response bends the grays; undone, what is left is its noise and blur."""
    patch, digitiser = phantom_cohort.patches[0], load_digitiser("dba_m2100")
    shown = digitiser.apply(patch, np.random.default_rng(0))
    mended = harmonise(shown, "calibration", digitiser)
    before, after = (np.abs(image.astype(float) - patch).mean() / 65535 for image in (shown, mended))
    assert after < 0.02 < 0.1 < before


@pytest.mark.parametrize("how", ["none", "calibration"])
def test_without_a_digitiser_nothing_is_undone(phantom_cohort: Cohort, how: str) -> None:
    assert np.array_equal(harmonise(phantom_cohort.patches[0], how, None), phantom_cohort.patches[0])


def test_a_window_by_hand() -> None:
    """Of the values 0 to 100 times 300 the 1st and 99th percentile are 300 and 29700: (300 k - 300) / 29400."""
    patch = (300 * np.arange(101, dtype=np.uint16)).reshape(1, 101)
    expected = np.clip((np.arange(101) - 1) / 98, 0, 1)
    np.testing.assert_allclose(harmonise(patch, "window", None)[0] / 65535, expected, atol=1e-5)


@given(st.floats(0.1, 1), st.integers(0, 5000))
def test_a_window_undoes_brightness_and_contrast(contrast: float, brightness: int) -> None:
    patch = np.random.default_rng(0).integers(0, 60000, (16, 16)).astype(np.uint16)
    shown = np.rint(brightness + contrast * patch).astype(np.uint16)
    difference = harmonise(shown, "window", None) / 65535 - harmonise(patch, "window", None) / 65535
    assert np.abs(difference).max() < 1e-3


def test_a_plain_image_stays_plain() -> None:
    plain = np.full((8, 8), 777, np.uint16)
    for how in ("window", "histogram"):
        assert len(np.unique(harmonise(plain, how, None))) == 1
