"""How steps run: several in a call, skipped batches on replicas, float16, XLA, determinism."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from clipping_test import ALL, INFO, SMALL, by_data, rows
from training_test import trial  # noqa: F401  (a fixture)

from tfrec.config import TrainConfig
from tfrec.models.registry import MODELS
from tfrec.training import loop, methods

STEPS = 7


@pytest.fixture(autouse=True)
def _no_noise(monkeypatch):
    """Zero noise: replicas draw other noise than one device."""
    monkeypatch.setattr(keras.random, "normal", lambda shape, dtype, seed: tf.zeros(shape, dtype))


def batches(name, bad=-1):
    """The same rows in each batch; one rating of batch `bad` is NaN."""
    size = 12 if MODELS[name].reads == "events" else 4

    def poison(n, batch):
        features, targets = batch
        key = "value" if "value" in targets else "target_values"
        where = tf.scatter_nd(
            tf.zeros([1, len(targets[key].shape)], tf.int32),
            [1.0],
            [size, 4][: len(targets[key].shape)],
        )
        poisoned = tf.where((n == bad) & (where > 0), float("nan"), targets[key])
        return features, {**targets, key: poisoned}

    data = rows(name).unbatch().batch(size, drop_remainder=True).repeat(STEPS).enumerate()
    known = tf.data.experimental.assert_cardinality(STEPS)
    return data.map(poison).apply(known).with_options(by_data())


def passed(name, strategy, bad=-1, **train):
    """One epoch: all variables, the logs, the steps after which calls ended, watch and model."""
    keras.utils.set_random_seed(2)
    config = TrainConfig(**{**ALL, "epochs": 2, "schedule": "linear", **train})
    if config.precision != "float32":
        keras.config.set_dtype_policy(f"mixed_{config.precision}")
    with strategy.scope():
        model = MODELS[name].create(INFO, MODELS[name].Config(**SMALL[name]))
    ends = []
    watch = methods.Watch(lambda watch: ends.append(watch.done), room=lambda watch: 100)
    log = loop.Trainer(model, strategy, config).epoch(batches(name, bad), 0, watch=watch)
    variables = [*model.trainable_weights, *model.optimizer.variables]
    return [np.array(v.numpy()) for v in variables], log, ends, watch, model


@pytest.mark.parametrize(("name", "replicas"), [("mf", "one"), ("deeprec", "mirrored")])
def test_several_steps_in_a_call_end_where_single_ones_do(name, replicas, request):
    strategy = request.getfixturevalue(replicas)
    single, log, ends, _, _ = passed(name, strategy)
    assert ends == list(range(1, STEPS + 1))
    several, log_of_calls, ends, _, _ = passed(name, strategy, steps_per_call=3)
    assert ends == [3, 6, 7]
    for a, b in zip(single, several, strict=True):
        np.testing.assert_array_equal(a, b)
    assert log_of_calls == log


def test_a_step_that_one_replica_spoils_is_left_out_as_on_one_device(one, mirrored):
    skipped = [
        passed("autoencoder", strategy, bad=3, on_nan="skip", steps_per_call=5)
        for strategy in (one, mirrored)
    ]
    for _, log, ends, watch, _ in skipped:
        assert (watch.skipped, len(ends)) == (1, STEPS)
        assert np.isfinite(log["loss"])
    for a, b in zip(skipped[0][0], skipped[1][0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_float16_scales_the_loss_and_leaves_out_what_overflows(one, mirrored):
    name = "autoencoder"
    alone, _, _, _, model = passed(name, one, precision="float16", bad=3)
    assert type(model.optimizer).__name__ == "LossScale"
    assert float(model.optimizer.dynamic_scale.numpy()) == 2.0**14, "one step overflowed"
    both, *_ = passed(name, mirrored, precision="float16", bad=3)
    full, *_ = passed(name, one, on_nan="skip", bad=3)
    n = len(model.trainable_weights)
    for a, b, c in zip(alone[:n], both[:n], full[:n], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3)
        np.testing.assert_allclose(a, c, rtol=5e-2, atol=5e-3)


def test_lbfgs_refuses_float16():
    with pytest.raises(ValueError, match="--train precision=float16: lbfgs .*leave it out"):
        TrainConfig(optimizer="lbfgs", precision="float16")


def test_a_compiled_step_is_the_same_step(one):
    plain, log, _, _, _ = passed("autoencoder", one, clip_norm=0.0)
    compiled, same_log, _, _, _ = passed("autoencoder", one, clip_norm=0.0, jit_compile=True)
    for a, b in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert same_log["loss"] == pytest.approx(log["loss"], rel=1e-4)


def test_what_cannot_be_compiled_says_so(one, mirrored, monkeypatch):
    def step(self, data):
        tf.debugging.assert_equal(tf.strings.as_string(data[0]["user"]), "0")
        return {}

    monkeypatch.setattr(MODELS["mf"], "train_step", step)
    with pytest.raises(ValueError, match="--train jit_compile=true.* MF .*leave it out"):
        passed("mf", one, jit_compile=True)
    with pytest.raises(ValueError, match="--train jit_compile=true is for one device"):
        passed("mf", mirrored, jit_compile=True)


def test_deterministic_gives_the_same_bits_twice(trial):  # noqa: F811
    from tensorflow.python.framework import config as tf_config

    try:
        runs = [trial(epochs=1, deterministic=True) for _ in range(2)]
        assert tf_config.is_op_determinism_enabled()
        for t in runs:
            t.fit(resume=False)
    finally:
        tf_config.disable_op_determinism()
    for a, b in zip(*(t.model.get_weights() for t in runs), strict=True):
        np.testing.assert_array_equal(a, b)
