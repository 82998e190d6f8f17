"""Hospitals: whose model works where, who is worst off, how they differ, and what taking part costs each."""

from collections.abc import Sequence

from fedmammo.config.arm import ALL
from fedmammo.report.blocks import Block, Figure, Table, text
from fedmammo.report.chapter import Chapter, headings, setting_of, whole
from fedmammo.report.charts import bars, matrix
from fedmammo.run.results import Run

FEW = 10  # positives behind a cell


def everywhere(run: Run) -> Sequence[Block]:
    """Return what each hospital's own model scores at each hospital."""
    rows = whole(run)
    if run.together != ALL:  # where patients stay home, models of others are not told of
        return []
    local = (rows["arm"] == "local") & (rows["setting"] == setting_of(run))
    shown = rows[local & (rows["trained_at"] != ALL) & (rows["tested_at"] != ALL)]
    shown = shown[shown["value"].notna()]
    if shown["trained_at"].nunique() < 2:
        return []
    keys = headings("trained_at", "tested_at", "value", "ci_low", "ci_high", "patients", "positives", "note")
    return [
        text(f"Each hospital's own model, tested on each hospital's patients. Faint: fewer than {FEW} patients "
             "with a malignant lesion stand behind the cell."),
        Figure(
            matrix(shown[[*keys]], "value", f"{shown['metric'].iloc[0].upper()}", FEW),
            Table("Local models at all hospitals", shown, keys, "results", folded=True),
            "a matrix: models of hospitals in rows, patients of hospitals in columns",
        ),
    ]  # fmt: skip


def costs(run: Run) -> Sequence[Block]:
    """Return what taking part costs."""
    keys = headings(
        "arm", "setting", "hospital", "rounds", "missed", "simulated_hours", "megabytes_up", "megabytes_down"
    )
    return [
        text("Of one training: the mean over seeds, draws and folds. Hours are simulated: they follow from how fast "
             "the study says a hospital's computer and line are; under a budget they are not told. Pooling all images "
             "has the cost of moving them, which is not in here."),
        Table("What taking part costs each hospital", run.costs, keys, "costs"),
    ]  # fmt: skip


def differ(run: Run) -> Sequence[Block]:
    """Return who holds what, in the first draw."""
    held = run.holdings
    first = held[held["draw"] == held["draw"].iloc[0]]
    training = first[first["split"] == first["split"].iloc[0]]
    densities = [key for key in ("density_1", "density_2", "density_3", "density_4") if training[key].notna().any()]
    told = [key for key in map(str, held) if first[key].notna().any() and (first[key].astype(str) != "").any()]
    mix = [key for key in told if key.startswith(("density_", "masses")) and key != "density_distance"]
    keys = headings(*(key for key in told if key not in ("draw", "benign", *mix)))
    found: list[Block] = [text("In the first draw of hospitals; what profiles asked for stands beside.")]
    for shown, title in ((["benign", "malignant"], "patients"), (densities, "share of patients by breast density")):
        if shown and set(shown) <= set(training):
            named = headings("hospital", *shown)
            table = Table(title, training, named, "holdings", folded=True)
            found.append(Figure(bars(training[[*named]], "hospital", shown, title), table, f"bars: {title}"))
    found.append(Table("Who holds what", first, keys, "holdings"))
    if mix:
        found.append(Table("Case mix", first, headings("hospital", "split", *mix), "holdings", folded=True))
    return found


MATRIX = Chapter("matrix", "Whose model works where", ("results",), everywhere)
COSTS = Chapter("costs", "What taking part costs", ("costs",), costs)
DIFFER = Chapter("hospitals", "How hospitals differ", ("holdings",), differ)
