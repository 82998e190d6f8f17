"""What a page is made of. Blocks hold what tables say; they compute nothing.

A number that comes from a table of a run keeps its place there, so that a reader, or a test, can find it again:
`data-file` names the table, `data-row` its row (from 0), `data-key` its column.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from zlib import crc32

import altair as alt
import pandas as pd
from markupsafe import Markup, escape

from fedmammo.report.cells import cell_text

MANY_ROWS = 60  # from which on a table scrolls within the page

VALIDATED = False  # against the schema of Vega-Lite, which takes longer than the rest of a page: tests do it


class Block(Protocol):
    """A part of a page."""

    def html(self) -> Markup:
        """Return it as HTML."""
        ...


class Cell(NamedTuple):
    """A value at its place in a table of a run.

    Attributes:
        file: name of the table, such as `results` for `results.csv`.
        row: of the table, from 0.
        key: name of the column.
        value: what stands there.
    """

    file: str
    row: int
    key: str
    value: Any

    def html(self) -> Markup:
        """Return it as text that knows its place."""
        place = Markup('<span data-file="{}" data-row="{}" data-key="{}">{}</span>')
        return place.format(self.file, self.row, self.key, shown(self.value, self.key))


def shown(value: Any, key: str = "") -> str:
    """Show a value as a page does: as `cell_text` does, but for a minus that readers of pages know, and small p."""
    if key in ("p", "p_holm") and value < 0.001:
        return "<0.001"
    text = cell_text(value)
    return f"−{text[1:]}" if isinstance(value, float) and text.startswith("-") else text


@dataclass(frozen=True)
class Text:
    """A paragraph of parts, each a text or a cell. `kind`: `notice` stands out, `small` stands back, `answer` leads."""

    parts: Sequence[str | Cell]
    kind: str = ""

    def html(self) -> Markup:
        """Return it as HTML."""
        body = Markup("").join(part.html() if isinstance(part, Cell) else escape(part) for part in self.parts)
        return Markup('<p class="{}">{}</p>').format(self.kind, body)


def text(*parts: str | Cell, kind: str = "") -> Text:
    """Make a paragraph."""
    return Text(parts, kind)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a table of a run.

    Attributes:
        caption: what it shows.
        frame: the rows; its index is their number in the file, or (file, number) where they come from several.
        columns: what to show, in this order: name of the column, heading.
        file: name of the table in the run's folder; none where it is no run's.
        folded: whether a reader opens it first: where a chart shows the same.
    """

    caption: str
    frame: pd.DataFrame
    columns: Mapping[str, str]
    file: str = ""
    folded: bool = False

    @classmethod
    def whole(cls, caption: str, frame: pd.DataFrame) -> "Table":
        """Show a frame of no run with all its columns."""
        return cls(caption, frame.reset_index(drop=True), {str(name): str(name) for name in frame.columns})

    def html(self) -> Markup:
        """Return it as HTML."""
        return self.named("")

    def named(self, name: str) -> Markup:
        """Return it as HTML, with a name that a chart knows it by."""
        numeric = [pd.api.types.is_numeric_dtype(self.frame[key]) for key in self.columns]
        head = Markup("").join(
            Markup('<th scope="col" data-key="{}"{}>{}</th>').format(
                key, Markup(' class="number"') if number else "", heading
            )
            for (key, heading), number in zip(self.columns.items(), numeric, strict=True)
        )
        keys = list(self.columns)
        rows = self.frame[keys]
        cell, number = Markup("<td>{}</td>"), Markup('<td class="number">{}</td>')
        kinds = [number if of_number else cell for of_number in numeric]
        body = Markup("").join(
            Markup("<tr{}>{}</tr>").format(
                _place(at), Markup("").join(map(Markup.format, kinds, map(shown, values, keys)))
            )
            for at, *values in rows.itertuples(name=None)
        )
        table = Markup(
            '<div class="scroll{5}" tabindex="0" role="region" aria-label="{0}"><table id="{1}" data-file="{2}">'
            "<caption>{0}</caption><thead><tr>{3}</tr></thead><tbody>{4}</tbody></table></div>"
        ).format(self.caption, name, self.file, head, body, " long" if len(rows) > MANY_ROWS else "")
        folded = Markup("<details><summary>{}</summary>{}</details>")
        return folded.format(f"Table: {self.caption}", table) if self.folded else table


def _place(at: Any) -> Markup:
    """Say which row of a file it is."""
    if isinstance(at, tuple):
        return Markup(' data-file="{}" data-row="{}"').format(*at)
    return Markup(' data-row="{}"').format(at)


@dataclass(frozen=True, eq=False)
class Rows:
    """A table whose rows are put together from several tables of a run: a text or a cell each."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str | Cell | Text]]

    def html(self) -> Markup:
        """Return it as HTML."""
        head = Markup("").join(Markup('<th scope="col">{}</th>').format(one) for one in self.headings)
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(
                Markup("").join(
                    Markup("<td>{}</td>").format(escape(one) if isinstance(one, str) else one.html()) for one in row
                )
            )
            for row in self.rows
        )
        return Markup(
            '<div class="scroll" tabindex="0" role="region" aria-label="{0}">'
            '<table class="tight"><caption>{0}</caption>'
            "<thead><tr>{1}</tr></thead><tbody>{2}</tbody></table></div>"
        ).format(self.caption, head, body)


@dataclass(frozen=True, eq=False)
class Figure:
    """A chart of a table, which stands below it, and in its place where there is no JavaScript.

    Attributes:
        chart: as `fedmammo.report.charts` draws it; its data are the rows of `table`.
        table: what it draws.
        says: what it shows, for those who cannot see it.
        beside: more tables, by the names under which the chart asks for them (`altair.NamedData`).
    """

    chart: Any
    table: Table
    says: str
    beside: Mapping[str, Table] = field(default_factory=dict)

    def html(self) -> Markup:
        """Return it as HTML."""
        chart = self.chart.copy(deep=False)
        chart.data = alt.NamedData("rows")  # which the page takes from the table
        spec = chart.to_dict(validate=VALIDATED)
        spec.pop("datasets", None)
        for layer in spec.get("layer", ()):
            if layer.get("data", {}).get("name") not in self.beside:
                layer.pop("data", None)
        content = json.dumps(spec, separators=(",", ":"), sort_keys=True)
        name = f"rows-{crc32((content + self.table.caption).encode()):08x}"
        beside = Markup(" ").join(f"{of}:{name}-{of}" for of in self.beside)
        figure = Markup(
            '<figure class="chart" data-table="{}" data-beside="{}"><div class="plot" role="img" aria-label="{}"></div>'
            '<script type="application/json">{}</script></figure>'
        ).format(name, beside, self.says, Markup(content.replace("<", "\\u003c")))
        more = [table.named(f"{name}-{of}") for of, table in self.beside.items()]
        return figure + self.table.named(name) + Markup("").join(more)


@dataclass(frozen=True)
class Picture:
    """A picture; `says` stands for it where it cannot be seen."""

    png: bytes
    says: str

    def html(self) -> Markup:
        """Return it as HTML."""
        content = base64.b64encode(self.png).decode()
        return Markup('<p><img alt="{}" src="data:image/png;base64,{}"></p>').format(self.says, content)


@dataclass(frozen=True)
class Asked:
    """What only people know: a field to be filled in, on the page or in the study (`study.about`)."""

    label: str
    answer: str = ""

    def html(self) -> Markup:
        """Return it as HTML."""
        return Markup(
            '<label class="asked"><span>{}</span><textarea rows="2" placeholder="to be written by the authors">{}'
            "</textarea></label>"
        ).format(self.label, self.answer)


@dataclass(frozen=True, eq=False)
class Side:
    """Blocks side by side, where there is room."""

    blocks: Sequence[Block]

    def html(self) -> Markup:
        """Return it as HTML."""
        body = Markup("").join(Markup("<div>{}</div>").format(block.html()) for block in self.blocks)
        return Markup('<div class="side">{}</div>').format(body)


@dataclass(frozen=True, eq=False)
class Section:
    """A headed part of a page.

    Attributes:
        name: by which links find it.
        title: above it.
        blocks: in it.
    """

    name: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)

    def html(self) -> Markup:
        """Return it as HTML."""
        body = Markup("\n").join(block.html() for block in self.blocks)
        whole = Markup('<section id="{0}" aria-labelledby="{0}-title"><h2 id="{0}-title">{1}</h2>{2}</section>')
        return whole.format(self.name, self.title, body)
