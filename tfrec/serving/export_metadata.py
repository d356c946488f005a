"""An export's metadata: its README, `signatures.json` for programs, and example requests."""

import base64
import functools
import json
import pathlib
import shlex

import numpy as np

from tfrec.serving import examples
from tfrec.serving.answers import Answers, specs_of

README = "README.md"
SIGNATURES = "assets.extra/signatures.json"  # TF Serving reads only the warm-up records there
REQUEST = "assets.extra/request.json"
SHOWN = 3  # entries of a list in an example request

MEANING = {
    "serving_default": {
        "history": "the k best items for a history, best first",
        "user": "the k best items for a known user, best first, without those that the user rated",
        "events": "the prediction for each event",
        "two-stage": "the k best items for a user, best first: candidates of the first stage, "
        "ranked by the second",
    },
    "recommend": "the same, without the items in `exclude`; a row of `allow` that is not only "
    "padding restricts the answer to its items",
    "recommend_at": "the same with the times of the items and the time of asking; see Times",
    "recommend_example": "the same for serialized `tf.train.Example`s: lists of any length share "
    "a batch. Features: {features}",
    "recommend_user": "the k best items for a known user, from the ratings in the training data",
    "rate": "predictions for the candidates: the first scores of a row are those of its candidates",
    "explain": "the contribution of each item of the history to the score of each candidate, and "
    "the titles of the history's items",
    "rate_example": "the same for serialized `tf.train.Example`s, and for the Classify API. "
    "Features: {features}",
    "score": "the prediction for each event",
    "classify": "for the Classify API. Features of an Example: {features}",
    "regress": "for the Regress API: the prediction for `item`. Features of an Example: {features}",
}
FEATURES = {
    "history": "`items`, `values`,{times} `exclude`, `allow`, `candidates` (rate_example), all "
    "optional lists; `item` (regress); without `values` all ratings are {usual}",
    "user": "`user`, the lists `exclude`, `allow` and `candidates` (rate_example), and `item` "
    "(regress)",
}
NOTES = """
Ids are raw ids as in the data. `""` is padding and allowed at any position; unknown ids and repeats
are ignored. If fewer than k items are left, the remaining positions of the answer have the id `""`
and the lowest finite float32 as their score. Predictions are {prediction}. A history without a
known item, and an unknown user, get the most popular items.

A request without one of the inputs, or with another dtype, rank, fixed length or number of rows, is
refused with INVALID_ARGUMENT. An invalid value affects only its own row, since a server may batch
it with others: a rating that is NaN or infinite counts as {usual}, the first rating is used for
those that are missing, ratings beyond the items are ignored, any other number that is NaN or
infinite counts as missing, and an Example that cannot be parsed, or whose feature has another type,
counts as an empty one.
{batching}"""
BATCHING = """
On a server with batching (`--enable_batching`, with `pad_variable_length_inputs`) a request of
lists must hold one row; send several rows as Examples: any number of them, of any lengths, share a
batch. A batched answer of `rate` or `rate_example` may be longer than its candidates.
"""
NEWEST = """
`items` is ordered from oldest to newest. The model reads the newest {n} known items; all items of
the history are left out of the answer.
"""
TIMES = """
## Times

The model was trained with times: it reads how long ago each item was chosen, counted from the time
for which recommendations are wanted. `recommend_at` takes both: `times`, one for each item, and
`ask_time`, one for each row, in seconds since 1970 UTC, or in the unit of the data that the model
was trained on. 0 is an unknown time; an unknown `ask_time` is replaced by the time of the newest
item. `recommend_example` and `classify` read both, too, where an Example has them.
`serving_default`, `recommend`, `rate`, `rate_example` and `explain` answer without times, as if
all were unknown; the model was trained on such histories, too.
"""


def describe(top: Answers) -> dict:
    """The content of `signatures.json`, with dtypes and shapes (None: any) of all signatures."""
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
        "reads_times": "recommend_at" in top.endpoints(),
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
    """The README of the SavedModel."""
    described, info = describe(top), top.model.info
    lines = [
        f"# {type(top.model).__name__} on {info.name}",
        "",
        f"A TensorFlow SavedModel by tfrec, to be served as `{name}`.",
        "",
        "| signature | inputs | outputs | answer |",
        "|---|---|---|---|",
    ]
    for endpoint, spec in described["signatures"].items():
        cells = _cell(spec["inputs"]), _cell(spec["outputs"]), meaning(top, endpoint)
        lines.append(f"| `{endpoint}` | {' | '.join(cells)} |")
    prediction = _predictions(top)
    batching = "" if top.kind == "events" else BATCHING
    lines += [NOTES.format(prediction=prediction, batching=batching, usual=_usual(top))]
    if top.model.max_items and top.kind == "history":
        lines[-1] += NEWEST.format(n=top.model.max_items)
    lines += [TIMES] if described["reads_times"] else []
    lines += [top.notes] if top.notes else []
    requests = {endpoint: rest_body(small_request(top, endpoint)) for endpoint in top.endpoints()}
    asked = described["signatures"]["serving_default"]["inputs"], requests["serving_default"]
    lines += ["## Requests", "", "```bash", python_line(version, *asked), ""]
    lines += [curl_line(name, endpoint, body) for endpoint, body in requests.items()]
    return "\n".join([*lines, "```", ""])


def summary(version: pathlib.Path) -> str:
    """An export's signatures, one per line, and two example commands."""
    signatures = json.loads((version / SIGNATURES).read_text())["signatures"]
    body = json.loads((version / REQUEST).read_text())
    lines = ["signatures:"]
    for endpoint, spec in signatures.items():
        sides = (_cell(spec[side]).replace("`", "") for side in ("inputs", "outputs"))
        lines.append(f"  {endpoint}: {' -> '.join(sides)}")
    asked = signatures["serving_default"]["inputs"], body
    ask = [python_line(version, *asked), curl_line(version.parent.name, "serving_default", body)]
    return "\n".join([*lines, "", "call the SavedModel, or a server:", *ask])


def _cell(specs: dict) -> str:
    cells = [
        f"`{name}` {spec['dtype']} [{', '.join(_dimensions(spec['shape']))}]"
        for name, spec in specs.items()
    ]
    return ", ".join(cells)


def _dimensions(shape: list) -> list[str]:
    return ["batch", *("any" if size is None else str(size) for size in shape[1:])]


def meaning(top: Answers, endpoint: str) -> str:
    """A description of a signature's answer."""
    words = MEANING[endpoint]
    if isinstance(words, dict):
        return words[top.kind]
    if "score" in top.endpoints() and endpoint in top.model.task_object.event_signatures:
        names = ", ".join(f"`{name}`" for name in specs_of(top.endpoints()["score"]))
        return words.replace("`item`", "the event").format(features=names)
    times = " `times`, `ask_time`," if "recommend_at" in top.endpoints() else ""
    features = FEATURES.get(top.kind, "").format(usual=_usual(top), times=times)
    return words.format(features=features)


def _predictions(top: Answers) -> str:
    """A description of the predictions."""
    info = top.model.info
    return top.model.task_object.words.format(low=info.rating_min, high=info.rating_max)


def _usual(top: Answers) -> str:
    """The rating of items that are sent without one, as text."""
    value = top.model.usual_value
    return "the highest" if value == top.model.info.rating_max else f"{value:g}"


def small_request(top: Answers, endpoint: str) -> dict[str, np.ndarray]:
    """The first row of `Answers.example`, with lists of at most `SHOWN` entries."""
    specs = specs_of(top.endpoints()[endpoint])
    if "inputs" in specs:
        return {"inputs": examples.serialize({n: _short(a) for n, a in top.sampled.items()})[:1]}
    return {name: _short(top.sampled[name]) for name in specs}


def _short(array: np.ndarray) -> np.ndarray:
    """The first row, at most `SHOWN` entries. NaN becomes 0, since JSON has no NaN."""
    row = array[:1] if array.ndim == 1 else array[:1, :SHOWN]
    return np.nan_to_num(row) if array.dtype.kind == "f" else row


def rest_body(request: dict[str, np.ndarray]) -> dict:
    """The request in the column format of TF Serving's REST API."""
    return {"inputs": {name: [_plain(x) for x in array] for name, array in request.items()}}


def _plain(entry):
    if isinstance(entry, bytes):
        return {"b64": base64.b64encode(entry).decode()}
    return entry.tolist() if hasattr(entry, "tolist") else entry


def curl_line(name: str, endpoint: str, body: dict) -> str:
    """A curl command for a request to TF Serving."""
    if endpoint != "serving_default":
        body = {"signature_name": endpoint, **body}
    text = json.dumps(body, ensure_ascii=False)
    return f"curl -d {shlex.quote(text)} http://localhost:8501/v1/models/{name}:predict"


def python_line(version: pathlib.Path, inputs: dict, body: dict) -> str:
    """A command that calls the SavedModel's `serving_default` without a server."""
    quoted = functools.partial(json.dumps, ensure_ascii=False)  # has no single quotes
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
