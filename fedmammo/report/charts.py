"""Charts of a run's tables, by Vega-Altair: a frame with a table's columns goes in, a chart comes out.

They work in a notebook as in a page. Colours are Okabe and Ito's, which colour-blind readers can tell apart; arms have
shapes, too. Text takes the colour of the page around it. A click on the legend shows an arm alone.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from fedmammo.config.evaluation import ASSESSMENT

Chart = Any  # Altair's: a chart, or layers of charts
ARMS = (
    "local",
    "federated",
    "centralized",
    "reader",
    "without_one",
    "personalized",
    "ensemble",
    "scheduled",
    "chosen",
    "averaged",
)  # of which charts are drawn; variants and coalitions have sections of their own
ARM_COLOURS = (
    "#d55e00",
    "#009e73",
    "#0072b2",
    "#8a8a8a",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#9a6324",
    "#332288",
    "#882255",
)
ARM_SHAPES = (
    "circle",
    "diamond",
    "square",
    "triangle-up",
    "triangle-down",
    "triangle-right",
    "triangle-left",
    "cross",
    "arrow",
    "wedge",
)
NAMES = (
    "datum.label === 'local' ? 'alone (local)' : datum.label === 'centralized' ? 'centralised' "
    ": datum.label === 'all' ? 'all hospitals' : replace(datum.label, /_/g, ' ')"
)
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
        "labelLimit": 150,
        "tickCount": 6,
        "labelFlush": False,
    },
    "legend": {
        "labelColor": INK, "titleColor": INK, "orient": "top", "labelFontSize": 12, "title": None, "columns": 2,
        "labelLimit": 200,
    },
    "text": {"color": INK},
}  # fmt: skip
_HOLLOW = alt.condition("isValid(datum.ci_low)", alt.value(1), alt.value(0))  # without an interval
NEAR = alt.Scale(zero=False, nice=True)
ROW = 13  # pixels
MOST_LABELLED = 8  # hospitals of a matrix whose cells have room for numbers


def of_known(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of arms that charts tell apart, without variants and coalitions."""
    return frame[frame["arm"].isin(ARMS)]


def _colour(frame: pd.DataFrame) -> alt.Color:
    """Colour arms; the legend names those that are in the frame."""
    shown = [arm for arm in ARMS if arm in set(frame["arm"])]
    legend = alt.Legend(labelExpr=NAMES, symbolOpacity=1, values=shown)
    return alt.Color("arm:N", scale=alt.Scale(domain=ARMS, range=ARM_COLOURS), legend=legend)


def _shape(frame: pd.DataFrame) -> alt.Shape:
    shown = [arm for arm in ARMS if arm in set(frame["arm"])]
    legend = alt.Legend(labelExpr=NAMES, values=shown)
    return alt.Shape("arm:N", scale=alt.Scale(domain=ARMS, range=ARM_SHAPES), legend=legend)


def _chosen() -> tuple[alt.Parameter, Any]:
    """Let a click on the legend choose an arm, and make the others pale."""
    chosen = alt.selection_point(fields=["arm"], bind="legend", name="arm_chosen")
    return chosen, alt.condition(chosen, alt.value(1), alt.value(0.12))


def _tooltip(frame: pd.DataFrame) -> list[alt.Tooltip]:
    """Tell everything that a row says, under the pointer."""
    kinds = {key: "Q" if pd.api.types.is_numeric_dtype(frame[key]) else "N" for key in map(str, frame)}
    return [alt.Tooltip(f"{key}:{kind}", title=key.replace("_", " ")) for key, kind in kinds.items()]


def _rows(frame: pd.DataFrame, name: str) -> alt.Y:
    """Place rows in the order of the frame, arms in theirs."""
    order = [arm for arm in ARMS if arm in set(frame[name])] or list(map(str, dict.fromkeys(frame[name])))
    return alt.Y(f"{name}:N", sort=order, title=None, axis=alt.Axis(labelExpr=NAMES))


def finished(chart: Chart, height: int | alt.Step = 280) -> Chart:
    """Give a chart its size and its looks."""
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    return chart.properties(width="container", height=height, autosize=fit).configure(**CONFIG)


def with_choice(chart: Chart, frame: pd.DataFrame, key: str) -> Chart:
    """Let one choose a value of a column, such as a setting; at first it is the first. A reader's rows always stay."""
    values = [value for value in dict.fromkeys(frame[key]) if value != ASSESSMENT]
    if len(values) < 2:
        return chart
    name = f"{key}_chosen"
    menu = alt.binding_select(options=values, name=f"{key} ")
    chosen = alt.param(name=name, value=values[0], bind=menu)
    return chart.add_params(chosen).transform_filter(f"datum.{key} === {name} || datum.{key} === '{ASSESSMENT}'")


def dots(frame: pd.DataFrame, value: str, title: str, rows: str) -> Chart:
    """Draw a dot and an interval for each arm in each row.

    `frame`: `arm`, `ci_low`, `ci_high`, and the columns that `value` and `rows` name.
    """
    chosen, opacity = _chosen()
    beside = alt.YOffset("arm:N", sort=list(ARMS))
    base = alt.Chart(frame).encode(y=_rows(frame, rows), yOffset=beside, color=_colour(frame), tooltip=_tooltip(frame))
    lines = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("ci_low:Q", title=title, scale=NEAR), x2="ci_high:Q", opacity=opacity
    )
    points = base.mark_point(filled=True, size=80).encode(
        x=alt.X(f"{value}:Q", title=title, scale=NEAR), shape=_shape(frame), opacity=opacity, fillOpacity=_HOLLOW,
        stroke=_colour(frame),
    )  # fmt: skip
    return finished((lines + points).add_params(chosen), alt.Step(ROW))


def forest(frame: pd.DataFrame, rows: str, title: str, margin: float) -> Chart:
    """Draw a difference and its interval in each row; a line is no difference, a dashed one the margin.

    `frame`: `difference`, `ci_low`, `ci_high`, and the column that `rows` names.
    """
    base = alt.Chart(frame).encode(y=_rows(frame, rows), tooltip=_tooltip(frame))
    none = base.mark_text(align="left", dx=6, fontStyle="italic").encode(
        x=alt.datum(0.0, type="quantitative"), text=alt.value("not assessable")
    )
    none = none.transform_filter("!isValid(datum.ci_low)")
    lines = base.mark_rule(strokeWidth=2, color=INK).encode(x=alt.X("ci_low:Q", title=title), x2="ci_high:Q")
    points = base.mark_point(filled=True, size=80, color=INK, opacity=1).encode(x=alt.X("difference:Q", title=title))
    marks = [
        alt.Chart(frame).mark_rule(color=INK, strokeDash=dash).encode(x=alt.datum(at, type="quantitative"))
        for at, dash in ((0.0, [1, 0]), (-margin, [4, 4]))
    ]
    return finished(alt.layer(*marks, none, lines, points), alt.Step(2 * ROW))


def pooled(frame: pd.DataFrame, title: str) -> Chart:
    """Draw hospitals' differences, their mean as a diamond, and as a bare line where a new hospital's may lie.

    `frame`: rows of heterogeneity: `what`, `about`, `estimate`, `ci_low`, `ci_high`, `weight`. Dots are the larger the
    more a hospital weighs; draws of hospitals are dots without a line.
    """
    of_all = "datum.what === 'mean' || datum.what === 'new hospital'"
    colour = alt.condition(of_all, alt.value(ARM_COLOURS[1]), alt.value(INK))
    base = alt.Chart(frame).encode(y=_rows(frame, "about"), color=colour, tooltip=_tooltip(frame))
    across = alt.X("ci_low:Q", title=title)
    lines = base.mark_rule(strokeWidth=2).encode(x=across, x2="ci_high:Q")
    size = alt.Size("weight:Q", scale=alt.Scale(domain=[0, 1], range=[30, 400]), legend=None)
    points = base.mark_point(filled=True, opacity=1).encode(x=alt.X("estimate:Q", title=title), size=size)
    points = points.transform_filter("datum.what === 'hospital'")
    each = base.mark_point(filled=True, size=40, opacity=0.7).encode(x=alt.X("estimate:Q", title=title))
    each = each.transform_filter("datum.what === 'draw'")
    mean = base.mark_point(filled=True, opacity=1, shape="diamond", size=220).encode(x=alt.X("estimate:Q", title=title))
    mean = mean.transform_filter("datum.what === 'mean'")
    nothing = alt.Chart(frame).mark_rule(color=INK).encode(x=alt.datum(0.0, type="quantitative"))
    none = base.mark_text(align="left", dx=6, fontStyle="italic").encode(
        x=alt.datum(0.0, type="quantitative"), text=alt.value("not assessable")
    )
    none = none.transform_filter("!isValid(datum.estimate) && datum.what === 'hospital'")
    return finished(alt.layer(nothing, none, lines, points, each, mean), alt.Step(2 * ROW))


def worth(frame: pd.DataFrame, title: str) -> Chart:
    """Draw what each hospital is worth, two ways, with intervals; on whose patients is chosen.

    `frame`: rows of values: `what`, `hospital`, `tested_at`, `value`, `ci_low`, `ci_high`.
    """
    kinds = ["shapley", "last-in"]
    scale = alt.Scale(domain=kinds, range=[ARM_COLOURS[1], ARM_COLOURS[2]])
    names = "datum.label === 'shapley' ? 'joining, in any order (Shapley)' : 'joining last'"
    colour = alt.Color("what:N", scale=scale, legend=alt.Legend(labelExpr=names))
    beside = alt.YOffset("what:N", sort=kinds)
    base = alt.Chart(frame).encode(y=_rows(frame, "hospital"), yOffset=beside, color=colour, tooltip=_tooltip(frame))
    lines = base.mark_rule(strokeWidth=2).encode(x=alt.X("ci_low:Q", title=title), x2="ci_high:Q")
    points = base.mark_point(filled=True, size=80).encode(
        x=alt.X("value:Q", title=title),
        shape=alt.Shape("what:N", scale=alt.Scale(domain=kinds, range=["diamond", "square"]), legend=None),
        stroke=colour, fillOpacity=_HOLLOW, opacity=alt.value(1),
    )  # fmt: skip
    nothing = alt.Chart(frame).mark_rule(color=INK).encode(x=alt.datum(0.0, type="quantitative"))
    return with_choice(finished(alt.layer(nothing, lines, points), alt.Step(ROW)), frame, "tested_at")


def learning(frame: pd.DataFrame, title: str) -> Chart:
    """Draw what was measured by size, and a law through it with its band: dashed beyond the largest size.

    `frame`: rows of learning curves: `by`, `what`, `size`, `value`, `ci_low`, `ci_high`.
    """
    across = alt.X(
        "size:Q",
        title="hospitals, or training patients, learned from",
        axis=alt.Axis(tickMinStep=1, format="d"),
        scale=NEAR,
    )
    up, green = alt.Y("value:Q", title=title, scale=NEAR), ARM_COLOURS[1]
    base = alt.Chart(frame).encode(x=across, tooltip=_tooltip(frame))
    law = base.transform_filter("datum.what !== 'seen' && isValid(datum.value)")
    band = law.mark_area(opacity=0.2, color=green).encode(y=alt.Y("ci_low:Q", title=title, scale=NEAR), y2="ci_high:Q")
    beyond = law.mark_line(color=green, strokeDash=[4, 4]).encode(y=up)
    within = law.transform_filter("datum.what === 'fitted'").mark_line(color=green).encode(y=up)
    seen = base.transform_filter("datum.what === 'seen'")
    lines = seen.mark_rule(color=INK, opacity=0.5).encode(y=alt.Y("ci_low:Q", title=title, scale=NEAR), y2="ci_high:Q")
    points = seen.mark_point(filled=True, size=50, color=INK, opacity=1).encode(y=up)
    return with_choice(finished(alt.layer(band, beyond, within, lines, points)), frame, "by")


def strips(frame: pd.DataFrame, value: str, title: str) -> Chart:
    """Draw every repeat as a dot, the median as a long tick and the worst as a cross.

    `frame`: rows of results of each repeat and, with seed `all`, of all; `median` and `lowest` of the latter.
    """
    base = alt.Chart(frame).encode(y=_rows(frame, "arm"), color=_colour(frame), tooltip=_tooltip(frame))
    each = base.mark_circle(size=45, opacity=0.5).encode(
        x=alt.X(f"{value}:Q", title=title, scale=NEAR), yOffset=alt.YOffset("spread:Q")
    )
    each = each.transform_filter("datum.seed !== 'all'").transform_calculate(
        spread="(7 * toNumber(datum.draw) + 3 * toNumber(datum.seed)) % 11 - 5"
    )
    of_all = base.transform_filter("datum.seed === 'all'")
    median = of_all.mark_tick(thickness=3, size=34).encode(x=alt.X("median:Q", title=title, scale=NEAR))
    worst = of_all.mark_point(shape="cross", size=110, filled=True, opacity=1, angle=45).encode(
        x=alt.X("lowest:Q", title=title, scale=NEAR)
    )
    return with_choice(finished(each + median + worst, alt.Step(48)), frame, "setting")


def bands(frame: pd.DataFrame, x: str, y: str, titles: tuple[str, str], beside: str = "") -> Chart:
    """Draw curves with pointwise intervals, one for each arm; the setting is chosen.

    `frame`: `arm`, `setting`, `ci_low`, `ci_high`, and the columns that `x` and `y` name. `beside`: a column that is
    drawn as a dashed line, such as `x` for the diagonal.
    """
    chosen, opacity = _chosen()
    across = alt.X(f"{x}:Q", title=titles[0])
    base = alt.Chart(frame).encode(x=across, color=_colour(frame), tooltip=_tooltip(frame))
    area = base.mark_area(opacity=0.2).encode(y=alt.Y("ci_low:Q", title=titles[1]), y2="ci_high:Q")
    area = area.transform_filter("!isValid(arm_chosen.arm) || indexof(arm_chosen.arm, datum.arm) >= 0")
    line = base.mark_line(point={"size": 22, "filled": True}).encode(
        y=alt.Y(f"{y}:Q", title=titles[1]), opacity=opacity, order=f"{x}:Q"
    )
    layers = [area, line.add_params(chosen)]
    if beside:
        dashed = alt.Chart(frame).mark_line(color="#8a8a8a", strokeDash=[4, 4])
        layers.insert(0, dashed.encode(x=across, y=alt.Y(f"{beside}:Q", title=titles[1])))
    return with_choice(finished(alt.layer(*layers)), frame, "setting")


def budgets(frame: pd.DataFrame, settings: Sequence[str], title: str, published: Any = None) -> Chart:
    """Draw scores against the privacy budget, from none spent to no budget at all; published values in grey.

    `frame`: rows of results; `settings`: in the order of their budgets; `published`: `setting` and `value`, as a frame
    or as a name that a page knows it by.
    """
    chosen, opacity = _chosen()
    across = alt.X("setting:N", sort=list(settings), title=None, axis=alt.Axis(labelAngle=-30, labelLimit=180))
    beside = alt.XOffset("arm:N", sort=list(ARMS))
    base = alt.Chart(frame).encode(x=across, xOffset=beside, color=_colour(frame), tooltip=_tooltip(frame))
    lines = base.mark_rule(strokeWidth=2).encode(
        y=alt.Y("ci_low:Q", title=title, scale=NEAR), y2="ci_high:Q", opacity=opacity
    )
    points = base.mark_point(filled=True, size=80).encode(
        y=alt.Y("value:Q", title=title, scale=NEAR), shape=_shape(frame), opacity=opacity
    )
    layers = [lines, points.add_params(chosen)]
    if published is not None:
        marks = alt.Chart(published).mark_tick(color="#8a8a8a", thickness=3, size=26)
        centre = alt.XOffsetDatum("centralized")
        layers.append(marks.encode(x=across, xOffset=centre, y=alt.Y("value:Q", title=title, scale=NEAR)))
    return finished(alt.layer(*layers), 320)


def matrix(frame: pd.DataFrame, value: str, title: str, fewest: int) -> Chart:
    """Draw a cell for each hospital's model (rows) at each hospital's patients (columns).

    Cells behind which fewer than `fewest` positives stand are faint. `frame`: `trained_at`, `tested_at`, `positives`,
    and the column that `value` names.
    """
    few, order = f"datum.positives < {fewest}", list(dict.fromkeys(frame["tested_at"]))
    base = alt.Chart(frame).encode(
        x=alt.X("tested_at:N", sort=order, title="tested at", axis=alt.Axis(labelExpr=NAMES, labelAngle=-40)),
        y=alt.Y("trained_at:N", sort=order, title="model of", axis=alt.Axis(labelExpr=NAMES)),
        tooltip=_tooltip(frame),
    )
    cells = base.mark_rect().encode(
        color=alt.Color(f"{value}:Q", scale=alt.Scale(scheme="viridis", zero=False), legend=alt.Legend(title=title)),
        opacity=alt.condition(few, alt.value(0.25), alt.value(1)),
    )
    layers = [cells]
    if len(order) <= MOST_LABELLED:
        text = base.mark_text(fontSize=11)
        middle = float(frame[value].min() + frame[value].max()) / 2
        colours = alt.when(few).then(alt.value(INK)).when(f"datum.{value} < {middle}").then(alt.value("#fff"))
        layers.append(
            text.encode(text=alt.Text(f"{value}:Q", format=".3f"), color=colours.otherwise(alt.value("#000")))
        )
    return finished(alt.layer(*layers), alt.Step(30 if len(order) <= MOST_LABELLED else 12))


def bars(frame: pd.DataFrame, rows: str, keys: Sequence[str], title: str) -> Chart:
    """Draw a stacked bar for each row, a part for each of the columns that `keys` names."""
    long = alt.Chart(frame).transform_fold(list(keys), as_=["part", "number"])
    colours = ["#56b4e9", "#d55e00"] if len(keys) == 2 else ["#fde725", "#35b779", "#31688e", "#440154"]
    scale = alt.Scale(domain=list(keys), range=colours)
    chart = long.mark_bar(stroke="white", strokeWidth=0.5).encode(
        y=_rows(frame, rows),
        x=alt.X("number:Q", title=title),
        color=alt.Color("part:N", sort=None, scale=scale, legend=alt.Legend(labelExpr=NAMES)),
        order=alt.Order("index:Q"),
        tooltip=_tooltip(frame),
    )
    return finished(chart, alt.Step(26))


def losses(frame: pd.DataFrame) -> Chart:
    """Draw each hospital's loss by round; the deployment is chosen. `frame`: deployment, hospital, round, loss."""
    chart = (
        alt.Chart(frame)
        .mark_line(point=True)
        .encode(
            x=alt.X("round:Q", title="round", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("loss:Q", title="loss", scale=NEAR),
            color=alt.Color("hospital:N", legend=alt.Legend(labelExpr=NAMES), scale=alt.Scale(scheme="tableau10")),
            detail="stage:N",
            tooltip=_tooltip(frame),
        )
    )
    return with_choice(finished(chart), frame, "deployment")
