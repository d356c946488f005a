"""Sequence models: windows, attention masks, the losses by NumPy."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec import ranking
from tfrec.layers import negatives
from tfrec.layers import next_item_losses as losses
from tfrec.layers.newest_items import newest_items
from tfrec.layers.transformer import attention_mask
from tfrec.models.bert4rec import BERT4Rec
from tfrec.models.esasrec import ESASRec
from tfrec.models.fuxi import FuXi
from tfrec.models.gru4rec import GRU4Rec
from tfrec.models.hstu import HSTU
from tfrec.models.sasrec import SASRec
from tfrec.models.sequence import Predictions
from tfrec.models.timed_attention import TimedAttention
from tfrec.schema import PAD, DatasetInfo

N_ITEMS = 12
INFO = DatasetInfo(
    "toy", "toy split", "user", 4, N_ITEMS, n_ratings={"train": 16}, row_counts={"train": 4}
)
SMALL = {"window": 6, "width": 8}
CAUSAL = [SASRec, ESASRec, GRU4Rec, HSTU, FuXi]
MODELS = [*CAUSAL, BERT4Rec]


@pytest.fixture(scope="module", params=MODELS, ids=lambda cls: cls.__name__)
def model(request):
    return made(request.param)


def made(cls, **settings):
    tf.random.set_seed(0)
    timeless = {"time_bias": False} if issubclass(cls, TimedAttention) else {}
    model = cls.create(INFO, dataclasses.replace(cls.Config(), **{**SMALL, **timeless, **settings}))
    # Larger weights than the initial ones, so that all parts of the model matter.
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def features(*rows, values=1.0):
    longest = max(map(len, rows))
    items = np.array([[*row, *[PAD] * (longest - len(row))] for row in rows], np.int32)
    return {
        "user": tf.range(len(rows)),
        "items": tf.constant(items),
        "values": tf.where(items >= 0, values, 0.0),
    }


def test_windows_hold_the_newest_items_on_the_right():
    items = [[3, 1, 2, PAD], [PAD, 5, PAD, 6], [PAD] * 4]
    found = newest_items(tf.constant(items), 2)
    np.testing.assert_array_equal(found, [[1, 2], [5, 6], [PAD, PAD]])
    assert newest_items(tf.constant(items), 9).shape == (3, 3)
    assert newest_items(tf.constant([[PAD]]), 9).numpy().tolist() == [[PAD, PAD]]


def test_earlier_windows_are_whole_and_used_for_a_share_of_long_rows_only():
    model = made(SASRec, slide=0.5)
    rows = tf.constant([list(range(9)), [*range(4), *[PAD] * 5]] * 500)
    found = model.cut_window(rows, 6, training=True).numpy()
    starts = np.bincount(found[::2, 0], minlength=4)
    assert (found[::2] == found[::2, :1] + np.arange(6)).all()
    np.testing.assert_allclose(starts / 500, [1 / 8, 1 / 8, 1 / 8, 5 / 8], atol=0.06)
    assert (found[1::2] == [PAD, PAD, 0, 1, 2, 3]).all()
    assert (model.cut_window(rows, 6, training=False).numpy()[::2] == np.arange(3, 9)).all()


def test_attention_masks_hide_padding_and_later_positions():
    real = tf.constant([[False, True, True]])
    causal = attention_mask(real, causal=True).numpy()[0]
    np.testing.assert_array_equal(causal, [[1, 0, 0], [0, 1, 0], [0, 1, 1]])
    assert attention_mask(real, causal=False).numpy().tolist() == [[[False, True, True]]]


def test_padding_and_the_batch_around_never_change_a_score(model):
    alone = model.score(features([1, 2, 3])).numpy()[0]
    items = features([1, 2, 3])["items"].numpy()[0]
    for padded in ([PAD, PAD, *items], [*items, PAD], [1, PAD, 2, PAD, 3]):
        np.testing.assert_allclose(model.score(features(padded))[0], alone, atol=1e-5)
    among = model.score(features([4, 5, 6, 7, 8, 9, 10], [1, 2, 3], [11]))[1]
    np.testing.assert_allclose(among, alone, atol=1e-5)


def test_only_the_window_counts_and_its_order_does(model):
    newest = [1, 2, 3, 4, 5, 6]
    scores = model.score(features([7, 8, *newest], [9, *newest], newest[::-1])).numpy()
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
    assert np.abs(scores[0] - scores[2]).max() > 1e-3


def test_an_empty_history_has_finite_scores(model):
    assert np.isfinite(model.score(features([], [1]))).all()


def test_values_and_held_out_targets_do_not_matter(model):
    plain = model.score(features([1, 2, 3]))
    np.testing.assert_array_equal(model.score(features([1, 2, 3], values=5.0)), plain)


@pytest.mark.parametrize("cls", CAUSAL)
def test_causal_models_see_no_later_item(cls):
    model = made(cls)
    one, other = (model.states(tf.constant([row]), False)[0] for row in ([1, 2, 3], [1, 2, 9]))
    np.testing.assert_allclose(one[:2], other[:2], atol=1e-6)
    assert np.abs(one[2] - other[2]).max() > 1e-3


def test_hstu_by_numpy():
    """One block, one head, by the formula of its docstring."""
    model = made(HSTU, blocks=1, dropout=0.0)
    tokens, block = np.array([3, 1, 2]), model.blocks[0]
    x = model.table.numpy()[tokens] * 8**0.5 + model.positions.table.numpy()[-3:]
    wide = layer_norm(x, block.norms[0]) @ block.wide.kernel.numpy() + block.wide.bias.numpy()
    u, v, q, k = np.split(silu(wide), 4, axis=1)
    distance = np.maximum(np.arange(3)[:, None] - np.arange(3), 0)
    a = silu(q @ k.T + block.distance.numpy()[distance]) / 6 * np.tri(3)
    gated = layer_norm(a @ v, block.norms[1]) * u
    x = x + gated @ block.out.kernel.numpy() + block.out.bias.numpy()
    expected = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(model.states(tf.constant([tokens]), False)[0], expected, atol=1e-4)


def test_esasrec_by_numpy():
    """One block, one head, by the formula of its docstring."""
    model = made(ESASRec, blocks=1, dropout=0.0)
    tokens, block = np.array([3, 1, 2]), model.blocks[0]
    x = model.table.numpy()[tokens] * 8**0.5 + model.positions.table.numpy()[-3:]
    keys, past = layer_norm(x, block.norms[0], 1e-5), tf.constant(np.tri(3, dtype=bool))[None]
    attended = block.attention(keys[None], keys[None], attention_mask=past)[0].numpy()
    x = x + sigmoid(x @ block.gates[0].kernel.numpy() + block.gates[0].bias.numpy()) * attended
    one, other = np.split(layer_norm(x, block.norms[1], 1e-5) @ block.wide.kernel.numpy(), 2, 1)
    dense = (silu(one) * other) @ block.narrow.kernel.numpy()
    x = x + sigmoid(x @ block.gates[1].kernel.numpy() + block.gates[1].bias.numpy()) * dense
    assert one.shape == (3, 4 * 8)
    np.testing.assert_allclose(
        model.states(tf.constant([tokens]), False)[0], x, rtol=1e-3, atol=1e-3
    )


def layer_norm(x, layer, epsilon=1e-6):
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon)
    return scaled * layer.gamma.numpy() + layer.beta.numpy()


def silu(x):
    return x * sigmoid(x)


def test_the_last_state_alone_is_that_among_all(model):
    tokens = model.query(tf.constant([[1, 2, 3, 4], [PAD, PAD, 5, 6]]))
    alone = model.states(tokens, False, last=True)[:, -1]
    np.testing.assert_allclose(alone, model.states(tokens, False)[:, -1], atol=1e-5)


def test_bert4rec_predicts_a_mask_from_later_items_too():
    model = made(BERT4Rec)
    mask = model.mask_token
    one, other = (
        model.states(tf.constant([row]), False)[0, 1] for row in ([1, mask, 3], [1, mask, 9])
    )
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("cls", CAUSAL)
def test_each_item_is_predicted_from_those_before_it(cls):
    model = made(cls)
    states, rows, items = model.run_forward(features([1, 2, 3], [PAD, 4], list(range(8))))
    assert items.numpy()[rows.numpy() == 0].tolist() == [1, 2, 3]
    assert items.numpy()[rows.numpy() == 1].tolist() == [4]
    assert items.numpy()[rows.numpy() == 2].tolist() == [2, 3, 4, 5, 6, 7]  # the window's
    # The last prediction of a row is what `score` says of the items before.
    last = model.score(features([1, 2]))[0]
    table, bias = model.outputs()
    logits = tf.linalg.matvec(table, states[2]) + bias
    np.testing.assert_allclose(logits, last, atol=1e-5)


def test_a_cut_window_predicts_its_first_item_from_earlier_ones():
    model = made(SASRec)
    states, _, items = model.run_forward(features(list(range(8))))
    later = model.score(features([0, 1]))  # items 1 .. 6 are the window's inputs
    logits = tf.linalg.matvec(model.table[:-1], states[0]) + model.bias
    assert items[0] == 2
    assert np.abs(logits - later[0]).max() > 1e-3  # it reads 1 alone, at another position
    assert len(items) == 6


def test_bert4rec_masks_a_share_of_the_positions_and_sometimes_the_last_only():
    model = made(BERT4Rec, window=100, mask=0.2, mask_last=0.25)
    tokens = tf.tile(tf.concat([tf.fill([1, 20], PAD), tf.fill([1, 80], 3)], 1), [2000, 1])
    masked = model.masked(tokens, training=True).numpy()
    assert not masked[:, :20].any()
    only_last = (masked.sum(axis=1) == 1) & masked[:, -1]
    assert only_last.mean() == pytest.approx(0.25, abs=0.04)
    assert masked[~only_last][:, 20:].mean() == pytest.approx(0.2, abs=0.01)
    again = model.masked(tokens, training=True).numpy()
    assert (masked != again).any()
    calm = model.masked(tokens, training=False).numpy()
    assert calm[:, -1].all() and calm.sum() == 2000


def test_bert4rec_never_sees_a_masked_item():
    """The prediction at a masked position does not depend on the item."""
    model = made(BERT4Rec)
    one, _, found = model.run_forward(features([1, 2, 3]))
    other, _, filled = model.run_forward(features([1, 2, 9]))
    assert (found.numpy().tolist(), filled.numpy().tolist()) == ([3], [9])
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_loss_of_a_row_is_a_sum_over_a_constant(monkeypatch):
    model = made(SASRec, loss="softmax", dropout=0.0)
    batch = features([1, 2, 3], [4])
    states, rows, items = model.run_forward(batch)
    logits = states.numpy() @ model.table[:-1].numpy().T + model.bias.numpy()
    nll = np.log(np.exp(logits).sum(1)) - logits[np.arange(4), items]
    expected = [nll[rows.numpy() == r].sum() / 4 for r in (0, 1)]  # 16 ratings in 4 rows
    np.testing.assert_allclose(
        model.objective(batch, None, (states, rows, items)), expected, rtol=1e-5
    )


# The losses by NumPy.


@pytest.fixture
def predicted():
    rng = np.random.default_rng(1)
    states = rng.normal(size=(5, 4)).astype("float32")
    table, bias = rng.normal(size=(9, 4)).astype("float32"), rng.normal(size=9).astype("float32")
    return states, np.array([0, 3, 3, 8, 1], np.int32), table, bias


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_softmax_over_all_items(predicted):
    states, items, table, bias = predicted
    logits = states @ table.T + bias
    expected = -np.log(np.exp(logits)[range(5), items] / np.exp(logits).sum(1))
    np.testing.assert_allclose(losses.softmax(*map(tf.constant, predicted)), expected, rtol=1e-5)


def test_sampled_softmax_ignores_excluded_negatives(predicted):
    states, items, table, bias = predicted
    negatives, excluded = np.array([3, 5, 5], np.int32), np.zeros([5, 3], bool)
    excluded[1, 0] = excluded[4] = True
    logits = states @ table.T + bias
    expected = []
    for row, item, out in zip(logits, items, excluded):
        others = row[negatives[~out]]
        expected.append(np.log(np.exp([row[item], *others]).sum()) - row[item])
    args = logits[range(5), items], logits[:, negatives], excluded
    np.testing.assert_allclose(
        losses.sampled_softmax(*map(tf.constant, args)), expected, rtol=1e-5, atol=1e-6
    )


def test_binary_cross_entropy_with_negatives_for_each_prediction(predicted):
    states, items, table, bias = predicted
    negatives = np.array([[1, 2], [3, 4], [5, 6], [7, 0], [1, 2]], np.int32)
    excluded = np.zeros([5, 2], bool)
    excluded[1, 0] = True
    logits = states @ table.T + bias
    expected = []
    for row, item, drawn, out in zip(logits, items, negatives, excluded):
        wrong = np.log(1 - sigmoid(row[drawn[~out]])).sum()
        expected.append(-(np.log(sigmoid(row[item])) + wrong) / 3)
    args = logits[range(5), items], np.take_along_axis(logits, negatives, 1), excluded
    np.testing.assert_allclose(losses.binary(*map(tf.constant, args)), expected, rtol=1e-5)


def test_gbce_weighs_the_positive_by_beta(predicted):
    states, items, table, bias = predicted
    beta = losses.gbce_beta(256, 3416, 0.75)
    assert beta == pytest.approx(0.306223, abs=1e-6)
    assert losses.gbce_beta(256, 3416, 0.0) == pytest.approx(1)
    logits = states @ table.T + bias
    args = [*map(tf.constant, (logits[range(5), items], logits[:, [2, 4]], np.zeros([5, 2], bool)))]
    positive = np.log(sigmoid(logits[range(5), items]))
    change = losses.binary(*args, beta) - losses.binary(*args, 1.0)
    np.testing.assert_allclose(change, (1 - beta) * positive / 3, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["sampled", "bce", "gbce"])
def test_items_of_the_row_are_not_negatives(loss, monkeypatch):
    """Where all samples are in the row, only the positive's term is left."""
    model = made(SASRec, loss=loss, negatives=3, dropout=0.0)
    monkeypatch.setattr(model, "_sample", lambda shape: tf.fill(shape, 2))
    predictions = Predictions(*model.run_forward(features([1, 2, 3])))
    positive = tf.reduce_sum(predictions.states * tf.gather(model.table, predictions.items), axis=1)
    positive += tf.gather(model.bias, predictions.items)
    beta = losses.gbce_beta(3, N_ITEMS, 0.75) if loss == "gbce" else 1.0
    expected = 0 * positive if loss == "sampled" else beta * tf.nn.softplus(-positive) / 4
    found = model.prediction_losses(predictions, tf.constant([[1, 2, 3]]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    among_others = model.prediction_losses(predictions, tf.constant([[1, 3, 5]]))
    assert (among_others > found).numpy().all()


@pytest.mark.parametrize("loss", ["sampled", "bce", "gbce"])
def test_negatives_are_compared_with_their_row_without_a_tensor_as_wide_as_the_catalogue(loss):
    model = made(SASRec, loss=loss, negatives=2, dropout=0.0)
    history = tf.constant([[1, 2, 3], [4, 5, PAD]])
    model._sample = lambda shape: tf.broadcast_to(tf.constant([2, 4]), shape)
    predictions = Predictions(*model.run_forward({"items": history}))
    logits = tf.matmul(predictions.states, model.table[:-1], transpose_b=True) + model.bias
    positive = tf.gather(logits, predictions.items, batch_dims=1).numpy()
    # Of the samples 2 and 4 the first row has 2, the second one 4.
    other = tf.gather(logits, [4, 4, 4, 2, 2], batch_dims=1).numpy()
    if loss == "sampled":
        due = np.logaddexp(positive, other) - positive
    else:
        beta = losses.gbce_beta(2, N_ITEMS, 0.75) if loss == "gbce" else 1.0
        due = (beta * np.logaddexp(0, -positive) + np.logaddexp(0, other)) / 3
    graph = tf.function(lambda *parts: model.prediction_losses(Predictions(*parts), history))
    np.testing.assert_allclose(graph(*predictions), due, rtol=1e-4, atol=1e-5)
    specs = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in predictions]
    made_of = graph.get_concrete_function(*specs).graph.get_operations()
    shapes = [x.shape for op in made_of for x in op.outputs if x.shape.rank == 2]
    assert shapes
    assert [x for x in shapes if x[-1] == N_ITEMS] == []


def test_items_of_rows_are_found():
    history = np.random.default_rng(0).integers(-1, 50, [7, 9]).astype(np.int32)
    items = np.random.default_rng(1).integers(0, 60, [4, 30]).astype(np.int32)
    rows = np.array([6, 0, 0, 3])
    due = (history[rows][:, None, :] == items[:, :, None]).any(axis=2)
    assert due.any()
    np.testing.assert_array_equal(negatives.in_rows(*map(tf.constant, (history, rows, items))), due)
    due = (history[:, None, :] == items[:1, :, None]).any(axis=2)
    found = negatives.in_rows(*map(tf.constant, (history, np.arange(7), items[:1])))
    np.testing.assert_array_equal(found, due)


@pytest.mark.parametrize(
    ("loss", "steps"), [("softmax", 60), ("sampled", 100), ("bce", 100), ("gbce", 300)]
)
def test_every_loss_teaches_the_next_item(loss, steps):
    settings = {**SMALL, "loss": loss, "dropout": 0.0, "attention_dropout": 0.0, "negatives": 8}
    keras.utils.set_random_seed(0)
    model = SASRec.create(INFO, SASRec.Config(**settings, blocks=1))
    batch = features([0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11])
    model.compile(keras.optimizers.Adam(0.01))
    targets = {"target_items": batch["items"], "target_values": batch["values"]}
    for _ in range(steps):
        model.train_on_batch(batch, targets)
    asked = features([0, 1, 2, 3, 4], [6, 7, 8, 9, 10])
    _, top = ranking.top_k(model.score(asked), asked["items"], 1)
    assert top.numpy().tolist() == [[5], [11]]


def test_a_window_of_one_item_is_refused():
    with pytest.raises(ValueError, match="window=1 must be at least 2"):
        made(GRU4Rec, window=1)


def test_an_unknown_loss_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"loss=hinge is unknown; known: softmax, sampled, bce"):
        made(SASRec, loss="hinge")


@pytest.mark.parametrize("popular", [True, False])
def test_biases_start_at_the_logarithm_of_the_items_counts(popular):
    rows = [(features([0, 3], [3, 5]), {}), (features([3], []), {})]
    model = SASRec.create(INFO, SASRec.Config(**SMALL, popular=popular))
    model.begin_epoch(0, rows)
    logs = np.log([2, 1, 1, 4, 1, 2, *[1] * 6])
    due = logs - logs.mean() if popular else np.zeros(N_ITEMS)
    np.testing.assert_allclose(model.bias, due, atol=1e-6)
    learned = np.arange(N_ITEMS, dtype=np.float32)
    model.bias.assign(learned)  # as a warm start does
    model.begin_epoch(0, rows)
    np.testing.assert_array_equal(model.bias, learned)
