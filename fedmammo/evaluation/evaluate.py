"""All that is said of a study's predictions: one pass from scores to tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.errors import InputError
from fedmammo.evaluation.curves import calibration, decision_curve, precision_recall, roc
from fedmammo.evaluation.heterogeneity import Covariates, heterogeneity_of
from fedmammo.evaluation.learning import learning_of
from fedmammo.evaluation.metrics import metrics_of
from fedmammo.evaluation.predictions import arrange
from fedmammo.evaluation.scoring import READER, Place, Scores
from fedmammo.evaluation.subgroups import subgroups_of
from fedmammo.evaluation.tables import (
    COMPARISONS,
    Pair,
    between_hospitals,
    comparison_row,
    measured,
    pairs_of_arms,
    pairs_of_settings,
    primary_pair,
    tabulate,
)
from fedmammo.evaluation.value import values_of
from fedmammo.evaluation.verdicts import verdicts_of, what_varies

Recipes = dict[tuple[str, str], str]
OF_SOME_STUDIES = ("heterogeneity", "values", "learning_curve")  # tables that a study may have nothing for


@dataclass(frozen=True)
class OfHospitals:
    """What is known of hospitals beside scores.

    Attributes:
        patients: arm → hospital → how many patients trained in it.
        distances: name → draw of hospitals (its seed) and hospital → number.
    """

    patients: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    distances: Covariates = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Tables, by the name of their file: `fedmammo.run.dictionary` explains every column."""

    verdicts: pd.DataFrame
    results: pd.DataFrame
    comparisons: pd.DataFrame
    subgroups: pd.DataFrame
    roc: pd.DataFrame
    precision_recall: pd.DataFrame
    calibration: pd.DataFrame
    decision_curve: pd.DataFrame
    heterogeneity: pd.DataFrame
    values: pd.DataFrame
    learning_curve: pd.DataFrame


def evaluate(
    predictions: pd.DataFrame,
    test_split: str,
    config: EvaluationConfig,
    recipes: Recipes | None = None,
    hospitals: OfHospitals | None = None,
) -> Evaluation:
    """Measure, compare and judge.

    Args:
        predictions: as `fedmammo.evaluation.predictions.arrange` takes them.
        test_split: name of the tested patients.
        config: units, primary comparison, prevalence, thresholds, subgroups.
        recipes: of each arm and setting, what it is trained by but for its budget: what a budget costs is told where
            its setting and another differ in nothing else. Without, settings of the same kind are compared.
        hospitals: what else is known of them.

    Raises:
        InputError: where the predictions are not complete.
    """
    scores, known = Scores(arrange(predictions, test_split, config.unit, config.pooling)), hospitals or OfHospitals()
    pairs = [primary_pair(config.primary, scores), *pairs_of_arms(scores), *pairs_of_settings(scores, recipes)]
    results, comparisons = tabulate(scores, config, [*dict.fromkeys(pairs)])
    return Evaluation(
        verdicts_of(comparisons, config, *what_varies(scores.predictions)),
        results,
        comparisons,
        subgroups_of(scores, config),
        roc(scores, config),
        precision_recall(scores, config),
        calibration(scores, config),
        decision_curve(scores, config),
        heterogeneity_of(scores, config, between_hospitals(scores, config), known.distances),
        values_of(scores, config),
        learning_of(scores, config, known.patients),
    )


def compare_runs(
    predictions: pd.DataFrame, against: pd.DataFrame, test_split: str, config: EvaluationConfig
) -> pd.DataFrame:
    """Return what one study's models score minus another's, arm by arm, as rows of comparisons.

    `arm` and `against` are the same arm, `setting` that of both; hospitals are those of the first study. The local arm,
    whose models belong to hospitals, is compared by its summary on all patients. Both must have tested the same
    patients with the same seeds and draws; each keeps its own folds, within which its scores are ranked. What hospitals
    recalibrate is left out: they are not the same. Raises InputError as `evaluate` does, and where other patients were
    tested.
    """
    place, tested = ["draw", "patient"], against["split"] == test_split
    hospital_of = predictions[predictions["split"] == test_split].drop_duplicates(place).set_index(place)["hospital"]
    theirs = hospital_of.reindex(pd.MultiIndex.from_frame(against[place])).set_axis(against.index)
    moved = against.assign(hospital=against["hospital"].where(~tested, theirs).fillna(against["hospital"]))
    first, other = (Scores(arrange(table, test_split, config.unit, config.pooling)) for table in (predictions, moved))
    names = other.predictions.names
    if set(first.predictions.names) != set(names) or first.predictions.repeats != other.predictions.repeats:
        raise InputError("the two runs tested other patients, or with other seeds or draws; only the same are paired")
    order = pd.Index(names).get_indexer(pd.Index(first.predictions.names))
    rows = []
    for hospital in (ALL, *first.predictions.hospitals):
        for metric in (one for one in metrics_of(config.unit, config.prevalence) if not one.recalibrated):
            where = Place(hospital)
            ours, others = (measured(scores, where, metric) for scores in (first, other))
            who = first.who(where, metric.unit)
            for one in (one for one in ours if one in others and one.trained_at == ALL and one != READER):
                theirs_too = one._replace(setting=f"{one.setting} of the other run")
                found = {one: ours[one], theirs_too: others[one].reordered(order)}
                row = comparison_row("secondary", metric, Pair(one, theirs_too), hospital, found, who)
                rows.append(row | {"against_setting": one.setting})
    return pd.DataFrame(rows, columns=COMPARISONS)
