"""For whom models work: subgroups."""

from collections.abc import Sequence

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Block, Figure, Side, Table, text
from fedmammo.report.chapter import Chapter, headings, setting_of
from fedmammo.report.charts import dots, of_known
from fedmammo.run.results import Run

ABOUT = "Subgroups were not part of the question: they suggest, and decide nothing. "
WHOLE = "Means over hospitals; a patient whose lesions differ is in none, but counted as (several)."


def blocks(run: Run) -> Sequence[Block]:
    """Return a chart for each column, in the primary setting."""
    table = run.subgroups
    shown = of_known(table[table["setting"].isin((setting_of(run), "assessment"))])
    shown = shown[shown["estimate"].notna()]
    keys = headings("column", "value", "arm", "estimate", "ci_low", "ci_high", "patients", "positives", "units", "note")
    figures = []
    for column, part in shown.groupby("column", sort=False):
        title = f"{part['metric'].iloc[0].upper()} per {part['unit'].iloc[0]}"
        figures.append(
            Figure(
                dots(part[[*keys]], "estimate", f"{title}, by {str(column).replace('_', ' ')}", "value"),
                Table(f"By {str(column).replace('_', ' ')}", part, keys, "subgroups", folded=True),
                f"dots with intervals by {column}",
            )
        )
    if not figures:
        return []
    return [
        text(ABOUT, "A patient may be in several." if run.together == ALL else WHOLE),
        Side(figures),
    ]


CHAPTER = Chapter("subgroups", "For whom it works", ("subgroups",), blocks)
