"""Models that read times: gaps, the biases by NumPy, hidden times, the time of asking."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from commands_test import run as command
from conftest import checkerboard
from random_weights import randomise
from sequence_test import INFO, features, layer_norm, silu

from tfrec import config as config_lib
from tfrec.api.run import Run
from tfrec.config import DataConfig
from tfrec.data import inputs
from tfrec.data.prepare import prepare
from tfrec.layers.time_gaps import gap_buckets, of_buckets
from tfrec.models.fuxi import FuXi
from tfrec.models.hstu import HSTU
from tfrec.schema import DatasetInfo, Field
from tfrec.serving import examples, export_metadata, signatures
from tfrec.serving.local import InMemory
from tfrec.split_rules import LastOut
from tfrec.training import batches
from tfrec.training.experiment import Experiment
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir

NO_TIME = -(2**63)
TIMED = dataclasses.replace(INFO, fields=(Field("hour", "event", "hour", 25),))
DAY = 86_400
WHEN = [[0, 50, 50 + DAY], [9, 9, 10**9]]  # seconds
ROWS = ([3, 1, 2], [5, 6, 7])
SETTINGS = {"window": 6, "width": 8, "time_bias": True, "dropout": 0.0}


def made(cls=HSTU, **settings):
    tf.random.set_seed(0)
    model = cls.create(TIMED, dataclasses.replace(cls.Config(), **{**SETTINGS, **settings}))
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def timed(when=WHEN, ask=(NO_TIME, NO_TIME), rows=ROWS):
    times = {"times": tf.constant(when, tf.int64), "ask_time": tf.constant(ask, tf.int64)}
    return features(*rows) | times


def buckets_by_numpy(asked, times):
    gaps = np.maximum(1, np.abs(asked[:, None] - times[None, :]))
    return np.minimum(128, np.floor(np.log(gaps) / 0.301)).astype(int)


def test_gaps_fall_into_logarithmic_buckets():
    asked, times = np.array([0, 10**9, 5 * DAY]), np.array([0, 1, 2, 40, DAY, 10**9])
    found = gap_buckets(tf.constant(asked[None]), tf.constant(times[None]))[0]
    np.testing.assert_array_equal(found, buckets_by_numpy(asked, times))
    assert found.numpy()[0].tolist() == [0, 0, 2, 12, 37, 68]
    unknown = gap_buckets(*(tf.constant([x], tf.int64) for x in ([NO_TIME, 5], [7, NO_TIME])))
    assert unknown.numpy().tolist() == [[[129, 129], [2, 129]]]


def test_the_gradient_of_buckets_is_that_of_a_gather():
    table, buckets = tf.constant([1.0, 2.0, 4.0]), tf.constant([[2, 0, 2], [2, 2, 0]])
    weights = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    found = []
    for gather in (of_buckets, tf.gather):
        with tf.GradientTape() as tape:
            tape.watch(table)
            total = tf.reduce_sum(weights * gather(table, buckets) ** 2)
        found.append(tf.convert_to_tensor(tape.gradient(total, table)).numpy())
    np.testing.assert_allclose(*found)


@pytest.mark.parametrize("position", [True, False])
def test_hstu_with_time_by_numpy(position):
    """One block, two heads, by the formula of its docstring; row 0, asked a day later."""
    model = made(blocks=1, heads=2, position_bias=position)
    asked = np.array([50, 50 + DAY, 50 + 2 * DAY])
    tokens, times, block = np.array(ROWS[0]), np.array(WHEN[0]), model.blocks[0]
    x = model.table.numpy()[tokens] * 8**0.5 + model.positions.table.numpy()[-3:]
    wide = layer_norm(x, block.norms[0]) @ block.wide.kernel.numpy() + block.wide.bias.numpy()
    u, v, q, k = np.split(silu(wide), 4, axis=1)
    r = block.gap.numpy()[buckets_by_numpy(asked, times)]
    if position:
        r += block.distance.numpy()[np.maximum(np.arange(3)[:, None] - np.arange(3), 0)]
    heads = [slice(0, 4), slice(4, 8)]
    a = [silu(q[:, h] @ k[:, h].T + r) / 6 * np.tri(3) for h in heads]
    av = np.concatenate([a[i] @ v[:, h] for i, h in enumerate(heads)], axis=1)
    x = x + (layer_norm(av, block.norms[1]) * u) @ block.out.kernel.numpy()
    x += block.out.bias.numpy()
    state = x[-1] / np.linalg.norm(x[-1])
    table = model.table.numpy()[:-1]
    due = table @ state / np.linalg.norm(table, axis=1) / model.config.temperature
    scores = model.score(timed(ask=(50 + 2 * DAY, NO_TIME)))[0]
    np.testing.assert_allclose(scores, due + model.bias.numpy(), atol=1e-4)


def rms(x):
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-6)


@pytest.mark.parametrize("semantic", [True, False])
def test_fuxi_by_numpy(semantic):
    """One block, one head, by the formula of its docstring; row 0, asked a day later."""
    model = made(FuXi, blocks=1, semantic=semantic)
    asked = np.array([50, 50 + DAY, 50 + 2 * DAY])
    tokens, times, block = np.array(ROWS[0]), np.array(WHEN[0]), model.blocks[0]
    x = model.table.numpy()[tokens] * 8**0.5 + model.positions.table.numpy()[-3:]
    n = 3 if semantic else 2
    parts = np.split(silu(rms(x) @ block.wide.kernel.numpy()), 2 * n if semantic else 3, axis=1)
    u, (v, *qk) = np.concatenate(parts[:n], axis=1), parts[n:]
    past = np.tri(3)
    p = block.distance.numpy()[np.maximum(np.arange(3)[:, None] - np.arange(3), 0)]
    t = block.gap.numpy()[buckets_by_numpy(asked, times)]
    found = [p * past @ v, t * past @ v]
    found += [silu(qk[0] @ qk[1].T) / 6 * past @ v] if semantic else []
    y = (rms(np.concatenate(found, axis=1)) * u) @ block.out.kernel.numpy()
    y += block.out.bias.numpy() + x
    one, other = np.split(rms(y) @ block.hidden.kernel.numpy(), 2, axis=1)
    x = (silu(one) * other) @ block.narrow.kernel.numpy() + y
    buckets = tf.constant(buckets_by_numpy(asked, times)[None], tf.int32)
    states = model.states(tf.constant([tokens], tf.int32), False, buckets=buckets)
    np.testing.assert_allclose(states[0], x / np.linalg.norm(x, axis=1)[:, None], atol=1e-4)


def test_attention_without_any_channel_is_refused():
    with pytest.raises(ValueError, match="leave no attention; choose one"):
        FuXi.Config(semantic=False, position_bias=False, time_bias=False)


def test_each_item_is_predicted_as_if_asked_at_its_own_time():
    model = made()
    states, rows, _ = model.run_forward(timed())
    table, bias = model.outputs()
    last = tf.boolean_mask(states, rows == 0)[2]
    before = timed([[0, 50], [9, 9]], (50 + DAY, 0), [row[:2] for row in ROWS])
    due = model.score(before)[0]
    np.testing.assert_allclose(tf.linalg.matvec(table, last) + bias, due, atol=1e-4)


def test_without_a_time_of_asking_it_is_that_of_the_newest_item():
    model = made()
    due = model.score(timed(ask=[row[-1] for row in WHEN]))
    np.testing.assert_array_equal(model.score(timed()), due)
    assert np.abs(model.score(timed(ask=(10**6, 10**10))) - due).max() > 1e-2


def test_without_times_all_gaps_are_unknown():
    model = made()
    without = model.score(features(*ROWS))
    hidden = model.score(timed([[NO_TIME] * 3] * 2))
    np.testing.assert_allclose(without, hidden, atol=1e-5)
    assert np.abs(without - model.score(timed())).max() > 1e-2
    assert np.isfinite(model.score(features([], [1]))).all()


def test_training_hides_times_and_times_of_asking_in_shares_of_the_rows():
    model = made(hide_times=0.2, hide_ask=0.3)
    times = tf.tile(tf.constant([[5, 10]], tf.int64), [2000, 1])
    asked, keys = (x.numpy() for x in model._hidden(times + 100, times, training=True))
    hidden, plain = (keys == NO_TIME).all(axis=1), (asked == [105, 110]).all(axis=1)
    assert ((keys == [5, 10]).all(axis=1) | hidden).all()
    assert ((asked == [5, 10]).all(axis=1) | plain).all()
    assert not (hidden & plain).any()
    assert (hidden.mean(), plain.mean()) == pytest.approx((0.2, 0.5), abs=0.04)
    same = model._hidden(times + 100, times, training=False)
    np.testing.assert_array_equal(same[0], times + 100)


def test_windows_take_the_times_of_their_items():
    model = made(window=3, slide=0.0)
    padded = {
        "user": tf.constant([0]),
        "items": tf.constant([[1, -1, 2, 3, 4, 5, -1]]),
        "values": tf.ones([1, 7]),
        "times": tf.constant([[0, NO_TIME, 10, 20, 9000, 9001, NO_TIME]], tf.int64),
        "ask_time": tf.constant([9500], tf.int64),
    }
    plain = timed([[20, 9000, 9001]], [9500], [[3, 4, 5]])
    np.testing.assert_allclose(model.score(padded), model.score(plain), atol=1e-5)
    assert model.run_forward(padded)[2].numpy().tolist() == [3, 4, 5]


def test_data_without_times_is_refused():
    with pytest.raises(ValueError, match="reads times, which toy does not have.*time_bias=false"):
        HSTU.create(INFO, HSTU.Config(time_bias=True))
    assert HSTU.create(INFO).reads_times is False


@pytest.fixture(scope="module")
def last(tmp_path_factory):
    """`last(ask_time)` -> the checkerboard by leave-one-out, prepared."""

    def make(ask_time):
        path = tmp_path_factory.mktemp("last") / "data"
        data = DataConfig(dataset="checkerboard", split="last", ask_time=ask_time)
        return path, prepare(checkerboard(likes_only=True), data, path, progress=False)

    return make


def test_times_come_with_the_items_and_the_time_of_asking_only_where_it_is_wanted(last):
    for ask_time in (False, True):
        data_dir, info = last(ask_time)
        for split in ("validation", "test"):
            plain = inputs.histories(data_dir, info, split, 7, times=True)
            for read, targets in plain:
                real = read["user"] >= 0
                times = tf.where(read["items"] >= 0, read["times"], 2**62)
                assert (times[:, 1:] >= times[:, :-1]).numpy().all()  # in time order
                assert (read["times"].numpy()[read["items"] < 0] == NO_TIME).all()
                asked = tf.boolean_mask(read["ask_time"], real).numpy()
                newest = tf.reduce_max(tf.boolean_mask(read["times"], real), axis=1).numpy()
                assert (asked > newest).all() if ask_time else (asked == NO_TIME).all()
                assert targets["target_items"].shape[1] == 1
        read, _ = next(iter(inputs.histories(data_dir, info, "train", 7, times=True)))
        assert (read["ask_time"].numpy() == NO_TIME).all()
        assert ("asked at the held-out rating's own time" in info.protocol) == ask_time


def test_only_models_that_read_times_get_them(last):
    data_dir, _ = last(True)
    info = DatasetInfo.load(data_dir)
    for time_bias in (False, True):
        model = HSTU.create(info, HSTU.Config(width=8, window=5, time_bias=time_bias))
        spec = batches.read(model, data_dir, "test").element_spec[0]
        assert ({"times", "ask_time"} <= set(spec)) == time_bias == model.reads_times


def test_the_time_of_asking_is_a_setting_of_leave_one_out():
    assert DataConfig(split="last", ask_time=True).rule == LastOut(ask_time=True)
    with pytest.raises(ValueError, match="ask_time=True is for split=last"):
        DataConfig(split="random", ask_time=True)


# What is served.


@pytest.fixture(scope="module")
def run(last, one, tmp_path_factory):
    """A run of a small HSTU with times."""
    data_dir, _ = last(True)
    settings = {"width": 8, "window": 5, "blocks": 1, "time_bias": True}
    data = DataConfig(dataset="checkerboard", split="last", ask_time=True)
    train = dataclasses.replace(HSTU.defaults, epochs=1, batch_size=20)
    config = RunConfig(
        "hstu", config_lib.to_dict(HSTU.Config(**settings)), data, str(data_dir), train
    )
    run_dir = RunDir(tmp_path_factory.mktemp("timed") / "run")
    run_dir.start(config)
    Experiment(config, run_dir, one).run()
    found = Run(run_dir.path)
    randomise(found.model, np.random.default_rng(3), 0.3)
    return found


def own_scores(run, items, times, ask):
    """Scores by raw id."""
    row = [[run.items.index(item) for item in items]]
    scores = run.model.score(timed([times], [ask], row))[0]
    return dict(zip(run.items, scores.numpy(), strict=True))


def expect_scores(found, due):
    assert len(found) == 4
    np.testing.assert_allclose(found["score"], [due[item] for item in found["item"]], atol=1e-4)


def test_a_run_recommends_at_a_time(run):
    items, times = ["i3", "i1", "i2"], [1000, 1050, 1050 + DAY]
    for ask in (None, 1050 + 3 * DAY):
        asked = {"times": [times], "ask_time": ask}
        found = run.recommend(histories=[items], k=4, **asked)
        expect_scores(found, own_scores(run, items, times, ask or NO_TIME))
    without = run.recommend(histories=[items], k=4)
    expect_scores(without, own_scores(run, items, [NO_TIME] * 3, NO_TIME))
    assert without["score"].tolist() != found["score"].tolist()


def test_known_users_are_served_with_their_times(run, tmp_path):
    (history,), (times,) = run.histories(["u3"]), run._known.timed_histories([run.users["u3"]])[1]
    assert len(times) == len(history)
    found = run.recommend(users=["u3"], k=4)
    expect_scores(found, own_scores(run, history, times, NO_TIME))
    later = run.recommend(users=["u3"], k=4, ask_time=times[-1] + DAY)
    expect_scores(later, own_scores(run, history, times, times[-1] + DAY))
    run.recommend_all(tmp_path / "all.parquet", k=4, progress=False)
    everyone = pd.read_parquet(tmp_path / "all.parquet")
    expect_scores(everyone[everyone["user"] == "u3"], own_scores(run, history, times, NO_TIME))


def test_a_request_of_examples_may_have_times(run, tmp_path):
    top = signatures.make(run.model, run.data_dir, 4, tmp_path / "titles.txt")
    lists = {"exclude": np.array([[""]] * 2), "allow": np.array([[""]] * 2)}
    request = {"items": np.array([["i3", "i1", "no such item"], ["i5", "", ""]])}
    request["values"] = np.ones([2, 3], np.float32)
    timed_request = request | {"times": np.array([[1000, 2000, 9], [7, 0, 0]])}
    timed_request["ask_time"] = np.array([5000, 0])
    for sent, due in (
        (timed_request, top.ask("recommend_at", timed_request | lists)),
        (request, top.ask("serving_default", request)),
    ):
        answer = top.ask("recommend_example", {"inputs": examples.serialize(sent)})
        np.testing.assert_allclose(answer["scores"], due["scores"], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(answer["items"], due["items"])


def test_an_export_says_how_it_is_asked_with_times(run, tmp_path):
    top = signatures.make(run.model, run.data_dir, 4, tmp_path / "titles.txt")
    described = export_metadata.describe(top)
    assert described["reads_times"]
    inputs_ = described["signatures"]["recommend_at"]["inputs"]
    assert inputs_["times"] == {"dtype": "int64", "shape": [None, None]}
    assert inputs_["ask_time"] == {"dtype": "int64", "shape": [None]}
    text = export_metadata.readme(top, "timed", tmp_path / "timed" / "1")
    assert "## Times" in text
    assert '"signature_name": "recommend_at"' in text
    assert "`values`, `times`, `ask_time`, `exclude`" in text


def test_times_that_mean_nothing_are_refused(run, tmp_path):
    history = {"histories": [["i3", "i1"]]}
    for given, message in (
        ({"times": [[1, 2, 3]]}, r"\[2\] items and \[3\] times: give one time for each item"),
        ({"ask_time": 9}, "ask_time needs the times of the histories"),
        ({"times": [[1, 2]], "explain": 2}, "explain is without times"),
    ):
        with pytest.raises(ValueError, match=message):
            run.recommend(**history, **given)
    timeless = HSTU.create(run.info, HSTU.Config(width=8, window=5))
    top = InMemory(signatures.make(timeless, run.data_dir, 4, tmp_path / "titles.txt"))
    with pytest.raises(ValueError, match="this model reads no times"):
        top.recommend([["i3"]], times=[[1]])


def test_the_command_takes_times(run, capsys):
    words = "recommend", f"--run_dir={run.path}", "--k=4"
    table = command(capsys, *words, "--items=i3:5,i1:5", "--times=1970-01-02,90000").out
    later = command(capsys, *words, "--items=i3:5,i1:5", "--times=86400,90000", "--ask_time=999999")
    assert len(table.splitlines()) == len(later.out.splitlines()) == 5
    assert table != later.out
    assert command(capsys, *words, "--user=u3", "--ask_time=2001-01-02T15:30").status == 0
    for more, message in (
        (["--items=i3", "--ask_time=5"], "give --times, too"),
        (["--items=i3", "--times=yesterday"], "'yesterday' is neither a whole number nor a date"),
        (["--user=u3", "--times=5"], "--times are those of --items; leave them out for --user"),
        (["--similar=i3", "--ask_time=5"], "--ask_time goes with --user or --items"),
    ):
        refused = command(capsys, *words, *more)
        assert refused.status == 1
        assert message in refused.err
