"""Requests as text, JSON for REST and protobuf text for gRPC, and sending them; no TensorFlow."""

import json
import math
import shlex
import urllib.error
import urllib.request

import numpy as np
from google.protobuf import text_format

from tfrec.serving import arrays, messages

STRINGS = arrays.Spec(np.dtype(object), ())
FLOATS = arrays.Spec(np.dtype(np.float32), ())


def inputs(
    items: str, user: str, exclude: str, allow: str, rating: float
) -> tuple[str, dict[str, list]]:
    """The signature for a request of one row, and its inputs.

    Args:
        items: A history "item:rating,...".
        user: A raw user id, instead of a history.
        exclude: Raw ids of items to leave out, "1,2", or "".
        allow: Raw ids of the items to choose from, or "".
        rating: The rating of items that are given without one.

    Raises:
        ValueError: `items` has another form, or both or none of `items` and `user` are given.
    """
    if bool(items) == bool(user):
        raise ValueError("give one of --items=item:rating,... and --user=ID")
    row: dict[str, list] = {"user": [user]}
    if items:
        pairs = history(items, rating)
        row = {"items": [list(pairs)], "values": [list(pairs.values())]}
    if not (exclude or allow):
        return "serving_default", row
    lists = {"exclude": [exclude.split(",")], "allow": [allow.split(",")]}  # "" is padding
    return "recommend", {**row, **lists}


def history(text: str, rating: float) -> dict[str, float]:
    """Parses a history "item:rating,..." to item -> rating.

    Raises:
        ValueError: another form, or an item twice.
    """
    pairs: dict[str, float] = {}
    for entry in text.split(","):
        item, colon, value = entry.strip().rpartition(":")
        item, value = (item, value) if colon else (value, str(rating))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not item or not math.isfinite(number):
            raise ValueError(f"--items: {entry!r} is not of the form item:rating")
        if item in pairs:
            raise ValueError(f"--items: item {item} is given twice; leave one out")
        pairs[item] = number
    return pairs


def rest(signature: str, row: dict[str, list]) -> str:
    """The body of a REST request in the column format."""
    head = {} if signature == "serving_default" else {"signature_name": signature}
    return json.dumps({**head, "inputs": row}, ensure_ascii=False)


def curl(body: str, url: str) -> str:
    """A shell command that sends the body."""
    return f"curl -d {shlex.quote(body)} {shlex.quote(url)}"


def grpc_text(model: str, signature: str, row: dict[str, list]) -> str:
    """A `tensorflow.serving.PredictRequest` as text."""
    request = messages.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in row.items():
        spec = FLOATS if name == "values" else STRINGS
        arrays.fill(request.inputs[name], value, spec, readable=True)
    return text_format.MessageToString(request, as_utf8=True)


def send_rest(url: str, body: str, timeout: float) -> dict[str, list]:
    """Sends a REST request; returns the outputs by name.

    Raises:
        ValueError: the server returned an error.
        OSError: the server cannot be reached.
    """
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)["outputs"]
    except urllib.error.HTTPError as error:
        raise ValueError(f"{url}: {error.code} {error.read().decode(errors='replace')}") from None


def send_grpc(target: str, model: str, signature: str, row, timeout: float) -> dict[str, list]:
    """Sends a gRPC request; returns the outputs by name.

    Raises:
        ValueError: the server returned an error or cannot be reached.
    """
    try:
        from tfrec.serving.client import Client, RequestError
    except ImportError as error:
        raise ValueError(error) from None
    try:
        with Client(target, model, timeout=timeout) as client:
            outputs = client.predict(row, signature)
    except RequestError as error:
        raise ValueError(f"{target}: {error}") from None
    return {name: _decoded(array.tolist()) for name, array in outputs.items()}


def _decoded(value):
    """Nested lists with bytes decoded."""
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def table(outputs: dict[str, list]) -> str:
    """The first row of an answer, one line per rank."""
    (items, scores) = outputs["items"][0], outputs["scores"][0]
    titles = outputs.get("titles", [[""] * len(items)])[0]
    lines = [f"{'':>4} {'item':>8} {'score':>8}  title"]
    for rank, (item, score, title) in enumerate(zip(items, scores, titles, strict=True), 1):
        if item:
            lines.append(f"{rank:>4} {item:>8} {score:>8.3f}  {title}".rstrip())
    return "\n".join(lines)
