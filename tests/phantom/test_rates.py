import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedmammo.phantom.rates import (
    CALCIFICATION_RATES,
    DENSITIES,
    DENSITY_RATES,
    DISTRIBUTIONS,
    MARGINS,
    MASS_COUNTS,
    MASS_RATES,
    SHAPES,
    SUBTLETY_RATES,
    TYPES,
    Rates,
    choose_description,
    description_rates,
)

MIRRORED = {False: np.array([[17 / 18, 1 / 18]]), True: np.array([[1 / 18, 17 / 18]])}


def test_difficulty_by_hand() -> None:
    """The likelihood ratio of (17, 1) / 18 and its mirror is 17.

    At difficulty .5 the rates are these. At difficulty 1 the exponent is .4, the ratio 17^.4 = 3.1058, and the rate of
    the rarer word 1 / (1 + 3.1058) = .2436. At 0 the exponent is 1.6, the ratio 17^1.6 = 93.05: 1 / 94.05 = .01063.
    """
    for difficulty, rarer in ((0.5, 1 / 18), (1, 0.2436), (0, 0.01063)):
        assert description_rates(MIRRORED, False, difficulty)[0, 1] == pytest.approx(rarer, abs=1e-4)
        assert description_rates(MIRRORED, True, difficulty)[0, 0] == pytest.approx(rarer, abs=1e-4)


@given(
    tables=st.tuples(*[arrays(np.float64, (2, 3), elements=st.floats(0.01, 1)) for _ in range(2)]),
    difficulty=st.floats(0, 1),
)
def test_difficulty_scales_what_a_description_says(tables: tuple[np.ndarray, np.ndarray], difficulty: float) -> None:
    """Differences of log-likelihood ratios are 1.6 - 1.2 d times those published; what never occurs never will."""
    for table in tables:
        table[0, 0] = 0
    rates: Rates = {kind: table / table.sum() for kind, table in zip((False, True), tables, strict=True)}
    changed = {kind: description_rates(rates, kind, difficulty) for kind in rates}
    for table in changed.values():
        assert table.sum() == pytest.approx(1) and table[0, 0] == 0
    before, after = (np.log(pair[True].ravel()[1:] / pair[False].ravel()[1:]) for pair in (rates, changed))
    assert np.allclose(np.diff(after), (1.6 - 1.2 * difficulty) * np.diff(before), atol=1e-9)
    for kind in rates:
        assert np.allclose(description_rates(rates, kind, 0.5), rates[kind])


def test_words_are_chosen_at_their_rates() -> None:
    """2000 draws at a rate of .056: the standard error is .005."""
    words = [choose_description(MIRRORED, ("a",), ("b", "c"), True, 0.5, np.random.default_rng(i)) for i in range(2000)]
    assert {line for line, _ in words} == {"a"}
    assert np.mean([column == "b" for _, column in words]) == pytest.approx(1 / 18, abs=0.02)


def test_masses_are_those_of_erlangen() -> None:
    """427 benign and 403 malignant records; with a half added to each of 20 cells, 91.5 of 413 are irregular and
    spiculated, and 149.5 of 437 round and circumscribed.
    """
    assert [np.sum(MASS_COUNTS[kind]) for kind in (False, True)] == [427, 403]
    both = SHAPES.index("IRREGULAR"), MARGINS.index("SPICULATED")
    assert MASS_RATES[True][both] == pytest.approx(91.5 / 413)
    assert MASS_RATES[False][0, 0] == pytest.approx(149.5 / 437)


def test_calcifications_have_the_published_shares_of_malignant_ones() -> None:
    """Among 97 suspicious biopsies by type, 25 of them malignant, and among 850 by distribution, 280.03 (261 x .22 + 85
    x .55 + 106 x .42 + 398 x .33). Typically benign are 53.9 of 574 benign lesions and 1.1 of 275 malignant ones, the
    lucent-centred single ones an eighth of them.
    """
    plain = [kind in ("PUNCTATE", "LUCENT_CENTER", "VASCULAR", "ROUND_AND_REGULAR") for kind in TYPES]
    benign, malignant = (
        CALCIFICATION_RATES[kind] / CALCIFICATION_RATES[kind][~np.array(plain)].sum() for kind in (False, True)
    )
    by_type = 25 * malignant.sum(axis=1) / (25 * malignant.sum(axis=1) + 72 * benign.sum(axis=1))
    for name, share in (
        ("PLEOMORPHIC", 10 / 34), ("AMORPHOUS", 4 / 30), ("FINE_LINEAR_BRANCHING", 10 / 19), ("COARSE", 1 / 14),
    ):  # fmt: skip
        assert by_type[TYPES.index(name)] == pytest.approx(share)
    suspicious = [kind[~np.array(plain)].sum(axis=0)[:4] for kind in (benign, malignant)]
    by_distribution = 280.03 * suspicious[1] / (280.03 * suspicious[1] + 569.97 * suspicious[0])
    assert by_distribution == pytest.approx([0.22, 0.55, 0.42, 0.33])
    for kind, share in ((False, 53.9 / 574), (True, 1.1 / 275)):
        assert CALCIFICATION_RATES[kind][plain].sum() == pytest.approx(share)
        single = CALCIFICATION_RATES[kind][TYPES.index("LUCENT_CENTER"), DISTRIBUTIONS.index("NA")]
        assert single == pytest.approx(share / 8)


def test_everything_sums_to_one() -> None:
    for rates in (*MASS_RATES.values(), *CALCIFICATION_RATES.values(), DENSITY_RATES, SUBTLETY_RATES):
        assert np.sum(rates) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("table", "rates", "names", "words"),
    [
        ("mass", MASS_RATES, ("mass shape", "mass margins"), (SHAPES, MARGINS)),
        ("calc", CALCIFICATION_RATES, ("calc type", "calc distribution"), (TYPES, DISTRIBUTIONS)),
    ],
)
def test_trap_24_no_rate_is_that_of_cbis_ddsm(shared, table, rates, names, words) -> None:
    """Neither its counts over their total, nor those with a half added to each, agree with ours in any cell."""
    frame = pd.read_csv(shared / f"data/tcia-csv/{table}_case_description_train_set.csv", keep_default_na=False)
    frame.columns = frame.columns.str.replace(" ", "_")
    line, column = (name.replace(" ", "_") for name in names)
    for malignant in (False, True):
        kind = frame[(frame.pathology == "MALIGNANT") == malignant]
        counted = pd.crosstab(kind[line], kind[column]).reindex(index=words[0], columns=words[1], fill_value=0)
        for added in (0, 0.5):
            theirs = (counted.to_numpy() + added) / (counted.to_numpy() + added).sum()
            occurs = theirs > 0
            assert np.abs(rates[malignant] - theirs)[occurs].min() > 1e-5
            assert np.abs(rates[malignant] - theirs).sum() / 2 > 0.1


def test_trap_24_densities_are_not_those_of_cbis_ddsm(shared) -> None:
    frame = pd.read_csv(shared / "data/tcia-csv/mass_case_description_train_set.csv").drop_duplicates("patient_id")
    theirs = [np.mean(frame.breast_density == density) for density in DENSITIES]
    assert np.abs(np.subtract(theirs, DENSITY_RATES)).max() > 0.05


def test_densities_are_not_those_of_the_patients_who_are_studied() -> None:
    """Of CBIS-DDSM's patients with masses, .18, .44, .28 and .10 have densities 1 to 4 (`fedmammo data show`)."""
    assert np.abs(np.subtract((0.18, 0.44, 0.28, 0.10), DENSITY_RATES)).max() > 0.05
