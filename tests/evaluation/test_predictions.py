from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from fedmammo.errors import InputError
from fedmammo.evaluation.predictions import COLUMNS, Repeat, Series, arrange

Study = Callable[..., pd.DataFrame]


def test_models_see_the_same_images_whatever_the_order_of_rows(study: Study) -> None:
    table = study(folds=2)
    arranged = arrange(table, "test")
    shuffled = arrange(table.sample(frac=1, random_state=3), "test")
    assert arranged.patients == shuffled.patients == 24
    assert arranged.repeats == [(0, 0), (1, 0)] == list(arranged.images) and arranged.folds == 2
    for repeat, images in arranged.images.items():
        assert np.array_equal(images.patient, shuffled.images[repeat].patient)
        assert sorted(set(images.patient)) == list(range(24)) and set(images.fold) == {0, 1}
    for key, model in arranged.models.items():
        assert np.array_equal(model.score, shuffled.models[key].score)
        assert model.thresholds == shuffled.models[key].thresholds


def test_a_score_stays_with_its_image(study: Study) -> None:
    table = study()
    arranged = arrange(table, "test")
    first = table[(table.arm == "centralized") & (table.seed == 0) & (table.split == "test")].set_index("image")
    least = first.groupby("patient").score.min()  # patients come by it, and their images by the score itself
    rows = table[(table.arm == "local") & (table.trained_at == "H1") & (table.seed == 1) & (table.split == "test")]
    places = {"least": rows.patient.map(least), "own": rows.image.map(first.score)}
    expected = rows.assign(**places).sort_values(["least", "own"])
    assert arranged.models[Series("local", "real", "H1"), Repeat(1, 0)].score.tolist() == expected.score.tolist()
    images = arranged.images[Repeat(0, 0)]
    assert images.label.tolist() == expected.label.tolist()
    assert images.names["lesion"].tolist() == expected.lesion.tolist()


def test_more_columns_describe_images(study: Study) -> None:
    table = study().assign(density=lambda rows: rows["patient"].str[-1])
    images = arrange(table, "test").images[Repeat(0, 0)]
    assert list(images.about) == ["density"]
    assert (images.about["density"] == [name[-1] for name in images.names["patient"]]).all()


def test_arms_have_an_order_and_the_rest_is_as_it_appears(study: Study) -> None:
    table = study(arms=("federated", "local", "centralized"))
    both = pd.concat([table.assign(setting="synthetic"), table])
    arms = list(dict.fromkeys((one.arm, one.setting) for one in arrange(both, "test").series))
    expected = [(arm, s) for arm in ("centralized", "local", "federated") for s in ("synthetic", "real")]
    assert arms == expected


def test_thresholds_are_of_the_same_model_and_of_validation_only(study: Study) -> None:
    table = study(patients=72)
    before = arrange(table, "test").models
    changed = table.copy()
    of_one = (changed.arm == "local") & (changed.trained_at == "H1") & (changed.seed == 0)
    changed.loc[of_one & (changed.split == "validation"), "score"] /= 2
    changed.loc[changed.split == "test", "score"] /= 3
    after = arrange(changed, "test").models
    differ = {key for key, model in after.items() if model[1:] != before[key][1:]}
    assert differ == {(Series("local", "real", "H1"), Repeat(0, 0))}


def test_each_hospital_recalibrates_by_its_own_validation_patients(study: Study) -> None:
    """A federated model has a line for each hospital, a local one for its own alone."""
    models = arrange(study(patients=72), "test").models
    assert set(models[Series("federated", "real", "all"), Repeat(0, 0)].lines) == {(0, "H0"), (0, "H1"), (0, "H2")}
    assert set(models[Series("local", "real", "H1"), Repeat(0, 0)].lines) == {(0, "H1")}


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("arm", "centralised", "expected an arm of centralized, local, federated, without_one"),
        ("label", 2, "expected label 0 or 1"),
        ("score", 1.5, r"expected a score in \[0, 1\]"),
        ("score", np.nan, "expected a value in every column"),
        ("trained_at", "H0", "expected trained_at 'all' where an arm has one model"),
        ("hospital", "all", "'all' is reserved"),
        ("hospital", "H2", "expected a patient's test images in one hospital"),
        ("fold", 7, "expected a patient's test images in one fold"),
        ("breast", "p0001-L", "expected a breast of one patient"),
        ("lesion", "p0001-L1", "expected a lesion of one breast"),
        ("image", "p0000-1", "expected each image once per model"),
        ("label", 1, r"same 48 images and labels as of model \(arm centralized"),
    ],
)
def test_a_wrong_row_is_named(study: Study, column: str, value: object, message: str) -> None:
    table = study().reset_index(drop=True)
    row = table.index[(table.arm == "centralized") & (table.image == "p0000-0")][-1]
    table.loc[row, column] = value  # type: ignore[call-overload]
    with pytest.raises(InputError, match=message) as caught:
        arrange(table, "test")
    assert "\n" not in str(caught.value)
    if column != "label" or value != 1:
        assert "seed" in str(caught.value) and "p000" in str(caught.value)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(study: Study, column: str) -> None:
    with pytest.raises(InputError, match=f"columns {column} are missing"):
        arrange(study().drop(columns=column), "test")


@pytest.mark.parametrize("split", ["validation", "val"])
def test_a_missing_split_names_the_ones_that_are_there(study: Study, split: str) -> None:
    with pytest.raises(InputError, match=f"no test split '{split}'; choose one of: test"):
        arrange(study(), split)


def test_a_missing_model_or_fold_is_named(study: Study) -> None:
    table = study(folds=2)
    gone = (table.arm == "local") & (table.trained_at == "H2") & (table.seed == 1) & (table.split == "test")
    with pytest.raises(InputError, match=r"arm local, setting real, trained_at H2, seed 1, draw 0.* has 0 images"):
        arrange(table[~gone], "test")
    gone = (table.fold == 1) & (table.seed == 1) & (table.split == "test")
    with pytest.raises(InputError, match="seed 1, draw 0, fold 1 has no test images"):
        arrange(table[~gone], "test")


def test_a_local_model_may_not_set_its_thresholds_elsewhere(study: Study) -> None:
    table = study()
    of_h1 = (table.arm == "local") & (table.trained_at == "H1") & (table.split == "validation")
    table.loc[of_h1, "hospital"] = "H0"
    with pytest.raises(InputError, match="expected validation patients of the hospital whose own"):
        arrange(table, "test")
