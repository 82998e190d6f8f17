"""What the pictures of hospitals are made of: bars, images and lines carry the numbers that they are given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fedmammo.hospitals.digitiser import load_digitiser
from fedmammo.report import hospital_figures as figures


def test_bars_are_as_long_as_counts() -> None:
    labels = pd.DataFrame({"benign": [3, 1], "malignant": [2, 5]}, index=["a", "b"])
    densities = pd.DataFrame([[1, 1, 1, 1, 1], [0, 6, 0, 0, 0]], columns=figures.DENSITIES, index=["a", "b"])
    figure = Figure()
    figures.draw_case_mix(figure, ["a", "b"], labels, densities)
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [3, 1, 2, 5]
    assert [bar.get_x() for bar in left.patches] == [0, 0, 3, 1]
    assert [bar.get_width() for bar in right.patches] == [1, 0, 1, 6, 1, 0, 1, 0, 1, 0]
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b"]
    assert left.yaxis_inverted()


def test_patches_are_shown_in_full_range() -> None:
    rows = {"film": [np.full((4, 4), 100 * i, dtype=np.uint16) for i in range(3)]}
    rows["device"] = [patch + 1 for patch in rows["film"]]
    figure = Figure()
    figures.draw_examples(figure, ["benign", "benign", "malignant"], rows)
    images = [axes.get_images()[0] for axes in figure.axes]
    assert [int(image.get_array()[0, 0]) for image in images] == [0, 100, 200, 1, 101, 201]
    assert {image.get_clim() for image in images} == {(0, 65535)}


def test_response_curves_are_those_of_the_devices() -> None:
    """LUMISYS 200 shows a film of OD 3.60 as level 464.6 of 4095, of OD 0.05 as 4046.5; the film is the diagonal."""
    figure = Figure()
    figures.draw_responses(figure, {"lumisys": load_digitiser("lumisys_200")})
    film, lumisys = figure.axes[0].get_lines()
    assert film.get_ydata()[[0, -1]].tolist() == [1, 0]
    assert lumisys.get_ydata()[[0, -1]].tolist() == pytest.approx([4046 / 4095, 465 / 4095], abs=1e-3)
    assert (np.diff(lumisys.get_ydata()) <= 0).all()


def test_gray_values_add_up_to_one() -> None:
    figure = Figure()
    gray = {"a": np.array([0, 0, 65535], dtype=np.uint16), "b": np.zeros(0, dtype=np.uint16)}
    figures.draw_gray_values(figure, gray)
    first, second = (patch.get_data().values for patch in figure.axes[0].patches)
    assert (first[0], first[-1], first.sum()) == pytest.approx((2 / 3, 1 / 3, 1))
    assert second.sum() == 0


def test_a_table_has_its_texts() -> None:
    figure = Figure()
    figures.draw_table(figure, pd.DataFrame({"a": ["1", "2"], "b": ["x", ""]}), "title")
    cells = figure.axes[0].tables[0].get_celld()
    assert [cells[place].get_text().get_text() for place in [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1)]] == list("ab12x")
