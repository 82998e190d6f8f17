"""Charts of a plan's tables: the smallest difference that each hospital can show, and power against patients."""

import altair as alt
import pandas as pd

from fedmammo.report.charts import NAMES, Chart, _tooltip, finished, with_choice

BASES = ("assumed", "pilot")
COLOURS = ("#0072b2", "#d55e00")


def _colour(frame: pd.DataFrame) -> alt.Color:
    known = [name for name in BASES if name in set(frame["basis"])]
    scale = alt.Scale(domain=list(BASES), range=list(COLOURS))
    return alt.Color("basis:N", scale=scale, legend=alt.Legend(values=known))


def detectable(frame: pd.DataFrame, margin: float) -> Chart:
    """Draw the smallest difference that is shown, and half the interval's width, at each place; dashed: the margin.

    `frame`: rows of plan.csv.
    """
    order = list(dict.fromkeys(frame["tested_at"]))
    base = alt.Chart(frame).encode(
        y=alt.Y("tested_at:N", sort=order, title=None, axis=alt.Axis(labelExpr=NAMES)),
        yOffset=alt.YOffset("basis:N", sort=list(BASES)),
        color=_colour(frame),
        tooltip=_tooltip(frame),
    )
    across = alt.X("half_width:Q", title="true difference of the AUROC", scale=alt.Scale(zero=True, nice=True))
    lines = base.mark_rule(strokeWidth=2).encode(x=across, x2="detectable:Q")
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        x="detectable:Q", shape=alt.Shape("basis:N", legend=None)
    )
    line = (
        alt.Chart(frame).mark_rule(strokeDash=[4, 4], color="#8a8a8a").encode(x=alt.datum(margin, type="quantitative"))
    )
    return finished(alt.layer(line, lines, points), alt.Step(18))


def power(frame: pd.DataFrame, wanted: float) -> Chart:
    """Draw the power to show the margin as superior against tested patients; dashed: the power that is wanted.

    A place is chosen. `frame`: rows of power.csv.
    """
    base = alt.Chart(frame).encode(
        x=alt.X("patients:Q", title="tested patients", scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(values=[20, 50, 100, 200, 500, 1000, 2000, 5000])),
        y=alt.Y("power_superior:Q", title="power", scale=alt.Scale(domain=[0, 1])),
        color=_colour(frame),
        tooltip=_tooltip(frame),
    )  # fmt: skip
    lines = base.mark_line()
    points = base.mark_point(filled=True, size=80, opacity=1).encode(shape=alt.Shape("basis:N", legend=None))
    planned = points.transform_filter("datum.planned == 'True' || datum.planned === true")
    line = (
        alt.Chart(frame).mark_rule(strokeDash=[4, 4], color="#8a8a8a").encode(y=alt.datum(wanted, type="quantitative"))
    )
    return with_choice(finished(alt.layer(line, lines, planned)), frame, "tested_at")
