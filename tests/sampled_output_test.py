"""A softmax over sampled items: an unbiased normalizer, and no tensor as wide as the catalogue."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec import losses
from tfrec.config import TrainConfig
from tfrec.layers.dense import Dense
from tfrec.layers.densify import densify
from tfrec.models import sampled_output
from tfrec.models.item_sets import FromItems, ToItems
from tfrec.models.multdae import MultDAE
from tfrec.models.multvae import MultVAE
from tfrec.schema import DatasetInfo
from tfrec.training import loop

N = 997  # no other size in a graph
INFO = DatasetInfo(
    "toy", "toy", "user", n_users=4, n_items=N, n_ratings={"train": 12}, row_counts={"train": 4}
)
ITEMS = np.array([[0, 5, 996, 3], [3, 1, -1, -1], [2, 5, 7, -1], [-1, -1, -1, -1]], np.int32)
MODELS = [(MultVAE, {"hidden": (6,), "latent": 3}), (MultDAE, {"hidden": (6, 3), "l2": 0.0})]


def batch():
    features = {"user": np.arange(4, dtype=np.int32), "items": ITEMS}
    features["values"] = np.ones(ITEMS.shape, np.float32)
    targets = {"target_items": ITEMS, "target_values": features["values"]}
    return tf.nest.map_structure(tf.constant, (features, targets))


def output(n, seed=0):
    """A layer with large logits, and its input."""
    keras.utils.set_random_seed(seed)
    layer = ToItems(n, 5, "zeros")
    layer.table.assign(np.random.default_rng(0).normal(size=(n, 5)))
    layer.bias.assign(np.random.default_rng(1).normal(size=n))
    return layer, tf.constant(np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32))


def test_with_all_items_as_negatives_it_is_the_whole_softmax():
    layer, x = output(N)
    whole = losses.multinomial_nll(layer(x), ITEMS)
    found = layer.sampled_nll(x, tf.constant(ITEMS), tf.range(N))
    np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-4)
    assert found[3] == 0, "an empty row has no loss"


def test_the_estimate_of_the_normalizer_is_right_in_the_mean():
    n, items = 12, tf.constant([[0, 5], [3, -1], [2, 5], [11, 1]])
    layer, x = output(n)
    rng = np.random.default_rng(0)
    nll = tf.function(lambda drawn: layer.sampled_nll(x, items, drawn))
    draws = [nll(tf.constant(rng.integers(n, size=4), tf.int32)).numpy() for _ in range(4000)]
    length = np.array([2, 1, 2, 2])
    picked = losses.picked_sum(layer(x), items).numpy()
    normalizers = np.exp((np.array(draws) + picked) / length)
    whole = np.exp(layer(x).numpy()).sum(axis=1)
    np.testing.assert_allclose(normalizers.mean(axis=0), whole, rtol=0.05)


def test_a_layer_from_items_is_a_dense_layer():
    layer, dense = FromItems(N, 3, "tanh", "zeros"), Dense(3, "tanh")
    dense.build((None, N))
    dense.set_weights([layer.kernel.numpy(), np.array([0.1, 0.2, 0.3])])
    layer.bias.assign([0.1, 0.2, 0.3])
    values = tf.constant(np.random.default_rng(0).normal(size=ITEMS.shape).astype(np.float32))
    rows = densify(tf.constant(ITEMS), values * losses.observed(ITEMS), N)
    np.testing.assert_allclose(layer((tf.constant(ITEMS), values)), dense(rows), atol=1e-6)


@pytest.mark.parametrize(
    ("softmax", "large", "samples"),
    [("auto", N, True), ("auto", N + 1, False), ("full", N, False), ("sampled", N + 1, True)],
)
@pytest.mark.parametrize(("cls", "settings"), MODELS)
def test_auto_samples_in_large_catalogues(cls, settings, softmax, large, samples, monkeypatch):
    monkeypatch.setattr(sampled_output, "FROM_ITEMS", large)
    model = cls.create(INFO, cls.Config(softmax=softmax, **settings))
    assert model.samples == samples
    full, other = (cls.Config(softmax=x, **settings) for x in ("full", softmax))
    wide = dataclasses.replace(INFO, n_items=50_000)
    estimates = [cls.activations(wide, c, TrainConfig()) for c in (full, other)]
    assert (estimates[1] < estimates[0]) == (softmax in ("auto", "sampled"))


@pytest.mark.parametrize(("cls", "settings"), MODELS)
def test_no_tensor_of_a_step_has_a_column_for_each_item(cls, settings):
    def widths(softmax):
        config = cls.Config(softmax=softmax, negatives=11, **settings)
        model = cls.create(INFO, config)
        train = TrainConfig(embedding_updates="rows")
        loop.Trainer(model, tf.distribute.get_strategy(), train)  # compiles the model
        graph = tf.function(model.train_step).get_concrete_function(batch()).graph
        shapes = [out.shape for op in graph.get_operations() for out in op.outputs]
        return [s for s in shapes if s.rank and N in s.as_list()]

    assert widths("full")
    assert not widths("sampled")


@pytest.mark.parametrize(("cls", "settings"), MODELS)
def test_it_learns_the_rows_and_comes_back_from_a_file(cls, settings, tmp_path):
    keras.utils.set_random_seed(0)
    config = cls.Config(softmax="sampled", negatives=50, dropout=0.0, **settings)
    model = cls.create(INFO, config)
    data = tf.data.Dataset.from_tensors(batch()).repeat(150)
    features, targets = batch()

    def exact():
        outputs = model.run_forward(features)
        return float(model.compute_loss(features, targets, outputs, training=False))

    before = exact()
    trainer = loop.Trainer(model, tf.distribute.get_strategy(), TrainConfig(learning_rate=0.02))
    trainer.epoch(data, 0)
    assert exact() < 0.6 * before
    top = np.argsort(-model.score(features).numpy()[0])[:4]
    assert set(top) & {0, 5, 996, 3} == set(top)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.score(features), model.score(features), atol=1e-6)
