"""No batch that a server makes changes an answer, and no size of a request ends one.

Requests are joined as the batching session of TF Serving joins them (`batching_session.cc` and
`batching_util.cc`): each input is padded with its request's first value up to the longest of the
batch, rows are concatenated, a copy of a row fills the batch up, and each request gets its rows of
the answer.
"""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from contract_test import SMALL
from event_scores_test import clicks, fm  # noqa: F401 (fixtures)

from tfrec.data import fields
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import arrays, local, replay, signatures
from tfrec.serving.answers import LOWEST, specs_of

FAMILIES = {  # model, settings; likes only, so that users have something left to see
    "history": ("autoencoder", {}),
    "history and user": ("cdae", {"fold_in_steps": 5}),
    "sequence": ("sasrec", {"window": 4}),
    "rows of items": ("autorec", {}),
    "user": ("mf", {}),
    "fields": ("deepfm", {}),
}
N = 40  # users and items of the checkerboard
WIDEST = 7
FILL = {"s": "", "f": 0.0}


@pytest.fixture(scope="module")
def tops(board, clicks, fm, tmp_path_factory):  # noqa: F811
    """What answers, by family."""
    folder = tmp_path_factory.mktemp("titles")
    found = {"clicks": signatures.make(fm, clicks, 3, folder / "clicks.txt")}
    for name, (model, settings) in FAMILIES.items():
        cls = MODELS[model]
        config = dataclasses.replace(cls.Config(), **{**SMALL[model][0], **settings})
        data_dir, _ = board(cls.rows(config), likes_only=True)
        made = cls.create(DatasetInfo.load(data_dir), config)
        if made.reads == "events":
            made.take_tables(fields.read(data_dir))
        rng = np.random.default_rng(1)
        for weight in made.weights:
            if "float" in weight.dtype:
                weight.assign(weight + rng.normal(scale=0.1, size=weight.shape))
        found[name] = signatures.make(made, data_dir, 5, folder / f"{name}.txt")
    return found


def asked(top, name, request):
    return {output: x.numpy() for output, x in top.ask(name, request).items()}


# ------------------------------------------------------------------ requests by chance


def ids(rng, n):
    """Raw ids of items: known ones, of which some twice, unknown ones and padding."""
    return [
        rng.choice(["", "nothing", f"i{rng.integers(N)}", *[f"i{rng.integers(10)}"] * 5])
        for _ in range(n)
    ]


def ratings(rng, n):
    return [float(rng.choice([1, 2, 3, 4, 5, np.nan, np.inf])) for _ in range(n)]


def lists_of(rng, rows):
    """Lists of any length, by name, for each of so many rows."""
    return {
        name: [make(rng, rng.integers(WIDEST + 1)) for _ in range(rows)]
        for name, make in {
            **dict.fromkeys(("items", "exclude", "candidates"), ids),
            "allow": lambda rng, n: ids(rng, n) if rng.random() < 0.5 else [],
            "values": ratings,
        }.items()
    }


def singles_of(rng, top, rows):
    """Single values, by name: users, items, and the context that a model reads."""
    picked = rng.integers(9, size=rows)
    return {name: array[picked] for name, array in top.sampled.items() if array.ndim == 1}


def serialized(rng, lists, singles):
    """Rows as Examples, of which some hold little or can not be read."""
    found = []
    for row in range(len(lists["items"])):
        made = tf.train.Example()
        for name, rows in (lists | singles).items():
            cell = np.atleast_1d(rows[row])
            if rng.random() < 0.1 or not cell.size:
                continue
            kind = {"f": "float_list", "i": "int64_list"}.get(cell.dtype.kind, "bytes_list")
            entries = cell.tolist() if kind != "bytes_list" else [str(x).encode() for x in cell]
            getattr(made.features.feature[name], kind).value.extend(entries)
        text = made.SerializeToString()
        found.append(text if rng.random() < 0.9 else text[:-1] + b"\xff")
    return np.array(found, object)


def requests(rng, top, name, n):
    """So many requests to a signature.

    Examples, users and events of one row to four; lists of one row, which is what a server that
    batches may be sent, or of several as the client sends them.
    """
    specs = local.InMemory(top).specs(name)
    for _ in range(n):
        rows = rng.integers(1, 5)
        lists, singles = lists_of(rng, rows), singles_of(rng, top, rows)
        if "inputs" in specs:
            yield {"inputs": serialized(rng, lists, singles)}
        elif all(len(spec.shape) == 1 for spec in specs.values()):
            yield {key: singles[key] for key in specs}
        elif rng.random() < 0.5:
            cells = {key: np.array(lists[key][0] or [FILL["f" if key == "values" else "s"]])
                     if key in lists else singles[key][:1] for key in specs}
            yield {key: cell[np.newaxis] if key in lists else cell for key, cell in cells.items()}
        else:
            for row, values in enumerate(lists["values"]):  # as many as there are items
                lists["values"][row] = (values + [5.0] * WIDEST)[: len(lists["items"][row])]
            both = lists | {key: list(column) for key, column in singles.items()}
            yield {key: arrays.pad(both[key], spec) for key, spec in specs.items()}


# ------------------------------------------------------------------ the batching session


def joined(rng, batch):
    """The tensors of one run, filled up with copies of the last request's first row."""
    merged, spare = {}, rng.integers(3)
    for name in batch[0]:
        tensors = [request[name] for request in batch]
        widest = max(x.shape[1:] for x in tensors)
        if widest:
            tensors = [
                np.pad(x, [(0, 0), (0, widest[0] - x.shape[1])], constant_values=x[0, 0])
                if x.dtype.kind != "U"
                else np.array([[*row, *[x[0, 0]] * (widest[0] - len(row))] for row in x.tolist()])
                for x in tensors
            ]
        merged[name] = np.concatenate([*tensors, *[tensors[-1][:1]] * spare])
    return merged


def differing(top, name, batch, rng):
    """Rows of a batch, and what differs from the same row alone."""
    together = asked(top, name, joined(rng, batch))
    at = 0
    for request in batch:
        for row in range(len(next(iter(request.values())))):
            alone = {key: array[row : row + 1] for key, array in request.items()}
            due = asked(top, name, alone)
            got = {output: array[at : at + 1] for output, array in together.items()}
            at += 1
            if name in ("rate", "rate_example"):
                got = without_filling(got, due)
            yield request, replay.difference(got, due)


def without_filling(got, due):
    """The answer's own candidates; those of an Example are followed by nothing."""
    n = due["scores"].shape[1]
    if "classes" in got:
        assert (got["classes"][:, n:] == b"").all()
        assert (got["scores"][:, n:] == LOWEST).all()
    return {output: array[:, :n] for output, array in got.items()}


def count(tops, batches, seed):
    """How many rows were compared; fails at the first that differs."""
    rng, n = np.random.default_rng(seed), 0
    for family, top in tops.items():
        for name in top.endpoints():
            for _ in range(batches):
                batch = list(requests(rng, top, name, rng.integers(2, 6)))
                for request, fault in differing(top, name, batch, rng):
                    assert not fault, (family, name, request, fault)
                    n += 1
    return n


def test_a_row_in_a_batch_is_answered_like_the_same_row_alone(tops):
    assert count(tops, batches=1, seed=0) > 250


@pytest.mark.slow
def test_ten_thousand_rows_in_batches(tops):
    assert count(tops, batches=40, seed=1) > 10_000
