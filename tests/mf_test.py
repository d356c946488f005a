"""MF and SVD++ against NumPy; their losses; unknown users."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec.config import TrainConfig, to_dict
from tfrec.models.mf import MF
from tfrec.schema import DatasetInfo
from tfrec.training.experiment import Experiment
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir

INFO = DatasetInfo("toy", "toy", "user", 4, 6, {"train": 5, "validation": 1, "test": 1})
PAIRS = [(0, 1), (0, 3), (1, 5), (2, 0), (2, 4)]
VALUES = [4.0, 1.0, 5.0, 2.0, 3.0]


def batch(pairs=PAIRS, values=VALUES):
    user, item = (tf.constant(x, tf.int32) for x in zip(*pairs))
    return {"user": user, "item": item}, {"value": tf.constant(values)}


def model(**settings):
    tf.keras.utils.set_random_seed(3)
    made = MF.create(INFO, MF.Config(**{"latent": 3, "deviation": 1.0, **settings}))
    draw = np.random.default_rng(0)
    for name in ("user_bias", "item_bias"):
        weight = getattr(made, name)
        weight.assign(draw.normal(size=weight.shape))
    return made


def arrays(m, *names):
    return (getattr(m, name).numpy() for name in names)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("damping", [0.0, 0.5, 1.5])
def test_scores_and_penalties_are_those_of_the_formula(implicit, damping):
    """Users 0, 1 and 2 have 2, 1 and 2 events, each item one."""
    m = model(implicit=implicit, damping=damping, regularization=0.5)
    m.begin_epoch(0, [batch()])
    p, q, user_bias, item_bias = arrays(m, "p", "q", "user_bias", "item_bias")
    scores, penalties, _ = m.run_forward(batch()[0])
    of_one, of_two = {0.0: (0.5, 0.5), 0.5: (0.5, 0.5), 1.5: (1.5, 0.75)}[damping]
    for (u, i), score, penalty in zip(PAIRS, scores.numpy(), penalties.numpy()):
        vector, of_user = p[u], user_bias[u] ** 2 + p[u] @ p[u]
        if implicit:
            rated = [item for user, item in PAIRS if user == u]
            y = m.y.numpy()[rated].sum(0) / np.sqrt(len(rated))
            vector, of_user = vector + y, of_user + y @ y
        due = (of_one if u == 1 else of_two) * of_user
        due += of_one * (item_bias[i] ** 2 + q[i] @ q[i])
        assert score == pytest.approx(3 + user_bias[u] + item_bias[i] + vector @ q[i], rel=1e-5)
        assert penalty == pytest.approx(due, rel=1e-5)


def test_over_all_events_a_frequent_user_is_penalized_by_lambda_n_a_rare_one_by_damping():
    m = model(regularization=0.5, damping=5.0)
    m.q.assign(np.zeros((7, 3)))
    m.item_bias.assign(np.zeros(7))
    pairs = [(0, item) for item in range(6)] * 4 + [(1, 0), (1, 1)]
    events = batch(pairs, [3.0] * len(pairs))
    m.begin_epoch(0, [filled(events)])
    assert [w.numpy().tolist() for w in m.data_weights] == [
        *([24, 2, 0, 0, 0], [5, 5, 4, 4, 4, 4, 0])
    ]
    penalties = m.run_forward(events[0])[1].numpy()
    squares = (m.p.numpy() ** 2).sum(1) + m.user_bias.numpy() ** 2
    assert penalties[:24].sum() == pytest.approx(0.5 * 24 * squares[0], rel=1e-5)
    assert penalties[24:].sum() == pytest.approx(5.0 * squares[1], rel=1e-5)


@pytest.mark.parametrize("settings", [{"damping": 0.0}, {"loss": "bpr"}, {"loss": "softmax"}])
def test_without_damping_no_events_are_kept_and_all_weigh_the_same(settings):
    m = model(regularization=0.5, **settings)
    m.begin_epoch(0, [batch()])
    assert not [w.name for w in m.weights if "events" in w.name]
    squares = [(table.numpy() ** 2).sum(1) for table in (m.p, m.q)]
    squares = [s + b.numpy() ** 2 for s, b in zip(squares, (m.user_bias, m.item_bias))]
    due = [0.5 * (squares[0][u] + squares[1][i]) for u, i in PAIRS]
    np.testing.assert_allclose(m.run_forward(batch()[0])[1], due, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"implicit": True}, {"loss": "bpr"}])
def test_all_items_score_as_single_events_do(settings):
    m = model(**settings)
    m.begin_epoch(0, [batch()])
    users = tf.constant([2, -1, 3, 2])  # an unknown user, one without ratings, one twice
    whole = m.score({"user": users}).numpy()
    some = m.score({"user": users}, items=tf.constant([4, 1])).numpy()
    for row, user in enumerate(users.numpy()):
        events = {"user": tf.fill([6], user), "item": tf.range(6)}
        np.testing.assert_allclose(whole[row], m.score(events), rtol=1e-5)
    np.testing.assert_allclose(some, whole[:, [4, 1]], rtol=1e-6)
    mean = 0.0 if settings.get("loss") == "bpr" else 3.0
    np.testing.assert_allclose(whole[1], mean + m.item_bias.numpy()[:6], rtol=1e-5)


def test_rated_items_are_stored_once_and_only_from_training():
    m = model(implicit=True)
    m.begin_epoch(0, [batch(PAIRS[:2], VALUES[:2]), batch(PAIRS[2:], VALUES[2:])])
    first = [w.numpy() for w in (m.seen, m.seen_splits)]
    m.begin_epoch(1, [batch([(3, 3)], [1.0])])
    for before, after in zip(first, (m.seen, m.seen_splits)):
        np.testing.assert_array_equal(before, after)
    assert first[1].tolist() == [0, 2, 3, 5, 5, 5]


@pytest.mark.parametrize("settings", [{}, {"start": "xavier"}, {"implicit": True}, {"loss": "bpr"}])
def test_users_and_items_without_events_have_no_vector(settings):
    """Item 2 and user 3 have no ratings."""
    m = model(**settings)
    p, q = arrays(m, "p", "q")
    m.begin_epoch(0, [batch(PAIRS[:2], VALUES[:2]), filled(batch(PAIRS[2:], VALUES[2:]))])
    np.testing.assert_array_equal(m.p, p * np.array([1, 1, 1, 0, 0])[:, None])
    np.testing.assert_array_equal(m.q, q * np.array([1, 1, 0, 1, 1, 1, 0])[:, None])
    bias, mean = m.item_bias.numpy(), 0 if "loss" in settings else 3
    users = tf.range(4)
    due = mean + m.user_bias.numpy()[:4] + bias[2]
    np.testing.assert_allclose(m.score({"user": users})[:, 2], due, rtol=1e-5)
    unknown = m.score({"user": users, "item": tf.fill([4], -1)})
    np.testing.assert_allclose(unknown, mean + m.user_bias.numpy()[:4] + bias[6], rtol=1e-5)


def test_a_vector_once_learned_stays_where_the_data_have_no_event_any_more():
    m = model()
    m.q.assign(m.q + np.eye(7, 3))  # 0, 1 and 2 were learned elsewhere
    q = m.q.numpy()
    m.begin_epoch(0, [batch([(0, 3)], [1.0])])
    np.testing.assert_array_equal(m.q, q * np.array([1, 1, 1, 1, 0, 0, 0])[:, None])


def filled(events):
    """The events and two that fill up the batch."""
    features, targets = events
    pad = tf.constant([-1, -1])
    return {k: tf.concat([v, pad], 0) for k, v in features.items()}, {
        "value": tf.concat([targets["value"], [0.0, 0.0]], 0)
    }


@pytest.mark.parametrize("refit", [False, True])
def test_all_training_ratings_are_noted_though_no_batch_holds_the_last_ones(
    board, one, tmp_path, refit
):
    data_dir, data = board("user", likes_only=False)
    settings = {**to_dict(MF.Config()), "latent": 2, "implicit": True}
    train = TrainConfig(epochs=1, batch_size=1000, refit=refit)
    trial = Experiment(RunConfig("mf", settings, data, data_dir, train), RunDir(tmp_path), one)
    trial.chief = False  # writes nothing
    n = trial.info.n_ratings
    assert n["train"] % 1000 and n["validation"]
    if refit:
        trial.refit(1)
    else:
        trial.fit(resume=False)
    noted = int(trial.model.seen_splits.numpy()[-1])
    assert noted == n["train"] + refit * n["validation"]


def test_objectives_are_those_of_the_papers():
    features, targets = batch(PAIRS[:1], VALUES[:1])
    scores = tf.constant([2.0]), tf.constant([1.0]), tf.constant([[1.0, 3.0]])

    def loss(name):
        return float(model(loss=name).objective(features, targets, scores)[0])

    assert loss("squared") == pytest.approx((4 - 2) ** 2 + 1)
    bpr = np.mean([-np.log(1 / (1 + np.exp(-(2 - s)))) for s in (1, 3)])
    assert loss("bpr") == pytest.approx(bpr + 1, rel=1e-5)
    softmax = -np.log(np.exp(2) / np.exp([2, 1, 3]).sum())
    assert loss("softmax") == pytest.approx(softmax + 1, rel=1e-5)


def test_negatives_are_uniform_and_differ_between_steps():
    m = model(loss="bpr", negatives=50)
    draws = [m._sample(400).numpy() for _ in range(2)]
    assert (draws[0] != draws[1]).any()
    assert draws[0].shape == (400, 50)
    np.testing.assert_allclose(
        np.bincount(draws[0].ravel()) / 20_000, np.full(6, 1 / 6), atol=0.015
    )


def test_only_the_events_own_parameters_are_regularized():
    m = model(regularization=1.0)
    with tf.GradientTape() as tape:
        features, targets = batch([(1, 5)], [5.0])
        loss = tf.reduce_sum(m.objective(features, targets, m.run_forward(features)))
    gradient = tf.convert_to_tensor(tape.gradient(loss, m.q.value)).numpy()
    assert np.flatnonzero(np.abs(gradient).sum(1)).tolist() == [5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "squard"}, "--set loss=squard is unknown; did you mean 'squared'"),
        ({"start": "zero"}, "--set start=zero is unknown; known: normal, xavier"),
        ({"damping": -1.0}, "--set damping=-1.0 must be 0 or more"),
    ],
)
def test_unknown_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MF.create(INFO, MF.Config(**settings))


def test_the_loss_says_the_task():
    assert [MF.task_for(MF.Config(loss=x)) for x in ("squared", "bpr", "softmax")] == [
        *("rating", "ranking", "ranking")
    ]


def test_the_xavier_start_is_uniform_of_its_own_bound():
    q = model(start="xavier").q.numpy()
    bound = np.sqrt(6 / (7 + 3))
    assert np.abs(q).max() <= bound
    assert np.abs(q).max() > bound / 2


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_liked_items_rank_first(board, one, tmp_path, loss):
    data_dir, data = board("user", likes_only=True)
    settings = {"latent": 4, "loss": loss, "negatives": 4, "regularization": 0.001}
    train = TrainConfig(epochs=12, learning_rate=0.03, batch_size=50, monitor="hr@10")
    run_dir = RunDir(tmp_path)
    config = RunConfig("mf", {**to_dict(MF.Config()), **settings}, data, data_dir, train)
    trial = Experiment(config, run_dir, one)
    trial.chief = False  # writes nothing
    assert trial.fit(resume=False).metrics["hr@10"] == 1
