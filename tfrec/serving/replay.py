"""Compares a SavedModel's answers with its model's: `python -m tfrec.serving.replay`.

Runs in its own process without the model, so the answers can only come from the files.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf

from tfrec.serving import warmup


def compare(path: str, requests_file: str, answers_file: str) -> None:
    """Runs the requests, then the warm-up records, which are their first rows.

    Args:
        path: The directory of the SavedModel.
        requests_file: As written by `warmup.write`.
        answers_file: As written by `save`.

    Raises:
        ValueError: an answer differs; names the first such signature.
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
    """Describes the first difference between two answers; "" if there is none.

    Scores may differ by rounding, and neighbours with equal scores may be in another order.
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
        for index in np.argwhere(~same)[:1]:
            other, own = got[name][tuple(index)], expected[tuple(index)]
            return (
                f"{name} of request {index[0]}, column {index[-1]}: {other} from the SavedModel, "
                f"{own} from the model"
            )
    return ""


def _may_swap(scores: np.ndarray) -> np.ndarray:
    """Which ranks have a neighbour with the same score up to rounding."""
    ties = np.isclose(scores[:, 1:], scores[:, :-1], rtol=1e-5, atol=1e-5)
    return np.pad(ties, [(0, 0), (0, 1)]) | np.pad(ties, [(0, 0), (1, 0)])


if __name__ == "__main__":
    try:
        compare(*sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
