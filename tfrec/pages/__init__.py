"""Self-contained HTML pages in one style: text, tables and plots in sections.

A `Page` has `Section`s, which have the blocks of `tfrec.pages.blocks`.
"""

import pathlib
from typing import Any

import jinja2

from tfrec import aside
from tfrec.pages.blocks import Block, Details, Page, Panels, Plot, Section, Table, Text

__all__ = [
    "Details",
    "Page",
    "Panels",
    "Plot",
    "Section",
    "Table",
    "Text",
    "fragment",
    "render",
    "write",
]

_FOLDER = pathlib.Path(__file__).parent
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(page: Page) -> str:
    """The page's HTML; equal pages give equal bytes."""
    style = (_FOLDER / "style.css").read_text(encoding="utf-8")
    return _TEMPLATES.get_template("page.html").render(page=page, style=style)


def fragment(block: Block) -> str:
    """The HTML of one block, without a style, for notebooks."""
    macros: Any = _TEMPLATES.get_template("blocks.html").module
    return str(macros.show(block))


def write(page: Page, path: str | pathlib.Path) -> None:
    """Writes the page's HTML atomically.

    Raises:
        OSError: the file cannot be written.
    """
    with aside.file(path) as partial:
        partial.write_text(render(page), encoding="utf-8")
