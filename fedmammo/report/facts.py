"""Named facts of a run, for texts: from its configuration with its digests, and from its tables. Nothing is computed.

A template such as `{rounds} rounds of {local_steps} steps` is filled with them. A number stays a cell: of a table, or
of config.yaml (`config`, row 0), whose keys are dotted.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from string import Formatter
from typing import Any

import pandas as pd

from fedmammo.config.arm import ABOUT, ALL, Arm
from fedmammo.config.evaluation import EvaluationConfig
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.setting import WITHOUT_IMAGES, Setting
from fedmammo.config.study import StudyConfig
from fedmammo.hospitals.rules import Assignment
from fedmammo.report.blocks import Cell, shown
from fedmammo.report.chapter import SPELLED, Parts, estimate, listed, whole
from fedmammo.run.folder import read_config
from fedmammo.run.guarantees import PATIENT
from fedmammo.run.results import Run

Facts = Mapping[str, Parts]
CONFIG = "config"
DIGESTS = ("code", "weights", "cohort", "profiles", "images")
METRICS = {"auroc": "AUROC", "partial_auroc": "partial AUROC", "auprc": "average precision"}
LEARNED = {
    "head": "a linear layer on the frozen network",
    "bias": "all biases and a linear layer",
    "all": "the whole network",
}
WEIGHTS = {"hub": "the public weights that timm names for it", "none": "random weights"}
HARMONISED = {
    "none": "Images were not harmonised between digitisers.",
    "calibration": "The known response of each digitiser was undone.",
    "window": "The gray values of each image were stretched over the full scale.",
    "histogram": "All images were brought to the same histogram.",
}
OPTIMISERS = {"adamw": "AdamW", "sgd": "SGD with momentum"}
SOURCES = {
    "gan": "generators that the arm's own holders trained on their training patients",
    "folder": "images made elsewhere",
    "phantom": "masses drawn by rule",
}


def facts_of(run: Run) -> Facts:
    """Return what is known of a run, by name; what is not known has no name in it."""
    found = {**_of_config(run), "privacy": _of_budgets(run), **_of_patients(run), **_of_results(run), **_of_tested(run)}
    found |= {name: [text] for name, text in run.study.about.model_dump(exclude={"items"}).items() if text}
    return {name: parts for name, parts in found.items() if parts}


def names_in(template: str) -> list[str]:
    """Return the facts that a template names."""
    return [name for _, name, _, _ in Formatter().parse(template) if name]


def fill(template: str, facts: Facts) -> Parts:
    """Fill a template; nothing, where a fact is not known."""
    if not set(names_in(template)) <= facts.keys():
        return []
    filled: Parts = []
    for text, name, _, _ in Formatter().parse(template):
        filled += [text] if text else []
        filled += facts[name] if name else []
    return filled


def sentences(templates: Iterable[str], facts: Facts) -> Parts:
    """Fill templates, and set them side by side; those whose facts are not known are left out."""
    said: Parts = []
    for template in templates:
        filled = fill(template, facts)
        said += [*([" "] if said and filled else []), *filled]
    return said


def plain(parts: Iterable[str | Cell]) -> str:
    """Return parts as plain text."""
    return "".join(part if isinstance(part, str) else shown(part.value) for part in parts)


class _Config:
    """What config.yaml says, by dotted keys."""

    def __init__(self, run: Run) -> None:
        written = (run.folder / "config.yaml").exists()
        self._content = run.study.model_dump(mode="json") | {"digests": read_config(run.folder)[1] if written else {}}

    def at(self, key: str) -> Any:
        """Return what stands at a key."""
        found: Any = self._content
        for part in key.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        return found

    def __call__(self, key: str) -> Cell:
        """Return a number or a text as a cell."""
        value = self.at(key)
        return Cell(CONFIG, 0, key, _plain(value))

    def each(self, key: str) -> Parts:
        """Return the cells of a list."""
        return listed(self(f"{key}.{number}") for number in range(len(self.at(key))))


def _arm(name: str) -> str:
    """Say what an arm is, and which variant."""
    kind, variant = Arm.of(name).kind, name.partition("-")[2]
    return f"{SPELLED.get(kind, kind)} ({ABOUT[kind]})" + (f", variant {variant}" if variant else "")


def _of_config(run: Run) -> dict[str, Parts]:
    """Return what config.yaml says."""
    study, said = run.study, _Config(run)
    diagnosis, evaluation, primary = study.diagnosis, study.evaluation, study.evaluation.primary
    some: Parts = ["some blocks (", said("diagnosis.train"), ") and a linear layer"]
    digests, compared = said.at("digests"), {primary.arm, primary.against} <= set(study.arms)
    return {
        "study": [said("name")],
        "arms": listed(_arm(arm) for arm in study.arms),
        "arm": [SPELLED.get(primary.arm, primary.arm)] if compared else [],
        "against": [SPELLED.get(primary.against, primary.against)] if compared else [],
        "settings": listed(Cell(CONFIG, 0, "settings", name) for name in study.settings),
        "metric": [METRICS.get(primary.metric, said("evaluation.primary.metric"))],
        "unit": [evaluation.unit],
        "margin": [said("evaluation.primary.margin")],
        "prevalence": [said("evaluation.prevalence")] if evaluation.prevalence else [],
        "thresholds": said.each("evaluation.thresholds"),
        "subgroups": said.each("evaluation.subgroups"),
        "partition": _partition(evaluation, said),
        "seeds": said.each("seeds"),
        "draws": said.each("hospitals.seed"),
        "rule": _rule(study.hospitals.assignment, said),
        "kind_of_hospitals": ["real" if study.at_sites else "simulated"],
        "validation": [said("hospitals.validation_fraction")],
        "network": [said("diagnosis.network")],
        "image_size": [said("diagnosis.image_size")],
        "weights": [WEIGHTS.get(diagnosis.weights, "weights from a file, named by their digest")],
        "learned": [LEARNED[diagnosis.train]] if diagnosis.train in LEARNED else some,
        "features": _features(diagnosis, said),
        "harmonised": [HARMONISED[diagnosis.harmonisation]],
        "views": [f"flips: {diagnosis.augmentation.flips}, crops: ", said("diagnosis.augmentation.crops"),
                  ", views in a step: ", said("diagnosis.augmentation.views_per_step")],
        "optimizer": [OPTIMISERS[diagnosis.optimizer.name], ", learning rate ",
                      said("diagnosis.optimizer.learning_rate"), *_of_the_head(diagnosis, said), ", weight decay ",
                      said("diagnosis.optimizer.weight_decay")],
        "fraction": [said("diagnosis.patient_fraction")],
        "rounds": [said("federation.rounds")],
        "local_steps": [said("federation.local_steps")],
        "strategy": _strategy(said) if "federated" in study.arms else [],
        "overrides": _overrides(study),
        "synthesis": _synthesis(study, said),
        "versions": listed((said(f"digests.{name}") for name in ("libraries", "device") if digests.get(name)), ", on "),
        "digests": listed([f"{name} ", said(f"digests.{name}")] for name in DIGESTS if digests.get(name)),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """Write a number as people do in a configuration: 0.003, 1e-05."""
    return f"{value:g}" if isinstance(value, float) else value


def _partition(evaluation: EvaluationConfig, said: _Config) -> Parts:
    if not evaluation.folds:
        return ["patients of the split train trained the models, those of the split ", said("evaluation.test"),
                " were tested"]  # fmt: skip
    return ["patients of the splits ", *listed(evaluation.splits_of_folds), " were dealt to ", said("evaluation.folds"),
            " folds, each tested by models of the others"]  # fmt: skip


def _rule(rule: Assignment, said: _Config) -> Parts:
    def of(key: str) -> Cell:
        return said(f"hospitals.assignment.{key}")

    match rule.by:
        case "profiles":
            return ["by profiles of hospitals, which ask for a share of the patients and a case mix"]
        case "uniform":
            return ["at random, equally many to each of ", of("count"), " hospitals"]
        case "size_skew":
            return ["at random to ", of("count"), " hospitals, each ", of("ratio"), " times the next"]
        case "dirichlet":
            return ["to ", of("count"), " hospitals in shares of benign and of malignant patients drawn from a "
                    "Dirichlet distribution of concentration ", of("alpha")]  # fmt: skip
        case "site":
            return ["by nobody: real hospitals hold their own"]
        case _:
            return ["by ", of("attribute"), ", as it is on record of the first lesion that has one"]


def _features(diagnosis: DiagnosisConfig, said: _Config) -> Parts:
    if diagnosis.features == "pooled":
        return ["the network's pooled output"]
    return ["the tokens after these of its blocks: ", *said.each("diagnosis.features")]


def _of_the_head(diagnosis: DiagnosisConfig, said: _Config) -> Parts:
    if diagnosis.optimizer.head_learning_rate is None:
        return []
    return [" (of the head ", said("diagnosis.optimizer.head_learning_rate"), ")"]


def _strategy(said: _Config) -> Parts:
    keys = [key for key in said.at("federation.strategy") if key != "name"]
    parameters: list[Parts] = [[f"{key} ", said(f"federation.strategy.{key}")] for key in keys]
    more = [" (", *listed(parameters, ", "), ")"] if parameters else []
    return [said("federation.strategy.name"), *more]


def _synthesis(study: StudyConfig, said: _Config) -> Parts:
    if study.synthesis is None or all(Setting.of(name).kind in WITHOUT_IMAGES for name in study.settings):
        return []
    made = SOURCES[study.synthesis.source]
    return [f"Synthetic images came from {made}, ", said("synthesis.images"), " in a pool."]


def _overrides(study: StudyConfig) -> Parts:
    """Say in what arms and settings differ from the rest."""
    found: list[Parts] = [
        [Cell(CONFIG, 0, which, name), f": {key} ", *_value(f"{which}.{name}.{key}", value)]
        for which, named in (("arms", study.arms), ("settings", study.settings))
        for name, overrides in named.items()
        for key, value in overrides.items()
    ]
    return ["Departing from this: ", *listed(found, ", "), "."] if found else []


def _value(key: str, value: Any) -> Parts:
    """Write what stands at a key, in parts where it has keys itself."""
    if isinstance(value, dict):
        return listed(([f"{name} ", *_value(f"{key}.{name}", one)] for name, one in value.items()), ", ")
    return [Cell(CONFIG, 0, key, _plain(value))]


def _of_budgets(run: Run) -> Parts:
    """Say of each arm and setting with a budget what it promises, as guarantees.csv has it."""
    if not run.study.has_budget:
        return ["No setting has a privacy budget: patients are promised nothing."]
    if not run.has("guarantees"):
        return []
    found: Parts = [
        "Settings with a budget clip what each training patient adds to a step, all images at once, and add Gaussian "
        "noise to the sum."
    ]
    private = run.guarantees[run.guarantees["epsilon"].notna()]
    for cell in _rows("guarantees", private):
        arm, held = cell("arm").value, cell("end_to_end").value == PATIENT
        cost: Parts = ["epsilon ", cell("epsilon"), " at delta ", cell("delta"), ", against ", cell("adversary"), ". "]
        found += [f" In the {SPELLED.get(arm, arm)} arm, ", cell("setting"), ": ", *(cost if held else []),
                  cell("sentence")]  # fmt: skip
    return found


def _rows(file: str, frame: pd.DataFrame) -> list[Callable[[str], Cell]]:
    """Return for each row what gives a cell of it."""
    return [partial(_cell, file, int(str(at)), row) for at, row in frame.iterrows()]


def _cell(file: str, at: int, row: pd.Series, key: str) -> Cell:
    return Cell(file, at, key, row[key])


def _of_patients(run: Run) -> dict[str, Parts]:
    """Return what flow.csv says."""
    if not run.has("flow"):
        return {}
    flow = run.flow
    stages = {str(stage): _rows("flow", rows) for stage, rows in flow.groupby("stage", sort=False)}
    found: dict[str, Parts] = {
        stage: [
            cell("patients"),
            " patients (",
            cell("malignant"),
            " with a malignant lesion), ",
            cell("images"),
            " images",
        ]
        for stage in ("prepared", "trained", "tested")
        for cell in stages[stage]
    }  # fmt: skip
    (cut,), (prepared,) = stages["thresholds"], stages["prepared"]
    origin = prepared("note")
    return found | {
        "listed": [stages["listed"][-1]("images")],
        "quarantined": [stages["quarantined"][-1]("images")],
        "source": [prepared("name")],
        "origin": [origin] if origin.value else [],
        "set_thresholds": [cut("patients"), " patients"],
        "which": [cut("note")],
        "hospitals": listed(cell("name") for cell in stages["hospital"]),
    }


def _of_tested(run: Run) -> dict[str, Parts]:
    """Return where the primary comparison is taken, and who keeps scores of tested patients."""
    if run.together == ALL:
        return {"over": ["in all hospitals' patients"]}
    home = run.tested[run.tested["scores"] != "rows"]
    untold: dict[str, Parts] = {"thresholds": [], "prevalence": []}  # need rows
    kept = listed([cell("hospital"), " (", cell("scores"), ")"] for cell in _rows("tested", home))
    return untold | {"over": ["as the random-effects mean over hospitals"], "at_home": kept}


def _of_results(run: Run) -> dict[str, Parts]:
    """Return what verdicts.csv and results.csv say."""
    found: dict[str, Parts] = {}
    if run.has("verdicts") and not run.verdicts.empty:
        cell = _rows("verdicts", run.verdicts)[0]
        found |= {"verdict": [cell("sentence")], "varies": [cell("varies")], "fixed": [cell("fixed")]}
    if run.has("results"):
        rows = whole(run)
        rows = rows[(rows["tested_at"] == run.together) & (rows["trained_at"] == ALL)]
        found["scores"] = listed(
            [f"{SPELLED.get(row['arm'], row['arm'])}, ", Cell("results", int(str(at)), "setting", row["setting"]), ": ",
             *estimate("results", row)]
            for at, row in rows.iterrows()
        )  # fmt: skip
    return found
