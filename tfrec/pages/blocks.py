"""What pages are made of; `templates/blocks.html` has a macro for each kind."""

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
        caption: What it shows; also for screen readers.
        head: Names of the columns.
        rows: Cells, as text.
        is_text: Whether cells are text, aligned left, or figures, aligned right.
        tones: As of `Text`, one a row; empty: none has any.
        note: Below the table.
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
    """A chart with its caption, and the numbers for those who can not see it.

    Attributes:
        chart: Drawn as SVG.
        table: The same numbers, folded away; None: the chart's description says enough.
        note: Below the caption.
    """

    chart: Chart
    table: Table | None = None
    note: str = ""
    kind: ClassVar[str] = "plot"


@dataclasses.dataclass(frozen=True)
class Panels:
    """Blocks side by side, as far as the screen is wide enough.

    Attributes:
        blocks: Plots or tables.
    """

    blocks: Sequence["Block"]
    kind: ClassVar[str] = "panels"


@dataclasses.dataclass(frozen=True)
class Details:
    """Blocks below a heading of their own, which can be folded away.

    Attributes:
        heading: One line.
        blocks: What is below.
        is_open: Whether they are shown at first.
    """

    heading: str
    blocks: Sequence["Block"]
    is_open: bool = True
    kind: ClassVar[str] = "details"


Block = Text | Table | Plot | Panels | Details


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page with a heading, to which the page's navigation links."""

    heading: str
    blocks: Sequence[Block]

    @property
    def id(self) -> str:
        """The fragment of its address."""
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
