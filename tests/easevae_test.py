"""EASE and RecVAE combined: both parts contribute, and neither changes the other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec.config import TrainConfig
from tfrec.models.easevae import EASEVAE
from tfrec.models.recvae import RecVAE
from tfrec.models.weightedease import WeightedEASE
from tfrec.schema import DatasetInfo
from tfrec.training.loop import Trainer

INFO = DatasetInfo("toy", "toy", "user", 4, 4, {})
ITEMS = np.array([[0, 1, -1], [0, 2, -1], [1, 2, 3], [0, 1, 2]], np.int32)
FEATURES = {
    "user": np.arange(4, dtype=np.int32),
    "items": ITEMS,
    "values": (ITEMS >= 0).astype(np.float32),
}
TARGETS = {"target_items": ITEMS, "target_values": FEATURES["values"]}
ROWS = tf.data.Dataset.from_tensor_slices((FEATURES, TARGETS)).batch(2)
DEEP = {"hidden": 5, "depth": 2, "latent": 2, "dropout": 0.5}
LINEAR = {"regularization": 0.5, "activity": 0.3, "ridge": 0.4, "discount": 0.1}


def create(cls, **settings):
    keras.utils.set_random_seed(3)
    return cls.create(INFO, cls.Config(**settings))


def trained(cls, one, epochs=2, **settings):
    model = create(cls, **settings)
    config = TrainConfig(epochs=epochs, learning_rate=0.01)
    Trainer(model, one, config).fit(lambda epoch: ROWS, None)
    return model


def test_the_score_is_both_parts(one):
    model = trained(EASEVAE, one, linear_weight=7.0, **DEEP, **LINEAR)
    linear = create(WeightedEASE, **LINEAR)
    linear.fit(ROWS)
    logits = model.run_forward(FEATURES)[0].numpy()
    deep = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    due = deep + 7 * linear.score(FEATURES).numpy()
    np.testing.assert_allclose(model.score(FEATURES), due, rtol=1e-4)


def test_recvae_is_trained_as_if_it_were_alone(one):
    both, alone = trained(EASEVAE, one, **DEEP, **LINEAR), trained(RecVAE, one, **DEEP)
    for part in ("encoder", "old_encoder", "decoder"):
        weights = [getattr(m, part).get_weights() for m in (both, alone)]
        for a, b in zip(*weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_linear_part_is_solved_once_a_training_and_never_descends(one, monkeypatch):
    calls, fit = [], WeightedEASE.fit
    monkeypatch.setattr(WeightedEASE, "fit", lambda self, rows: calls.append(1) or fit(self, rows))
    model = trained(EASEVAE, one, epochs=3, **DEEP, **LINEAR)
    assert len(calls) == 1
    assert not any("item_weights" in w.path for w in model.trainable_weights)


def test_keras_fit_solves_it_too():
    model = create(EASEVAE, **DEEP, **LINEAR)
    model.compile("adam")
    model.fit(ROWS, epochs=2, verbose=0, shuffle=False)
    linear = create(WeightedEASE, **LINEAR)
    linear.fit(ROWS)
    np.testing.assert_array_equal(model.linear.item_weights, linear.item_weights)


@pytest.mark.parametrize("weight", [0.0, 1e6])
def test_the_linear_weight_goes_from_recvaes_ranking_to_eases(one, weight):
    model = trained(EASEVAE, one, linear_weight=weight, **DEEP, **LINEAR)
    due = (model.linear.score(FEATURES) if weight else model.run_forward(FEATURES)[0]).numpy()
    ranked = np.take_along_axis(due, np.argsort(model.score(FEATURES), axis=1), axis=1)
    assert (np.diff(ranked, axis=1) > -1e-5).all()
