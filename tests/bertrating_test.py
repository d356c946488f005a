"""The two-tower rating model: inputs and outputs of its towers, by hand and by effect."""

import dataclasses

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfrec.config import DataConfig
from tfrec.data import fields, inputs
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.layers.text import TextEncoder
from tfrec.models.bertrating import BertRating

SMALL = {"embedding": 4, "tower": 6, "width": 8, "dropout": 0.0}
TITLES = ["Night Train (1951)", "Night", "Train Train", "Day", "Day Night (1960)", ""]
GENRES = ["Drama|War", "War", "Drama", "Comedy", "Comedy|Drama|War", ""]


def make_raw():
    frame = pd.DataFrame(
        [(f"u{u}", f"i{i}", 1.0 + (u * i) % 5, 0) for u in range(5) for i in range(6)],
        columns=["user", "item", "value", "time"],
    ).astype({"value": np.float32})
    return RawDataset(
        name="toy",
        chunks=lambda: iter([frame]),
        users=pd.DataFrame(
            {
                "user": [f"u{u}" for u in range(5)],
                "gender": list("FMFMF"),
                "age": ["20", "30", "40", "50", "60"],
                "zip": list("12345"),
            }
        ),
        items=pd.DataFrame(
            {"item": [f"i{i}" for i in range(6)], "title": TITLES, "genres": GENRES}
        ),
        fingerprint="toy",
        rating_min=1.0,
        rating_max=5.0,
        rating_step=1.0,
        has_times=False,
        kinds={
            **{"gender": "category", "age": "bucket", "zip": "category"},
            **{"title": "text", "genres": "set"},
        },
    )


class Lengths(tf.Module):
    """Vectors of a title: its number of letters, and 0.25."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        n = tf.cast(tf.strings.length(texts), tf.float32)
        return tf.stack([n, tf.fill(tf.shape(n), 0.25)], axis=1)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """(data_dir, info) of six films, with fixed vectors of their titles."""
    folder = tmp_path_factory.mktemp("bert")
    tf.saved_model.save(Lengths(), str(folder / "lengths"))
    config = DataConfig(test=0.1, validation=0.0, title_vectors=str(folder / "lengths"))
    return folder / "data", prepare(make_raw(), config, folder / "data", progress=False)


@pytest.fixture
def make(toy):
    """`make(**settings)` -> a small model with the side tables."""

    def build(**settings):
        keras.utils.set_random_seed(0)
        data_dir, info = toy
        model = BertRating.create(info, BertRating.Config(**{**SMALL, **settings}))
        model.take_tables(fields.read(data_dir))
        return model

    return build


def score(model, users, items):
    features = {"user": tf.constant(users, tf.int32), "item": tf.constant(items, tf.int32)}
    return model.score(features).numpy()


def encoder(layers=2):
    keras.utils.set_random_seed(1)
    return TextEncoder(size=9, length=6, width=8, heads=2, layers=layers, dropout=0.3)


def test_padding_is_masked():
    read = encoder()
    short = read(np.int32([[3, 5, 1], [7, 2, 0]])).numpy()
    long = read(np.int32([[3, 5, 1, 0, 0, 0], [7, 2, 0, 0, 0, 0]])).numpy()
    np.testing.assert_allclose(long, short, atol=1e-6)
    alone = read(np.int32([[7, 2]])).numpy()
    np.testing.assert_allclose(alone[0], short[1], atol=1e-6)


def test_a_text_is_more_than_its_last_piece_and_none_is_0():
    found = encoder()(np.int32([[3, 5], [5, 3], [3, 4], [0, 0]])).numpy()
    assert np.abs(found[0] - found[1]).max() > 1e-4  # order
    assert np.abs(found[0] - found[2]).max() > 1e-2
    assert (found[3] == 0).all()


def test_without_blocks_a_text_is_the_mean_of_its_normed_pieces():
    read = encoder(layers=0)
    found = read(np.int32([[3, 5, 0]])).numpy()[0]
    x = read.tokens.embeddings.numpy()[[3, 5]] + read.positions.numpy()[:2]
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(found, x.mean(0), atol=1e-5)


def test_a_block_is_attention_and_a_wider_layer_each_normed_after_the_sum():
    read = encoder(layers=1)
    start, block = encoder(layers=0), read.blocks[0]
    codes = np.int32([[3, 5, 1]])
    read(codes), start(codes)
    w = {weight.path.split("block_0/")[-1]: weight.numpy() for weight in block.weights}
    for weight in block.weights:
        weight.assign(np.random.default_rng(len(weight.path)).normal(size=weight.shape) / 2)
        w[weight.path.split("block_0/")[-1]] = weight.numpy()

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * w[f"{name}/gamma"] + w[f"{name}/beta"]

    x = read.tokens.embeddings.numpy()[codes[0]] + read.positions.numpy()[:3]
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
    q, k, v = (
        np.einsum("td,dhk->htk", x, w[f"attention/{n}/kernel"])
        + w[f"attention/{n}/bias"][:, None, :]
        for n in ("query", "key", "value")
    )
    attention = np.exp(q @ k.transpose(0, 2, 1) / 2.0)  # 4 numbers a head
    seen = (attention / attention.sum(-1, keepdims=True)) @ v
    out = "attention/attention_output/"
    seen = np.einsum("htk,hkd->td", seen, w[out + "kernel"]) + w[out + "bias"]
    x = norm(x + seen, "norm_attention")
    wide = tf.nn.gelu(x @ w["wide/kernel"] + w["wide/bias"]).numpy()
    x = norm(x + wide @ w["narrow/kernel"] + w["narrow/bias"], "norm_dense")
    np.testing.assert_allclose(read(codes).numpy()[0], x.mean(0), atol=1e-4)


def test_without_a_title_the_towers_by_hand(make, toy):
    model = make(title="none")
    names = [[f.name for f in tower.fields] for tower in (model.user_tower, model.item_tower)]
    assert names == [["user", "gender", "age"], ["item", "genres"]]
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(len(weight.path)).normal(size=weight.shape))
    tables = fields.read(toy[0])

    def tower(layer, inputs):
        weights = [[w.numpy() for w in dense.weights] for dense in layer.hidden]
        hidden = [np.maximum(0, x @ kernel + bias) for x, (kernel, bias) in zip(inputs, weights)]
        kernel, bias = (w.numpy() for w in layer.head.weights)
        return np.tanh(np.concatenate(hidden) @ kernel + bias)

    user, item = 3, 4
    codes = [user + 1, tables["gender"][user], tables["age"][user]]
    embeddings = [reader.embeddings.numpy() for reader in model.user_tower.readers]
    own = [table[code] for table, code in zip(embeddings, codes)]
    p = tower(model.user_tower, own)
    genres = np.zeros(3)
    genres[[code - 1 for code in tables["genres"][item] if code]] = 1
    assert genres.sum() == 3  # Comedy|Drama|War
    own.append(model.item_tower.readers[0].embeddings.numpy()[item + 1])
    q = tower(model.item_tower, [own[-1], genres])
    features = {"user": tf.constant([user]), "item": tf.constant([item])}
    scores, penalty = model.run_forward(features)
    assert scores.numpy()[0] == pytest.approx(float(model.bias) + p @ q, rel=1e-4)
    due = model.config.regularization * sum((x**2).sum() for x in own)
    assert penalty.numpy()[0] == pytest.approx(due, rel=1e-4)
    loss = model.objective(features, {"value": tf.constant([2.0])}, (scores, penalty))
    assert loss.numpy()[0] == pytest.approx((2 - scores.numpy()[0]) ** 2 + due, rel=1e-5)


def test_it_starts_around_the_mean_rating(make, toy):
    scores = score(make(), [0, 1, -1], [2, 3, 4])
    assert np.abs(scores - toy[1].rating_mean).max() < 1


@pytest.mark.parametrize("title", ["transformer", "frozen", "none"])
def test_scores_of_all_items_are_those_of_events(make, title, monkeypatch):
    monkeypatch.setattr("tfrec.models.bertrating.BLOCK", 4)  # the last block is filled up
    model = make(title=title)
    users, items = [4, -1, 0], range(6)
    scores = model.score({"user": tf.constant(users)}).numpy()
    for row, user in zip(scores, users):
        np.testing.assert_allclose(row, score(model, [user] * 6, items), atol=1e-5)
    two = model.score({"user": tf.constant(users)}, tf.constant([5, 2])).numpy()
    np.testing.assert_allclose(two, scores[:, [5, 2]], atol=1e-5)
    assert np.isfinite(score(model, [-1, 2, -1], [3, -1, -1])).all()


def test_unknown_ids_do_not_get_the_last_row(make):
    model = make(title="none")
    before = score(model, [-1, 4], [-1, 5])
    for tower in (model.user_tower, model.item_tower):
        table = tower.readers[0].embeddings
        table.assign(table + np.eye(table.shape[0])[:, :1])  # only the unknown's row
    after = score(model, [-1, 4], [-1, 5])
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("title", ["transformer", "frozen", "none"])
def test_the_words_of_a_title_count_where_they_are_read(make, toy, title):
    model = make(title=title)
    before = score(model, [0, 0], [0, 3])
    tables = fields.read(toy[0])
    for name in ("title", "title_vectors"):
        tables[name][0] = tables[name][3]
    model.take_tables(tables)
    after = score(model, [0, 0], [0, 3])
    assert (abs(after[0] - before[0]) > 1e-6) == (title != "none")
    assert after[1] == before[1]


def test_genres_count_and_not_their_order(make, toy):
    model = make(title="none")
    before = score(model, [0, 0], [0, 1])
    tables = fields.read(toy[0])
    tables["genres"][0] = np.roll(tables["genres"][0], 1)
    model.take_tables(tables)
    np.testing.assert_allclose(score(model, [0, 0], [0, 1]), before, atol=1e-6)
    tables["genres"][0] = tables["genres"][3]
    model.take_tables(tables)
    after = score(model, [0, 0], [0, 1])
    assert abs(after[0] - before[0]) > 1e-6
    assert after[1] == before[1]


def gradients(model, toy):
    """The largest gradient of each trained weight, by path, on the training events."""
    features, targets = next(iter(inputs.events(*toy, "train", 27)))
    with tf.GradientTape() as tape:
        scores = model.run_forward(features, training=True)
        loss = tf.reduce_mean(model.objective(features, targets, scores))
    variables = model.trainable_variables
    found = tape.gradient(loss, [v.value for v in variables])
    return {v.path: np.abs(tf.convert_to_tensor(g)).max() for v, g in zip(variables, found)}


def test_frozen_vectors_go_through_and_are_not_trained(make, toy):
    model = make(title="frozen")
    frozen = model.codes.tables["title_vectors"]
    letters = [len(t.split(" (")[0]) for t in TITLES]
    expected = [[n, 0.25 if n else 0] for n in letters] + [[0, 0]]  # the last: no item
    np.testing.assert_array_equal(frozen.numpy(), np.float32(expected))
    found = gradients(model, toy)
    assert frozen.path not in found
    assert min(found.values()) > 0


def test_everything_of_the_transformer_learns(make, toy):
    found = gradients(make(dropout=0.1, layers=2), toy)
    # The same added to all keys changes no attention: their bias has no gradient.
    still = [path for path, most in found.items() if most == 0 and "key/bias" not in path]
    assert not still
    assert sum("block_1" in path for path in found) == 16


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"title": "bert"}, "--set title=bert is unknown; .*transformer, frozen, none"),
        ({"heads": 3}, "--set heads=3 does not divide width=8"),
    ],
)
def test_bad_settings_are_refused(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


@pytest.mark.parametrize(
    "title, message",
    [
        ("transformer", "toy is prepared without titles; train with --set title=none"),
        ("frozen", "without vectors of its titles; .*--data title_vectors=.*--set title=none"),
    ],
)
def test_data_without_titles_is_refused_with_the_cure(toy, title, message):
    bare = dataclasses.replace(toy[1], fields=())
    with pytest.raises(ValueError, match=message):
        BertRating.create(bare, BertRating.Config(title=title, **SMALL))
    model = BertRating.create(bare, BertRating.Config(title="none", **SMALL))
    assert np.isfinite(score(model, [0, -1], [1, -1])).all()
