"""SVAE by the paper: the loss in NumPy, the next k items, deviations from the authors' code."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.svae import SVAE
from tfrec.schema import DatasetInfo

INFO = DatasetInfo("toy", "toy", "user", n_users=3, n_items=9, n_ratings={})
ITEMS = [[4, 0, 7, 2, 5, 1], [3, 8, -1, -1, -1, -1], [-1] * 6]


def small(**settings):
    keras.utils.set_random_seed(5)
    sizes = {"embedding": 6, "recurrent": 5, "hidden": (4,), "latent": 3, "ahead": 4}
    return SVAE.create(INFO, SVAE.Config(**{**sizes, **settings}))


def rows(items):
    items = tf.constant(items)
    return {
        "user": tf.range(len(items)),
        "items": items,
        "values": tf.ones(items.shape),
    }


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(model, tokens):
    """States after each token, by the formulas (reset gate behind the product)."""
    kernel, recurrent, (bias, recurrent_bias) = (w.astype(float) for w in model.gru.get_weights())
    table = model.embedding.get_weights()[0].astype(float)
    h, states = np.zeros(len(recurrent)), []
    for token in tokens:
        xz, xr, xh = np.split(table[token] @ kernel + bias, 3)
        hz, hr, hh = np.split(h @ recurrent + recurrent_bias, 3)
        z = sigmoid(xz + hz)
        h = z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)
        states.append(h)
    return np.array(states)


def dense(layer, x):
    kernel, bias = layer.get_weights()
    return x @ kernel.astype(float) + bias


def decoded(model, states):
    """Log probabilities and KL of each state, z being the mean."""
    x = np.tanh(dense(model.encoder[0], states))
    mean, log_variance = dense(model.code.mean, x), dense(model.code.log_variance, x)
    kl = (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(1) / 2
    logits = dense(model.logits, np.tanh(dense(model.decoder[0], mean)))
    return logits - np.log(np.exp(logits).sum(1, keepdims=True)), kl


def loss_by_hand(model, row, k, beta, window):
    tokens = [INFO.n_items, *row]
    cut = len(tokens) % window or window
    pieces = [tokens[:cut], *(tokens[i : i + window] for i in range(cut, len(tokens), window))]
    log_p, kl = decoded(model, np.concatenate([gru(model, piece) for piece in pieces]))
    nll = -sum(log_p[t, i] for t in range(len(row)) for i in row[t : t + k])
    return nll / k + beta * (kl[: len(row)].mean() if row else 0)


@pytest.mark.parametrize("window", [100, 7, 3, 2])
@pytest.mark.parametrize("ahead", [1, 4])
def test_loss_is_the_papers(ahead, window):
    model = small(ahead=ahead, window=window, beta=0.3, total_anneal_steps=10)
    model.trained_steps.assign(2)  # beta is .2 now
    model.code.log_variance.bias.assign([0.5, -1.0, 0.2])
    features = rows(ITEMS)
    loss = model.objective(features, {}, model.run_forward(features))
    due = [loss_by_hand(model, [i for i in r if i >= 0], ahead, 0.2, window) for r in ITEMS]
    np.testing.assert_allclose(loss, due, rtol=1e-5)
    assert due[2] == 0


def test_a_step_predicts_the_next_four_and_fewer_at_the_end():
    model = small()
    steps = model.steps(tf.constant([[4, 0, 7, 2, 5, 1], [3, -1, 8, -1, -1, -1]]))
    np.testing.assert_array_equal(
        model.next_items(steps),
        [
            [4, 0, 7, 2],
            [0, 7, 2, 5],
            [7, 2, 5, 1],
            [2, 5, 1, -1],
            [5, 1, -1, -1],
            [1, -1, -1, -1],
            [-1, -1, -1, -1],
            [3, 8, -1, -1],
            [8, -1, -1, -1],
            [-1, -1, -1, -1],
        ],
    )


def test_next_items_of_a_short_batch():
    model = small()
    np.testing.assert_array_equal(model.next_items(model.steps(tf.constant([[-1]]))), [[-1] * 4])


def test_a_step_knows_nothing_of_later_items():
    model = small()
    before = model.run_forward(rows([[4, 0, 7, 2, 5, 1]]))[0].numpy()
    after = model.run_forward(rows([[4, 0, 7, 1, 2, 5]]))[0].numpy()
    np.testing.assert_array_equal(before[:4], after[:4])
    assert (before[4:] != after[4:]).any(axis=1).all()


def test_score_is_the_last_step_and_the_mean():
    model = small()
    scores = model.score(rows(ITEMS)).numpy()
    logits = model.run_forward(rows(ITEMS))[0].numpy()
    np.testing.assert_allclose(scores, logits[[6, 9, 10]], rtol=1e-5)
    np.testing.assert_array_equal(scores, model.score(rows(ITEMS)))
    due, _ = decoded(model, gru(model, [INFO.n_items, 4, 0, 7, 2, 5, 1])[-1:])
    np.testing.assert_allclose(tf.nn.log_softmax(scores[0]), due[0], rtol=1e-5)


def test_the_newest_item_counts():
    """The authors' code leaves the last item out of the input."""
    model = small()
    assert not np.allclose(model.score(rows([[4, 0, 7]])), model.score(rows([[4, 0, 8]])))


def test_padding_and_company_never_change_a_score():
    model = small()
    alone = model.score(rows([[4, 0, 7]]))
    gaps = model.score(rows([[4, -1, 0, -1, 7, -1], [1, 2, 3, 4, 5, 6], [-1] * 6]))
    np.testing.assert_allclose(alone[0], gaps[0], rtol=1e-5)
    assert np.isfinite(gaps).all()


def test_a_long_row_is_scored_by_its_newest_items():
    model = small(window=3)
    newest = model.score(rows([[4, 0, 7, 2, 5, 1]]))
    np.testing.assert_allclose(newest, model.score(rows([[8, 3, 6, 2, 5, 1]])), rtol=1e-6)
    assert not np.allclose(newest, model.score(rows([[4, 0, 7, 3, 5, 1]])))


def test_sigma_is_the_root_of_the_variance_that_the_kl_knows(monkeypatch):
    """The authors' code draws with sigma = exp(log variance)."""
    model = small()
    model.code.log_variance.kernel.assign(tf.zeros([4, 3]))
    model.code.log_variance.bias.assign(tf.fill([3], np.log(4.0)))
    shifts = {}
    for unit in (0.0, 1.0):
        monkeypatch.setattr(
            keras.random, "normal", lambda shape, dtype, seed, unit=unit: tf.fill(shape, unit)
        )
        shifts[unit] = model.code(tf.ones([1, 4]), training=True)[0]
    np.testing.assert_allclose(shifts[1.0] - shifts[0.0], [[2, 2, 2]], rtol=1e-5)


def test_training_draws_and_counts_and_the_counter_is_saved(tmp_path):
    model = small(total_anneal_steps=10)
    features = rows(ITEMS)
    draws = [model.run_forward(features, training=True)[0].numpy() for _ in range(2)]
    assert (draws[0] != draws[1]).any()
    model.compile("adam")
    data = tf.data.Dataset.from_tensors((features, {}))
    for _ in range(2):  # epochs: the authors' code restarts with each
        model.fit(data, shuffle=False, verbose=0)
    assert int(model.trained_steps) == 2
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert float(again.kl_weight(features)) == pytest.approx(0.2)
    np.testing.assert_allclose(again.score(features), model.score(features), rtol=1e-5)


def test_l2_is_in_the_loss():
    plain, decayed = small(), small(l2=0.5)
    features = rows(ITEMS)
    losses = [m.compute_loss(features, {}, m.run_forward(features)) for m in (plain, decayed)]
    decays = [
        decayed.embedding.embeddings,
        decayed.gru.cell.kernel,
        *(x.kernel for x in (*decayed.encoder, *decayed.decoder, decayed.logits)),
    ]
    due = 0.5 * sum(np.square(w.numpy()).sum() for w in decays)
    assert float(losses[1] - losses[0]) == pytest.approx(due, rel=1e-5)
