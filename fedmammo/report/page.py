"""Self-contained pages: one HTML file with its tables, charts and pictures in it; dark and light, on screen and paper.

Nothing is fetched. Without JavaScript every chart is a table.
"""

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from fedmammo.disk.files import write_text
from fedmammo.errors import InputError
from fedmammo.report.blocks import Figure, Section, Side, Text

_DOTS_PER_INCH = 110


def check_name(option: str, path: Path, suffix: str = ".html") -> None:
    """Raise InputError unless a file of this kind can be written there."""
    if path.suffix != suffix or path.is_dir():
        raise InputError(f"{option} {path}: expected the name of a file that ends in {suffix}")


def page_html(title: str, head: Sequence[Text], sections: Sequence[Section], live: str = "") -> str:
    """Return a page.

    Args:
        title: of the page.
        head: what stands above the first section.
        sections: in their order; with more than three, a list of links stands beside them.
        live: name of the section that is asked for again while a study runs; nothing where none is.
    """
    drawn = bool(live) or any(_has_figure(section.blocks) for section in sections)
    links = Markup("").join(Markup('<li><a href="#{}">{}</a></li>').format(one.name, one.title) for one in sections)
    contents = Markup('<nav aria-label="Sections"><ul>{}</ul></nav>').format(links) if len(sections) > 3 else ""
    body = Markup("").join(section.html() for section in sections)
    scripts = Markup("<script>{}</script><script>{}</script>").format(_vega(), _asset("charts.js")) if drawn else ""
    whole = Markup(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{0}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        "<style>{1}</style></head>\n<body{2}><header><h1>{0}</h1>{3}</header>{4}<main>{5}</main>{6}</body></html>\n"
    ).format(
        title,
        _asset("page.css"),
        Markup(' data-live="{}"').format(live) if live else "",
        Markup("").join(block.html() for block in head),
        contents,
        body,
        scripts,
    )
    return str(whole)


def _has_figure(blocks: Sequence[object]) -> bool:
    return any(isinstance(one, Figure) or (isinstance(one, Side) and _has_figure(one.blocks)) for one in blocks)


@cache
def _asset(name: str) -> Markup:
    return Markup((files("fedmammo.report") / "assets" / name).read_text(encoding="utf-8"))


@cache
def _vega() -> Markup:
    """Return the JavaScript of Vega, Vega-Lite and Vega-Embed: made once for each version, and kept for this user."""
    kept = _kept(f"vega-{version('vl-convert-python')}.js")
    if kept is not None and kept.exists():
        return Markup(kept.read_text(encoding="utf-8"))
    bundle = _bundle()
    if kept is not None:
        with suppress(OSError):  # a home that cannot be written
            write_text(kept, bundle)
    return Markup(bundle)


def _kept(name: str) -> Path | None:
    """Say where a file is kept for this user; nowhere without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedmammo" / name
    except RuntimeError:
        return None


def _bundle() -> str:
    import vl_convert

    try:
        os.fstat(0)
    except OSError:
        os.open(os.devnull, os.O_RDONLY)  # takes its place: what bundles cannot start where standard input is closed
    bundle = vl_convert.javascript_bundle(None)  # type: ignore[arg-type] # the stubs forget that it may be left out
    return bundle.replace("</script", "<\\/script")


def png_of(figure: Drawing) -> bytes:
    """Render a figure as PNG: the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
