"""Every way to deal patients to hospitals, and every seed, as a dot: what is usual, and what was worst."""

from collections.abc import Sequence

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Block, Figure, Table, text
from fedmammo.report.chapter import Chapter, headings
from fedmammo.report.charts import of_known, strips
from fedmammo.run.results import Run


def blocks(run: Run) -> Sequence[Block]:
    """Return dots of all repeats, where there are several, and all patients are tested together."""
    if run.together != ALL:
        return []
    results, study = run.results, run.study.evaluation
    chosen = (results["trained_at"] == ALL) & (results["tested_at"] == ALL) & (results["unit"] == study.unit)
    shown = of_known(results[chosen & (results["metric"] == study.primary.metric) & (results["arm"] != "reader")])
    if not (shown["repeats"] > 1).any():
        return []
    keys = ("arm", "setting", "seed", "draw", "value", "median", "lowest")
    return [
        text("Each dot is one way to deal patients to hospitals, or one seed; the tick is the median, the cross the "
             "lowest. A difference that one dot shows is not a finding."),
        Figure(
            strips(shown[list(keys)], "value", f"{study.primary.metric.upper()} per {study.unit}, all test patients"),
            Table("Each repeat", shown, headings(*keys), "results", folded=True),
            "dots of every repeat for each arm, with the median and the lowest",
        ),
    ]  # fmt: skip


CHAPTER = Chapter("partitions", "Every partition", ("results",), blocks)
