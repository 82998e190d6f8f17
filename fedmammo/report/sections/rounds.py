"""The score of models as training goes on."""

from collections.abc import Sequence

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Block, Figure, Table, text
from fedmammo.report.chapter import Chapter, headings
from fedmammo.report.charts import bands, of_known
from fedmammo.run.results import Run


def blocks(run: Run) -> Sequence[Block]:
    """Return the primary metric by round."""
    curves, study = run.curves, run.study.evaluation
    shown = of_known(curves[(curves["seed"] == ALL) & (curves["trained_at"] == ALL)])
    keys = headings("arm", "setting", "round", "value", "ci_low", "ci_high", "note")
    title = f"{study.primary.metric.upper()} per {study.unit}"
    return [
        text("Nothing was selected by these scores: the last model counts."),
        Figure(
            bands(shown[[*keys]], "round", "value", ("round", title)),
            Table("Scores by round", shown, keys, "curves", folded=True),
            "the primary metric by round of training",
        ),
    ]


CHAPTER = Chapter("rounds", "Score by round", ("curves",), blocks)
