"""Monitoring of a run: TensorBoard's files, the line of an epoch, callbacks."""

import dataclasses
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.projector import ProjectorConfig

from tfrec import config as config_lib
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.training import callbacks, experiment, methods, schedules, strategies, tensorboard
from tfrec.training.meter import Meter
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir

TRAIN = {"epochs": 3, "batch_size": 10, "patience": 0, "learning_rate": 0.01}
RATE = "optimizer/learning_rate"


def make_run(board, path, model, settings, watchers=(), resume=False, **train):
    cls = MODELS[model]
    data_dir, data = board("user", cls.task_for(cls.Config(**settings)) == "ranking")
    train = dataclasses.replace(cls.defaults, **{**TRAIN, **train})
    own = config_lib.to_dict(cls.Config(**settings))
    config = RunConfig(model, own, data, data_dir, train)
    run_dir = RunDir(path)
    run_dir.start(config, resume)
    strategy = tf.distribute.get_strategy()
    return experiment.Experiment(config, run_dir, strategy, callbacks=watchers, verbose=False)


def events(folder):
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def curves(folder):
    """Tag -> [(step, value), ...] of the scalars."""
    found = events(folder)
    scalars = found.summary_metadata.items()
    return {
        tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in found.Tensors(tag)]
        for tag, about in scalars
        if about.plugin_data.plugin_name == "scalars"
    }


class Seen(keras.callbacks.Callback):
    """A callback like those of MLflow and Weights & Biases: it records its arguments."""

    def __init__(self):
        super().__init__()
        self.batches, self.epochs = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((batch, dict(logs)))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(dict(logs))


@pytest.fixture(scope="module")
def watched(board, tmp_path_factory):
    """A finished Mult-VAE with all optional logs, and a callback."""
    seen = Seen()
    run = make_run(
        board,
        tmp_path_factory.mktemp("watched") / "run",
        *("multvae", {"hidden": (8,), "latent": 4, "total_anneal_steps": 10}, [seen]),
        **{"decay_epochs": (1,), "histograms": True, "profile": True},
    )
    run.run()
    return run, seen


# ------------------------------------------------------------------ curves


def test_curves_are_the_history(watched):
    run, _ = watched
    found, history = curves(run.run_dir.logs), run.run_dir.history()
    due = {
        *("loss/loss", "loss/kl", "loss/beta", "validation/ndcg@100", "speed/seconds"),
        *(RATE, "optimizer/gradient_norm", "speed/examples_per_second", "speed/input_wait"),
    }
    assert due <= set(found)
    for name in history.columns[~history.columns.str.contains("epoch|val_n_")]:
        due = list(zip(history["epoch"], history[name], strict=True))
        np.testing.assert_allclose(found[tensorboard.tag(name)], due, rtol=1e-5, err_msg=name)
    assert (history["examples_per_second"] > 0).all()
    assert history["input_wait"].between(0, 1).all()
    assert (history["gradient_norm"] > 0).all()


def test_learning_rate_and_beta_follow_their_schedules(watched):
    run, _ = watched
    found = curves(run.run_dir.logs)
    rates = [schedules.rates(run.config.train, epoch, 0, 1, 4)[0] for epoch in range(3)]
    np.testing.assert_allclose(rates, [0.01, 0.005, 0.005])
    np.testing.assert_allclose([value for _, value in found[RATE]], rates, rtol=1e-6)
    steps = np.arange(12).reshape(3, 4)  # 40 users in batches of 10
    due = np.minimum(0.2, steps / 10).mean(axis=1)
    np.testing.assert_allclose([value for _, value in found["loss/beta"]], due, rtol=1e-5)


def test_a_resumed_run_continues_its_curves(board, tmp_path):
    def stop(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    settings = {"latent": 4}
    stopping = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    broken = make_run(board, tmp_path / "a", "mf", settings, [stopping])
    with pytest.raises(KeyboardInterrupt):
        broken.fit(resume=False)
    assert [step for step, _ in curves(broken.run_dir.logs)["loss/loss"]] == [1, 2]
    run = make_run(board, tmp_path / "a", "mf", settings, resume=True)
    run.run(resume=True, test=False)
    history = run.run_dir.history()
    found = dict(curves(run.run_dir.logs)["validation/rmse"])
    np.testing.assert_allclose([found[1], found[2], found[3]], history["val_rmse"], rtol=1e-5)
    texts = events(run.run_dir.logs).Tensors("run/settings")
    assert len(texts) == 1, "settings are written once"
    check_projector(run)


def check_projector(run):
    """MF's item vectors, the most popular first, and their titles."""
    logs = run.run_dir.logs
    config = text_format.Parse((logs / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (one,) = config.embeddings
    header, *rows = [
        line.split("\t") for line in (logs / one.metadata_path).read_text().splitlines()
    ]
    assert header == ["title", "item", "interactions"]
    ids = [item for _, item, _ in rows]
    assert {title for title, _, _ in rows} == {f"Film {item}, The" for item in ids}
    counts = np.array([int(n) for _, _, n in rows])
    assert counts.sum() == run.info.n_ratings["train"]
    assert (np.diff(counts) <= 0).all()
    names = (run.run_dir.data_dir() / "items.txt").read_text().split()
    vectors = run.model.item_vectors().numpy()[[names.index(item) for item in ids]]
    np.testing.assert_allclose(np.loadtxt(logs / one.tensor_path), vectors, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------ other logs


def test_hparams_have_settings_and_final_metrics(watched):
    run, _ = watched
    found = events(run.run_dir.logs)
    start, end = (
        found.SummaryMetadata(tag).plugin_data.content
        for tag in (metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)
    )
    values = metadata.parse_session_start_info_plugin_data(start).hparams
    assert values["model"].string_value == "multvae"
    assert values["train.learning_rate"].number_value == 0.01
    assert values["set.hidden"].string_value == "8"
    assert values["train.refit"].HasField("bool_value")
    assert not {"train.profile", "train.save_minutes"} & set(values), "they change no result"
    assert metadata.parse_session_end_info_plugin_data(end).status == 1  # STATUS_SUCCESS
    scalars, best = curves(run.run_dir.logs), run.result["best_epoch"]
    for group, part in (("validation_best", "validation"), ("test", "test")):
        for name, value in run.result[part].items():
            assert scalars[f"{group}/{name}"] == [(best, pytest.approx(value, rel=1e-5))]


def test_text_says_what_was_trained_on_what(watched):
    run, _ = watched
    found = events(run.run_dir.logs)
    texts = [
        str(tf.make_ndarray(found.Tensors(tag)[0].tensor_proto))
        for tag in ("run/settings", "run/data")
    ]
    assert "| latent | 4 |" in texts[0]
    assert "| decay_epochs | 1 |" in texts[0]
    assert run.info.protocol in texts[1]
    assert f"{run.info.n_ratings['train']:,}" in texts[1]


def test_histograms_and_the_profile_are_there_on_request(watched):
    run, _ = watched
    about = events(run.run_dir.logs).summary_metadata
    found = {tag for tag, m in about.items() if m.plugin_data.plugin_name == "histograms"}
    assert len(found) == len(run.model.trainable_variables)
    assert {"weights/encoder_0/kernel", "weights/logits/bias"} <= found
    (recorded,) = run.run_dir.logs.glob("plugins/profile/*/*.xplane.pb")
    assert recorded.stat().st_size > 0


def test_a_run_in_closed_form_and_its_refit(board, tmp_path):
    run = make_run(board, tmp_path / "run", "popularity", {}, refit=True)
    run.run()
    logs = run.run_dir.logs
    assert not (logs / "plugins").exists()
    found = curves(logs)
    assert not [tag for tag in found if tag.startswith(("weights", "optimizer", "loss"))]
    assert [step for step, _ in found["validation/ndcg@100"]] == [1]
    assert not (logs / "projector_config.pbtxt").exists(), "it has no vectors"
    found = curves(logs / "refit")
    assert [step for step, _ in found["speed/seconds"]] == [1]
    assert not any(tag.startswith("validation") for tag in found)


def test_a_callback_of_keras_sees_batches_and_epochs(watched):
    run, seen = watched
    assert [batch for batch, _ in seen.batches] == [0, 1, 2, 3] * 3
    losses = [logs["loss"] for _, logs in seen.batches]
    assert [logs["loss"] for logs in seen.epochs] == losses[3::4], "the mean until there"
    assert [logs["val_ndcg@100"] for logs in seen.epochs] == pytest.approx(
        run.run_dir.history()["val_ndcg@100"].tolist()
    )


# ------------------------------------------------------------------ parts of the loss


def stepped(board, model, settings, **train):
    """Logs of one step on the checkerboard, and model outputs from before the step."""
    cls = MODELS[model]
    config = cls.Config(**settings)
    data_dir, _ = board("user", cls.task_for(config) == "ranking")
    made = cls.create(DatasetInfo.load(data_dir), config)
    train = dataclasses.replace(cls.defaults, **{**TRAIN, "optimizer": "sgd", **train})
    methods.Steps(made, tf.distribute.get_strategy(), train)
    items = tf.constant([[0, 2, 4], [1, 3, -1], [-1, -1, -1]])
    values = tf.where(items >= 0, 4.0, 0.0)
    features = {"user": tf.constant([0, 1, -1]), "items": items, "values": values}
    targets = {"target_items": items, "target_values": values}
    outputs = made.run_forward(features)
    before = {
        "loss": float(made.compute_loss(features, targets, outputs, training=False)),
        "outputs": outputs,
        "losses": float(tf.add_n([0.0, *made.losses])),
        "weights": [w.numpy() for w in made.trainable_variables],
    }
    made.begin_epoch(1, None)
    logs = {k: float(v) for k, v in made.train_step((features, targets)).items()}
    return made, logs, before


def test_kl_beta_and_regularization_of_vae(board):
    settings = {"hidden": (8,), "latent": 4, "dropout": 0.0, "l2": 0.1, "base": "none"}
    model, logs, before = stepped(board, "vae", settings | {"total_anneal_steps": 10})
    kl = before["outputs"][1].numpy()
    assert logs["kl"] == pytest.approx(kl[:2].mean(), rel=1e-4), "the empty row does not count"
    assert logs["regularization"] == pytest.approx(before["losses"], rel=1e-4)
    assert logs["beta"] == 0
    data = {"user": tf.constant([0]), "items": tf.constant([[0]]), "values": tf.constant([[4.0]])}
    logs = model.train_step(
        (data, {"target_items": data["items"], "target_values": data["values"]})
    )
    assert float(logs["beta"]) == pytest.approx(0.05), "the mean of 0 and .1"


def test_kl_and_beta_of_recvae_and_svae(board):
    small = {"hidden": 8, "depth": 1, "latent": 4, "gamma": 0.1, "encoder_steps": 1}
    _, logs, _ = stepped(board, "recvae", small)
    assert logs["beta"] == pytest.approx(0.1 * (3 + 2) / 2)
    assert np.isfinite(logs["kl"])
    small = {"embedding": 4, "recurrent": 4, "hidden": (4,), "latent": 2, "dropout": 0.0}
    _, logs, before = stepped(board, "svae", small)
    kl = before["outputs"][1].numpy()  # steps: a start and the items; the last predicts nothing
    assert logs["kl"] == pytest.approx((kl[:3].mean() + kl[4:6].mean()) / 2, rel=1e-4)
    assert logs["beta"] == 0


def test_refeeding_and_the_gradient_before_clipping(board):
    settings = {"hidden": (4,), "dropout": 0.0, "base": "none", "regularization": 30.0}
    for clip, aug_steps in ((0.0, 0), (0.1, 0), (0.1, 1)):
        settings["aug_steps"] = aug_steps
        model, logs, before = stepped(board, "deeprec", settings, clip_norm=clip)
        assert ("refeed_loss" in logs) == bool(aug_steps)
        assert logs["regularization"] == pytest.approx(before["losses"], rel=1e-4)
        assert logs["gradient_norm"] > 0.1
        if not aug_steps:
            pairs = zip(model.trainable_variables, before["weights"], strict=True)
            length = np.sqrt(sum(((new.numpy() - old) ** 2).sum() for new, old in pairs))
            due = (clip or logs["gradient_norm"]) * 0.01  # times the learning rate
            assert length == pytest.approx(due, rel=1e-3)


# ------------------------------------------------------------------ pace


@pytest.mark.parametrize("name", ["one", "mirrored"])
def test_the_meter_counts_examples_and_the_wait(request, name):
    strategy, pause, users = request.getfixturevalue(name), 0.02, [[0, 1], [2, -1], [3, 4]]

    def rows():
        for each in users:
            time.sleep(pause)
            yield each

    spec = tf.TensorSpec([2], tf.int32)
    data = tf.data.Dataset.from_generator(rows, output_signature=spec)
    data = data.map(lambda user: ({"user": user}, user))
    meter = Meter(strategy)

    @tf.function
    def step(batches):
        return strategies.run_on_next(
            strategy, lambda batch: tf.reduce_sum(batch[1]), batches, meter.next
        )

    for _ in range(2):
        meter.reset()
        before = time.perf_counter()
        assert (
            len(list(strategies.steps(step, strategy.experimental_distribute_dataset(data)))) == 3
        )
        spent = time.perf_counter() - before
        assert meter.examples == 5, "the filler is no example"
        assert 0 < meter.waited <= spent
    assert name == "mirrored" or meter.waited >= pause


def test_the_line_of_an_epoch_says_what_is_left(monkeypatch):
    clock, lines = iter([100.0, 150.0, 150.0, 160.0]), []
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(clock))
    line = callbacks.EpochLine(("rmse",), lines.append, may_end_early=True)
    line.set_params({"epochs": 10})
    logs = {"seconds": 9.0, "loss": 0.5, "beta": 0.1, "kl": 3.0, "val_rmse": 0.9, "val_mae": 0.7}
    for epoch in range(2):
        line.on_epoch_begin(epoch)
        line.on_epoch_end(epoch, logs | {"examples_per_second": 1234.5})
    assert "at most 7 min 30 s left" in lines[0]
    assert "at most 1 min 20 s left" in lines[1], "the first epoch builds the graphs"
    for part in ("epoch 2/10", "loss 0.5000", "kl 3.0000", "val rmse 0.9000", "1,234 examples/s"):
        assert part in lines[1]
    assert "mae" not in lines[1]
    line.set_params({"epochs": 3})
    monkeypatch.undo()
    line.on_epoch_begin(2)
    line.on_epoch_end(2, logs)
    assert "left" not in lines[2]
    assert "examples" not in lines[2]


@pytest.mark.parametrize(
    ("seconds", "due"),
    [(0.4, "0 s"), (59.7, "1 min 0 s"), (3725, "1 h 2 min"), (200_000, "2 d 7 h")],
)
def test_durations(seconds, due):
    assert callbacks.duration(seconds) == due
