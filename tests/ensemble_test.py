"""An ensemble is its members' mean, and trains each as it would be alone."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.autorec import AutoRec
from tfrec.models.ensemble import Ensemble
from tfrec.models.fm import FM
from tfrec.schema import DatasetInfo, Field

INFO = DatasetInfo("toy", "toy", "user", 4, 6, {"train": 7})
ROWS = {
    "user": tf.constant([0, 1]),
    "items": tf.constant([[0, 2, 5], [1, 3, -1]]),
    "values": tf.constant([[4.0, 1.0, 3.0], [5.0, 2.0, 0.0]]),
}
TARGETS = {"target_items": ROWS["items"], "target_values": ROWS["values"]}


def model(info=INFO, **config):
    tf.keras.utils.set_random_seed(2)
    settings = ("rows=user", "hidden=4", "regularization=0.5")
    return Ensemble.create(
        info, Ensemble.Config(**{"model": "autorec", "settings": settings, **config})
    )


def loss_and_gradients(m, features=ROWS, targets=TARGETS):
    with tf.GradientTape() as tape:
        loss = m.compute_loss(features, targets, m(features, training=False))
    return float(loss), tape.gradient(loss, [w.value for w in m.trainable_weights])


def test_members_differ_and_their_mean_is_the_score():
    m = model(members=3)
    scores = [member.score(ROWS).numpy() for member in m.members]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    np.testing.assert_allclose(m.score(ROWS), np.mean(scores, axis=0), rtol=1e-6)


def test_each_member_learns_as_if_alone():
    m = model(members=3)
    loss, gradients = loss_and_gradients(m)
    alone = [loss_and_gradients(member) for member in m.members]
    assert loss == pytest.approx(np.mean([one for one, _ in alone]), rel=1e-5)
    due = [g / 3 for _, own in alone for g in own]
    for got, expected in zip(gradients, due, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_item_rows_are_answered_by_column():
    info = DatasetInfo("toy", "toy", "item", 6, 4, {"train": 7})
    m = model(info, members=2, settings=("rows=item", "hidden=4"))
    assert isinstance(m.members[0], AutoRec)
    columns = m.score_columns(m.encode(ROWS), tf.constant([5, 0])).numpy()
    np.testing.assert_allclose(columns.T, m.score(ROWS).numpy()[:, [5, 0]], rtol=1e-5)


def test_members_that_read_events():
    fields = (Field("genre", "item", "category", 3), Field("hour", "event", "hour", 25))
    info = DatasetInfo("toy", "toy", "user", 4, 6, {"train": 7}, fields=fields)
    m = model(info, model="fm", members=2, settings=("fields=user,item,genre,hour", "deviation=1"))
    m.take_tables({"genre": np.array([0, 1, 2, 1, 2, 0], np.int32)})
    assert (m.reads, m.task, m.context) == ("events", "rating", ("time",))
    assert all(isinstance(member, FM) for member in m.members)
    events = {"user": tf.constant([1]), "item": tf.constant([3])}
    events["time"] = tf.constant([7200], tf.int64)
    scores = [float(member.score(events)[0]) for member in m.members]
    assert float(m.score(events)[0]) == pytest.approx(np.mean(scores), rel=1e-5)
    assert m.score({"user": tf.constant([1, 2])}).shape == (2, 6)
    assert m.score({"user": tf.constant([1, 2])}, items=tf.constant([4])).shape == (2, 1)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model": "fmm"}, "--set model=fmm is no member of an ensemble; did you mean 'fm'"),
        ({"settings": ("hiden=4",)}, "no setting 'hiden'; did you mean 'hidden'"),
    ],
)
def test_what_can_not_be_put_together(config, told):
    with pytest.raises(ValueError, match=told):
        model(**config)
