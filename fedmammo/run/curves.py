"""curves.csv: the primary metric on all tested patients as training goes on. Nothing is selected by it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import nan

import pandas as pd

from fedmammo.config.arm import ALL, rank
from fedmammo.config.deployment import Deployment
from fedmammo.config.evaluation import scored_rounds
from fedmammo.config.study import StudyConfig
from fedmammo.evaluation.metrics import Metric, metric_named
from fedmammo.evaluation.predictions import COLUMNS, arrange
from fedmammo.evaluation.scoring import Place, Scores
from fedmammo.evaluation.tables import limits_of, measured
from fedmammo.run.folder import RunFolder
from fedmammo.run.predictions import tested_split

CURVES = (
    "arm", "setting", "seed", "draw", "round", "trained_at", "tested_at", "unit", "metric", "value", "ci_low",
    "ci_high", "note",
)  # fmt: skip


def curves_of(config: StudyConfig, folder: RunFolder, finished: Iterable[Deployment]) -> pd.DataFrame:
    """Measure what finished deployments' models scored after every so many rounds, and in the end.

    A setting that learns from no patient has no rounds, and is measured in the end.
    """
    together: dict[tuple[str, str], list[Deployment]] = defaultdict(list)
    for one in (one for one in finished if one.arm.trained and one.arm.kind != "coalitions"):
        together[one.arm_name, one.setting_name].append(one)
    metric = metric_named(config.evaluation.primary.metric, config.evaluation.unit)
    rows: list[tuple[object, ...]] = []
    for place in sorted(together, key=lambda place: rank(place[0])):
        deployments, rounds = together[place], together[place][0].federation.rounds
        trained = deployments[0].setting.of_patients
        for number in scored_rounds(config.evaluation.every, rounds) if trained else ():
            rows += _points(config, metric, number, folder.scores(deployments, number))
        rows += _points(config, metric, rounds, folder.predictions(deployments)[list(COLUMNS)])
    return pd.DataFrame(rows, columns=list(CURVES))


def _points(
    config: StudyConfig, metric: Metric, number: int, predictions: pd.DataFrame
) -> Iterator[tuple[object, ...]]:
    """Yield the rows of an arm and setting after a round: of each repeat, then of the mean over all."""
    scores = Scores(arrange(predictions, tested_split(config), config.evaluation.unit, config.evaluation.pooling))
    for one, estimate in measured(scores, Place(ALL), metric).items():
        where = number, one.trained_at, ALL, metric.unit, metric.name
        for repeat, found in estimate.repeats.items():
            yield one.arm, one.setting, str(repeat.seed), str(repeat.draw), *where, found.value, nan, nan, found.note
        limits = limits_of(estimate, metric)
        told = estimate.mean.value, limits.low, limits.high, limits.note
        yield one.arm, one.setting, ALL, ALL, *where, *told
