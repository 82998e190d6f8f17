"""What is said of finished deployments: the tables of a run."""

from dataclasses import fields

import pandas as pd

from fedmammo.config.deployment import Deployment
from fedmammo.config.request import Request
from fedmammo.config.study import StudyConfig
from fedmammo.evaluation.evaluate import OF_SOME_STUDIES, evaluate
from fedmammo.evaluation.over_hospitals import over_hospitals
from fedmammo.run.at_home import AtHome
from fedmammo.run.choice import choices
from fedmammo.run.costs import costs_of
from fedmammo.run.curves import curves_of
from fedmammo.run.folder import RunFolder
from fedmammo.run.guarantees import guarantees, mark
from fedmammo.run.hospitals import of_hospitals
from fedmammo.run.predictions import recipes_of, tested_split
from fedmammo.run.privacy import guarantee_table, privacy_table
from fedmammo.run.published import published

ALWAYS = ("verdicts", "results", "comparisons")  # the others are left out where hospitals tell nothing for them


def conclude(config: StudyConfig, folder: RunFolder, finished: list[Deployment]) -> None:
    """Evaluate what deployments left, and say what holds for patients."""
    tables = _tables(config, folder, finished)
    held = guarantees(folder.path, config, finished)
    tables["results"] = mark(tables["results"], held)
    tables["guarantees"] = guarantee_table(folder.path, config, finished, held)
    if any(one.privacy is not None for one in finished):
        tables["privacy"] = privacy_table(folder.path, config, finished)
    tables["costs"] = costs_of(folder, finished)
    if config.has_budget:
        tables["published"] = published()
    if chosen := [one for one in finished if one.arm.kind == "chosen"]:
        tables["choices"] = choices(chosen, {one.name: folder.folder(one) for one in chosen})
    if config.evaluation.every:
        tables["curves"] = curves_of(config, folder, finished)
    folder.conclude(tables, whole=len(finished) == sum(1 for _ in config.deployments))


def _tables(config: StudyConfig, folder: RunFolder, finished: list[Deployment]) -> dict[str, pd.DataFrame]:
    """Return what is said of scores, by the name of a table: of rows, or of what hospitals tell in their place."""
    predictions, known, at_home = folder.predictions(finished), of_hospitals(folder, finished), AtHome(folder.path)
    if not at_home.kinds:
        found = evaluate(predictions, tested_split(config), config.evaluation, recipes_of(finished), known)
        tables = {field.name: getattr(found, field.name) for field in fields(found)}
        return {name: table for name, table in tables.items() if len(table) or name not in OF_SOME_STUDIES}
    told = at_home.summaries(config, finished, predictions)
    margin = {"margin": config.evaluation.primary.margin}
    asked = Request.of(finished, config.evaluation).evaluation
    asked = asked.model_copy(update={"primary": asked.primary.model_copy(update=margin)})
    tables = over_hospitals(told, asked, known.distances)._asdict() | {"tested": at_home.table(told)}
    return {name: table for name, table in tables.items() if len(table) or name in ALWAYS}
