"""The card of a model that is given to somebody (Mitchell et al. 2019, Model Cards, doi 10.1145/3287560.3287596).

Every number is one of the run's tables or configuration. What only people know is marked as theirs to write.
"""

from typing import Any

import pandas as pd

from fedmammo.config.deployment import Deployment
from fedmammo.report.blocks import shown
from fedmammo.report.facts import facts_of
from fedmammo.report.prose import in_markdown
from fedmammo.run.results import Run

USE = (
    "It says how likely it takes a lesion on a mammogram to be malignant, from a patch around it that somebody, or "
    "something else, has marked.",
    "It finds no lesions, and it is no medical device: it was made to compare ways of learning, and nobody has tried "
    "it on patients of a clinic. No decision about a patient may rest on it.",
    "{intended_use}",
)
LEARNED_FROM = (
    "Source: {origin}",
    "{prepared} were prepared; models were trained on {trained}, and {set_thresholds} set thresholds.",
    "Patients were dealt {rule}.",
    "{places}",
    "{dates}",
    "{eligibility}",
    "{outcome}",
    "{synthesis}",
)
LIMITS = (
    "Scores are probabilities among patients as enriched with malignant lesions as those it learned from, not in "
    "screening.",
    "Cuts were set on few patients, at the hospitals that trained; set your own on your patients.",
    "{limitations}",
    "{tuning}",
)
LICENCE = (
    "The network began with {weights}; the licence of these, that of the images, and what the hospitals agreed to "
    "decide together how the model may be used.",
)


def model_card(run: Run, deployment: Deployment, trained_at: str, about: dict[str, Any]) -> str:
    """Return the card of a model of a finished run, in Markdown.

    Args:
        run: that trained it.
        deployment: that trained it.
        trained_at: a hospital, or `all`.
        about: the fields of `fedmammo.models.package.About`.
    """
    facts = facts_of(run)
    where = "all hospitals together" if trained_at == deployment.group else trained_at
    parts = [
        f"# {about['name']}",
        f"A classifier of lesions on mammograms, trained by the arm {deployment.arm_name} in the setting "
        f"{deployment.setting_name} at {where}, in the study {run.study.name}. Written by {about['software']}.",
        "```\nfedmammo predict MODEL IMAGES --boxes BOXES.csv\n```",
    ]
    for heading, templates in (("Intended use", USE), ("Data", LEARNED_FROM), ("Limits", LIMITS), ("Licence", LICENCE)):
        parts += [f"## {heading}", *in_markdown(templates, facts, "those who give it")]
    parts += ["## Privacy", _promise(run, deployment)]
    parts += ["## How well it ranked", _scores(run, deployment, trained_at)]
    parts += ["## Cuts", _cuts(about)]
    return "\n\n".join(parts) + "\n"


def _promise(run: Run, deployment: Deployment) -> str:
    table = run.guarantees
    rows = table[(table["arm"] == deployment.arm_name) & (table["setting"] == deployment.setting_name)]
    promised = " ".join(rows["sentence"])
    if deployment.privacy is None:
        promised += " A model that was trained without a budget can tell of the patients it learned from: give it to "
        promised += "those alone who may know of them."
    return promised


def _scores(run: Run, deployment: Deployment, trained_at: str) -> str:
    """Return what the run measured of this model on its tested patients."""
    table, unit = run.results, run.study.evaluation.unit
    place = {
        "arm": deployment.arm_name,
        "setting": deployment.setting_name,
        "seed": str(deployment.seed),
        "draw": str(deployment.draw),
        "trained_at": trained_at,
        "tested_at": run.together,
        "unit": unit,
    }
    rows = table[(table[list(place)] == pd.Series(place)).all(axis=1) & table["value"].notna()]
    if rows.empty:
        return "The run has no scores of this model on patients of all hospitals."
    how = "95 % intervals over patients"
    keys = {"metric": "metric", "value": "value", "ci_low": "from", "ci_high": "to"}
    if rows["ci_low"].isna().all():
        how = "without intervals, which the run has of the mean of several such models alone"
        keys = {"metric": "metric", "value": "value"}
    keys |= {"patients": "patients", "positives": "malignant"}
    lines = [
        f"Split {deployment.tested}, per {unit}, {how}:",
        "",
        "| " + " | ".join(keys.values()) + " |",
        "|---" * len(keys) + "|",
    ]
    for values in rows[list(keys)].itertuples(index=False):
        lines.append("| " + " | ".join(shown(value) for value in values) + " |")
    return "\n".join(lines)


def _cuts(about: dict[str, Any]) -> str:
    lines = ["| cut | score | meaning |", "|---|---|---|"]
    meanings = {
        "balanced": "greatest balanced accuracy among validation patients",
        "specific": "exceeded by at most 10 % of benign ones, as expected from validation patients",
    }
    for name, meaning in meanings.items():
        score = "too few validation patients" if about[name] is None else f"{about[name]:.4f}"
        lines.append(f"| {name} | {score} | {meaning} |")
    pooled = {"probability": "probability of its images", "log_odds": "log odds of its images, as a probability,"}
    return "\n".join([*lines, "", f"Per {about['unit']}: the mean {pooled[about['pooling']]} is compared with a cut."])
