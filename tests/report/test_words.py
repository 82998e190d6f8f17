"""A plain sentence never says more than its interval."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmammo.evaluation.intervals import verdict_of
from fedmammo.report.words import lead, plain

MARGIN = 0.05
limits = st.floats(-0.4, 0.4).map(lambda value: round(value, 4))


def row_of(low: float, high: float, place: str = "here", needed: float = 350.0) -> dict[str, Any]:
    verdict = verdict_of(low, high, MARGIN)
    return {
        "tested_at": place, "verdict": verdict, "difference": (low + high) / 2, "ci_low": low, "ci_high": high,
        "margin": MARGIN, "patients": 38, "patients_needed": needed, "metric": "auroc", "unit": "lesion",
        "arm": "federated", "against": "local", "note": "no interval: few",
    }  # fmt: skip


def said(row: dict[str, Any]) -> str:
    return "".join(part if isinstance(part, str) else f"{part.value:g}" for part in plain(row, 0))


@given(limits, limits, st.sampled_from(["all", "here"]))
def test_no_sentence_contradicts_its_interval(one: float, other: float, place: str) -> None:
    low, high = sorted((one, other))
    text = said(row_of(low, high, place))
    assert ("raises" in text) == (low > 0)
    assert ("lowers" in text) == (high < 0 and low <= 0)
    assert ("no difference can be shown" in text.lower()) == (low <= 0 <= high)
    assert ("is ruled out" in text) == (low <= 0 <= high and low > -MARGIN)
    assert ("was not shown" in text) == (high < 0 and low <= -MARGIN <= high)
    assert ("would show" in text) == (low <= 0 <= high)
    assert f"({low:g} to {high:g})" in text
    assert ("against the mean local model" in text) == (place == "all" and not low <= 0 <= high)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (row_of(0.01, 0.11), "Joining raises the AUROC per lesion by 0.06 (0.01 to 0.11)."),
        (
            row_of(-0.06, 0.1),
            "No difference can be shown with 38 patients: 0.02 (-0.06 to 0.1); about 350 would show 0.05 (80 % sure).",
        ),
        (row_of(-0.02, 0.04, needed=np.nan),
         "No difference can be shown with 38 patients: 0.01 (-0.02 to 0.04); a loss of more than 0.05 is ruled out."),
        (row_of(-0.12, -0.02),
         "Joining lowers the AUROC per lesion: -0.07 (-0.12 to -0.02); whether by more than 0.05 was not shown."),
        (row_of(0.01, 0.11) | {"arm": "chosen"},
         "Joining (chosen) raises the AUROC per lesion by 0.06 (0.01 to 0.11)."),
        (row_of(-0.02, 0.04, needed=np.nan) | {"arm": "federated-slow", "against": "federated"},
         "No difference between federated-slow and federated can be shown with 38 patients: 0.01 (-0.02 to 0.04); "
         "a loss of more than 0.05 is ruled out."),
        (row_of(0.01, 0.11) | {"arm": "federated-slow", "against": "federated"},
         "Federated-slow in place of federated raises the AUROC per lesion by 0.06 (0.01 to 0.11)."),
        (row_of(np.nan, np.nan), "It cannot be told: few."),
    ],
)  # fmt: skip
def test_what_is_said(row: dict[str, Any], text: str) -> None:
    assert said(row) == text


def leading(*limits: tuple[float, float], **arms: str) -> str:
    places = [*("abcdefghijkl"[: len(limits)])]
    rows = [row_of(0.01, 0.02, "all"), *(row_of(*pair, place) for pair, place in zip(limits, places, strict=True))]
    rows = [row | arms for row in rows]
    return "".join(part if isinstance(part, str) else str(part.value) for part in lead(pd.DataFrame(rows)))


def test_the_lead_names_hospitals_by_what_their_intervals_say() -> None:
    up, down, open_, none = (0.01, 0.1), (-0.1, -0.01), (-0.1, 0.1), (np.nan, np.nan)
    assert leading(up, down, up, open_) == (
        "Joining raises the AUROC per lesion at a and c; joining lowers the AUROC per lesion at b; "
        "no difference can be shown at d."
    )
    assert leading(open_, open_) == "No difference can be shown at any hospital."
    assert (
        leading(*[up] * 8, none)
        == "It cannot be told at i; joining raises the AUROC per lesion at the other hospitals."
    )
    assert leading(up, up) == "Joining raises the AUROC per lesion at every hospital."
    slow = {"arm": "federated-slow", "against": "federated"}
    both = "federated-slow in place of federated raises the AUROC per lesion"
    none_of_both = "o difference between federated-slow and federated can be shown"
    assert leading(up, up, **slow) == f"F{both[1:]} at every hospital."
    assert leading(open_, open_, **slow) == f"N{none_of_both} at any hospital."
    assert leading(none, none).startswith("Over all hospitals' patients, joining raises")
