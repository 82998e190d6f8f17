"""development.csv: Riley's criteria at each hospital and over all, beside the patients that are there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fedmammo.config.arm import ALL
from fedmammo.planning.riley import acting, cox_snell, developing, parameters_borne, scores_of, validating
from fedmammo.planning.tested import Tested

NOT_SAID = (
    "These criteria are of regression without penalties on predictors that were chosen beforehand. A head on a frozen "
    "network that stops early has fewer effective directions than numbers, and who chose the network's blocks is not "
    "counted. They say nothing of hospitals that differ, of wrong labels, or of a network that is trained itself."
)


def development_table(
    places: Sequence[Tested], training: Mapping[str, int], auroc: float, parameters: float, threshold: float
) -> pd.DataFrame:
    """Return a row for each place and criterion.

    Args:
        places: who is tested.
        training: training patients of one deployment, by place.
        auroc: that is assumed of the model, above .5.
        parameters: directions in which it effectively moves, above 0.
        threshold: probability from which on one would act.
    """
    rows: list[dict[str, Any]] = []
    for place in places:
        prevalence = place.prevalence
        if not 0 < prevalence < 1:
            continue
        scores = scores_of(auroc, prevalence)
        r_squared = cox_snell(scores)
        borne = parameters_borne(training[place.name], r_squared)
        for aim, there, needed in (
            ("developing", training[place.name], developing(parameters, r_squared, prevalence)),
            ("validating", round(place.patients), validating(auroc, prevalence, scores, acting(scores, threshold))),
        ):
            for criterion, patients in needed._asdict().items():
                rows.append({
                    "place": place.name,
                    "aim": aim,
                    "criterion": criterion,
                    "patients_needed": patients,
                    "patients": there,
                    "enough": "yes" if there >= patients else "no",
                    "parameters_borne": borne if aim == "developing" and criterion == "shrinkage" else np.nan,
                })  # fmt: skip
    return pd.DataFrame(rows)


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each place: what is there, and the most that a criterion asks for."""
    rows = []
    for place, own in table.groupby("place", sort=False):
        row: dict[str, Any] = {"place": "all hospitals" if place == ALL else place}
        for aim, part in own.groupby("aim", sort=False):
            worst = part.iloc[int(part["patients_needed"].to_numpy().argmax())]
            row[f"for_{aim}"], row[f"needed_{aim}"] = worst["patients"], worst["patients_needed"]
            row[f"because_of_{aim}"] = worst["criterion"].replace("_", " ")
        row["parameters_borne"] = own["parameters_borne"].max()
        rows.append(row)
    return pd.DataFrame(rows)
