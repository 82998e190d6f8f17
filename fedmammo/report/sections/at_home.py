"""Tested patients who stay home: how each hospital tells of them, and what is therefore not here."""

from collections.abc import Sequence

from fedmammo.report.blocks import Block, Table, text
from fedmammo.report.chapter import Chapter, headings
from fedmammo.run.results import Run

_TESTED = headings("hospital", "scores", "minimum_count", "patients", "positives", "note")
_BINS = headings(
    *("tested_at", "arm", "setting", "score_low", "score_high", "false_positive_rate", "sensitivity"),
    *("predicted", "observed"),
)


def blocks(run: Run) -> Sequence[Block]:
    """Return how hospitals tell, and what those tell of scores that keep them."""
    title = "Scores in bins, where they stay home"
    bins = [Table(title, run.hospital_bins, _BINS, "hospital_bins", folded=True)] if run.has("hospital_bins") else []
    return [
        text(
            "Scores of tested patients leave a hospital as rows, as summaries (counts and metrics, none of fewer "
            "patients of a class than its smallest count, rounded to a quarter of their standard error at most), or "
            "not at all; and a model that learned from one hospital alone may stay there. What all patients together "
            "would give is then undefined: in its place stands the mean of random effects over hospitals, each tested "
            "on its own patients with the model that it would be given, at cuts that its own validation patients set. "
            "Left out, because they need rows: ROC curves, precision and recall, calibration and decision curves of "
            "all patients, and what each hospital is worth."
        ),
        Table("How each hospital tells of its tested patients", run.tested, _TESTED, "tested"),
        *bins,
    ]


CHAPTER = Chapter("at_home", "Patients whose scores stay home", ("tested",), blocks)
