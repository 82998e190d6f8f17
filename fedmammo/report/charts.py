"""Charts of a run's tables, by Vega-Altair: a frame with a table's columns goes in, a chart comes out.

They work in a notebook as in a page. Colours are Okabe and Ito's, which colour-blind readers can tell apart; arms have
shapes, too. Text takes the colour of the page around it.
"""

from typing import Any

import altair as alt
import pandas as pd

ARMS = ("local", "federated", "centralized", "reader")
ARM_COLOURS = ("#d55e00", "#009e73", "#0072b2", "#8a8a8a")
ARM_SHAPES = ("circle", "diamond", "square", "triangle-up")
NAMES = "{'local': 'alone (local)', 'centralized': 'centralised'}[datum.label] || datum.label"
INK, FAINT = "currentColor", "#8884"
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "view": {"stroke": None},
    "font": "system-ui, sans-serif",
    "axis": {
        **{f"{part}Color": INK for part in ("label", "title", "domain", "tick")},
        "gridColor": FAINT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 160,
    },
    "legend": {
        "labelColor": INK, "titleColor": INK, "orient": "top", "labelFontSize": 12, "title": None, "columns": 4,
        "labelLimit": 200,
    },
    "title": {"color": INK, "fontSize": 13, "fontWeight": "normal", "anchor": "start"},
}  # fmt: skip
COLOUR = alt.Color(
    "arm:N", scale=alt.Scale(domain=ARMS, range=ARM_COLOURS), legend=alt.Legend(labelExpr=NAMES, symbolOpacity=1)
)
SHAPE = alt.Shape("arm:N", scale=alt.Scale(domain=ARMS, range=ARM_SHAPES), legend=alt.Legend(labelExpr=NAMES))


def finished(chart: alt.LayerChart | alt.Chart, height: int | alt.Step = 260) -> alt.LayerChart | alt.Chart:
    """Give a chart its size and its looks."""
    return chart.properties(width="container", height=height).configure(**CONFIG)


def tooltip(frame: pd.DataFrame) -> list[alt.Tooltip]:
    """Tell everything that a row says, under the pointer."""
    return [
        alt.Tooltip(
            f"{key}:{'Q' if pd.api.types.is_numeric_dtype(frame[key]) else 'N'}", title=str(key).replace("_", " ")
        )
        for key in frame
    ]


def dots(frame: pd.DataFrame, value: str, title: str, rows: str) -> alt.LayerChart | alt.Chart:
    """Draw a dot and an interval for each arm in each row.

    `frame`: `arm`, `value`, `ci_low`, `ci_high`, and the column that `rows` names.
    """
    place = alt.Y(f"{rows}:N", sort=None, title=None)
    beside = alt.YOffset("arm:N", sort=list(ARMS))
    base = alt.Chart(frame).encode(y=place, yOffset=beside, color=COLOUR, tooltip=tooltip(frame))
    span = alt.Scale(zero=False, nice=True)
    lines = base.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q", title=title, scale=span), x2="ci_high:Q")
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X(f"{value}:Q", title=title, scale=span), shape=SHAPE
    )
    return finished(lines + points, alt.Step(20))


def forest(frame: pd.DataFrame, rows: str, title: str, margin: float) -> alt.LayerChart | alt.Chart:
    """Draw a difference and its interval in each row, no difference as a line, the margin as another.

    `frame`: `difference`, `ci_low`, `ci_high`, and the column that `rows` names.
    """
    base = alt.Chart(frame).encode(y=alt.Y(f"{rows}:N", sort=None, title=None), tooltip=tooltip(frame))
    span = alt.Scale(zero=True, nice=True)
    lines = base.mark_rule(strokeWidth=2, color=INK).encode(
        x=alt.X("ci_low:Q", title=title, scale=span), x2="ci_high:Q"
    )
    points = base.mark_point(filled=True, size=90, color=INK, opacity=1).encode(x=alt.X("difference:Q", scale=span))
    zero, loss = (
        alt.Chart(frame).mark_rule(color=INK, strokeDash=dash).encode(x=alt.datum(at))
        for at, dash in ((0, [1, 0]), (-margin, [4, 4]))
    )
    return finished(zero + loss + lines + points, alt.Step(28))
