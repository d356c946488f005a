"""Asks a SavedModel what its model was asked, and compares: `python -m tfrec.serving.replay`.

Runs in a process of its own, which knows no model, so that nothing but the files can answer.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf

from tfrec.serving import warmup


def compare(path: str, requests_file: str, answers_file: str) -> None:
    """Sends requests, then the warm-up records, which are their first rows.

    Args:
        path: The SavedModel's folder.
        requests_file: What `warmup.write` wrote.
        answers_file: What `save` wrote.

    Raises:
        ValueError: an answer is another one; names the first.
    """
    signatures = tf.saved_model.load(path).signatures
    with np.load(answers_file) as file:
        answers = {tuple(key.split("/")): array for key, array in file.items()}
    for file in (pathlib.Path(requests_file), pathlib.Path(path) / warmup.FILE):
        for endpoint, request in warmup.read(file).items():
            rows = len(next(iter(request.values())))
            due = {name: array[:rows] for (of, name), array in answers.items() if of == endpoint}
            got = {name: out.numpy() for name, out in signatures[endpoint](**request).items()}
            fault = difference(got, due)
            if fault:
                raise ValueError(f"{endpoint}: {fault}")


def save(path: pathlib.Path, answers: dict[str, dict[str, tf.Tensor]]) -> None:
    """Writes the model's own answers, by signature and output."""
    arrays = {
        f"{endpoint}/{name}": output.numpy()
        for endpoint, answer in answers.items()
        for name, output in answer.items()
    }
    np.savez(path, **{k: a.astype("S") if a.dtype == object else a for k, a in arrays.items()})


def difference(got: dict[str, np.ndarray], due: dict[str, np.ndarray]) -> str:
    """What is different between two answers, in words; "" where nothing is.

    Numbers may differ by rounding, and two items whose scores do may change places.
    """
    for name, expected in due.items():
        if expected.dtype.kind == "f":
            same = np.isclose(got[name], expected, rtol=1e-4, atol=1e-4)
        else:
            got[name] = got[name].astype("S")
            same = got[name] == expected
            if "scores" in due:
                swapped = _may_swap(due["scores"]) & (got[name] != b"")
                same |= swapped & (got[name][:, :, None] == expected[:, None, :]).any(2)
        for place in np.argwhere(~same)[:1]:
            other, own = got[name][tuple(place)], expected[tuple(place)]
            return (
                f"{name} of request {place[0]}, place {place[-1]}: {other} from the SavedModel, "
                f"{own} from the model"
            )
    return ""


def _may_swap(scores: np.ndarray) -> np.ndarray:
    """Which places have a neighbour of the same score, but for rounding."""
    ties = np.isclose(scores[:, 1:], scores[:, :-1], rtol=1e-5, atol=1e-5)
    return np.pad(ties, [(0, 0), (0, 1)]) | np.pad(ties, [(0, 0), (1, 0)])


if __name__ == "__main__":
    try:
        compare(*sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
