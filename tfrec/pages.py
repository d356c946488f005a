"""A page of HTML that needs no other file."""

import html

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem;
  color: #222 }
table { border-collapse: collapse }
"""


def page(title: str, body: str, style: str) -> str:
    """The page's text.

    Args:
        title: Plain text, also the heading.
        body: HTML below the heading.
        style: CSS besides that of all pages.
    """
    name = html.escape(title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{name}</title>'
        f"<style>{_STYLE}{style.lstrip()}</style></head><body><h1>{name}</h1>{body}</body></html>\n"
    )
