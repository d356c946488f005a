"""Lists by blocks of items: those of all scores at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec.data import inputs
from tfrec.metrics import RankingReport, SampledRankingReport
from tfrec.models import top_items
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import signatures
from tfrec.training import batches
from tfrec.training.evaluation import Evaluator

SETTINGS = {
    "mf": {"loss": "softmax", "latent": 4, "deviation": 1.0},
    "sasrec": {"width": 4, "heads": 1, "window": 20},
    "twotower": {"width": 4},
}


@pytest.fixture
def small_blocks(monkeypatch):
    """Four items at once, whatever the batch."""

    def make():
        monkeypatch.setattr(top_items, "BLOCK", 4)
        monkeypatch.setattr(top_items, "ROWS", 1)

    return make


@pytest.fixture(params=SETTINGS)
def model(board, request):
    """An untrained model, whose scores are all different."""
    data_dir, _ = board("user", True)
    keras.utils.set_random_seed(1)
    cls = MODELS[request.param]
    made = cls.create(DatasetInfo.load(data_dir), cls.Config(**SETTINGS[request.param]))
    made.list_order.counts.assign(np.arange(made.info.n_items) % 5)
    made.list_order.recent.assign(np.arange(made.info.n_items) % 7)
    return made, data_dir


class Lists(RankingReport):
    """Keeps the lists."""

    def update(self, features, targets, top_items):
        super().update(features, targets, top_items)
        found = zip(np.asarray(features["user"]), np.asarray(top_items), strict=True)
        self.lists = getattr(self, "lists", {}) | {int(user): row.tolist() for user, row in found}


def lists_of(model, data_dir, report):
    Evaluator(model)(batches.read(model, data_dir, "test", 7), report)
    return report.lists


def test_an_evaluation_lists_the_same_items(model, small_blocks):
    whole = lists_of(*model, Lists(model[0].info, (10,)))
    small_blocks()
    assert lists_of(*model, Lists(model[0].info, (10,))) == whole
    assert len(whole) > 30


def test_scores_are_still_checked(model, small_blocks):
    small_blocks()
    made, data_dir = model
    for table in made.trainable_weights:
        table.assign(np.full(table.shape, np.nan))
    with pytest.raises(tf.errors.InvalidArgumentError, match="diverged"):
        lists_of(made, data_dir, Lists(made.info, (10,)))


def test_batches_are_not_cut_where_lists_are_made_by_blocks(model, small_blocks, monkeypatch):
    made, data_dir = model
    monkeypatch.setattr(inputs, "_SCORES", 3 * made.info.n_items)
    size = lambda: len(next(iter(batches.read(made, data_dir, "test", 7)))[0]["user"])  # noqa: E731
    assert size() == 3
    small_blocks()
    assert size() == 7


def test_reports_that_need_all_scores_get_them(model, small_blocks):
    made, data_dir = model
    small_blocks()
    counts = np.ones(made.info.n_items)
    report = SampledRankingReport(made.info, "uniform", counts, 5, (3,))
    result = Evaluator(made)(batches.read(made, data_dir, "test", 7), report)
    assert 0 <= result["hr@3"] <= 1


@pytest.mark.parametrize("name", ["sasrec", "twotower"])
def test_a_request_of_many_histories_is_answered_the_same(name, board, small_blocks, tmp_path):
    data_dir, _ = board("user", True)
    cls = MODELS[name]
    made = cls.create(DatasetInfo.load(data_dir), cls.Config(**SETTINGS[name]))
    request = {
        "items": tf.constant([["i1", "i3", "i5"], ["i2", "", ""], ["", "", ""]]),
        "values": tf.ones([3, 3]),
        "exclude": tf.constant([["i7"], [""], ["i4"]]),
        "allow": tf.constant([[""] * 3, ["i2", "i4", "i39"], [""] * 3]),
    }

    def asked(number):
        top = signatures.make(made, data_dir, 7, tmp_path / f"titles{number}.txt")
        return top.signatures["recommend"](request)

    whole = asked(0)
    small_blocks()
    found = asked(1)
    np.testing.assert_array_equal(found["items"], whole["items"])
    np.testing.assert_allclose(found["scores"], whole["scores"], rtol=1e-5)
