"""The page of `tfrec.serve --demo`: pick titles, see what the running model recommends.

The page is one static file; recommendations come from the REST API like any client's. Here it
learns which models there are, and finds titles. All that the server knows of recommenders is here:
the inputs `items` and `values`, or `user`, the signature `explain` and the assets `items.txt` and
`titles.txt`.
"""

import pathlib
import unicodedata

from aiohttp import web
from tensorflow_serving.apis import model_pb2

from tfrec.server.engine import DEFAULT_SIGNATURE
from tfrec.server.errors import ServingError
from tfrec.server.models import Models

PAGE = pathlib.Path(__file__).with_name("demo.html")
EXPLAIN = "explain"  # the signature that gives reasons
FOUND = 40  # titles of a search
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    "Cache-Control": "no-store",
}


class Demo:
    """Answers the page's own addresses.

    Args:
        models: What is loaded.
    """

    def __init__(self, models: Models):
        self._models = models
        self._catalogues: dict[pathlib.Path, list[tuple[str, str, str]]] = {}

    def answer(self, request: web.Request) -> web.Response | None:
        """The page, or JSON for it; None for other addresses."""
        if request.path == "/":
            return web.Response(text=PAGE.read_text(), content_type="text/html", headers=HEADERS)
        if request.path == "/demo/models.json":
            return _json([self._about(name) for name in self._models.names()])
        if request.path == "/demo/titles.json":
            return self._titles(request.query)
        return None

    def _about(self, name: str) -> dict:
        """What the page must know of a model: how it is asked."""
        try:
            with self._models.lease(_spec(name)) as servable:
                signatures = servable.model.signatures
                inputs = signatures[DEFAULT_SIGNATURE].inputs
                kind = "other"
                if set(inputs) == {"items", "values"}:
                    kind = "history"
                elif set(inputs) == {"user"}:
                    kind = "user"
                length = inputs["items"].tensor_shape.dim[1].size if kind == "history" else -1
                explains = kind == "history" and EXPLAIN in signatures
                version = servable.version
        except (ServingError, KeyError):
            return {"name": name, "kind": "silent"}
        about = {"name": name, "kind": kind, "version": version, "explains": explains}
        return {**about, "length": length if length >= 0 else None}

    def _titles(self, query) -> web.Response:
        """Titles that hold all words of `q`, or those of `ids`."""
        try:
            with self._models.lease(_spec(query.get("model", ""))) as servable:
                catalogue = self._catalogue(servable.model.path)
        except ServingError as error:
            return _json({"error": error.message}, error.http_status)
        if "ids" in query:
            asked = set(query["ids"].split(","))
            return _json([(item, title) for item, title, _ in catalogue if item in asked])
        words = plain(query.get("q", "")).split()
        found = [(i, t) for i, t, text in catalogue if all(word in text for word in words)]
        return _json(found[:FOUND])

    def _catalogue(self, version: pathlib.Path) -> list[tuple[str, str, str]]:
        """Item, title and text to search in, of a version's assets; read once."""
        if version not in self._catalogues:
            kept = {path: rows for path, rows in self._catalogues.items() if path.exists()}
            self._catalogues = kept  # without versions that are gone
            items = _lines(version / "assets/items.txt")
            titles = _lines(version / "assets/titles.txt") or items
            self._catalogues[version] = [
                (item, title.strip() or item, plain(f"{title} {item}"))
                for item, title in zip(items, titles, strict=False)
            ]
        return self._catalogues[version]


def _spec(name: str):
    return model_pb2.ModelSpec(name=name)


def _json(content, status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers=HEADERS)


def _lines(path: pathlib.Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def plain(text: str) -> str:
    """Lower case without accents: Amélie is found by amelie."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))
