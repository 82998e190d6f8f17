"""Other ways to join: one stays away, a model of one's own, one exchange, absence, other strategies."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from fedmammo.config.arm import ALL, Arm, Kind
from fedmammo.report.blocks import Block, Figure, Side, Table, text
from fedmammo.report.chapter import Chapter, differences_of, headings, setting_of
from fedmammo.report.charts import forest
from fedmammo.report.outline import Part
from fedmammo.run.results import Run

ABOUT = (
    "Secondary: none of this was the study's one question, and nothing is adjusted for how much is told. At a hospital "
    "stands the model that it would be given; "
)
OVER_ALL = "over all hospitals, where each is given its own, the mean over these models, each on all patients."
OVER_HOSPITALS = "over hospitals the mean of random effects."


class Way(NamedTuple):
    """A question, and the pairs of arms that answer it."""

    title: str
    about: str
    pairs: tuple[tuple[Kind, Kind], ...]


WAYS = (
    Way(
        "If one stays away",
        "without_one is, for each hospital, the federation of all others. Federated minus without_one at a hospital is "
        "what it gives up by staying away while it may still use the others' model; without_one minus local is what "
        "that model is to a hospital beside its own. Neither says what the others lose: that is in the section on "
        "what each hospital is worth, where the study has it.",
        (("federated", "without_one"), ("without_one", "local")),
    ),
    Way(
        "A model of one's own",
        "The federated model, and then steps at home. On all patients together such models are also tested on patients "
        "of others, for whom they are not meant: read the hospitals' rows.",
        (("personalized", "federated"), ("personalized", "local")),
    ),
    Way(
        "One exchange in place of rounds",
        "The mean of what hospitals' own models score, weighted by training patients: models are exchanged once.",
        (("ensemble", "local"), ("ensemble", "federated")),
    ),
    Way(
        "A recipe chosen inside each fold",
        "In each fold, of the federated variants the one that does best in inner folds of the training patients: what "
        "was tuned was tuned without those who are tested.",
        (("chosen", "federated"), ("chosen", "local")),
    ),
    Way(
        "Several recipes, averaged",
        "The mean log odds of what the federated variants score: nothing is chosen.",
        (("averaged", "federated"), ("averaged", "local")),
    ),
    Way(
        "Late, away, or slow",
        "The federation as hospitals.schedule has it, minus the one in which everybody is in every round.",
        (("scheduled", "federated"),),
    ),
)
VARIANTS = "Each minus the arm that it varies, over all hospitals."
_KEYS = headings(
    *("tested_at", "difference", "ci_low", "ci_high", "p", "median", "lowest", "patients", "positives", "note")
)
_OF_VARIANTS = {"arm": "variant", **_KEYS}


def blocks(run: Run) -> Sequence[Block]:
    """Return a part for each question that the study asks."""
    primary, table = run.study.evaluation.primary, differences_of(run)
    same = (table["metric"] == primary.metric) & (table["unit"] == run.study.evaluation.unit)
    same &= (table["setting"] == setting_of(run)) & (table["against_setting"] == setting_of(run))
    ours = table[same & (table["arm"] != "reader") & (table["against"] != "reader")]
    found: list[Block] = []
    for way in WAYS:
        shown = [(arm, against) for arm, against in _pairs(ours) if (Arm.of(arm).kind, against) in way.pairs]
        figures = [_figure(run, ours, *pair) for pair in shown]
        if figures:
            found.append(Part(way.title, [text(way.about), Side(figures)]))
    kinds = [Arm.of(arm).kind for arm in ours["arm"]]
    variants = ours[(ours["against"] == kinds) & (ours["tested_at"] == run.together)]
    if len(variants):
        title = "variant minus the arm as it is"
        caption = Table("Variants", variants, _OF_VARIANTS, "comparisons", folded=True)
        chart = forest(variants[[*_OF_VARIANTS]], "arm", title, primary.margin)
        says = "dots with intervals: what each variant changes on all patients"
        found.append(Part("Strategies and other variants", [text(VARIANTS), Figure(chart, caption, says)]))
    about = text(ABOUT, OVER_ALL if run.together == ALL else OVER_HOSPITALS)
    return [about, *found] if found else []


def _pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    """List the pairs of arms that a table compares, each once."""
    return list(dict.fromkeys(zip(table["arm"], table["against"], strict=True)))


def _figure(run: Run, table: pd.DataFrame, arm: str, against: str) -> Figure:
    rows = table[(table["arm"] == arm) & (table["against"] == against)]
    title = f"{arm} minus {against}".replace("_", " ")
    caption = Table(title, rows, _KEYS, "comparisons", folded=True)
    chart = forest(rows[[*_KEYS]], "tested_at", title, run.study.evaluation.primary.margin)
    return Figure(chart, caption, f"dots with intervals: {title} at each hospital")


CHAPTER = Chapter("ways", "Other ways to join", ("comparisons",), blocks)
