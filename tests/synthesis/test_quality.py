"""Quality: every measure beside real against real; what is good, blurred, copied or too small is told apart."""

import numpy as np
import pandas as pd
import pytest

from fedmammo.synthesis.quality import (
    NEEDED,
    SUBSETS,
    Images,
    Quality,
    adjacent_difference,
    head_auroc,
    quality_of,
    resized,
)
from fedmammo.synthesis.radiomics import INSTALL, is_installed

OVERLAP = ["frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"]
METRICS = [
    *OVERLAP,
    "radiomics_distance",
    "auroc_trained_on_it",
    "nearest_patient_ratio",
    "nearest_patient_ratio_lowest",
    "adjacent_difference_ratio",
]


def images(number: int, seed: int, shift: float = 0.0, contrast: float = 1.0) -> Images:
    """Two images a patient; malignant ones are 2 further along the first of 6 columns; patches are noise."""
    generator = np.random.default_rng(seed)
    malignant = np.arange(number) % 4 > 1
    features = generator.normal(size=(number, 6)) + shift
    features[:, 0] += 2 * malignant
    patches = 30000 + contrast * generator.integers(-9000, 9000, (number, 8, 8))
    patients = [f"{seed}-{image // 2}" for image in range(number)]
    return Images(patches.astype(np.uint16), features.astype(np.float32), malignant, patients)


def measured(train: Images, test: Images, synthetic: Images, seed: int = 0) -> pd.DataFrame:
    return quality_of(train, test, synthetic, seed).set_index("metric")


def test_images_like_real_ones_measure_as_real_ones_do(without_radiomics: None) -> None:
    found = measured(images(300, 1), images(140, 2), images(250, 3))
    assert found.index.tolist() == METRICS
    overlap = found.loc[OVERLAP]
    assert (abs(overlap["value"] - overlap["real_to_real"]) < 4 * (overlap["sd"] + overlap["real_to_real_sd"])).all()
    assert overlap["images"].tolist() == [250, *[140] * 5], "the Fréchet distance takes all"
    assert overlap["note"].iloc[1:].unique().tolist() == [f"to test images, {SUBSETS} subsets"]
    rest = found.loc[METRICS[7:]]
    np.testing.assert_allclose(rest["value"], rest["real_to_real"], atol=0.12)
    assert (rest["images"] == 250).all()
    assert rest.loc["auroc_trained_on_it", "value"] == pytest.approx(0.92, abs=0.05)  # of N(0, 1) and N(2, 1)


def test_images_unlike_real_ones_are_found_out(without_radiomics: None) -> None:
    found = measured(images(300, 1), images(140, 2), images(250, 3, shift=1.5, contrast=2.5))
    worse = found.loc[["frechet_distance", "kernel_distance"]]
    assert (worse["value"] > worse["real_to_real"] + 10 * worse["sd"]).all()
    assert (found.loc["precision":"coverage", "value"] < found.loc["precision":"coverage", "real_to_real"] - 0.3).all()
    assert found.loc["adjacent_difference_ratio", "value"] == pytest.approx(2.5, abs=0.1)
    assert found.loc["adjacent_difference_ratio", "real_to_real"] == pytest.approx(1, abs=0.05)


def test_copies_are_found_among_many_images_that_are_none(without_radiomics: None) -> None:
    train, synthetic = images(300, 1), images(200, 3)
    synthetic.features[:10] = train.features[:10]
    found = measured(train, images(100, 2), synthetic)
    assert found.loc["nearest_patient_ratio_lowest", "value"] == pytest.approx(0, abs=1e-6)
    assert found.loc["nearest_patient_ratio_lowest", "real_to_real"] > 0.2
    assert found.loc["nearest_patient_ratio", "value"] > 0.7


def test_measures_do_not_depend_on_the_scale_of_a_column(without_radiomics: None) -> None:
    kinds = [images(60, seed) for seed in (1, 2, 3)]
    before = measured(*kinds)
    for kind in kinds:
        kind.features[:, 2] = 8 * kind.features[:, 2] + 5
    np.testing.assert_allclose(measured(*kinds)["value"], before["value"], rtol=1e-3, atol=1e-5)


def test_the_seed_draws_the_subsets(without_radiomics: None) -> None:
    kinds = [images(60, seed) for seed in (1, 2, 3)]
    kinds[2] = images(90, 3)
    pd.testing.assert_frame_equal(measured(*kinds), measured(*kinds))
    assert measured(*kinds, seed=1).loc["kernel_distance", "value"] != measured(*kinds).loc["kernel_distance", "value"]


@pytest.mark.parametrize(
    ("number", "undefined"),
    [(5, [*OVERLAP, "radiomics_distance"]), (2, [*OVERLAP, "radiomics_distance", "auroc_trained_on_it"])],
)
def test_few_images_leave_measures_empty_with_a_reason(
    number: int, undefined: list[str], without_radiomics: None
) -> None:
    found = measured(images(40, 1), images(20, 2), images(number, 3))
    assert found.index[found["value"].isna()].tolist() == undefined
    assert found.loc[undefined, "note"].str.contains("undefined|not installed").all()


def test_the_frechet_distance_is_farther_for_less_variety_and_zero_between_real_images(
    without_radiomics: None,
) -> None:
    """The distance as it is defined is farther between real images, 38 and 32."""
    generator = np.random.default_rng(0)
    found = []
    for seed in range(3):
        kinds = []
        for kind, (patients, views, spread) in enumerate(((150, 2, 1.0), (96, 2, 1.0), (192, 1, 0.7))):
            patient = np.arange(patients * views) // views
            common, own = generator.normal(size=(patients, 100))[patient], generator.normal(size=(len(patient), 100))
            features = spread * (np.sqrt(0.7) * common + np.sqrt(0.3) * own)
            whose = [f"{kind}-{number}" for number in patient]
            flat = np.zeros((len(patient), 2, 2), np.uint16)
            kinds.append(Images(flat, features.astype(np.float32), patient % 2 > 0, whose))
        found.append(quality_of(*kinds, seed, processes=0).set_index("metric").loc["frechet_distance"])
    table = pd.DataFrame(found)
    assert "16 principal axes" in table["note"].iloc[0]
    assert abs(table["real_to_real"].mean()) < 0.3
    assert table["value"].mean() == pytest.approx(16 * 0.3**2, abs=0.4)


@pytest.mark.parametrize("short", [0, 1, 2])
def test_the_frechet_distance_is_not_shown_of_few_patients(short: int, without_radiomics: None) -> None:
    """Two images a patient, of training patients half set the axes; a synthetic image is nobody's."""
    enough = np.array([4 * NEEDED, 2 * NEEDED, NEEDED])
    fewer = enough - np.eye(3, dtype=int)[short]
    fewer[:2] -= fewer[:2] % 2
    shown, empty = (
        measured(*(images(number, seed) for seed, number in enumerate(numbers))).loc["frechet_distance"]
        for numbers in (enough, fewer)
    )
    assert np.isfinite([shown["value"], shown["real_to_real"]]).all()
    assert np.isnan([empty["value"], empty["sd"], empty["real_to_real"]]).all()
    assert empty["note"] == "undefined: needs 64 synthetic images, 64 test and 128 training patients"


def test_images_of_one_patient_do_not_count_as_alike(without_radiomics: None) -> None:
    """Every real image twice: pairs of the two are as near as can be. All images of one patient: nothing is left."""
    train, test, synthetic = images(300, 1), images(300, 2), images(300, 3)
    for kind in (train, test):
        kind.features[1::2] = kind.features[::2]
    row = measured(train, test, synthetic).loc["kernel_distance"]
    assert abs(row["real_to_real"]) < 0.2
    assert abs(row["value"]) < 0.2
    one = Images(test.patches, test.features, test.malignant, ["she"] * len(test))
    row = measured(train, one, synthetic).loc["kernel_distance"]
    assert np.isnan([row["value"], row["real_to_real"]]).all()
    assert row["note"] == "undefined: needs two patients of each kind in every subset"


def test_how_patients_are_called_does_not_matter(without_radiomics: None) -> None:
    """A synthetic image would be taken for a patient's if they were numbered alike."""
    train, test, synthetic = (images(60, seed) for seed in (1, 2, 3))
    renamed = (
        Images(kind.patches, kind.features, kind.malignant, [name[::-1] for name in kind.patients])
        for kind in (train, test)
    )
    before, after = measured(train, test, synthetic), measured(*renamed, synthetic)
    np.testing.assert_allclose(after.loc["kernel_distance", "value"], before.loc["kernel_distance", "value"])


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_one_class_leaves_the_head_without_a_score(kind: int, without_radiomics: None) -> None:
    kinds = [images(40, seed) for seed in (1, 2, 3)]
    kinds[kind].malignant[:] = True
    found = measured(*kinds).loc["auroc_trained_on_it"]
    assert np.isnan(found["real_to_real"]) == (kind != 2)
    assert np.isnan(found["value"]) == (kind != 0)


def test_without_the_extra_a_row_says_how_to_get_it(without_radiomics: None) -> None:
    row = measured(*(images(20, seed) for seed in (1, 2, 3))).loc["radiomics_distance"]
    assert np.isnan(row["value"])
    assert row["note"] == INSTALL


def test_radiomics_can_be_left_out() -> None:
    row = quality_of(images(20, 1), images(20, 2), images(20, 3), 0, processes=0).set_index("metric")
    assert row.loc["radiomics_distance", ["value", "real_to_real"]].isna().all()
    assert row.loc["radiomics_distance", "note"] == "left out"


@pytest.mark.skipif(not is_installed(), reason="the extra frd is not installed: pip install -e '.[frd]'")
def test_radiomics_measure_what_the_images_show() -> None:
    """Less contrast is another texture; three images of a single gray value have none, which leaves seven."""
    synthetic = images(10, 3, contrast=0.1)
    synthetic.patches[:3] = 40000
    row = measured(images(9, 1), images(8, 2), synthetic).loc["radiomics_distance"]
    assert row["value"] > row["real_to_real"] + 2 * (row["sd"] + row["real_to_real_sd"])
    assert row["images"] == 7
    assert row["note"].startswith("to test images, at 8 pixels")
    assert row["note"].endswith("; 3 synthetic images have no radiomic features")


@pytest.mark.skipif(not is_installed(), reason="the extra frd is not installed: pip install -e '.[frd]'")
def test_images_without_radiomic_features_leave_the_distance_empty() -> None:
    synthetic = images(8, 3)
    synthetic.patches[:] = 40000
    row = measured(images(4, 1), images(4, 2), synthetic).loc["radiomics_distance"]
    assert row[["value", "real_to_real"]].isna().all()
    assert row["note"].startswith("undefined")


def test_a_head_by_hand() -> None:
    """A column that tells the classes apart, and one that tells them the wrong way round."""
    malignant = np.array([False, False, True, True])
    features = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
    right, wrong = (Images(np.zeros((4, 2, 2), np.uint16), sign * features, malignant) for sign in (1, -1))
    assert head_auroc(right, right) == 1
    assert head_auroc(wrong, right) == 0


def test_adjacent_pixels_by_hand() -> None:
    """Side by side 1 and 5, above each other 3 and 7: (3 + 5) / 2; with a flat image, half of that."""
    patch = np.array([[65000, 65001], [65003, 65008]], np.uint16)
    assert adjacent_difference(patch[None]) == pytest.approx(4)
    assert adjacent_difference(np.stack([patch, np.zeros_like(patch)])) == pytest.approx(2)


@pytest.mark.parametrize("side", [8, 4])
def test_real_images_are_brought_to_the_synthetic_ones_side(side: int, without_radiomics: None) -> None:
    small = images(20, 3)
    small = Images(resized(small.patches, side), small.features, small.malignant)
    row = measured(images(200, 1), images(20, 2), small).loc["adjacent_difference_ratio"]
    assert row["value"] == pytest.approx(1, abs=0.15)
    assert row["note"].endswith(f"at {side} pixels")


def test_rows_are_tidy(without_radiomics: None) -> None:
    table = quality_of(images(20, 1), images(20, 2), images(20, 3), seed=0)
    assert tuple(table.columns) == Quality._fields
    assert table["metric"].is_unique


def test_what_is_being_done_is_told(without_radiomics: None) -> None:
    told: list[str] = []
    quality_of(images(20, 1), images(20, 2), images(20, 3), seed=0, report=told.append)
    assert told == ["distances of features", "training a head on synthetic images", "nearest patients"]
