"""Row updates: the optimizers' own formulas, for the rows of a batch only."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec.config import TrainConfig
from tfrec.layers import gathered
from tfrec.models import clipping
from tfrec.models.hstu import HSTU
from tfrec.models.mf import MF
from tfrec.models.sasrec import SASRec
from tfrec.models.twotower import TwoTower
from tfrec.schema import DatasetInfo
from tfrec.training import loop, optimizers

INFO = DatasetInfo("toy", "toy", "user", n_users=4, n_items=9, n_ratings={"train": 16})
START = np.linspace(-1, 1, 10, dtype=np.float32).reshape(5, 2)
OPTIMIZERS = {
    "sgd": lambda: clipping.SGD(0.1),
    "momentum": lambda: clipping.SGD(0.1, momentum=0.9),
    "adagrad": lambda: clipping.Adagrad(0.1),
    "rmsprop": lambda: clipping.RMSprop(0.1),
    "adam": lambda: clipping.Adam(0.1, beta_1=0.8, epsilon=1e-5),
    "adamw": lambda: clipping.AdamW(0.1, weight_decay=0.2),
}


def gradient(step, rows):
    """A gradient with a row for each of `rows`, which may repeat."""
    values = np.random.default_rng(step).normal(size=(len(rows), 2)).astype(np.float32)
    return tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([5, 2]))


def trained(name, batches, by_rows, **options):
    """The table and the optimizer's variables after a step with the rows of each batch."""
    optimizer = OPTIMIZERS[name]() if isinstance(name, str) else name
    table = keras.Variable(START)
    optimizer.by_rows = lambda variable: by_rows
    optimizer.build([table])

    @tf.function
    def step(slices):
        optimizer.apply_gradients([(slices, table)])

    for number, rows in enumerate(batches):
        slices = gradient(number, rows)
        step(slices if by_rows else tf.convert_to_tensor(slices))
    slots = [v.numpy() for v in optimizer.variables if v.shape == table.shape]
    return table.numpy(), slots


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_all_rows_in_each_batch_it_is_the_step_of_keras(name):
    batches = [[0, 1, 2, 3, 4, 2], [4, 3, 3, 2, 1, 0]]
    (table, slots), (dense, expected) = (trained(name, batches, way) for way in (True, False))
    np.testing.assert_allclose(table, dense, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slots, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adagrad"])
def test_without_moments_it_is_the_step_of_keras_whatever_the_rows(name):
    batches = [[0, 1, 1], [1, 3], [3, 3, 3], [0]]
    (table, slots), (dense, expected) = (trained(name, batches, way) for way in (True, False))
    np.testing.assert_allclose(table, dense, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slots, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["momentum", "rmsprop", "adam"])
def test_rows_outside_the_batch_stay_with_their_moments(name):
    batches = [[0, 1], [1], [1]]
    (first, slots), (table, later) = (trained(name, b, True) for b in (batches[:1], batches))
    others = [0, 2, 3, 4]
    np.testing.assert_array_equal(table[others], first[others])
    for before, after in zip(slots, later, strict=True):
        np.testing.assert_array_equal(after[others], before[others])
        assert (after[1] != before[1]).all()
    np.testing.assert_array_equal(table[2:], START[2:])
    if name != "rmsprop":  # whose step is 0 without a gradient
        dense, _ = trained(name, batches, False)
        assert (dense[0] != first[0]).all(), "Keras moves the row by its old mean"


def test_weights_decay_and_are_averaged_in_all_rows():
    optimizer = clipping.AdamW(0.1, weight_decay=0.5, use_ema=True, ema_momentum=0.5)
    table, slots = trained(optimizer, [[0], [0]], True)
    np.testing.assert_allclose(table[1:], START[1:] * 0.95**2, rtol=1e-6)
    average = optimizer._model_variables_moving_average[0].numpy()
    first, second = START[1:] * 0.95, START[1:] * 0.95**2
    np.testing.assert_allclose(average[1:], 0.5 * first + 0.5 * second, rtol=1e-6)
    assert slots


@pytest.mark.parametrize(
    ("setting", "large", "by_rows"),
    [("auto", 5, True), ("auto", 6, False), ("rows", 6, True), ("dense", 5, False)],
)
def test_auto_chooses_by_the_number_of_rows(setting, large, by_rows, monkeypatch):
    monkeypatch.setattr(gathered, "LARGE", large)
    model = MF.create(INFO)
    optimizer = optimizers.make(TrainConfig(embedding_updates=setting), model)
    assert optimizer.by_rows(model.p) == by_rows  # 4 users, and the unknown one
    compiled = optimizers.make(TrainConfig(embedding_updates=setting, jit_compile=True), model)
    assert compiled.by_rows(model.p) == (setting == "rows"), "XLA cannot find distinct rows"


def batch(model):
    if model.reads == "events":
        features = {"user": [0, 1, 1], "item": [2, 3, 3]}
        targets = {"value": [1.0, 2.0, 1.0]}
    else:
        items = [[0, 1, 2], [3, 1, -1]]
        features = {"user": [0, 1], "items": items, "values": [[1.0] * 3] * 2}
        targets = {"target_items": items, "target_values": [[1.0] * 3] * 2}
    return tf.nest.map_structure(tf.constant, (features, targets))


@pytest.mark.parametrize(
    ("cls", "settings", "tables"),
    [
        (MF, {"latent": 2}, {"p": [0, 1], "q": [2, 3]}),
        (TwoTower, {"width": 2, "negatives": 0, "targets": 9}, {"ids": [0, 1, 2, 3]}),
        (SASRec, {"width": 2, "heads": 1, "negatives": 1}, {"table": [0, 1, 2, 3]}),
    ],
)
def test_a_step_changes_only_rows_of_the_batch(cls, settings, tables, monkeypatch):
    monkeypatch.setattr(gathered, "LARGE", 2)
    keras.utils.set_random_seed(0)
    model = cls.create(INFO, cls.Config(**settings))
    if cls is SASRec:
        monkeypatch.setattr(model, "_sample", lambda shape: tf.fill(shape, 3))
    data = tf.data.Dataset.from_tensors(batch(model))
    model.begin_epoch(0, data)
    trainer = loop.Trainer(model, tf.distribute.get_strategy(), TrainConfig(learning_rate=0.1))
    before = {name: getattr(model, name).numpy() for name in tables}
    trainer.epoch(data, 1)
    for name, rows in tables.items():
        changed = (getattr(model, name).numpy() != before[name]).any(axis=1)
        assert np.flatnonzero(changed).tolist() == rows


@pytest.mark.parametrize("loss", ["sampled", "bce", "gbce"])
def test_losses_of_large_tables_are_those_of_small_ones(loss, monkeypatch):
    for cls in (SASRec, HSTU):
        found = []
        for large in (10, 11):
            monkeypatch.setattr(gathered, "LARGE", large)
            keras.utils.set_random_seed(0)
            model = cls.create(INFO, cls.Config(width=4, heads=1, loss=loss, negatives=3))
            features, targets = batch(model)
            outputs = model.run_forward(features)
            found.append(model.objective(features, targets, outputs).numpy())
        np.testing.assert_allclose(*found, rtol=1e-5)


def test_only_the_rows_are_read():
    table = keras.Variable(START)

    @tf.function
    def read(rows):
        return gathered.gathered(table, rows)

    kinds = [
        op.type for op in read.get_concrete_function(tf.constant([1, 1])).graph.get_operations()
    ]
    assert "ResourceGather" in kinds
    assert "ReadVariableOp" not in kinds
    np.testing.assert_array_equal(read(tf.constant([1, 1])), START[[1, 1]])
