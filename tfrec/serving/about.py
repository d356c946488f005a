"""What an export says about itself: a page in words, the same for programs, requests that work."""

import base64
import functools
import json
import pathlib
import shlex

import numpy as np

from tfrec.serving import examples
from tfrec.serving.answers import Answers, specs_of

README = "README.md"
SIGNATURES = "assets.extra/signatures.json"  # TF Serving ignores what else lies there
REQUEST = "assets.extra/request.json"
FEW = 3  # places of a list in a request that is shown

MEANING = {
    "serving_default": {
        "history": "the k best items for a history, best first",
        "user": "the k best items for a known user, best first; what he has rated is left out",
        "events": "the prediction for each event",
        "two-stage": "the k best items for a user, best first: candidates of the first stage, "
        "ranked by the second",
    },
    "recommend": "the same; `exclude` is left out, too, and only `allow` may be chosen from where "
    "a row of it names anything",
    "recommend_example": "the same for serialized `tf.train.Example`s: lists of any length share "
    "a batch. Features: {features}",
    "recommend_user": "the k best items for a known user, by what he has rated",
    "rate": "what the model thinks of the candidates: the first scores of a row are its own",
    "explain": "what each item of the history contributes to the score of each candidate, and the "
    "titles of the history",
    "rate_example": "the same for serialized `tf.train.Example`s, and for the Classify API. "
    "Features: {features}",
    "score": "the prediction for each event",
    "classify": "for the Classify API. Features of an Example: {features}",
    "regress": "for the Regress API: the prediction for `item`. Features of an Example: {features}",
}
FEATURES = {
    "history": "`items`, `values`, `exclude`, `allow`, `candidates` (rate_example), all optional "
    "lists; `item` (regress); without `values` all ratings are {usual}",
    "user": "`user`, the lists `exclude`, `allow` and `candidates` (rate_example), and `item` "
    "(regress)",
}
NOTES = """
Ids are raw ids as in the data. `""` is padding and may stand anywhere; unknown ids and repeats are
harmless. An answer's place that no item fills has the id `""` and the lowest finite float32 as its
score. Predictions are {prediction}. A history without a known item, and an unknown user, get the
most popular items.

A request without one of the inputs, or one of another dtype, rank, fixed length or number of rows,
is refused with INVALID_ARGUMENT. What is wrong within a row is harmless, since a server may batch
it with others: a rating that is NaN or infinite counts as {usual}, the first rating stands for
those that are missing, ratings beyond the items are ignored, any other number that is NaN or
infinite is missing, and an Example that can not be read, or whose feature is of another type,
answers like an empty one.
{batching}"""
BATCHING = """
On a server that batches (`--enable_batching`, with `pad_variable_length_inputs`) a request of lists
holds one row; send several rows as Examples, of which any number and any lengths share a batch. A
batched answer of `rate` or `rate_example` may be longer than its candidates.
"""
NEWEST = """
Older items come first in `items`. The model reads the newest {n} that it knows; all are left out of
the answer.
"""


def describe(top: Answers) -> dict:
    """All signatures with dtypes and shapes (None: any), as JSON types."""
    outputs = {
        name: function.get_concrete_function().structured_outputs
        for name, function in top.endpoints().items()
    }
    return {
        "kind": top.kind,
        "model": type(top.model).__name__.lower(),
        "task": top.model.task,
        "lowest": top.model.info.rating_min,
        "highest": top.model.info.rating_max,
        "reads_values": top.model.uses_values,
        "predictions": _predictions(top),
        "usual": top.model.usual_value,
        "k": getattr(top, "k", None),
        "max_items": top.model.max_items,
        **top.facts,
        "signatures": {
            name: {
                "inputs": {alias: _spec(s) for alias, s in specs_of(function).items()},
                "outputs": {alias: _spec(t) for alias, t in outputs[name].items()},
            }
            for name, function in top.endpoints().items()
        },
    }


def _spec(tensor) -> dict:
    return {"dtype": tensor.dtype.name, "shape": tensor.shape.as_list()}


def readme(top: Answers, name: str, version: pathlib.Path) -> str:
    """The page beside the SavedModel."""
    about, info = describe(top), top.model.info
    lines = [
        f"# {type(top.model).__name__} on {info.name}",
        "",
        f"A TensorFlow SavedModel by tfrec, to be served as `{name}`.",
        "",
        "| signature | inputs | outputs | what it answers |",
        "|---|---|---|---|",
    ]
    for endpoint, spec in about["signatures"].items():
        cells = _cell(spec["inputs"]), _cell(spec["outputs"]), meaning(top, endpoint)
        lines.append(f"| `{endpoint}` | {' | '.join(cells)} |")
    prediction = _predictions(top)
    batching = "" if top.kind == "events" else BATCHING
    lines += [NOTES.format(prediction=prediction, batching=batching, usual=_usual(top))]
    if top.model.max_items and top.kind == "history":
        lines[-1] += NEWEST.format(n=top.model.max_items)
    lines += [top.notes] if top.notes else []
    requests = {endpoint: rest_body(small_request(top, endpoint)) for endpoint in top.endpoints()}
    asked = about["signatures"]["serving_default"]["inputs"], requests["serving_default"]
    lines += ["## Requests", "", "```bash", python_line(version, *asked), ""]
    lines += [curl_line(name, endpoint, body) for endpoint, body in requests.items()]
    return "\n".join([*lines, "```", ""])


def summary(version: pathlib.Path) -> str:
    """An export's signatures, a line each, and two requests that work."""
    signatures = json.loads((version / SIGNATURES).read_text())["signatures"]
    body = json.loads((version / REQUEST).read_text())
    lines = ["signatures:"]
    for endpoint, spec in signatures.items():
        sides = (_cell(spec[side]).replace("`", "") for side in ("inputs", "outputs"))
        lines.append(f"  {endpoint}: {' -> '.join(sides)}")
    asked = signatures["serving_default"]["inputs"], body
    ask = [python_line(version, *asked), curl_line(version.parent.name, "serving_default", body)]
    return "\n".join([*lines, "", "ask the files, or a server:", *ask])


def _cell(specs: dict) -> str:
    named = [
        f"`{name}` {spec['dtype']} [{', '.join(_dimensions(spec['shape']))}]"
        for name, spec in specs.items()
    ]
    return ", ".join(named)


def _dimensions(shape: list) -> list[str]:
    return ["batch", *("any" if size is None else str(size) for size in shape[1:])]


def meaning(top: Answers, endpoint: str) -> str:
    """What a signature answers, in words."""
    words = MEANING[endpoint]
    if isinstance(words, dict):
        return words[top.kind]
    if "score" in top.endpoints() and endpoint in top.model.task_object.event_signatures:
        names = ", ".join(f"`{name}`" for name in specs_of(top.endpoints()["score"]))
        return words.replace("`item`", "the event").format(features=names)
    features = FEATURES.get(top.kind, "").format(usual=_usual(top))
    return words.format(features=features)


def _predictions(top: Answers) -> str:
    """What predictions are, in words."""
    info = top.model.info
    return top.model.task_object.words.format(low=info.rating_min, high=info.rating_max)


def _usual(top: Answers) -> str:
    """What an item without a rating has, in words."""
    value = top.model.usual_value
    return "the highest" if value == top.model.info.rating_max else f"{value:g}"


def small_request(top: Answers, endpoint: str) -> dict[str, np.ndarray]:
    """The first row of `Answers.example`, with short lists."""
    specs = specs_of(top.endpoints()[endpoint])
    if "inputs" in specs:
        return {"inputs": examples.serialize({n: _short(a) for n, a in top.sampled.items()})[:1]}
    return {name: _short(top.sampled[name]) for name in specs}


def _short(array: np.ndarray) -> np.ndarray:
    """One row of a few places. JSON knows no NaN."""
    row = array[:1] if array.ndim == 1 else array[:1, :FEW]
    return np.nan_to_num(row) if array.dtype.kind == "f" else row


def rest_body(request: dict[str, np.ndarray]) -> dict:
    """The request as TF Serving's REST API takes it, in columns."""
    return {"inputs": {name: [_plain(x) for x in array] for name, array in request.items()}}


def _plain(entry):
    if isinstance(entry, bytes):
        return {"b64": base64.b64encode(entry).decode()}
    return entry.tolist() if hasattr(entry, "tolist") else entry


def curl_line(name: str, endpoint: str, body: dict) -> str:
    """A command that TF Serving answers."""
    if endpoint != "serving_default":
        body = {"signature_name": endpoint, **body}
    text = json.dumps(body, ensure_ascii=False)
    return f"curl -d {shlex.quote(text)} http://localhost:8501/v1/models/{name}:predict"


def python_line(version: pathlib.Path, inputs: dict, body: dict) -> str:
    """A command that asks the SavedModel's `serving_default` without a server."""
    quoted = functools.partial(json.dumps, ensure_ascii=False)  # fits between a shell's quotes
    sent = ", ".join(
        f"{name}=tf.constant({quoted(entries)}, {quoted(inputs[name]['dtype'])})"
        for name, entries in body["inputs"].items()
    )
    code = (
        "import tensorflow as tf; "
        f'ask = tf.saved_model.load({quoted(str(version))}).signatures["serving_default"]; '
        f"print(ask({sent}))"
    )
    return f"python -c {shlex.quote(code)}"
