import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.predictions import arrange
from fedmammo.evaluation.verdicts import VERDICTS, verdicts_of, what_varies


def row(**keys: object) -> dict[str, object]:
    """A primary comparison at `all`."""
    return {
        "role": "primary",
        "tested_at": "all",
        "metric": "auroc",
        "unit": "lesion",
        "arm": "federated",
        "against": "local",
        "setting": "real",
        "difference": 0.05,
        "ci_low": 0.01,
        "ci_high": 0.09,
        "error": 0.02,
        "of_repeats": 0.0,
        "p": 0.01,
        "p_holm": float("nan"),
        "patients": 100,
        "positives": 50,
        "note": "",
    } | keys


def verdicts(*rows: dict[str, object], **keys: object) -> pd.DataFrame:
    return verdicts_of(pd.DataFrame(rows), EvaluationConfig.model_validate(keys), "patients", "seed")


def test_sentences() -> None:
    nothing = dict.fromkeys(("ci_low", "ci_high", "p", "error", "of_repeats"), float("nan"))
    found = verdicts(
        row(),
        row(tested_at="A", difference=0.0, ci_low=-0.04, ci_high=0.04),
        row(tested_at="B", difference=-0.01, ci_low=-0.06, ci_high=0.04, error=0.025),
        row(tested_at="C", difference=-0.2, ci_low=-0.3, ci_high=-0.1),
        row(tested_at="D", patients=12, positives=4, note="no interval: fewer than 10 patients of a class", **nothing),
        row(tested_at="E", note="no interval: fewer than 20 draws of hospitals", **nothing),
        row(tested_at="G", difference=-0.03, ci_low=-0.045, ci_high=-0.01),
        row(tested_at="H", difference=-0.06, ci_low=-0.1, ci_high=-0.01),
        row(tested_at="F", role="secondary"),
    )
    assert found["verdict"].tolist() == [
        "superior", "non-inferior", "inconclusive", "inferior", "not assessable", "not assessable",
        "non-inferior", "inconclusive",
    ]  # fmt: skip
    sentences = found["sentence"].tolist()
    assert sentences == [
        "all hospitals: superior: federated is better than local models, each tested on all hospitals' patients: "
        "+0.050 (+0.010 to +0.090); "
        "100 patients, 50 with a malignant lesion.",
        "A: non-inferior: federated is not worse by more than 0.05 than its own model; better was not shown: "
        "+0.000 (-0.040 to +0.040); 100 patients, 50 with a malignant lesion; "
        "about 130 patients would show a true difference of +0.05.",
        "B: inconclusive: neither better nor worse was shown for federated against its own model: "
        "-0.010 (-0.060 to +0.040); 100 patients, 50 with a malignant lesion; "
        "about 200 patients would show a true difference of +0.05.",
        "C: inferior: federated is worse by more than 0.05 than its own model: "
        "-0.200 (-0.300 to -0.100); 100 patients, 50 with a malignant lesion.",
        "D: not assessable (12 patients, 4 with a malignant lesion): fewer than 10 patients of a class.",
        "E: not assessable (100 patients, 50 with a malignant lesion): fewer than 20 draws of hospitals.",
        "G: non-inferior: federated is worse, but not by more than 0.05, than its own model: "
        "-0.030 (-0.045 to -0.010); 100 patients, 50 with a malignant lesion.",
        "H: inconclusive: federated is worse than its own model; whether by more than 0.05 was not shown: "
        "-0.060 (-0.100 to -0.010); 100 patients, 50 with a malignant lesion.",
    ]


def test_patients_that_are_needed_stand_beside_what_they_would_show() -> None:
    """(2.8016 x .025 / .05)^2 x 100 = 196; not of seeds that vary too much, nor without an interval."""
    nan = float("nan")
    few = row(tested_at="C", ci_low=nan, ci_high=nan, error=nan, of_repeats=nan, note="no interval: two seeds")
    found = verdicts(row(error=0.025), row(tested_at="B", error=0.025, of_repeats=0.6), few)
    assert found["patients_needed"].tolist() == [200, pd.NA, pd.NA]
    assert found["to_show"].tolist() == ["a true difference of +0.05 as superior, with a probability of 80 %", "", ""]
    assert found.to_csv(index=False).count(",200,") == 1  # not 200.0
    assert verdicts(row(role="secondary")).columns.tolist() == VERDICTS


LIMITS = st.one_of(
    st.floats(-0.5, 0.5).map(lambda limit: round(limit, 12)), st.sampled_from([-0.05, -1e-4, -1e-9, 0.0, 1e-9, 1e-4])
)
NUMBER = r"([+-]\d+\.\d+)"


@settings(max_examples=50)
@given(
    st.tuples(LIMITS, LIMITS).filter(lambda both: both[0] != both[1]).map(sorted),
    st.sampled_from([0.01, 0.05, 0.1]),
    st.integers(20, 2000),
    st.sampled_from(["local", "centralized"]),
    st.floats(0, 1),
)
@example([0.0004, 0.01], 0.05, 100, "local", 0.0)
@example([-0.0504, 0.0004], 0.05, 100, "local", 0.0)
@example([-0.2, -0.05004], 0.05, 100, "local", 0.0)
def test_no_sentence_contradicts_its_interval(
    limits: list[float], margin: float, patients: int, against: str, of_repeats: float
) -> None:
    """What is claimed follows from the limits, as they are and as they are printed; every number is the row's."""
    low, high = limits
    made = row(
        tested_at="A", difference=(low + high) / 2, ci_low=low, ci_high=high, patients=patients, against=against,
        error=(high - low) / 3.92, of_repeats=of_repeats,
    )  # fmt: skip
    found = verdicts(made, primary={"margin": margin}).iloc[0]
    sentence = found["sentence"]
    shown = re.search(rf"{NUMBER} \({NUMBER} to {NUMBER}\); (\d+) patients, (\d+) with", sentence)
    assert shown is not None
    printed = [float(number) for number in shown.groups()]
    assert printed == pytest.approx([found["difference"], low, high, patients, 50], abs=5.1e-4)
    for start, end in (limits, printed[1:3]):
        claims = {
            "is better than": start > 0,
            "better was not shown": start <= 0,
            "neither better nor worse was shown": start <= 0 <= end,
            "is not worse by more than": start > -margin and end >= 0,
            "is worse, but not by more than": start > -margin and end < 0,
            "is worse by more than": end < -margin,
            "is worse than": end < 0,
            "whether by more than": start <= -margin <= end,
        }
        assert all(holds for claim, holds in claims.items() if claim in sentence)
        assert any(claim in sentence for claim in claims)
    assert found["verdict"] in sentence
    told = re.search(r"more than (\S+?),? ", sentence)
    assert told is None or float(told[1]) == margin
    more = re.search(r"about (\d+) patients would show a true difference of \+(\S+)\.$", sentence)
    if more is not None:
        assert low <= 0 <= high
        assert (int(more[1]), float(more[2])) == (found["patients_needed"], margin) and int(more[1]) > patients
    assert np.isfinite(printed).all()


@pytest.mark.parametrize(
    ("seeds", "draws", "folds", "moved", "expected"),
    [
        (1, 1, 1, False, ("patients tested", "patients learned from and who set cuts, seed, hospitals' patients")),
        (
            1,
            1,
            2,
            False,
            ("patients tested", "patients learned from and who set cuts, seed, hospitals' patients, folds"),
        ),
        (3, 1, 2, False, ("patients tested, 3 seeds", "patients learned from and who set cuts, hospitals' patients")),
        (1, 2, 2, True, ("patients tested, 2 draws of hospitals", "patients learned from, seed")),
        (
            *(1, 2, 2, False),
            ("patients tested, 2 draws of who sets cuts", "patients learned from, seed, hospitals' patients, folds"),
        ),
    ],
)
def test_what_varies_and_what_is_fixed(
    study: Callable[..., pd.DataFrame], seeds: int, draws: int, folds: int, moved: bool, expected: tuple[str, str]
) -> None:
    """Draws by a rule such as density deal the same hospitals again; who sets cuts is drawn all the same."""
    once = study(hospitals=2, patients=8, seeds=seeds, folds=folds, arms=("centralized",))
    names = {"H0": "H1", "H1": "H0"} if moved else {}
    again = [once.assign(draw=draw, hospital=once["hospital"].replace(names)) for draw in range(1, draws)]
    assert what_varies(arrange(pd.concat([once, *again]), "test")) == expected
