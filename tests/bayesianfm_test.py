"""BayesianFM's scores against the formula in NumPy, its features by hand, its sessions."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.bayesianfm import BayesianFM
from tfrec.schema import DatasetInfo, Field

FIELDS = (
    Field("gender", "user", "category", 3),
    Field("genres", "item", "set", 4, length=2),
    Field("price", "item", "number", 1),
    Field("weekday", "event", "weekday", 8),
    Field("site", "event", "category", 5),
    Field("amount", "event", "number", 1),
)
INFO = DatasetInfo("t", "t", "user", 2, 3, {"train": 4, "validation": 1, "test": 9}, fields=FIELDS)
TABLES = {
    "gender": np.array([1, 2], np.int32),
    "genres": np.array([[1, 3], [2, 0], [0, 0]], np.int32),
    "price": np.array([0.5, -1.0, 2.0], np.float32),
}
HOUR = 3600
EVENTS = {
    "user": tf.constant([0, 1, 0, -1]),
    "item": tf.constant([0, 1, 2, 1]),
    "site": tf.constant([4, 0, 1, 2]),
    "time": tf.constant([5 * HOUR, 0, 7 * HOUR, 7 * HOUR], tf.int64),
}
ALL = ("user", "item", "gender", "genres", "price", "weekday", "site")


def model(**settings):
    tf.keras.utils.set_random_seed(4)
    made = BayesianFM.create(
        INFO, BayesianFM.Config(**{"fields": ALL, "latent": 2, "samples": 3, **settings})
    )
    made.take_tables(TABLES)
    return made


def filled(**settings):
    """Random rows, and sessions: user 0 in hour 5 has .5, in hour 9 -1; the others .25."""
    m = model(session=HOUR, **settings)
    rng = np.random.default_rng(0)
    for table in m.vectors.values():
        table.assign(rng.normal(size=table.shape))
    m._keep_sessions(np.array([5, 9]), np.array([0.5, -1.0, 0.25]))
    return m


def test_scores_are_the_mean_over_the_samples():
    m = filled()
    codes_of = {"user": (1, 2, 1, 0), "item": (1, 2, 3, 2), "weekday": (4, 0, 4, 4)}
    codes_of["site"] = (4, 0, 1, 2)
    scores = m(EVENTS)
    for event, session in enumerate((0.5, 0.25, 0.25, 0.25)):
        samples = []
        for sample in range(3):
            rows = [m.vectors[n].numpy()[at[event], sample] for n, at in codes_of.items()]
            pairs = sum(a[:2] @ b[:2] for i, a in enumerate(rows) for b in rows[:i])
            samples.append(3 + sum(row[2] for row in rows) + pairs + session)
        assert float(scores[event]) == pytest.approx(np.mean(samples), rel=1e-5)


def test_all_items_score_as_events_of_unknown_context():
    m = filled()
    scores = m.score({"user": tf.constant([1, -1])}).numpy()
    some = m.score({"user": tf.constant([1, -1])}, items=tf.constant([2, 0]))
    np.testing.assert_allclose(some, scores[:, [2, 0]], rtol=1e-5)
    nothing = {"site": tf.zeros([3], tf.int32), "time": tf.zeros([3], tf.int64)}
    for row, user in enumerate((1, -1)):
        events = {"user": tf.fill([3], user), "item": tf.range(3), **nothing}
        np.testing.assert_allclose(scores[row], m.score(events), rtol=1e-5)


def test_features_of_users_and_items_by_hand():
    """User 0 rated items 0 and 2, user 1 item 1; codes start at 1."""
    m = model()
    codes = {"user": np.array([1, 2, 1]), "item": np.array([1, 2, 3])}
    fields = {f.name: f for f in m.entries}
    half = 0.5**0.5
    np.testing.assert_allclose(
        m._design(fields["user"], codes).toarray(),
        # gender of 3 codes, then items of 4
        [[0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, half, 0, half], [0, 0, 1, 0, 0, 1, 0]],
    )
    np.testing.assert_allclose(
        m._design(fields["item"], codes).toarray(),
        [  # genres of 4 codes, price, then users of 3
            [0, 0, 0, 0, 0, 0, 0, 0],
            [0, half, 0, half, 0.5, 0, 1, 0],
            [0, 0, 1, 0, -1, 0, 0, 1],
            [0, 0, 0, 0, 2, 0, 1, 0],
        ],
    )
    assert m._design(fields["site"], codes) is None
    bare = model(implicit=False, fields=("user", "item", "gender"))
    assert bare._design(fields["user"], codes).shape == (3, 3)
    assert bare._design(fields["item"], codes) is None


def mood(session):
    """User 0 likes all in hour 5 and nothing in hour 9; filler rows have no user."""
    hours = np.array([5, 5, 9, 9, 6] * 8 + [0])
    values = np.array([5, 5, 1, 1, 3] * 8 + [99], np.float32)
    user = np.array([0, 0, 0, 0, 1] * 8 + [-1], np.int32)
    info = DatasetInfo("t", "t", "user", 2, 41, {"train": 40})
    tf.keras.utils.set_random_seed(1)
    c = BayesianFM.Config(latent=1, samples=30, burn_in=30, session=session, implicit=False)
    m = BayesianFM.create(info, c)
    features = {"user": user, "item": np.arange(41, dtype=np.int32), "time": hours * HOUR}
    m.fit(tf.data.Dataset.from_tensor_slices((features, {"value": values})).batch(7))
    return m


def test_a_session_tells_of_its_other_ratings_and_of_no_others():
    m = mood(HOUR)
    asked = tf.constant([5, 9, 20, 0], tf.int64) * HOUR + 1200
    events = {"user": tf.zeros([4], tf.int32), "item": tf.fill([4], -1), "time": asked}
    good, bad, other, unknown = m.score(events).numpy()
    assert good > 3.7 and bad < 2.3
    assert other == unknown and bad < other < good
    assert "time" not in mood(0).context


def test_sessions_need_times():
    m = model(session=HOUR)
    with pytest.raises(ValueError, match=r"--set session=3600: t has no times"):
        m.fit([(EVENTS | {"time": tf.zeros([4], tf.int64)}, {"value": tf.ones([4])})])


def test_unknown_users_and_items_have_the_mean_of_the_prior():
    m = mood(HOUR)
    unknown = m.score({"user": tf.constant([-1])}).numpy()
    assert np.isfinite(unknown).all() and 2 < unknown.mean() < 4


def test_another_seed_gives_other_samples():
    first = mood(0).vectors["item"].numpy()
    np.testing.assert_array_equal(first, mood(0).vectors["item"].numpy())
    m = model(fields=("user", "item"))
    rows = []
    for seed in (1, 2):
        tf.keras.utils.set_random_seed(seed)
        m = BayesianFM.create(INFO, m.config)
        columns = EVENTS | {"value": tf.ones([4])}
        value = columns.pop("value")
        m.fit([(columns, {"value": value})])
        rows.append(m.vectors["user"].numpy())
    assert (rows[0] != rows[1]).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("item", "site"), "needs user and item"),
        (("user", "item", "amount"), "'amount' is a number of the event"),
        ((), "'amount' is a number of the event"),
        (("user", "itm"), "did you mean 'item'"),
    ],
)
def test_unusable_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        model(fields=fields)
