"""Blocks that hold other blocks, or order them: parts with a heading, folded parts, lists, text as it is typed."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedmammo.report.blocks import Block, Cell, Text


@dataclass(frozen=True)
class Part:
    """Blocks under a heading within a section."""

    title: str
    blocks: Sequence[Block]

    def html(self) -> Markup:
        """Return it as HTML."""
        return Markup("<h3>{}</h3>{}").format(self.title, _all(self.blocks))


@dataclass(frozen=True)
class Folded:
    """Blocks that a reader opens; `mark` stands beside the summary."""

    summary: str
    blocks: Sequence[Block]
    mark: str = ""

    def html(self) -> Markup:
        """Return it as HTML."""
        mark = Markup(' <span class="open">{}</span>').format(self.mark) if self.mark else ""
        body = Markup('<div class="folded">{}</div>').format(_all(self.blocks))
        return Markup("<details><summary>{}{}</summary>{}</details>").format(self.summary, mark, body)


@dataclass(frozen=True)
class Entry:
    """An entry of a list, with entries below it."""

    parts: Sequence[str | Cell]
    below: "Sequence[Entry]" = ()

    def html(self) -> Markup:
        """Return it as HTML."""
        below = Markup("<ul>{}</ul>").format(_all(self.below)) if self.below else ""
        return Markup("<li>{}{}</li>").format(Text(self.parts).html(), below)


@dataclass(frozen=True)
class Entries:
    """A list of entries. `kind`: `flow` draws each as a box."""

    entries: Sequence[Entry]
    kind: str = ""
    says: str = ""

    def html(self) -> Markup:
        """Return it as HTML."""
        return Markup('<ul class="{}" aria-label="{}">{}</ul>').format(self.kind, self.says, _all(self.entries))


@dataclass(frozen=True)
class Typed:
    """Text that keeps its lines: a command, a file."""

    content: str

    def html(self) -> Markup:
        """Return it as HTML."""
        return Markup('<pre tabindex="0">{}</pre>').format(self.content)


def _all(blocks: Sequence[Block]) -> Markup:
    return Markup("").join(block.html() for block in blocks)
