"""Building blocks of pages; `templates/blocks.html` has a macro for each kind."""

import dataclasses
import re
from collections.abc import Sequence
from typing import ClassVar

from tfrec.pages.chart import Chart


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: Plain text.
        tone: "" or "note" (small print), "warning" or "good".
    """

    text: str
    tone: str = ""
    kind: ClassVar[str] = "text"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        caption: The caption, also for screen readers.
        head: Names of the columns.
        rows: Cells, as text.
        is_text: Whether cells are text, aligned left, or numbers, aligned right.
        tones: As in `Text`, one for each row; or empty.
        note: Text below the table.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_text: bool = False
    tones: Sequence[str] = ()
    note: str = ""
    kind: ClassVar[str] = "table"

    def tone(self, row: int) -> str:
        """The tone of a row."""
        return self.tones[row] if self.tones else ""


@dataclasses.dataclass(frozen=True)
class Plot:
    """A chart with its caption, and its numbers as a table for accessibility.

    Attributes:
        chart: Drawn as SVG.
        table: The same numbers, collapsed; None: the chart's description suffices.
        note: Text below the caption.
    """

    chart: Chart
    table: Table | None = None
    note: str = ""
    kind: ClassVar[str] = "plot"


@dataclasses.dataclass(frozen=True)
class Panels:
    """Blocks side by side, where the screen is wide enough.

    Attributes:
        blocks: Plots or tables.
    """

    blocks: Sequence["Block"]
    kind: ClassVar[str] = "panels"


@dataclasses.dataclass(frozen=True)
class Details:
    """Collapsible blocks below a heading.

    Attributes:
        heading: One line.
        blocks: The blocks below it.
        is_open: Whether they are expanded at first.
    """

    heading: str
    blocks: Sequence["Block"]
    is_open: bool = True
    kind: ClassVar[str] = "details"


Block = Text | Table | Plot | Panels | Details


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page with a heading, linked from the page's navigation."""

    heading: str
    blocks: Sequence[Block]

    @property
    def id(self) -> str:
        """The fragment of its URL."""
        return re.sub(r"\W+", "-", self.heading.casefold()).strip("-")


@dataclasses.dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: Also the heading.
        sections: In order.
        lead: A sentence below the title.
    """

    title: str
    sections: Sequence[Section]
    lead: str = ""
