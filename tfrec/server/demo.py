"""The page of `tfrec.serve --demo`: choose titles and see the recommendations of a running model.

The page is one static file, which gets recommendations from the REST API like any client. This
module provides the list of models and the search for titles. Only this module of the server knows
recommenders: the inputs `items` and `values`, or `user`, the signature `explain`, the assets
`items.txt` and `titles.txt`, and what `assets.extra/signatures.json` says of values.
"""

import json
import pathlib
import unicodedata

from aiohttp import web
from tensorflow_serving.apis import model_pb2

from tfrec.server.errors import ServingError
from tfrec.server.models import Models
from tfrec.server.saved_model import DEFAULT_SIGNATURE

PAGE = pathlib.Path(__file__).with_name("demo.html")
STYLE = pathlib.Path(__file__).parents[1] / "pages/style.css"  # that of all pages
METADATA = "assets.extra/signatures.json"
EXPLAIN = "explain"  # the signature that gives reasons
FOUND = 40  # titles that a search returns
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; img-src data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'unsafe-inline'",
    "Cache-Control": "no-store",
}


class Demo:
    """Answers requests for the page and its data.

    Args:
        models: The loaded models.
    """

    def __init__(self, models: Models):
        self._models = models
        self._catalogues: dict[pathlib.Path, list[tuple[str, str, str]]] = {}

    def answer(self, request: web.Request) -> web.Response | None:
        """The page, or its data as JSON; None for other paths."""
        if request.path == "/":
            return web.Response(text=PAGE.read_text(), content_type="text/html", headers=HEADERS)
        if request.path == "/demo/style.css":
            return web.Response(text=STYLE.read_text(), content_type="text/css", headers=HEADERS)
        if request.path == "/demo/models.json":
            return _json([self._about(name) for name in sorted(self._models.names())])
        if request.path == "/demo/titles.json":
            return self._titles(request.query)
        return None

    def _about(self, name: str) -> dict:
        """What the page needs to know of a model: name, version and kind of input."""
        try:
            with self._models.lease(_spec(name)) as servable:
                signatures = servable.model.signatures
                inputs = signatures[DEFAULT_SIGNATURE].inputs
                kind = "other"
                if set(inputs) == {"items", "values"}:
                    kind = "history"
                elif set(inputs) == {"user"}:
                    kind = "user"
                explains = kind == "history" and EXPLAIN in signatures
                version = servable.version
                values = _values(servable.model.path)
        except (ServingError, KeyError):
            return {"name": name, "kind": "silent"}
        return {"name": name, "kind": kind, "version": version, "explains": explains, **values}

    def _titles(self, query) -> web.Response:
        """Titles that contain all words of `q`, or those of `ids`."""
        try:
            with self._models.lease(_spec(query.get("model", ""))) as servable:
                catalogue = self._catalogue(servable.model.path)
        except ServingError as error:
            return _json({"error": error.message}, error.http_status)
        if "ids" in query:
            wanted = set(query["ids"].split(","))
            return _json([(item, title) for item, title, _ in catalogue if item in wanted])
        words = plain(query.get("q", "")).split()
        found = [(i, t) for i, t, text in catalogue if all(word in text for word in words)]
        return _json(found[:FOUND])

    def _catalogue(self, version: pathlib.Path) -> list[tuple[str, str, str]]:
        """Item, title and searched text, from a version's assets; cached."""
        if version not in self._catalogues:
            kept = {path: rows for path, rows in self._catalogues.items() if path.exists()}
            self._catalogues = kept  # without versions that are unloaded
            items = _lines(version / "assets/items.txt")
            titles = _lines(version / "assets/titles.txt") or items
            self._catalogues[version] = [
                (item, title.strip() or item, plain(f"{title} {item}"))
                for item, title in zip(items, titles, strict=False)
            ]
        return self._catalogues[version]


def _values(version: pathlib.Path) -> dict:
    """What a version says of ratings and scores: the range, where it reads ratings; the words."""
    path = version / METADATA
    about = json.loads(path.read_text()) if path.exists() else {}
    low, high = (about.get(name, 1) for name in ("lowest", "highest"))
    rates = {"low": low, "high": high} if about.get("reads_values") and low < high else None
    return {"rates": rates, "usual": about.get("usual", 1), "words": about.get("predictions", "")}


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
