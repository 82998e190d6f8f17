"""Blocks of blocks are escaped, nested and accessible."""

from fedmammo.report.blocks import Cell, text
from fedmammo.report.outline import Entries, Entry, Folded, Part, Typed


def test_parts_folds_and_typed_text() -> None:
    shown = Part("a <b>", [Folded("c & d", [Typed("x <y>\n z")], "open"), text("e")]).html()
    assert shown == (
        '<h3>a &lt;b&gt;</h3><details><summary>c &amp; d <span class="open">open</span></summary>'
        '<div class="folded"><pre tabindex="0">x &lt;y&gt;\n z</pre></div></details><p class="">e</p>'
    )
    assert "<span" not in Folded("a", []).html()


def test_entries_nest_and_keep_cells() -> None:
    below = Entry(["train: ", Cell("flow", 5, "patients", 21.0)])
    shown = Entries([Entry(["prepared"], [below])], "flow", "where <they> went").html()
    assert shown == (
        '<ul class="flow" aria-label="where &lt;they&gt; went"><li><p class="">prepared</p><ul><li><p class="">train: '
        '<span data-file="flow" data-row="5" data-key="patients">21</span></p></li></ul></li></ul>'
    )
