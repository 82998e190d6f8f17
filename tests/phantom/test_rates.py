import numpy as np
import pandas as pd
import pytest

from fedmammo.phantom.rates import (
    CALCIFICATION_COUNTS,
    DENSITIES,
    DENSITY_RATES,
    DISTRIBUTIONS,
    MARGINS,
    MASS_COUNTS,
    SHAPES,
    TYPES,
    choose_description,
    description_rates,
)

COUNTS = {False: ((8, 0),), True: ((0, 8),)}


def test_rates_by_hand():
    """With a half added: (8.5, .5) / 9 and its mirror; the likelihood ratio is 17.

    At difficulty .5 the rates are these. At difficulty 1 the exponent is .4, the ratio 17^.4 = 3.1058, and the rate of
    the rarer word 1 / (1 + 3.1058) = .2436. At 0 the exponent is 1.6, the ratio 17^1.6 = 93.05: 1 / 94.05 = .01063.
    """
    for difficulty, rarer in ((0.5, 1 / 18), (1, 0.2436), (0, 0.01063)):
        assert description_rates(COUNTS, False, difficulty)[0, 1] == pytest.approx(rarer, abs=1e-4)
        assert description_rates(COUNTS, True, difficulty)[0, 0] == pytest.approx(rarer, abs=1e-4)


def test_words_are_chosen_at_their_rates():
    """2000 draws at a rate of .056: the standard error is .005."""
    words = [choose_description(COUNTS, ("a",), ("b", "c"), True, 0.5, np.random.default_rng(i)) for i in range(2000)]
    assert {line for line, _ in words} == {"a"}
    assert np.mean([column == "b" for _, column in words]) == pytest.approx(1 / 18, abs=0.02)


@pytest.mark.parametrize(
    ("table", "counts", "names", "words"),
    [
        ("mass", MASS_COUNTS, ("mass shape", "mass margins"), (SHAPES, MARGINS)),
        ("calc", CALCIFICATION_COUNTS, ("calc type", "calc distribution"), (TYPES, DISTRIBUTIONS)),
    ],
)
def test_the_counts_are_those_of_the_original(shared, table, counts, names, words):
    frame = pd.read_csv(shared / f"data/tcia-csv/{table}_case_description_train_set.csv", keep_default_na=False)
    frame.columns = frame.columns.str.replace(" ", "_")
    line, column = (name.replace(" ", "_") for name in names)
    for malignant in (False, True):
        kind = frame[(frame.pathology == "MALIGNANT") == malignant]
        counted = pd.crosstab(kind[line], kind[column]).reindex(index=words[0], columns=words[1], fill_value=0)
        assert np.array_equal(counted, counts[malignant])


def test_density_rates_are_those_of_the_original(shared):
    frame = pd.read_csv(shared / "data/tcia-csv/mass_case_description_train_set.csv").drop_duplicates("patient_id")
    for density, rate in zip(DENSITIES, DENSITY_RATES, strict=True):
        assert np.mean(frame.breast_density == density) == pytest.approx(rate, abs=0.005)
