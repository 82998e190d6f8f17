"""subgroups.csv: for whom a model works."""

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.evaluation.intervals import Interval, interval_of
from fedmammo.evaluation.metrics import Metric, metric_named
from fedmammo.evaluation.scoring import Estimate, Place, Scores
from fedmammo.evaluation.tables import limits_of, limits_shown, measured, primary_pair

SUBGROUPS = [
    *("column", "value", "arm", "setting", "unit", "metric", "estimate", "ci_low", "ci_high"),
    *("patients", "positives", "units", "note"),
]
OF_IMAGES = ("view",)  # columns that tell apart images of one lesion
MOST_VALUES = 20  # a column of more is no grouping


def subgroups_of(scores: Scores, config: EvaluationConfig) -> pd.DataFrame:
    """Return the primary metric of each arm for each value of each column of `subgroups`, and the primary difference.

    Rows whose arm is `federated - local`, say, are differences. Values that were not told are `(not recorded)`.
    """
    primary = metric_named(config.primary.metric, config.unit)
    pair, rows = primary_pair(config.primary, scores), []
    about = next(iter(scores.predictions.images.values())).about
    for column in (one for one in config.subgroups if one in about):
        values = sorted({value for shown in scores.predictions.images.values() for value in shown.about[column]})
        if len(values) > MOST_VALUES or values == [""]:
            continue
        metric = primary._replace(unit="image") if column in OF_IMAGES else primary
        for value in values:
            place = Place(ALL, column, value)
            who = scores.who(place, metric.unit)
            found = measured(scores, place, metric)
            of_all = {one: estimate for one, estimate in found.items() if one.trained_at == ALL}
            shown = {"column": column, "value": value or "(not recorded)", "unit": metric.unit, "metric": metric.name}
            shown |= {key: number for key, number in who._asdict().items() if key != "prevalence"}
            for one, estimate in of_all.items():
                rows.append(shown | {"arm": one.arm, "setting": one.setting} | _said(estimate, metric))
            if pair.one in of_all and pair.other in of_all:
                rows.append(
                    shown
                    | {"arm": f"{pair.one.arm} - {pair.other.arm}", "setting": pair.one.setting}
                    | _difference(of_all[pair.one], of_all[pair.other], metric)
                )
    return pd.DataFrame(rows, columns=SUBGROUPS)


def _said(estimate: Estimate, metric: Metric) -> dict[str, object]:
    return {"estimate": estimate.mean.value, **limits_shown(limits_of(estimate, metric))}


def _difference(one: Estimate, other: Estimate, metric: Metric) -> dict[str, object]:
    if one.sample is None or other.sample is None:
        return {"estimate": np.nan, **limits_shown(Interval(note=one.mean.note or other.mean.note))}
    sample = one.sample - other.sample
    return {"estimate": float(sample.values.mean()), **limits_shown(interval_of(sample, "number", metric.cautious))}
