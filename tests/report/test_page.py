"""Pages stand alone, show what they are given and nothing else, and are the same every time."""

import base64
import re
from html.parser import HTMLParser

import pandas as pd
from matplotlib.figure import Figure

from fedmammo.report.page import Page, png_of


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1))
    drawn.subplots().plot([0, 1], [1, 0])
    return drawn


def page() -> Page:
    shown = Page("a <b> & c")
    shown.text("only <here>", notice=True)
    shown.heading("numbers")
    shown.table(pd.DataFrame({"na<me": ["x & y", None], "value": [0.12345, 7.0]}))
    shown.figure(figure(), 'a "line"')
    return shown


class Reader(HTMLParser):
    """Notes tags and attributes, and the texts of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_a_page_holds_everything_and_fetches_nothing() -> None:
    reader = Reader()
    reader.feed(page().html())
    assert "script" not in reader.tags
    assert "link" not in reader.tags
    assert len(reader.links) == 1
    assert reader.links[0].startswith("data:image/png;base64,")
    assert "url(" not in page().html()


def test_texts_are_shown_as_they_are() -> None:
    reader = Reader()
    reader.feed(page().html())
    for text in ("a <b> & c", "only <here>", "numbers", "na<me", "x & y", "0.123", "7"):
        assert text in reader.texts


def test_a_page_is_the_same_every_time_and_dark_where_wanted() -> None:
    assert page().html() == page().html()
    assert "color-scheme: light dark" in page().html()


def test_the_figure_is_in_the_page() -> None:
    content = re.search(r"base64,([^\"]+)", page().html())
    assert content
    assert base64.b64decode(content[1]) == png_of(figure())
    assert png_of(figure()).startswith(b"\x89PNG")
