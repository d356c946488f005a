"""The evaluator: inputs, several reports, targets hidden from reports."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines import measure, slices
from tfrec.data import training_pairs
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.training import batches
from tfrec.training.evaluation import Evaluator

EVENS = np.arange(40) % 2 == 0


@pytest.fixture(params=["popularity", "autorec", "mf"])
def tested(board, request):
    """A model with its data: ranked lists by user, ratings by item rows, single events."""
    cls = MODELS[request.param]
    config = cls.Config()
    data_dir, _ = board(cls.rows(config), cls.task == "ranking")
    model = cls.create(DatasetInfo.load(data_dir), config)
    if cls.closed_form:
        model.fit(batches.read(model, data_dir, "train", fill=True))
    return model, data_dir


def pairs_of_users(model, data_dir):
    """The test targets as user and item, `[n, 2]`, and their codes."""
    row, column = training_pairs.pairs(data_dir, model.info, "test").T
    both = (row, column) if model.info.rows == "user" else (column, row)
    return np.stack(both, 1), row * model.info.n_columns + column


def test_the_pipeline_measures_what_the_evaluator_does(tested):
    model, data_dir = tested
    report = model.task_object.new_report(model.info)
    due = Evaluator(model)(batches.read(model, data_dir, "test", 7), report)
    nothing = np.zeros(0, np.int64)
    found = measure.measure(model, data_dir, slices.Slices({}, {}), nothing)
    assert found.result == pytest.approx(due, abs=1e-6)


def test_learned_entries_are_no_targets_and_are_not_listed(tested):
    """Reports treat training items as input, and refuse lists that contain them."""
    model, data_dir = tested
    pairs, codes = pairs_of_users(model, data_dir)
    known = np.zeros(len(pairs), bool)
    known[::3] = True
    cut = slices.Slices({"some": np.arange(40) < 13}, {"evens": EVENS, "odds": ~EVENS})
    found = measure.measure(model, data_dir, cut, np.unique(codes[known]))
    left = pairs[~known]
    of_slice = {
        measure.WHOLE: left,
        "some": left[left[:, 0] < 13],
        "evens": left[EVENS[left[:, 1]]],
        "odds": left[~EVENS[left[:, 1]]],
    }
    assert set(found.values) == set(of_slice)
    for name, due in of_slice.items():
        values = found.values[name]
        assert values.users.tolist() == sorted(set(due[:, 0].tolist())), name
    assert len(of_slice["evens"]) < len(left) < len(pairs)


class Watching:
    """A report that takes all scores, and records its arguments."""

    depth, keep = 0, None

    def __init__(self):
        self.given = []

    def update(self, features, targets, scores):
        self.given.append((features["user"].numpy(), scores.numpy()))

    def result(self):
        return {"batches": len(self.given)}


def test_the_model_scores_what_it_reads_and_all_reports_see_the_same_instead(tested):
    model, data_dir = tested
    first, second = Watching(), Watching()

    def hidden(features, targets):
        return {"user": tf.fill(tf.shape(features["user"]), -1)}, targets

    rows = batches.read(model, data_dir, "test", 16)
    assert Evaluator(model, reported=hidden)(rows, first, second) == {"batches": len(rows)}
    for (features, _), *both in zip(rows, first.given, second.given, strict=True):
        for users, scores in both:
            assert set(users) == {-1}
            np.testing.assert_allclose(scores, model.score(features), rtol=1e-5, atol=1e-6)
