"""Curves: how well scores rank, whether they mean what they say, and what acting on them is worth."""

from collections.abc import Sequence

from fedmammo.report.blocks import Block, Figure, Side, Table, text
from fedmammo.report.chapter import Chapter, headings
from fedmammo.report.charts import bands, of_known
from fedmammo.run.results import Run


def ranking(run: Run) -> Sequence[Block]:
    """Return ROC and precision-recall curves with pointwise intervals."""
    roc, precision = of_known(run.roc), of_known(run.precision_recall)
    keys = headings("arm", "setting", "false_positive_rate", "sensitivity", "ci_low", "ci_high", "note")
    others = headings("arm", "setting", "recall", "precision", "ci_low", "ci_high", "note")
    titles = ("false positive rate", "sensitivity"), ("recall (sensitivity)", "precision (PPV)")
    return [
        text("Shaded: pointwise 95 % intervals; at the ends of a curve too few patients are left for one."),
        Side([
            Figure(
                bands(roc[[*keys]], "false_positive_rate", "sensitivity", titles[0], "false_positive_rate"),
                Table("ROC curves", roc, keys, "roc", folded=True),
                "ROC curves of the arms",
            ),
            Figure(
                bands(precision[[*others]], "recall", "precision", titles[1]),
                Table("Precision and recall", precision, others, "precision_recall", folded=True),
                "precision-recall curves of the arms",
            ),
        ]),
    ]  # fmt: skip


def calibration(run: Run) -> Sequence[Block]:
    """Return observed against predicted shares."""
    shown = of_known(run.calibration)
    keys = headings(
        "arm", "setting", "bin_low", "bin_high", "predicted", "observed", "ci_low", "ci_high", "units", "note"
    )
    return [
        text(
            "Below the dashed line fewer are malignant than the scores say, above it more. Points without a band stand "
            "for few patients."
        ),
        Figure(
            bands(shown[[*keys]], "predicted", "observed", ("mean score", "malignant share"), "predicted"),
            Table("Calibration", shown, keys, "calibration", folded=True),
            "calibration curves of the arms",
        ),
    ]


def decisions(run: Run) -> Sequence[Block]:
    """Return the decision curve."""
    shown = of_known(run.decision_curve)
    keys = headings(
        "arm", "setting", "threshold", "net_benefit", "ci_low", "ci_high", "treat_all", "prevalence", "note"
    )
    titles = ("threshold probability of malignancy", "net benefit")
    return [
        text("Net benefit of acting on those whose score is above a threshold (Vickers and Elkin, doi "
             "10.1177/0272989X06295361), at the prevalence in the table, which is not that of screening. To act on "
             "nobody is worth nothing; dashed: to act on everybody. An arm is of use where it lies above both; such "
             "differences have no interval here."),
        Figure(
            bands(shown[[*keys]], "threshold", "net_benefit", titles, "treat_all"),
            Table("Decision curve", shown, keys, "decision_curve", folded=True),
            "decision curves of the arms",
        ),
    ]  # fmt: skip


RANKING = Chapter("ranking", "ROC, precision and recall", ("roc", "precision_recall"), ranking)
CALIBRATION = Chapter("calibration", "Do scores mean what they say?", ("calibration",), calibration)
DECISIONS = Chapter("decisions", "What acting on scores is worth", ("decision_curve",), decisions)
