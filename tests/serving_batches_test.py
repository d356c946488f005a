"""Batching on a server does not change answers, and requests of any size are answered.

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
from random_weights import randomise

from tfrec.data import fields
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import arrays, examples, local, replay, signatures
from tfrec.serving.answers import LOWEST, specs_of

MODELS_OF = {  # settings
    # Histories and users. Its steps end where the loss is the same but for rounding, which depends
    # on a batch's shape: 4e-4 of a score.
    "cdae": {"fold_in_steps": 0},
    "sasrec": {"window": 4},  # histories in their order
    "mf": {},  # users
    "autoencoder": {},
    "autorec": {},
    "deepfm": {},
}
CHEAP = ("cdae", "sasrec", "mf")  # tracing all takes a minute
N = 40  # users and items of the checkerboard
WIDEST = 7
FILL = {"s": "", "f": 0.0}


@pytest.fixture(scope="module")
def tops(board, clicks, fm, tmp_path_factory):  # noqa: F811
    """`tops(*names)`: signatures by model, with those of "clicks", a model of events."""
    folder = tmp_path_factory.mktemp("titles")
    made = {"clicks": signatures.make(fm, clicks, 99, folder / "clicks.txt")}

    def make(name):
        cls = MODELS[name]
        config = dataclasses.replace(cls.Config(), **{**SMALL[name][0], **MODELS_OF[name]})
        data_dir, _ = board(cls.rows(config), likes_only=True)
        model = cls.create(DatasetInfo.load(data_dir), config)
        if model.reads == "events":
            model.take_tables(fields.read(data_dir))
        randomise(model, np.random.default_rng(1), 0.1, keep=True)
        return signatures.make(model, data_dir, 5, folder / f"{name}.txt")

    def get(*names):
        made.update({name: make(name) for name in names if name not in made})
        return {name: made[name] for name in ("clicks", *names)}

    return get


def asked(top, name, request):
    return {output: x.numpy() for output, x in top.ask(name, request).items()}


# ------------------------------------------------------------------ random requests


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
    """Rows as Examples, of which some hold little or cannot be parsed."""
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
    """`n` random requests to a signature.

    Examples, users and events of one row to four; lists of one row, as for a server that batches,
    or of several, as the client sends them.
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
            cells = {
                key: np.array(lists[key][0] or [FILL["f" if key == "values" else "s"]])
                if key in lists
                else singles[key][:1]
                for key in specs
            }
            yield {key: cell[np.newaxis] if key in lists else cell for key, cell in cells.items()}
        else:
            for row, values in enumerate(lists["values"]):  # as many as there are items
                lists["values"][row] = (values + [5.0] * WIDEST)[: len(lists["items"][row])]
            both = lists | {key: list(column) for key, column in singles.items()}
            yield {key: arrays.pad(both[key], spec) for key, spec in specs.items()}


# ------------------------------------------------------------------ the batching session


def joined(rng, batch):
    """The tensors of one run, padded with copies of the last request's first row."""
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
    """For each row of a batch, its request and the difference from the answer to it alone."""
    together = asked(top, name, joined(rng, batch))
    at = 0
    for request in batch:
        for row in range(len(next(iter(request.values())))):
            alone = {key: array[row : row + 1] for key, array in request.items()}
            due = asked(top, name, alone)
            got = {output: array[at : at + 1] for output, array in together.items()}
            at += 1
            if name in ("rate", "rate_example", "explain"):
                got = without_filling(got, due)
            yield request, replay.difference(got, due)


def without_filling(got, due):
    """An answer without the padding that follows the candidates and items of an Example."""
    if "classes" in got:
        n = due["scores"].shape[1]
        assert (got["classes"][:, n:] == b"").all()
        assert (got["scores"][:, n:] == LOWEST).all()
    return {output: array[tuple(map(slice, due[output].shape))] for output, array in got.items()}


def count(tops, batches, seed):
    """The number of rows compared; fails at the first that differs."""
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
    assert count(tops(*CHEAP), batches=1, seed=0) > 200


@pytest.mark.slow
def test_ten_thousand_rows_in_batches(tops):
    rows = count(tops(*MODELS_OF), batches=30, seed=1)
    print(f"{rows:,} rows, each as alone")
    assert rows > 10_000


def test_two_requests_of_lists_may_be_the_same_batch(tops):
    """Padding cannot be distinguished from items, so a request of lists must hold one row."""
    short, long = [["i1"], ["i3"]], [["i1", "i1"], ["i3", "i1"]]
    wide = {"items": np.array([["i9", "i8"]]), "values": np.ones([1, 2])}
    rows = [{"items": np.array(x), "values": np.ones_like(x, float)} for x in (short, long)]
    one, other = (joined(np.random.default_rng(0), [row, wide])["items"][:2] for row in rows)
    np.testing.assert_array_equal(one, other)
    name, top = "serving_default", tops("sasrec")["sasrec"]
    alone = [asked(top, name, row)["items"][1].tolist() for row in rows]
    assert alone[0] != alone[1]
    faults = differing(top, name, [rows[0], wide], np.random.default_rng(0))
    assert [bool(fault) for _, fault in faults] == [False, True, False]


# ------------------------------------------------------------------ sizes


def test_requests_of_any_size_are_answered(tops):
    """No rows, empty rows, histories of 10,000 items, everything seen, long histories."""
    found = tops(*CHEAP)
    for family, top in found.items():
        for name, function in top.endpoints().items():
            specs = specs_of(function)
            for request in (of_size(top, specs, 0, 0), of_size(top, specs, 2, 0)):
                rows = len(next(iter(request.values())))
                for output, array in asked(top, name, request).items():
                    assert len(array) == rows, (family, name)
                    assert output != "scores" or np.isfinite(array).all()
            # An answer of `explain` has a number for each pair of a candidate and an item.
            large = of_size(top, specs, 2, 500 if name == "explain" else 10_000)
            answer = asked(top, name, large)
            assert all(np.isfinite(x).all() for x in answer.values() if x.dtype.kind == "f")
            if name in ("rate", "rate_example"):
                assert answer["scores"].shape == (2, 10_000)
                columns = answer["scores"].reshape(2, -1, len(catalogue(top)))
                np.testing.assert_array_equal(columns[:, 0], columns[:, -1])
            elif name in ("recommend", "recommend_example", "classify") and "items" in top.sampled:
                lists = answer["classes" if name == "classify" else "items"]
                assert (lists == b"").all(), "everything is seen"
                assert (answer["scores"] == LOWEST).all()
    best = asked(found["clicks"], "serving_default", {"user": np.array(["stranger"])})
    assert sorted(best["items"][0]) == sorted(x.encode() for x in catalogue(found["clicks"]))


def catalogue(top):
    return (top.data_dir / "items.txt").read_text().split()


def of_size(top, specs, rows, width):
    """A request of `rows` rows with lists of `width` items: the catalogue, repeated."""
    all_items = catalogue(top)
    lists = {
        "items": np.resize(all_items, [rows, width]).astype(str),
        "values": np.resize([1.0, 5.0], [rows, width]),
        "exclude": np.full([rows, width], "i1"),
        "allow": np.full([rows, width], ""),
        "candidates": np.resize(all_items, [rows, width]).astype(str),
    }
    singles = {name: array[:rows] for name, array in top.sampled.items() if array.ndim == 1}
    if "inputs" not in specs:
        return {name: (lists | singles)[name] for name in specs}
    held = {name: array for name, array in lists.items() if name in top.sampled and width}
    return {"inputs": examples.serialize(singles | held) if rows else np.zeros(0, object)}
