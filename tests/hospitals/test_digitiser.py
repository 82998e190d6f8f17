"""Digitisers: levels by hand, what every device keeps and loses, and what its calibration gives back."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.errors import InputError
from fedmammo.hospitals.digitiser import Digitiser, load_digitiser

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "sites" / "digitisers").glob("*.yaml"))
SLOPE = -65535 / 3.55
IDENTITY: dict[str, Any] = {
    "name": "identity",
    "pixel_micrometres": 1,
    "blur_micrometres": 0,
    "density_range": [0, 4],
    "response": {"scale": "linear", "intercept": -3.6 * SLOPE, "slope": SLOPE},
    "density_noise": 0,
    "level_noise": 0,
    "bits": 16,
}


def digitiser(**changes: Any) -> Digitiser:
    return Digitiser.model_validate(IDENTITY | changes)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def patch(seed: int = 0, side: int = 32) -> np.ndarray:
    return generator(seed).integers(0, 65536, (side, side)).astype(np.uint16)


def quiet(device: Digitiser) -> Digitiser:
    return device.model_copy(update={"density_noise": 0.0, "level_noise": 0.0})


def test_there_are_seven_presets_and_they_load() -> None:
    films = ["howtek_960", "howtek_multirad850", "lumisys_200", "office_flatbed", "video_camera"]
    assert ["dba_m2100", "digital_detector", *films] == NAMES
    assert len({load_digitiser(name).digest for name in NAMES}) == 7


@pytest.mark.parametrize(
    ("name", "density", "level"),
    [
        ("lumisys_200", 1.617, 2465),  # 4096.99 - 1009.01 x 1.617 = 2465.4
        ("howtek_960", 2.0, 1892),  # (3.789 - 2) / 0.00094568 = 1891.8
        ("howtek_multirad850", 2.0, 1985),  # (3.96604 - 2) / 0.000990558 = 1984.8
        ("dba_m2100", 1.44, 1811),  # 10^(4.80662 - 1.07553 x 1.44) = 1810.7; the wedge of this density was read as 1772
        ("dba_m2100", 3.60, 9),  # 10^(4.80662 - 3.871908) = 8.6
        ("office_flatbed", 2.4, 22),  # 10^(2.43 - 2.4 / 2.2) = 21.8, and no darker
        ("office_flatbed", 3.5, 22),
        ("digital_detector", 1.0, 3243),  # 4949 - 1706 x 1.0
        ("video_camera", 0.06, 255),  # brighter than the device tells apart
    ],
)
def test_levels_are_those_of_the_published_calibrations(name: str, density: float, level: int) -> None:
    """A film of one density; its gray is 65535 (3.60 - OD) / 3.55."""
    film = np.full((16, 16), round(65535 * (3.60 - density) / 3.55), dtype=np.uint16)
    device = quiet(load_digitiser(name))
    shown = device.apply(film, generator())
    assert np.unique(shown).tolist() == [round(level * 65535 / (2**device.bits - 1))]


def test_the_wedge_of_ddsm_has_the_noise_that_was_measured() -> None:
    """DBA, squares of 210 um: at OD 0.50, 1.44 and 2.99 the levels' deviations are 217, 22.7 and 1.8, here within 15 %.

    A patch of 119 pixels has pixels of 210 um.
    """
    device = load_digitiser("dba_m2100")
    for density, deviation in ((0.50, 217), (1.44, 22.7), (2.99, 1.8)):
        film = np.full((119, 119), round(65535 * (3.60 - density) / 3.55), dtype=np.uint16)
        shown = device.apply(film, generator()).astype(np.float64)
        assert shown.std() == pytest.approx(deviation, rel=0.15)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_identity_device_shows_the_patch(seed: int) -> None:
    film = patch(seed)
    device = digitiser()
    shown = device.apply(film, generator())
    assert shown.dtype == np.uint16
    assert np.abs(shown.astype(int) - film).max() <= 1
    assert np.abs(device.undo_response(shown).astype(int) - film).max() <= 1


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**32), rise=st.integers(0, 20000))
def test_brighter_film_never_gets_darker_where_there_is_no_noise(name: str, seed: int, rise: int) -> None:
    device, film = quiet(load_digitiser(name)), patch(seed)
    brighter = np.minimum(film.astype(int) + rise, 65535).astype(np.uint16)
    assert (device.apply(brighter, generator()) >= device.apply(film, generator())).all()


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**32), noise=st.integers(0, 2**32))
def test_the_same_noise_gives_the_same_image_and_no_more_levels_than_bits(name: str, seed: int, noise: int) -> None:
    device, film = load_digitiser(name), patch(seed)
    shown = device.apply(film, generator(noise))
    assert (shown == device.apply(film, generator(noise))).all()
    assert shown.shape == film.shape
    levels = shown.astype(np.float64) * (2**device.bits - 1) / 65535
    assert np.abs(levels - np.rint(levels)).max() <= 0.5 * (2**device.bits - 1) / 65535 + 1e-9
    if noise != seed:
        assert (shown != device.apply(film, generator(seed))).any()


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_so_many_bits_so_many_levels(bits: int) -> None:
    highest = 2**bits - 1
    response = {"scale": "linear", "intercept": highest * 3.6 / 3.55, "slope": -highest / 3.55}
    ramp = np.linspace(0, 65535, 128 * 128).astype(np.uint16).reshape(128, 128)
    shown = digitiser(bits=bits, response=response).apply(ramp, generator())
    assert np.unique(shown).tolist() == [round(level * 65535 / highest) for level in range(2**bits)]


def test_a_coarse_pixel_is_an_average_of_film() -> None:
    """Black and white in turn, 625 um each: pixels of 5 mm see half of both; pixels of 600 um see what there is."""
    film = (65535 * (np.indices((40, 40)).sum(0) % 2)).astype(np.uint16)
    shown = digitiser(pixel_micrometres=5000).apply(film, generator())
    assert np.abs(shown.astype(int) - 32768).max() <= 1
    fine = digitiser(pixel_micrometres=600).apply(film, generator())
    assert np.abs(fine.astype(int) - film).max() <= 1


def test_blur_spreads_a_point_by_its_width() -> None:
    """A point of white, blurred by two pixels: a Gaussian whose peak is 1 / (2 pi 4) of it."""
    film = np.zeros((51, 51), dtype=np.uint16)
    film[25, 25] = 65535
    shown = digitiser(blur_micrometres=2 * 25_000 / 51).apply(film, generator())
    assert float(shown.sum()) == pytest.approx(65535, rel=0.02)
    assert shown[25, 25] == pytest.approx(65535 / (2 * np.pi * 4), rel=0.02)
    assert shown[25, 27] / shown[25, 25] == pytest.approx(np.exp(-0.5), rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_calibration_brings_densities_back_within_what_the_device_tells_apart(name: str) -> None:
    """Of a smooth film within the device's range, half a level (and rounding) is all that is lost."""
    device = quiet(load_digitiser(name)).model_copy(update={"blur_micrometres": 0.0, "pixel_micrometres": 1.0})
    low, high = max(device.density_range[0], 0.06), min(device.density_range[1], 3.59)
    density = np.linspace(high, low, 64 * 64).reshape(64, 64)
    film = np.rint(65535 * (3.60 - density) / 3.55).astype(np.uint16)
    back = device.undo_response(device.apply(film, generator()))
    levels = device.response.levels(density)
    one_level = np.abs(device.response.densities(levels) - device.response.densities(np.maximum(levels - 1, 0.5)))
    assert (np.abs(back.astype(int) - film) <= 65535 / 3.55 * one_level + 2).all()


def test_the_digest_names_what_is_said() -> None:
    assert digitiser().digest == digitiser().digest
    assert digitiser().digest != digitiser(bits=15).digest
    assert len(digitiser().digest) == 16
    int(digitiser().digest, 16)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"bits": 17}, "bits"),
        ({"density_range": [2, 1]}, "density_range: expected the lower optical density, then the higher one"),
        ({"response": {"scale": "linear", "intercept": 1, "slope": 1}}, "response.slope"),
        ({"response": {"scale": "log", "intercept": 1, "slope": -1}}, "response.scale"),
        ({"response": {"scale": "linear", "intercept": 0, "slope": -1}}, "raise the intercept"),
        ({"colour": "blue"}, "colour: unknown key"),
    ],
)
def test_a_wrong_description_is_one_line(tmp_path: Path, changes: dict[str, Any], part: str) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(IDENTITY | changes))
    with pytest.raises(InputError) as error:
        load_digitiser(str(tmp_path / "own.yaml"))
    assert part in str(error.value)
    assert "see the digitisers in sites/digitisers for an example" in str(error.value)


def test_an_unknown_digitiser_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=f"digitiser 'xerox' is not known; expected one of {', '.join(NAMES)}"):
        load_digitiser("xerox")


def test_a_patch_of_128_pixels_takes_milliseconds() -> None:
    film, devices = patch(side=128), [load_digitiser(name) for name in NAMES]
    start = time.process_time()
    for device in devices * 5:
        device.apply(film, generator())
    assert (time.process_time() - start) / 30 < 0.02
