"""FM, DeepFM and DCN against worked numbers and NumPy; fields as codes."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfrec.layers import fields as fields_lib
from tfrec.models.dcn import DCN
from tfrec.models.deepfm import DeepFM
from tfrec.models.fm import FM, pair_term
from tfrec.schema import DatasetInfo, Field

FIELDS = (
    Field("gender", "user", "category", 3),
    Field("genres", "item", "set", 4, length=2),
    Field("price", "item", "number", 1),
    Field("title", "item", "text", 9, length=3),
    Field("hour", "event", "hour", 25),
    Field("site", "event", "category", 5),
)
INFO = DatasetInfo("toy", "toy", "user", 2, 3, {"train": 5}, fields=FIELDS)
TABLES = {
    "gender": np.array([1, 2], np.int32),
    "genres": np.array([[1, 3], [2, 0], [0, 0]], np.int32),
    "price": np.array([0.5, -1.0, 2.0], np.float32),
}
EVENTS = {
    "user": tf.constant([0, 1, -1]),
    "item": tf.constant([0, 1, 2]),
    "site": tf.constant([4, 0, 1]),
    "time": tf.constant([3600 * 5, 0, 86_400 * 3], tf.int64),
}
ALL = ("user", "item", "gender", "genres", "price", "hour", "site")


def model(cls=FM, info=INFO, **settings):
    tf.keras.utils.set_random_seed(4)
    settings = {"task": "rating", "latent": 2, "deviation": 1.0, "fields": ALL, **settings}
    made = cls.create(info, cls.Config(**settings))
    made.take_tables(TABLES)
    made.w.assign(np.random.default_rng(1).normal(size=made.w.shape))
    return made


def x_of(m):
    """The dense x of `EVENTS`, by hand: [batch, size]."""
    starts = m.codes.starts
    codes_of = [
        {"user": 1, "item": 1, "gender": 1, "genres": (1, 3), "hour": 6, "site": 4},
        {"user": 2, "item": 2, "gender": 2, "genres": (2,), "hour": 0, "site": 0},
        {"user": 0, "item": 3, "gender": 0, "genres": (), "hour": 1, "site": 1},
    ]
    x = np.zeros((3, m.codes.size))
    for row, known, price in zip(x, codes_of, TABLES["price"]):
        row[starts["price"]] = price
        for name, codes in known.items():
            codes = codes if isinstance(codes, tuple) else (codes,)
            for code in codes:
                row[starts[name] + code] = 1 / len(codes)
    return x


def fm_of(m, x):
    w0, w, v = m.w0.numpy(), m.w.numpy(), m.v.numpy()
    pairs = [
        sum(v[j] @ v[k] * row[j] * row[k] for j in range(len(row)) for k in range(j)) for row in x
    ]
    return w0 + x @ w + np.array(pairs)


def test_pair_term_of_the_worked_example():
    v = np.array([[0.1, 0.2], [0.3, -0.1], [-0.2, 0.4]]) * [[1], [1], [2]]
    assert float(pair_term(tf.constant(v[None]))[0]) == pytest.approx(-0.07)


def test_fm_is_the_double_sum_over_all_fields():
    m = model()
    x = x_of(m)
    np.testing.assert_allclose(m(EVENTS), fm_of(m, x), rtol=1e-5)


@pytest.mark.parametrize("cls", [FM, DeepFM, DCN])
@pytest.mark.parametrize("damping", [0.0, 1.5])
def test_penalties_are_weighed_by_the_events_of_each_code(cls, damping):
    m = model(cls, regularization=0.5, damping=damping)
    users = tf.constant([0, 0, 1, -1])  # the last event only fills up the batch
    index = tf.maximum(users, 0)
    events = {name: tf.gather(column, index) for name, column in EVENTS.items()} | {"user": users}
    m.begin_epoch(0, [(events, {})])
    x = x_of(m)[:2]
    n = ((x != 0) * [[2], [1]]).sum(0)
    weights = np.maximum(0.5, damping / np.maximum(n, 1))
    due = (x**2) @ (weights * (m.w.numpy() ** 2 + (m.v.numpy() ** 2).sum(1)))
    first_two = {name: column[:2] for name, column in EVENTS.items()}
    np.testing.assert_allclose(m.run_forward(first_two)[1], due, rtol=1e-5)


def concatenated(m, x):
    """The concatenated x v of all fields."""
    v, starts = m.v.numpy(), [*m.codes.starts.values(), m.codes.size]
    parts = [x[:, a:b] @ v[a:b] for a, b in itertools.pairwise(starts)]
    return np.concatenate(parts, axis=1)


def mlp_of(m, flat):
    for layer in m.mlp.hidden:
        kernel, bias = layer.get_weights()
        flat = np.maximum(flat @ kernel + bias, 0)
    return flat


def test_deepfm_adds_an_mlp_on_the_same_vectors():
    m = model(DeepFM, hidden=(5, 4), dropout=0.5)
    x = x_of(m)
    deep = mlp_of(m, concatenated(m, x)) @ m.head.get_weights()[0]
    np.testing.assert_allclose(m(EVENTS), fm_of(m, x) + deep[:, 0], rtol=1e-4)


def test_dcn_multiplies_by_its_input_again():
    m = model(DCN, hidden=(5,), depth=2)
    x = x_of(m)
    start = crossed = concatenated(m, x)
    for layer in m.cross:
        kernel, bias = layer.get_weights()
        crossed = start * (crossed @ kernel + bias) + crossed
    both = np.concatenate([crossed, mlp_of(m, start)], axis=1)
    due = m.w0.numpy() + x @ m.w.numpy() + (both @ m.head.get_weights()[0])[:, 0]
    np.testing.assert_allclose(m(EVENTS), due, rtol=1e-4)


def test_dropout_is_for_training_only():
    m = model(DeepFM, hidden=(50,), dropout=0.9)
    np.testing.assert_array_equal(m(EVENTS), m(EVENTS))
    assert (m(EVENTS, training=True) != m(EVENTS)).numpy().any()


def test_all_items_score_as_events_of_unknown_context(monkeypatch):
    monkeypatch.setattr("tfrec.models.events.BLOCK", 4)  # two items a block, the last half full
    m = model()
    scores = m.score({"user": tf.constant([1, -1])}).numpy()
    assert scores.shape == (2, 3)
    nothing = {"site": tf.zeros([3], tf.int32), "time": tf.zeros([3], tf.int64)}
    for row, user in enumerate((1, -1)):
        events = {"user": tf.fill([3], user), "item": tf.range(3), **nothing}
        np.testing.assert_allclose(scores[row], m.score(events), rtol=1e-5)


@pytest.mark.parametrize("cls", [FM, DeepFM, DCN])
def test_unknown_values_have_no_vector(cls):
    """The codes of unknown values; item 2 and user 1, which have no event."""
    settings = {} if cls is FM else {"hidden": (3,)}
    m = model(cls, **settings)
    starts, start = m.codes.starts, m.v.numpy()
    unknown = [starts[name] for name in ALL if name != "price"]
    assert not start[unknown].any() and np.delete(start, unknown, axis=0).any(axis=1).all()
    events = {name: x[:2] for name, x in EVENTS.items()}
    events |= {"user": tf.constant([0, 0]), "item": tf.constant([1, 0])}
    m.begin_epoch(0, [(events, {"value": tf.constant([1.0, 2.0])})])
    cold = [starts["user"] + 1 + 1, starts["item"] + 1 + 2]
    assert not m.v.numpy()[cold].any()
    np.testing.assert_array_equal(np.delete(m.v, cold, axis=0), np.delete(start, cold, axis=0))
    m.v.assign(start)
    m.begin_epoch(1, [(events, {})])
    np.testing.assert_array_equal(m.v, start)


def test_without_ids_training_rows_are_not_read():
    m = model(fields=("gender", "genres"), damping=0.0)
    m.begin_epoch(0, None)


def test_ctr_loses_by_one_sigmoid_on_the_logit():
    info = DatasetInfo("t", "t", "user", 2, 3, {"train": 5}, rating_min=0, rating_max=1)
    m = model(task="ctr", info=info, fields=())
    scores = tf.constant([2.0, -1.0]), tf.constant([0.0, 2.0])
    loss = m.objective({}, {"value": tf.constant([1.0, 1.0])}, scores).numpy()
    np.testing.assert_allclose(loss, [np.log1p(np.exp(-2)), np.log1p(np.exp(1)) + 2], rtol=1e-6)


def test_the_output_starts_at_the_mean():
    assert model().w0.numpy() == pytest.approx(INFO.rating_mean)
    labels = {"rating_min": 0, "rating_max": 1, "rating_mean": 0.2}
    info = DatasetInfo("t", "t", "user", 2, 3, {"train": 5}, **labels)
    assert model(task="ctr", info=info, fields=()).w0.numpy() == pytest.approx(np.log(0.2 / 0.8))


def test_weekday_hour_and_day_of_a_time():
    # 2001-02-03 04:05:06 UTC was a Saturday; the first training day was 2001-02-01.
    time = tf.constant([981_173_106, 0, 981_173_106 - 3 * 86_400], tf.int64)
    first = 981_173_106 // 86_400 - 2
    due = {"weekday": [6, 0, 3], "hour": [5, 0, 5], "day": [3, 0, 0]}
    for kind, codes in due.items():
        field = Field(kind, "event", kind, 30, boundaries=(float(first),))
        assert fields_lib.time_code(field, time).numpy().tolist() == codes


def test_fields_are_all_but_times_and_texts_unless_named():
    names = [f.name for f in fields_lib.select(INFO, ())]
    assert names == ["user", "item", "gender", "genres", "price", "site"]
    fields = fields_lib.select(INFO, ("hour", "site"))
    assert fields_lib.context(fields) == ("time", "site")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("gendr",), "has no field 'gendr'; did you mean 'gender'"),
        (("title",), "'title' is a text"),
    ],
)
def test_unreadable_fields_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        fields_lib.select(INFO, names)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("ctr", "--data label_above=3, or train with --set task=rating"),
        ("clicks", "known: auto, rating"),
    ],
)
def test_a_bad_task_is_refused(task, message):
    with pytest.raises(ValueError, match=message):
        FM.create(INFO, FM.Config(task=task))


def test_labels_are_no_ratings():
    info = DatasetInfo("t", "t", "user", 2, 3, {"train": 5}, rating_min=0, rating_max=1)
    with pytest.raises(ValueError, match="labels 0 and 1; train with --set task=ctr"):
        FM.create(info, FM.Config(task="rating"))
