"""Pages stand alone, show what they are given and nothing else, and are the same every time."""

import base64
import re
from html.parser import HTMLParser

import pandas as pd
from matplotlib.figure import Figure as Drawing

from fedmammo.report.blocks import Asked, Cell, Figure, Picture, Rows, Section, Table, text
from fedmammo.report.charts import forest
from fedmammo.report.page import page_html, png_of


def drawing() -> Drawing:
    drawn = Drawing(figsize=(2, 1))
    drawn.subplots().plot([0, 1], [1, 0])
    return drawn


TABLE = Table(
    "numbers",
    pd.DataFrame({"na<me": ["x & y", None], "value": [0.12345, -7.5]}, index=[4, 9]),
    {"na<me": "the <name>", "value": "value"},
    "results",
)


def page(*more: Figure) -> str:
    parts = [TABLE, Picture(png_of(drawing()), 'a "line"'), Asked("who <asks>?", "no </textarea>one"), *more]
    return page_html("a <b> & c", [text("only <here>", kind="notice")], [Section("one", "num<bers", parts)])


class Reader(HTMLParser):
    """Notes tags, attributes and texts."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.rows: list[str] = []
        self.texts: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.rows += [value or "" for name, value in attrs if name == "data-row"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_a_page_holds_everything_and_fetches_nothing() -> None:
    reader = Reader(page())
    assert "script" not in reader.tags  # no chart, no JavaScript
    assert [link[:22] for link in reader.links] == ["data:,", "data:image/png;base64,"]
    assert "url(" not in page()


def test_texts_are_shown_as_they_are() -> None:
    texts = Reader(page()).texts
    for shown in ("a <b> & c", "only <here>", "num<bers", "the <name>", "x & y", "0.123", "−7.500", "who <asks>?"):
        assert shown in texts
    assert "no </textarea>one" in texts


def test_a_table_names_its_rows_in_the_file() -> None:
    assert Reader(page()).rows == ["4", "9"]
    assert 'data-file="results"' in page()
    row = Rows("c", ["a"], [[text("x ", Cell("verdicts", 3, "difference", 0.25))]]).html()
    assert '<span data-file="verdicts" data-row="3" data-key="difference">0.250</span>' in row


def test_a_chart_brings_its_table_and_no_second_copy_of_its_numbers() -> None:
    frame = pd.DataFrame({"tested_at": ["all"], "difference": [0.0625], "ci_low": [0.0125], "ci_high": [0.1]})
    table = Table("differences", frame, {"tested_at": "at", "difference": "d", "ci_low": "from", "ci_high": "to"})
    content = page(Figure(forest(frame, "tested_at", "d", 0.05), table, "says"))
    assert content.count("0.0625") == 0
    assert content.count("0.062") == 1
    name = re.search(r'data-table="([^"]+)"', content)
    assert name
    assert f'<table id="{name[1]}"' in content


def test_a_page_is_the_same_every_time_and_dark_where_wanted() -> None:
    assert page() == page()
    assert "color-scheme: light dark" in page()


def test_the_figure_is_in_the_page() -> None:
    content = re.search(r"base64,([^\"]+)", page())
    assert content
    assert base64.b64decode(content[1]) == png_of(drawing())
    assert png_of(drawing()).startswith(b"\x89PNG")


def test_no_name_can_end_or_open_a_script() -> None:
    """A hospital's name is part of a chart's JSON."""
    name = "<!--<script>alert(1)</script>"
    frame = pd.DataFrame({"tested_at": [name], "difference": [0.0625], "ci_low": [0.0125], "ci_high": [0.1]})
    table = Table("differences", frame, {"tested_at": "at", "difference": "d", "ci_low": "from", "ci_high": "to"})
    figure = str(Figure(forest(frame, "tested_at", "d", 0.05), table, name).html())
    assert "<!--" not in figure and figure.count("<script") == figure.count("</script>") == 1
    assert "\\u003c!--" in figure
