"""Self-contained pages: one HTML file with its tables and its figures in it, readable in light and dark."""

import base64
import io
from html import escape

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fedmammo.report.cells import cell_text

_DOTS_PER_INCH = 110
_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.notice { border-left: 4px solid #c60; background: var(--soft); padding: .6rem 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; background: #fff; border-radius: 6px; }
"""


class Page:
    """An HTML page that grows from top to bottom."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """Add a heading."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str, notice: bool = False) -> None:
        """Add a paragraph; a notice stands out."""
        kind = " class='notice'" if notice else ""
        self._parts.append(f"<p{kind}>{escape(text)}</p>")

    def table(self, frame: pd.DataFrame) -> None:
        """Add a table: at most three digits after the point, missing cells empty, no index."""
        head = "".join(f"<th>{escape(str(column))}</th>" for column in frame.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell_text(cell))}</td>" for cell in row) + "</tr>"
            for row in frame.itertuples(index=False)
        )
        self._parts.append(f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>')

    def figure(self, figure: Figure, says: str) -> None:
        """Add a figure; `says` stands for it where it cannot be seen."""
        content = base64.b64encode(png_of(figure)).decode()
        self._parts.append(f'<p><img alt="{escape(says)}" src="data:image/png;base64,{content}"></p>')

    def html(self) -> str:
        """Return the page."""
        head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><style>{_STYLE}</style>"
        body = "\n".join(self._parts)
        return (
            f"<!doctype html>\n<html lang='en'><head><title>{escape(self._title)}</title>{head}</head>\n"
            f"<body>\n{body}\n</body></html>\n"
        )


def png_of(figure: Figure) -> bytes:
    """Render a figure as PNG: the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
