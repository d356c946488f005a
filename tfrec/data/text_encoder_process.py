"""Encodes texts with a package's sentence encoder; run by `texts` in a process of its own.

Such packages bring PyTorch, which aborts in a process that has TensorFlow (both register LLVM's
options); so nothing of tfrec is imported here.

    text_encoder_process.py PACKAGE TEXTS.json VECTORS.npy
"""

import importlib
import json
import pathlib
import sys

import numpy as np


def main(package: str, texts: str, vectors: str) -> None:
    """Writes the vectors that `package.load_model().encode` makes of a list of texts."""
    model = importlib.import_module(package).load_model()
    found = model.encode(json.loads(pathlib.Path(texts).read_text(encoding="utf-8")))
    np.save(vectors, np.asarray(found), allow_pickle=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
