"""TwoTower: its loss by hand, histories without their targets, items known by content alone."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.capabilities import Factors, SideTables
from tfrec.models.twotower import TwoTower
from tfrec.schema import PAD, DatasetInfo, Field

GENRE = Field("genre", "item", "set", 3, length=2)
N = 8


def model(fields=(GENRE,), **settings):
    info = DatasetInfo("toy", "toy", "user", 50, N, {"train": 200}, fields=fields)
    small = {"width": 6, "hidden": 5, "window": 4, "dropout": 0.0, "id_dropout": 0.0}
    made = TwoTower.create(info, TwoTower.Config(**small | settings))
    made.take_tables({"genre": GENRES})
    return made


GENRES = np.array([[1, 0]] * 4 + [[2, 0]] * 3 + [[1, 2]], np.int32)
ROWS = np.array([[0, 1, 2, PAD], [3, 4, PAD, PAD], [5, 1, 6, 0]], np.int32)


def test_an_item_is_its_id_and_the_mean_of_its_fields():
    made = model(hidden=0)
    ids, content = made.ids.numpy(), made.content.numpy()
    due = ids[7] + (content[1] + content[2]) / 2
    found = made.inputs(tf.constant([7, PAD]))
    np.testing.assert_allclose(found, [due, np.zeros(6)], atol=1e-6)
    dropped = made.inputs(tf.constant([7]), tf.constant([True]))
    np.testing.assert_allclose(dropped[0], due - ids[7], atol=1e-6)
    np.testing.assert_allclose(
        made.candidate_vectors(tf.constant([7]))[0], due / np.linalg.norm(due), atol=1e-5
    )


def test_a_target_is_no_part_of_its_history():
    made = model()
    without = made.users(tf.constant(ROWS), tf.constant([[1, PAD], [4, PAD], [5, 0]]))
    others = np.array([[0, 2, PAD, PAD], [3, PAD, PAD, PAD], [1, 6, 0, PAD]], np.int32)
    alone = made.users(tf.constant(others), tf.fill([3, 1], PAD))
    np.testing.assert_allclose(without[:, 0], alone[:, 0], atol=1e-5)
    whole = made.query_vectors({"items": tf.constant(ROWS)}) * made.config.temperature
    np.testing.assert_allclose(without[:2, 1], whole[:2], atol=1e-5)


def test_the_loss_corrects_for_sampling_and_leaves_out_accidental_hits():
    made = model(negatives=0, temperature=0.5)
    made.log_share.assign(np.log(np.arange(1, N + 1) / 40))
    targets = np.array([[0], [4], [6]], np.int32)
    users = made.users(tf.constant(ROWS), tf.constant(targets)).numpy()[:, 0]
    vectors = made.candidate_vectors(tf.constant(targets[:, 0])).numpy()
    logits = users @ vectors.T / 0.5 - np.log(3 * (targets[:, 0] + 1) / 40)
    logits[2, 0] = -np.inf  # item 0 is in the third row's history
    due = np.log(np.exp(logits).sum(1)) - np.diagonal(logits)
    found = made._sampled(tf.constant(users[:, None]), tf.constant(targets), tf.constant(ROWS))
    np.testing.assert_allclose(found[:, 0], due, rtol=1e-4)


def test_uniform_negatives_estimate_the_softmax_over_all_items():
    """Exactly as many as items: the sum over draws is the sum over items, on average."""
    made = model(negatives=20_000, temperature=1.0)
    targets = tf.constant([[2], [3], [5]])
    users = made.users(tf.constant(ROWS), targets)
    all_items = made.candidate_vectors(tf.range(N)).numpy()
    logits = users.numpy()[:, 0] @ all_items.T
    for row, items in enumerate(ROWS):  # the row's own items are no negatives
        logits[row, items[items >= 0]] = -np.inf
    due = np.log(np.exp(logits).sum(1))
    made.log_share.assign(np.full(N, -np.log(3)))  # its own logit is not corrected
    own = (users.numpy()[:, 0] * all_items[[2, 3, 5]]).sum(1)
    loss = made._sampled(users, targets, tf.constant(ROWS)).numpy()[:, 0]
    others = np.log(np.exp(loss + own) - np.exp(own))
    in_batch = [[3, 5], [2, 5], [2, 3]]
    more = [np.exp(users.numpy()[r, 0] @ all_items[c].T) for r, c in enumerate(in_batch)]
    own_rows = [np.isin(c, ROWS[r]) for r, c in enumerate(in_batch)]
    total = np.exp(due) + [m[~o].sum() for m, o in zip(more, own_rows)]
    np.testing.assert_allclose(others, np.log(total), rtol=0.02)


@pytest.fixture(scope="module")
def fitted():
    """Users of genre 1 and users of genre 2; items 3 and 6 are in no row."""
    random = np.random.default_rng(0)
    rows = [random.permutation([0, 1, 2] if n % 2 else [4, 5, 7]) for n in range(64)]
    features = {
        "user": np.arange(64, dtype=np.int32),
        "items": np.array(rows, np.int32),
        "values": np.ones((64, 3), np.float32),
    }
    targets = {"target_items": features["items"], "target_values": features["values"]}
    batches = tf.data.Dataset.from_tensor_slices((features, targets)).batch(32)
    genres = GENRES.copy()
    genres[7] = [2, 0]
    made = model(id_dropout=0.5, negatives=8)
    made.take_tables({"genre": genres})
    made.begin_epoch(0, batches)
    made.compile("adam")
    made.optimizer.learning_rate = 0.02
    made.fit(batches, epochs=30, shuffle=False, verbose=0)
    return made, features


def test_items_of_no_row_are_found_by_their_content(fitted):
    made, features = fitted
    content = made.inputs(tf.constant([3, 6]), tf.constant([True, True]))
    np.testing.assert_array_equal(made.inputs(tf.constant([3, 6])), content)  # no ids
    scores = made.score({"items": features["items"][:2]}).numpy()
    assert scores[1, 3] > scores[1, 6] + 1 and scores[0, 6] > scores[0, 3] + 1


def test_scores_are_products_of_its_vectors(fitted):
    made, features = fitted
    batch = {"items": tf.constant(features["items"][:5])}
    products = made.query_vectors(batch).numpy() @ made.item_vectors().numpy().T
    np.testing.assert_allclose(made.score(batch), products, atol=1e-5)
    assert isinstance(made, Factors) and isinstance(made, SideTables)
    assert any(weight is made.log_share for weight in made.data_weights)
