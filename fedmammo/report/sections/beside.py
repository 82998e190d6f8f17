"""The primary arm beside pooling all images, and beside the reader: differences that decide nothing."""

from collections.abc import Sequence

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Block, Figure, Side, Table, text
from fedmammo.report.chapter import SPELLED, Chapter, differences_of, headings, setting_of
from fedmammo.report.charts import forest
from fedmammo.run.results import Run

ABOUT = "Secondary: not adjusted for their number. "
BETWEEN = (
    "Over all hospitals one model's scores are also ranked between hospitals: where digitisers or case mix move them, "
    "all patients together score lower than each hospital's own."
)
READER = (
    "The reader is one set of assessments on record, made from whole mammograms of this cohort and dealt to simulated "
    "hospitals with their patients; models see a patch around a lesion that was already found."
)


def blocks(run: Run) -> Sequence[Block]:
    """Return a forest plot for each that the primary arm is set beside."""
    primary, table = run.study.evaluation.primary, differences_of(run)
    same = (table["metric"] == primary.metric) & (table["unit"] == run.study.evaluation.unit)
    ours = table[same & (table["arm"] == primary.arm) & (table["setting"] == setting_of(run))]
    keys = headings("tested_at", "difference", "ci_low", "ci_high", "at_least", "p", "patients", "positives", "note")
    figures: list[Block] = []
    for against in ("centralized", "reader"):
        shown = ours[
            (ours["against"] == against) & ((ours["against_setting"] == setting_of(run)) | (against == "reader"))
        ]
        if against == primary.against or shown["ci_low"].isna().all():
            continue
        title = f"{primary.arm} minus {SPELLED.get(against, against)}"
        caption = Table(f"{title}", shown, keys, "comparisons", folded=True)
        says = f"dots with intervals: {title} at each hospital"
        figures.append(Figure(forest(shown[[*keys]], "tested_at", title, primary.margin), caption, says))
    has_reader = "reader" in set(ours["against"])
    about = text(ABOUT, BETWEEN if run.together == ALL else "")
    return [about, *([text(READER)] if has_reader else []), Side(figures)] if figures else []


CHAPTER = Chapter("beside", "Beside pooled images, and beside the reader", ("comparisons",), blocks)
