"""What privacy costs: scores against the budget, beside what others published."""

from collections.abc import Sequence

import altair as alt

from fedmammo.config.arm import ALL
from fedmammo.config.setting import Setting
from fedmammo.report.blocks import Block, Figure, Table, text
from fedmammo.report.chapter import Chapter, headings, whole
from fedmammo.report.charts import budgets, of_known
from fedmammo.run.results import Run

_ORDER = "Budgets grow from left to right; at the right end there is none. "
_LIKE = (
    "A setting with -as- does what the one with that budget does, without it: the difference is what privacy costs. "
)
_NOBODY = "At the left end no patient was learned from. "
_PUBLISHED = (
    "Grey: published values, which are centralised, per image, on other test images, and protect images in place of "
    "patients. They give the order of magnitude; a difference to them means nothing."
)


def blocks(run: Run) -> Sequence[Block]:
    """Return scores of all settings, where one has a budget."""
    if not run.study.has_budget:
        return []
    rows = whole(run)
    shown = rows[(rows["trained_at"] == ALL) & (rows["tested_at"] == run.together) & (rows["arm"] != "reader")]
    shown = of_known(shown)
    if shown.empty:  # variants alone
        return []
    no_patient = set(shown.loc[shown["end_to_end"] == "no patient", "setting"])
    order = sorted(dict.fromkeys(shown["setting"]), key=lambda name: _budget(name, no_patient))
    keys = headings("setting", "arm", "value", "ci_low", "ci_high", "epsilon", "delta", "end_to_end", "note")
    table = Table("Scores by budget", shown, keys, "results", folded=True)
    title = f"{run.study.evaluation.primary.metric.upper()} per {run.study.evaluation.unit}"
    says = "scores of each arm by privacy budget"
    published = run.published if run.has("published") else None
    if published is not None:
        published = published[published["setting"].isin(order) & (published["metric"] == shown["metric"].iloc[0])]
    if published is None or published.empty:
        words = text(*_words(order, no_patient))
        return [words, Figure(budgets(shown[[*keys]], order, title), table, says)]
    others = headings("study", "setting", "metric", "value", "sd", "unit", "images", "protects")
    beside = {"published": Table("Published values", published, others, "published", folded=True)}
    chart = budgets(shown[[*keys]], order, title, alt.NamedData("published"))
    return [
        text(*_words(order, no_patient), _PUBLISHED),
        Figure(chart, table, says, beside),
    ]  # fmt: skip


def _words(settings: Sequence[str], no_patient: set[str]) -> list[str]:
    like = any(Setting.of(name).like for name in settings)
    return [_ORDER, _NOBODY if no_patient else "", _LIKE if like else ""]


def _budget(name: str, no_patient: set[str]) -> tuple[float, str]:
    """Sort settings: no patient used, then by epsilon, then without a budget."""
    epsilon = Setting.of(name).epsilon
    return (0.0 if name in no_patient else float("inf") if epsilon is None else epsilon), name


CHAPTER = Chapter("budgets", "What a privacy budget costs in accuracy", ("results",), blocks)
