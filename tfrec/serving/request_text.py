"""Requests as text: JSON for REST, protobuf's text for gRPC; sent on wish. No TensorFlow."""

import json
import math
import pathlib
import shlex
import urllib.error
import urllib.request

import numpy as np
from google.protobuf import text_format

from tfrec.serving import arrays, messages

ABOUT = "assets.extra/signatures.json"  # in a version's folder: names, dtypes, shapes
STRINGS = arrays.Spec(np.dtype(object), ())
FLOATS = arrays.Spec(np.dtype(np.float32), ())


def inputs(
    items: str, user: str, exclude: str, allow: str, rating: float, length: int | None = None
) -> tuple[str, dict[str, list]]:
    """The signature that fits, and its inputs: one row.

    Args:
        items: A history "item:rating,...".
        user: A raw user id, instead.
        exclude: Raw item ids that must not come, "1,2", or "".
        allow: The only ones that may, or "".
        rating: Of items that are given without one.
        length: Of older exports of models of sequences: how many places a history has; None: any.

    Raises:
        ValueError: not of that form, or both or none of `items` and `user`.
    """
    if bool(items) == bool(user):
        raise ValueError("give one of --items=item:rating,... and --user=ID")
    row: dict[str, list] = {"user": [user]}
    if items:
        pairs = history(items, rating)
        if length is not None:
            if len(pairs) > length:
                raise ValueError(f"--items: the model reads {length} items, not {len(pairs)}")
            pairs = [("", 0.0)] * (length - len(pairs)) + pairs
        row = {"items": [[i for i, _ in pairs]], "values": [[v for _, v in pairs]]}
    if not (exclude or allow):
        return "serving_default", row
    lists = {"exclude": [exclude.split(",")], "allow": [allow.split(",")]}  # "": a place of padding
    return "recommend", {**row, **lists}


def history(text: str, rating: float) -> list[tuple[str, float]]:
    """Pairs of a history "item:rating,...".

    Raises:
        ValueError: not of that form, or an item twice.
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
    return list(pairs.items())


def fixed_length(export_dir: str) -> int | None:
    """The length that the newest version of an export wants histories to have; None: any."""
    if not export_dir:
        return None
    versions = [p for p in pathlib.Path(export_dir).glob("*") if p.name.isdigit()]
    if not versions:
        raise ValueError(f"--export_dir={export_dir} holds no version: tfrec.export makes one")
    about = max(versions, key=lambda p: int(p.name)) / ABOUT
    if not about.exists():
        return None
    inputs = json.loads(about.read_text())["signatures"]["serving_default"]["inputs"]
    return inputs["items"]["shape"][1] if "items" in inputs else None


def rest(signature: str, row: dict[str, list]) -> str:
    """The body of a REST request, in column form."""
    named = {} if signature == "serving_default" else {"signature_name": signature}
    return json.dumps({**named, "inputs": row}, ensure_ascii=False)


def curl(body: str, url: str) -> str:
    """A line for a shell."""
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
    """Sends it; the outputs by name.

    Raises:
        ValueError: the server answered with an error.
        OSError: no server answers.
    """
    asked = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=timeout) as answer:
            return json.load(answer)["outputs"]
    except urllib.error.HTTPError as error:
        raise ValueError(f"{url}: {error.code} {error.read().decode(errors='replace')}") from None


def send_grpc(target: str, model: str, signature: str, row, timeout: float) -> dict[str, list]:
    """Sends it; the outputs by name.

    Raises:
        ValueError: the server answered with an error, or none answers.
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
    """Nested lists with text for bytes."""
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def table(outputs: dict[str, list]) -> str:
    """The first row of an answer, a line a place."""
    (items, scores) = outputs["items"][0], outputs["scores"][0]
    titles = outputs.get("titles", [[""] * len(items)])[0]
    lines = [f"{'':>4} {'item':>8} {'score':>8}  title"]
    for rank, (item, score, title) in enumerate(zip(items, scores, titles, strict=True), 1):
        if item:
            lines.append(f"{rank:>4} {item:>8} {score:>8.3f}  {title}".rstrip())
    return "\n".join(lines)
