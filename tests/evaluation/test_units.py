import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.evaluation.units import Grouping

NAMES = np.array(["b", "a", "b", "c", "a", "b"])


def test_log_odds_are_averaged_by_hand() -> None:
    """Odds of 1/9 and 9 have the mean log odds 0; of 4 and 1 that of 2; 0 and 1 have log odds at the ends."""
    found = Grouping.of(np.array(["a", "a", "b", "b", "c", "d"]))
    scores = np.array([0.1, 0.9, 0.8, 0.5, 0.0, 1.0])
    assert found.mean(scores, "log_odds") == pytest.approx([0.5, 2 / 3, 0, 1], abs=2e-6)


def test_five_images_of_three_lesions_by_hand() -> None:
    """Units stand in the order of their first images: b (0, 2, 5), a (1, 4), c (3)."""
    found = Grouping.of(NAMES)
    assert found.of_image.tolist() == [0, 1, 0, 2, 1, 0]
    assert found.at.tolist() == [0, 1, 3]
    assert found.mean(np.array([0.1, 0.2, 0.3, 0.9, 0.4, 0.8])) == pytest.approx([0.4, 0.3, 0.9])
    assert found.label(np.array([0, 0, 0, 1, 0, 1])).tolist() == [1, 0, 1]
    assert found.first(np.array(["x", "y", "x", "z", "y", "x"])).tolist() == ["x", "y", "z"]


def test_an_image_that_is_its_own_unit_stays_as_it_is() -> None:
    score, label = np.array([0.3, 0.1, 0.2]), np.array([1, 0, 1])
    found = Grouping.of(np.array(["i3", "i1", "i2"]))
    assert found.mean(score).tolist() == score.tolist() and found.label(label).tolist() == label.tolist()


def test_no_images_are_no_units() -> None:
    found = Grouping.of(np.array([], dtype=str))
    assert len(found.at) == len(found.mean(np.array([]))) == len(found.label(np.array([], dtype=np.int64))) == 0


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_mean_and_label_equal_those_of_pandas(images: list[tuple[str, int, float]]) -> None:
    table = pd.DataFrame(images, columns=["name", "label", "score"])
    expected = table.groupby("name", sort=False).agg(label=("label", "max"), score=("score", "mean"))
    found = Grouping.of(table["name"].to_numpy())
    assert found.first(table["name"].to_numpy()).tolist() == expected.index.tolist()
    assert found.mean(table["score"].to_numpy()) == pytest.approx(expected["score"].to_numpy(), abs=1e-12)
    assert found.label(table["label"].to_numpy()).tolist() == expected["label"].tolist()
