"""The page of synthetic images: what it was given stands on it, with the warning."""

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from fedmammo.report.synthesis_page import PRIVACY, SynthesisView, measures, synthesis_page

TABLE = pd.DataFrame(
    [
        ("kernel_distance", 0.34412, 0.0613, -0.0001, 0.00025, 192, "to test images"),
        ("radiomics_distance", np.nan, np.nan, np.nan, np.nan, 192, "not installed"),
        ("adjacent_difference_ratio", 1234.5, np.nan, 1.0, np.nan, 1000, ""),
    ],
    columns=["metric", "value", "sd", "real_to_real", "real_to_real_sd", "images", "note"],
)


@pytest.fixture
def view() -> SynthesisView:
    patches = [np.full((4, 4), 1000 * i, np.uint16) for i in range(3)]
    kinds = dict.fromkeys(["real, benign", "synthetic, benign", "real, malignant", "synthetic, malignant"], patches)
    nearest = dict.fromkeys(["synthetic", "nearest patient", "nearest other"], patches)
    return SynthesisView("Synthetic images of here", "3 & 4 images", TABLE, kinds, nearest, [0.1, 0.2, 0.3])


def test_measures_have_three_digits_and_their_spread_two() -> None:
    shown = measures(TABLE)
    assert shown.columns.tolist() == ["measure", "synthetic", "real", "images", "note"]
    assert shown["measure"].tolist() == ["kernel distance", "radiomics distance", "adjacent difference ratio"]
    assert shown["synthetic"].tolist() == ["0.344 ± 0.061", "", "1.23e+03"]
    assert shown["real"].tolist() == ["-0.0001 ± 0.00025", "", "1"]


def test_the_page_holds_what_it_was_given_and_is_the_same_every_time(view: SynthesisView) -> None:
    page = synthesis_page(view)
    for text in (
        escape(PRIVACY),
        "Synthetic images of here",
        "3 &amp; 4 images",
        "0.344 ± 0.061",
        "no proof of privacy",
    ):
        assert text in page
    assert page.count("data:image/png") == 2
    assert synthesis_page(view) == page


def test_without_nearest_patients_there_is_no_picture_of_them(view: SynthesisView) -> None:
    page = synthesis_page(SynthesisView(view.title, view.note, view.table, view.kinds, {}, []))
    assert page.count("data:image/png") == 1
    assert "Nearest patients" not in page
