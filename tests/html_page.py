"""Pages of HTML as trees, and what each of them must be."""

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "input", "img"}


class Node:
    """An element."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.children = tag, attributes, []

    def all(self, tag, **attributes):
        """Elements below with a tag and attributes, in the order of the text."""
        found = []
        for child in self.children:
            if isinstance(child, Node):
                wanted = attributes.items() <= child.attributes.items()
                found += [child] * (child.tag == tag and wanted) + child.all(tag, **attributes)
        return found

    @property
    def text(self):
        parts = (c.text if isinstance(c, Node) else c for c in self.children)
        return " ".join("".join(parts).split())

    @property
    def rows(self):
        """The cells of a table's body, by the name of the row."""
        (body,) = self.all("tbody")
        cells = [[c.text for c in row.children if isinstance(c, Node)] for row in body.all("tr")]
        return {name: rest for name, *rest in cells}


class Page(HTMLParser):
    """A page; refuses elements that are not closed, or not open.

    Attributes:
        root: Its tree.
        tables: Its tables by caption.
        sections: Its sections by id.
    """

    def __init__(self, text):
        super().__init__()
        self.source, self.root = text, Node("", {})
        self._open = [self.root]
        self.feed(text)
        self.close()
        assert len(self._open) == 1, f"{self._open[-1].tag} is not closed"
        self.tables = {table.all("caption")[0].text: table for table in self.root.all("table")}
        self.sections = {section.attributes["id"]: section for section in self.root.all("section")}

    def handle_starttag(self, tag, attrs):
        node = Node(tag, dict(attrs))
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_startendtag(self, tag, attrs):
        self._open[-1].children.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self._open[-1].children.append(data)

    def check(self):
        """It stands alone, and a screen reader finds its way."""
        root, ids = self.root, re.findall(r'\bid="([^"]+)"', self.source)
        assert len(ids) == len(set(ids))
        assert root.all("html")[0].attributes["lang"] == "en"
        (head,) = root.all("head")
        assert len(root.all("main")) == len(root.all("h1")) == len(head.all("title")) == 1
        assert not root.all("script") and not re.search(
            r"(src|href)=.?https?:|@import", self.source
        )
        for link in root.all("a"):
            assert link.attributes["href"].removeprefix("#") in ids
        for section in root.all("section"):
            assert section.all("h2")[0].attributes["id"] == section.attributes["aria-labelledby"]
        for table in root.all("table"):
            assert table.all("caption")[0].text
            heads = table.all("th")
            assert heads and all(th.attributes["scope"] in ("row", "col") for th in heads)
            width = {len(row.all("th")) + len(row.all("td")) for row in table.all("tr")}
            assert len(width) == 1, table.all("caption")[0].text
        for svg in root.all("svg"):
            assert svg.attributes["role"] == "img" and svg.attributes["aria-label"]
            assert "nan" not in str([n.attributes for n in svg.all("path") + svg.all("rect")])
        return self
