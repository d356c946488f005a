"""CDAE by the paper: the loss of M1 to M4, dropout, negative sampling and fold-in."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec import config as config_lib
from tfrec.models.cdae import CDAE
from tfrec.schema import DatasetInfo

N_ITEMS = 7
INFO = DatasetInfo("toy", "toy", "user", n_users=4, n_items=N_ITEMS, n_ratings={})
ITEMS = tf.constant([[0, 2, 5], [1, 3, -1]])
OWN = np.array([[1, 0, 1, 0, 0, 1, 0], [0, 1, 0, 1, 0, 0, 0]], np.float64)
DRAWN = np.array([[2, 3, 0, 1, 0, 0, 0], [1, 0, 0, 2, 1, 0, 0]], np.float64)
VARIANTS = {
    "M1": ("identity", "square"),
    "M2": ("identity", "logistic"),
    "M3": ("sigmoid", "square"),
    "M4": ("sigmoid", "logistic"),
}


def features(*users, items=ITEMS):
    return {"user": tf.constant(users), "items": items, "values": tf.cast(items >= 0, tf.float32)}


def targets(items=ITEMS):
    return {"target_items": items, "target_values": tf.cast(items >= 0, tf.float32)}


def small(seed=3, **settings):
    """A model with random weights, biases and user embeddings."""
    keras.utils.set_random_seed(seed)
    settings = {
        "latent": 3,
        "dropout": 0.0,
        "negatives": 2,
        "fold_in_steps": 100,
        "sampled": True,
        **settings,
    }
    model = CDAE.create(INFO, CDAE.Config(**settings))
    for weight in model.trainable_weights:
        weight.assign(keras.random.normal(weight.shape))
    model.compile(keras.optimizers.SGD(0.1))
    return model


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_scores(model, x, node):
    w = {v.name: v.numpy().astype(np.float64) for v in model.trainable_weights}
    z = x @ w["encoder"] + node + w["hidden_bias"]
    z = sigmoid(z) if VARIANTS[model.config.variant][0] == "sigmoid" else z
    return z @ w.get("decoder", w["encoder"]).T + w["output_bias"]


def numpy_loss(model, node, weights, x=OWN):
    """Weighted loss over the items of each row, plus lambda/2 |V_u|^2."""
    scores = numpy_scores(model, x, node)
    if VARIANTS[model.config.variant][1] == "square":
        loss = (OWN - scores) ** 2 / 2
    else:
        p = sigmoid(scores)
        loss = -OWN * np.log(p) - (1 - OWN) * np.log(1 - p)
    decay = model.config.regularization / 2 * (node**2).sum(1)
    return (weights * loss).sum(1) + decay


def expected_weights(negatives=2):
    """1 for a user's items; for each other one its expected share of negatives |O| samples."""
    n = OWN.sum(1, keepdims=True)
    return OWN + (1 - OWN) * negatives * n / (N_ITEMS - n)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_is_the_papers(variant, tied, monkeypatch):
    model = small(variant=variant, tied=tied, regularization=0.3)
    monkeypatch.setattr(model, "draw", lambda items: tf.constant(DRAWN, tf.float32))
    batch = features(2, 0)
    scores, drawn = model.run_forward(batch, training=True)
    node = model.nodes.numpy()[[2, 0]].astype(np.float64)
    np.testing.assert_allclose(scores, numpy_scores(model, OWN, node), rtol=1e-4)
    # Draws that hit own items count 0, others for them: n_items / (n_items - |O|).
    weights = OWN + (1 - OWN) * DRAWN * np.array([[7 / 4], [7 / 5]])
    due = numpy_loss(model, node, weights)
    np.testing.assert_allclose(
        model.objective(batch, targets(), (scores, drawn)), due, rtol=1e-4, atol=1e-5
    )
    others = sum((w.numpy() ** 2).sum() for w in model.trainable_weights if w.name != "nodes")
    whole = model.compute_loss(batch, targets(), (scores, drawn))
    # The weights' part is divided by the four rows that there are.
    assert float(whole) == pytest.approx(due.mean() + 0.3 / 2 * others / 4, rel=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_sampling_the_expected_loss_is_used(variant):
    model = small(variant=variant, sampled=False)
    scores = model.run_forward(features(2, 0), training=True)
    node = model.nodes.numpy()[[2, 0]].astype(np.float64)
    due = numpy_loss(model, node, expected_weights())
    loss = model.objective(features(2, 0), targets(), scores)
    np.testing.assert_allclose(loss, due, rtol=1e-4, atol=1e-5)


def test_negatives_are_uniform_and_their_mean_loss_is_the_expected_one():
    model = small()
    rows = tf.tile(ITEMS[:1], [20_000, 1])
    drawn = model.draw(rows).numpy()
    np.testing.assert_array_equal(drawn.sum(1), 2 * 3)  # two for each of three items
    np.testing.assert_allclose(drawn.mean(0), 7 * [6 / 7], rtol=0.05)
    own = np.repeat(OWN[:1], len(drawn), 0).astype(np.float32)
    scores = np.repeat(model.run_forward(features(0, items=ITEMS[:1])), len(drawn), 0)
    node = np.zeros((len(drawn), 3), np.float32)
    mean, due = (
        float(tf.reduce_mean(model.user_loss(own, scores, node, d))) for d in (drawn, None)
    )
    assert mean == pytest.approx(due, rel=0.02)


def test_negatives_differ_between_steps_and_own_items_have_no_gradient():
    model = small()
    step = tf.function(lambda: model.draw(tf.tile(ITEMS, [50, 1])))
    assert (step().numpy() != step().numpy()).any()
    scores = tf.Variable(tf.zeros([2, N_ITEMS]))
    gradients = []
    for hits in (0, 9):
        with tf.GradientTape() as tape:
            drawn = tf.constant(DRAWN * (1 - OWN) + hits * OWN, tf.float32)
            loss = model.objective(features(0, 1), targets(), (scores.value(), drawn))
        gradients.append(tape.gradient(loss, scores).numpy())
    np.testing.assert_array_equal(*gradients)
    assert (gradients[0][OWN == 1] < 0).all()  # an own item is never pushed down


def test_noise_masks_items_out_and_scales_those_that_stay():
    model = small(dropout=0.8)
    model.encoder.assign(tf.eye(N_ITEMS, 3))  # item 0 sets the first entry of z
    model.hidden_bias.assign(tf.zeros(3))
    rows = tf.tile(ITEMS[:1], [5000, 1])
    noisy = model.encode(rows, training=True).numpy()[:, 0]
    np.testing.assert_allclose(np.unique(noisy), [0, 5], rtol=1e-6)  # 1 / (1 - q)
    assert noisy.mean() == pytest.approx(1, rel=0.1)
    np.testing.assert_array_equal(model.encode(rows)[:, 0], 1)


def test_users_out_of_training_keep_a_zero_node():
    model = small()
    model.nodes.assign(tf.zeros([4, 3]))
    model.compile(keras.optimizers.Adam(0.1))
    for _ in range(3):
        model.train_step((features(2, 0), targets()))
    assert (model.nodes.numpy() != 0).any(axis=1).tolist() == [True, False, True, False]


@pytest.mark.parametrize("variant", VARIANTS)
def test_fold_in_lowers_the_users_loss_nearly_as_far_as_it_goes(variant):
    model = small(variant=variant, regularization=0.2, fold_in_steps=30)
    own = tf.constant(OWN, tf.float32)
    hidden = model.encode(ITEMS)
    kept = [w.numpy() for w in model.weights]
    fold_in = tf.function(model.fold_in)
    start, found, best = (
        numpy_loss(model, fold_in(own, hidden, n).numpy().astype(float), expected_weights())
        for n in map(tf.constant, (0, 30, 1000))
    )
    assert (found < start - 0.02).all()
    np.testing.assert_allclose(found, best, rtol=0.01)
    for before, after in zip(kept, model.weights, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_fold_in_finds_where_the_gradient_is_zero():
    """M1 is a quadratic in V_u: its minimum by a linear solve."""
    model = small(variant="M1", regularization=0.2)
    w = {v.name: v.numpy().astype(np.float64) for v in model.trainable_weights}
    found = model.fold_in(tf.constant(OWN, tf.float32), model.encode(ITEMS), 200)
    for x, weights, node in zip(OWN, expected_weights(), found.numpy(), strict=True):
        error = x - numpy_scores(model, x[None], np.zeros((1, 3)))[0]
        decoder = w["decoder"]
        curvature = decoder.T @ (weights[:, None] * decoder) + 0.2 * np.eye(3)
        due = np.linalg.solve(curvature, decoder.T @ (weights * error))
        np.testing.assert_allclose(node, due, rtol=1e-3, atol=1e-4)


def test_unknown_and_untrained_users_are_folded_in_alike_and_trained_ones_are_not():
    model = small()
    nodes = model.nodes.numpy()
    nodes[3] = 0  # held out: has a row, was never trained
    model.nodes.assign(nodes)
    items = tf.tile(ITEMS[:1], [3, 1])
    unknown, held_out, trained = model.score(features(-1, 3, 1, items=items)).numpy()
    np.testing.assert_array_equal(unknown, held_out)
    node = nodes[1].astype(np.float64)
    np.testing.assert_allclose(trained, numpy_scores(model, OWN[:1], node)[0], rtol=1e-4)
    plain = model.run_forward(features(-1, items=ITEMS[:1])).numpy()[0]
    np.testing.assert_allclose(plain, numpy_scores(model, OWN[:1], 0)[0], rtol=1e-4)
    assert abs(unknown - plain).max() > 0.01


def test_a_row_is_scored_for_itself():
    model = small()
    both = model.score(features(-1, -1)).numpy()
    for row in range(2):
        alone = model.score(features(-1, items=ITEMS[row : row + 1])).numpy()
        np.testing.assert_allclose(alone[0], both[row], rtol=1e-3)
    beside_a_trained_one = model.score(features(-1, 1)).numpy()
    np.testing.assert_allclose(beside_a_trained_one[0], both[0], rtol=1e-3)


def test_users_without_items_get_finite_scores():
    model = small()
    empty = model.score(CDAE.empty_features()).numpy()
    np.testing.assert_allclose(empty[0], numpy_scores(model, np.zeros((1, 7)), 0)[0], rtol=1e-4)


def test_tied_decoder_is_the_encoder():
    free, tied = small(), small(tied=True)
    assert free.count_params() - tied.count_params() == N_ITEMS * 3


def test_variant_must_be_one_of_the_four():
    with pytest.raises(ValueError, match="variant=M5 is unknown.*M1, M2, M3, M4"):
        CDAE.create(INFO, CDAE.Config(variant="M5"))
    with pytest.raises(ValueError, match="negatives=0 must be at least 1"):
        config_lib.override(CDAE.Config(), ["negatives=0"])


def test_under_mixed_precision_training_is_in_bfloat16_and_folding_in_is_not():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = small()
    assert model.run_forward(features(2, 0)).dtype == tf.bfloat16
    assert model(features(2, -1)).dtype == tf.float32
    np.testing.assert_array_equal(model(features(2, -1)), model.score(features(2, -1)))
