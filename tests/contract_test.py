"""The contract of all models, in the registry or outside, on data with a known solution."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrec import config as config_lib
from tfrec import ranking
from tfrec.api import printed
from tfrec.api.run import Run
from tfrec.data import inputs
from tfrec.models.base import Recommender
from tfrec.models.capabilities import Factors, ItemRows
from tfrec.models.events import EventModel
from tfrec.models.registry import MODELS, model_class
from tfrec.schema import PAD, DatasetInfo
from tfrec.serving import signatures
from tfrec.training.experiment import Experiment
from tfrec.training.loop import Trainer
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir

# For each model, small settings, and training settings that solve the checkerboard.
CODED = {"epochs": 16, "learning_rate": 0.02, "batch_size": 4}
KERNEL = {"hidden": (8,), "regularization": 0.1, "kernel_regularization": 0.001}
NEXT = {"epochs": 8, "optimizer": "adam", "learning_rate": 0.01, "batch_size": 4}
EVENTS = {"epochs": 8, "learning_rate": 0.02, "batch_size": 50}
SMALL = {
    "deeprec": (
        {"hidden": (16, 8), "dropout": 0.0, "last_activation": False},
        {**CODED, "optimizer": "adam"},
    ),
    "autorec": (
        {"hidden": (8,), "regularization": 0.1},
        {"epochs": 3, "iterations": 20, "batch_size": 16},
    ),
    "autoencoder": (
        {"hidden": (16,)},
        {**CODED, "epochs": 8},
    ),
    "vae": (
        {"hidden": (16,), "latent": 8, "dropout": 0.0},
        CODED,
    ),
    "multdae": ({"hidden": (16,), "dropout": 0.0}, CODED),
    "multvae": ({"hidden": (16,), "latent": 8, "dropout": 0.0}, CODED),
    "recvae": (
        {"hidden": 16, "depth": 2, "latent": 8, "dropout": 0.0},
        {**CODED, "epochs": 8},
    ),
    "cdae": (
        {"latent": 16, "dropout": 0.0, "fold_in_steps": 100},
        {**CODED, "optimizer": "adam"},
    ),
    "sparsefc": (
        KERNEL,
        {"epochs": 3, "iterations": 20, "batch_size": 16},
    ),
    "glocalk": (
        {**KERNEL, "pretrain_epochs": 1},
        {"epochs": 4, "iterations": 20, "batch_size": 16},
    ),
    "svae": (
        {"embedding": 8, "recurrent": 16, "hidden": (8,), "latent": 4, "ahead": 40},
        {"epochs": 30, "learning_rate": 0.02, "batch_size": 10},
    ),
    "twotower": (
        dict(width=16, hidden=16, negatives=20, dropout=0.0, id_dropout=0.0, temperature=0.2),
        {**NEXT, "epochs": 20, "batch_size": 20},
    ),
    "sequentialrules": ({}, {"batch_size": 16}),
    "gru4rec": ({"width": 16, "recurrent": (16,), "dropout": 0.0}, NEXT),
    "sasrec": ({"width": 16, "dropout": 0.0, "attention_dropout": 0.0, "loss": "softmax"}, NEXT),
    "bert4rec": (
        dict(width=16, blocks=1, window=20, dropout=0.0, attention_dropout=0.0, mask=0.3),
        NEXT,
    ),
    "hstu": (
        dict(width=16, blocks=1, window=20, dropout=0.0, temperature=0.2, loss="bce", negatives=20),
        {**NEXT, "epochs": 50, "decay_epochs": (30, 40)},
    ),
    "fuxi": (
        dict(width=16, blocks=1, window=20, dropout=0.0, temperature=0.2, loss="bce", negatives=20),
        {**NEXT, "epochs": 50, "decay_epochs": (30, 40)},
    ),
    "esasrec": ({"width": 16, "dropout": 0.0, "loss": "softmax"}, NEXT),
    "ease": ({"regularization": 10.0}, {"batch_size": 16}),
    "sparseease": ({"regularization": 10.0, "neighbors": 12}, {"batch_size": 16}),
    "weightedease": ({"regularization": 10.0}, {"batch_size": 16}),
    "easevae": (
        {"hidden": 16, "depth": 2, "latent": 8, "dropout": 0.0, "regularization": 10.0},
        {**CODED, "epochs": 8},
    ),
    "chebycf": ({"factors": 4, "low_pass": 0.3}, {"batch_size": 16}),
    "ials": ({"factors": 4, "regularization": 0.1}, {"batch_size": 16}),
    "als": ({"factors": 4}, {"batch_size": 16}),
    "mf": ({"latent": 4, "regularization": 0.001}, EVENTS),
    "fm": ({"latent": 4}, EVENTS),
    "deepfm": ({"task": "rating", "latent": 4, "hidden": (8,), "dropout": 0.0}, EVENTS),
    "bertrating": (
        {"title": "none", "embedding": 8, "tower": 16},
        {**EVENTS, "epochs": 13},
    ),
    "bayesianfm": ({"latent": 4, "samples": 20, "burn_in": 20}, {"batch_size": 100}),
    "dcn": ({"task": "rating", "latent": 4, "hidden": (8,), "dropout": 0.0}, EVENTS),
    "popularity": ({}, {"batch_size": 16}),
    "biases": ({"sweeps": 3}, {"batch_size": 16}),
}
OUTSIDE = "outside_model:LinearRanker"  # not in the registry
SMALL[OUTSIDE] = ({"dropout": 0.0}, CODED)
NAMES = [*MODELS, OUTSIDE]
BASELINES = ("popularity", "biases")  # they do not distinguish users
GRADIENT = [name for name in NAMES if not model_class(name).closed_form]
# Training is tested on one model of each kind of step: re-feeding, L-BFGS, sampled codes,
# sequences, events, a model from outside. The other models are run by `-m slow`.
STEPS = ("deeprec", "autorec", "multvae", "sasrec", "mf", OUTSIDE)
# Their layers and losses are those of models that stay in the default suite.
RELATED = {
    *("autoencoder", "vae", "multdae", "easevae", "glocalk", "deepfm", "dcn", "gru4rec", "hstu"),
    *("esasrec", "fuxi", "svae"),
}


def fast(names, others):
    """Names for `parametrize`; the `others` are slow."""
    return [pytest.param(n, marks=pytest.mark.slow) if n in others else n for n in names]


TRAINED = fast(GRADIENT, {*GRADIENT} - {*STEPS})
SOLVED = fast(NAMES, RELATED)
LEARNERS = fast([name for name in NAMES if name not in BASELINES], RELATED)


def able(capability):
    """Names of the models that declare it."""
    return fast([n for n in NAMES if issubclass(model_class(n), capability)], RELATED)


@pytest.fixture(params=SOLVED)
def name(request):
    return request.param


@pytest.fixture
def trial(board, one, run_name):
    """`trial(name, **changes)` -> an Experiment with the model's small settings."""

    def make(name, settings=(), strategy=one, run_dir=None, resume=False, **changes):
        cls = model_class(name)
        small, train = SMALL[name]
        model_config = dataclasses.replace(
            cls.Config(), **{**cls.paper_settings, **small, **dict(settings)}
        )
        data_dir, data = board(cls.rows(model_config), cls.task == "ranking")
        config = RunConfig(
            model=name,
            settings=config_lib.to_dict(model_config),
            data=data,
            data_dir=data_dir,
            train=dataclasses.replace(cls.paper, patience=0, **{**train, **changes}),
        )
        run_dir = RunDir(run_dir or run_name())
        run_dir.start(config, resume=resume)
        return Experiment(config, run_dir, strategy)

    return make


@pytest.fixture(scope="module")
def solved(board, one, tmp_path_factory):
    """`solved(name)` -> a finished run, trained once for all tests of this module."""
    done = {}

    def get(name):
        if name not in done:
            done[name] = _solve(name, board, one, tmp_path_factory.mktemp(name.partition(":")[0]))
        return done[name]

    return get


def _solve(name, board, strategy, folder):
    cls = model_class(name)
    small, train = SMALL[name]
    model_config = dataclasses.replace(cls.Config(), **{**cls.paper_settings, **small})
    data_dir, data = board(cls.rows(model_config), cls.task == "ranking")
    train = dataclasses.replace(cls.paper, patience=0, validate_every=20, **train)
    config = RunConfig(name, config_lib.to_dict(model_config), data, data_dir, train)
    run_dir = RunDir(folder / "run")
    run_dir.start(config)
    trial = Experiment(config, run_dir, strategy)
    before = _loss(trial)
    result = trial.run()
    return trial, result, before


def _loss(trial):
    """Mean loss over the training rows, without dropout."""
    trial.model.compile("sgd")
    return trial.model.evaluate(trial.batches("train"), verbose=0, return_dict=True)["loss"]


def _features(trial, split="test"):
    return next(iter(trial.batches(split)))


def unshuffled(trial, batch_size):
    """Training batches in stored order."""
    data = trial.config.data_dir, trial.info, "train", batch_size
    if trial.model.reads == "events":
        return inputs.events(*data, context=trial.model.context)
    return inputs.histories(*data)


@pytest.mark.parametrize("name", NAMES)
def test_declares_name_task_and_settings(name):
    cls = model_class(name)
    assert cls.__name__.lower() == name.rpartition(":")[2].lower()
    assert cls.task_for(cls.Config()) in ("rating", "ranking", "ctr")
    assert len(cls.__doc__.split()) > 10
    assert dataclasses.is_dataclass(cls.Config)
    assert name in SMALL, "one line of small settings, please"


def test_variables_exist_before_training(trial, name):
    model = trial(name).model
    assert model.built
    assert model.weights


@pytest.mark.parametrize("name", LEARNERS)
def test_loss_falls(solved, name):
    trial, _, before = solved(name)
    assert _loss(trial) < 0.9 * before


def test_scores_every_column(solved, name):
    trial, _, _ = solved(name)
    features, _ = _features(trial)
    if trial.model.reads == "events":
        assert trial.model.score(features).shape == features["user"].shape
        features = {"user": features["user"]}
    scores = trial.model.score(features)
    assert scores.shape == (len(features["user"]), trial.info.n_columns)
    assert scores.dtype == tf.float32


def test_capabilities_are_declared(solved, name):
    model = solved(name)[0].model
    assert isinstance(model, ItemRows) == hasattr(model, "score_columns")
    assert isinstance(model, Factors) == hasattr(model, "query_vectors")
    assert isinstance(model, EventModel) == hasattr(model, "score_items")
    assert isinstance(model, EventModel) == (model.reads == "events")
    assert model.closed_form == (type(model).fit is not Recommender.fit)
    vectors = model.item_vectors()
    assert vectors is None or (vectors.shape.rank == 2 and len(vectors) == model.info.n_items)


@pytest.mark.parametrize("name", able(ItemRows))
def test_item_rows_are_scored_from_their_codes(solved, name):
    trial, _, _ = solved(name)
    features, _ = _features(trial)
    codes = trial.model.encode(features)
    assert codes.shape.rank == 2
    due = trial.model.score(features).numpy().T[[2, 0]]
    scores = trial.model.score_columns(codes, tf.constant([2, 0]))
    np.testing.assert_allclose(scores, due, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", able(Factors))
def test_scores_are_the_product_of_the_factors(solved, name):
    trial, _, _ = solved(name)
    features, items = _features(trial)[0], tf.constant([4, 1])
    if trial.model.reads == "events":
        features = {"user": tf.constant([0, 3, PAD])}
    queries, candidates = trial.model.query_vectors(features), trial.model.candidate_vectors(items)
    due = tf.gather(trial.model.score(features), items, axis=1)
    np.testing.assert_allclose(queries @ tf.transpose(candidates), due, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", able(EventModel))
def test_events_are_scored_as_a_users_items_are(solved, name):
    model = solved(name)[0].model
    users, items = tf.constant([0, 3, PAD]), tf.constant([4, 1, 2])
    assert set(model.empty_features()) == {"user", "item", *model.context}
    events = model.empty_features(3) | {"user": users, "item": items}
    due = tf.linalg.diag_part(model.score({"user": users}, items))
    np.testing.assert_allclose(model.score(events), due, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", fast([n for n in NAMES if model_class(n).knows_users], RELATED))
def test_known_users_have_scores_of_their_own(solved, name):
    trial, _, _ = solved(name)
    features, _ = _features(trial)
    unknown = features | {"user": tf.fill(tf.shape(features["user"]), PAD)}
    assert not np.allclose(trial.model.score(features), trial.model.score(unknown))


@pytest.mark.parametrize("name", LEARNERS)
def test_finds_the_withheld_item(solved, name):
    trial, result, _ = solved(name)
    if trial.model.task == "ranking":
        assert result["test"]["hr@10"] == 1
        features, targets = _features(trial)
        _, top = ranking.top_k(trial.model.score(features), features["items"], 1)
        real = features["user"].numpy() >= 0
        np.testing.assert_array_equal(top[:, 0][real], targets["target_items"][:, 0][real])
    else:
        assert result["test"]["rmse"] < 0.5


def test_keras_file_round_trip(solved, name):
    trial, _, _ = solved(name)
    features, _ = _features(trial)
    again = trial.run_dir.load_model()
    assert type(again) is type(trial.model)
    np.testing.assert_allclose(again.score(features), trial.model.score(features), rtol=1e-5)


def test_serving_gives_the_models_own_top_k(solved, name, tmp_path):
    """The signature; that an export answers like it is proved in `proof_test`."""
    trial, _, _ = solved(name)
    top = signatures.make(trial.model, trial.config.data_dir, 5, tmp_path / "titles.txt")
    request = top.example("serving_default")
    answer = top.ask("serving_default", request)
    items = [[i.decode() for i in row] for row in answer["items"].numpy()]
    _expect_own_top_k(trial, request, items[:-1])
    titles = [[t.decode() for t in row] for row in answer["titles"].numpy()]
    assert titles[0] == [f"Film {item}, The" if item else "" for item in items[0]]


def _expect_own_top_k(trial, request, items):
    """Compares raw ids with the top k of `model.score`, computed without the signature."""
    ids = sorted(f"i{x}" for x in range(trial.info.n_items))
    users = sorted(f"u{x}" for x in range(trial.info.n_users))
    if "user" in request:
        matrix, rated = _item_row_scores(trial)
    for row, got in enumerate(items):
        if "user" in request:
            user = users.index(request["user"][row])
            scores, seen = matrix[:, user], np.flatnonzero(rated[:, user])
            history, values = tf.constant([seen], tf.int32), None
        else:
            known = [(i, v) for i, v in zip(request["items"][row], request["values"][row]) if i]
            positions = [ids.index(i) for i, _ in known]
            features = {
                "user": tf.constant([PAD]),
                "items": tf.constant([positions], tf.int32),
                "values": tf.constant([[v for _, v in known]], tf.float32),
            }
            scores, seen = trial.model.score(features).numpy()[0], positions
            history, values = features["items"], features["values"]
        order = trial.model.list_order(scores[None], history, values).numpy()[0]
        allowed = np.delete(np.arange(trial.info.n_items), seen)
        best = np.sort(order[allowed])[::-1][: len([g for g in got if g])]
        np.testing.assert_allclose([order[ids.index(g)] for g in got if g], best, rtol=1e-3)


def _item_row_scores(trial):
    """Scores of all item rows, and which users have rated them, `[n_items, n_users]`."""
    scores = np.zeros((trial.info.n_items, trial.info.n_users))
    rated = np.zeros(scores.shape, bool)
    for features, _ in inputs.histories(trial.config.data_dir, trial.info, "all", 16, fill=True):
        out = trial.model.score(features).numpy()
        for row, columns, of_row in zip(
            features["user"].numpy(), features["items"].numpy(), out, strict=True
        ):
            if row >= 0:
                scores[row] = of_row
                rated[row, columns[columns >= 0]] = True
    return scores, rated


@pytest.mark.parametrize("name", LEARNERS)
def test_recommends_to_a_new_user(solved, name):
    """`tfrec.recommend --items`: who likes 15 even items is offered the other five first."""
    trial, _, _ = solved(name)
    likes = [f"i{x}:5" for x in range(0, 30, 2)]
    dislikes = [f"i{x}:1" for x in range(1, 30, 2)] if trial.model.task == "rating" else []
    history = ",".join([*likes, *dislikes])
    if trial.info.rows == "item" or trial.model.reads == "events":
        with pytest.raises(ValueError, match="cannot score a new history"):
            printed.recommendations(Run(trial.run_dir.path), "", history, 5)
        return
    lines = printed.recommendations(Run(trial.run_dir.path), "", history, 5).splitlines()[1:]
    assert {line.split()[1] for line in lines} == {f"i{x}" for x in range(30, 40, 2)}


# It shows a loss that is not divided by the number of replicas; Adam would hide it.
SGD = {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.005, "batch_size": 20}
REGULARIZED = {"clip_norm": 0.05, "average": 0.5, "weight_decay": 0.05}


@pytest.mark.parametrize("train", [{}, pytest.param(REGULARIZED, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TRAINED)
def test_two_replicas_train_like_one(trial, name, train, mirrored, monkeypatch):
    without_noise(monkeypatch)
    runs = []
    for strategy in (None, mirrored):
        more = {"strategy": strategy, **train} if strategy else train
        t = trial(name, **SGD, **more)
        runs.append(trained_in_order(t))
        if strategy:
            report = t.measure("test")[0]
    for a, b in zip(*runs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    assert report == pytest.approx(t.measure("test")[0])


def without_noise(patch):
    """Replicas and workers draw other random numbers than one device: none here."""
    for name in ("normal", "uniform"):
        patch.setattr(keras.random, name, lambda shape, dtype, seed: tf.zeros(shape, dtype))


def trained_in_order(trial):
    """The weights after training on batches in stored order."""
    rows, train = unshuffled(trial, 20), trial.config.train
    Trainer(trial.model, trial.strategy, train).fit(lambda epoch: rows, None)
    return trial.model.get_weights()


@pytest.mark.parametrize("name", TRAINED)
def test_plain_keras_fit_validates_as_evaluate_does(trial, name, tmp_path):
    t = trial(name)
    t.model.compile("sgd")
    t.model.optimizer.learning_rate = 1e-3
    rows = unshuffled(t, 10)
    log = t.model.fit(
        rows, validation_data=t.batches("validation"), epochs=1, shuffle=False, verbose=0
    )
    alone = t.model.evaluate(t.batches("validation"), verbose=0, return_dict=True)
    assert log.history["val_loss"][0] == pytest.approx(alone["loss"])
    expect_plain_keras(t.model, t.batches("test"), tmp_path / "model.keras")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in GRADIENT])
def test_plain_keras_solves(trial, name, tmp_path):
    t = trial(name)
    t.model.compile("adam")
    t.model.fit(unshuffled(t, 10))
    expect_plain_keras(t.model, t.batches("test"), tmp_path / "model.keras")


def expect_plain_keras(model, batches, path):
    """`predict` gives the scores, from the file too; `compile` takes the optimizer only."""
    predicted = model.predict(batches, verbose=0)
    due = np.concatenate([model.score(features) for features, _ in batches])
    columns = () if model.reads == "events" else (model.info.n_columns,)
    assert predicted.shape == (len(due), *columns)
    np.testing.assert_allclose(predicted, due, rtol=1e-4, atol=1e-5)
    model.save(path)
    again, features = keras.models.load_model(path), next(iter(batches))[0]
    assert type(again.optimizer) is type(model.optimizer)
    np.testing.assert_allclose(again(features), model(features), rtol=1e-5)
    for options in ({"metrics": ["mae"]}, {"weighted_metrics": ["mae"]}, {"loss": "mse"}):
        with pytest.raises(ValueError, match="the optimizer only"):
            model.compile("sgd", **options)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in GRADIENT])
def test_the_same_data_gives_the_same_solution(trial, name):
    runs = [trial(name), trial(name)]
    for t in runs:
        t.fit(resume=False)
    for a, b in zip(*(t.model.get_weights() for t in runs), strict=True):
        np.testing.assert_array_equal(a, b)


def noisy(name):
    """Settings that draw random numbers in training, where the model has any."""
    known = {f.name for f in dataclasses.fields(model_class(name).Config)}
    return {"dropout": 0.5} if "dropout" in known else {}


@pytest.mark.parametrize("name", TRAINED)
def test_same_seed_same_weights_whole_or_resumed_and_another_seed_others(trial, name, run_name):
    few = {"settings": noisy(name), "epochs": 2, "iterations": 4}
    path = run_name()
    whole = trial(name, seed=7, **few)
    whole.callbacks = [
        keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: epoch and shutil.copytree(whole.run_dir.path, path)
        )
    ]
    whole.fit(resume=False)
    again = trial(name, seed=7, run_dir=path, resume=True, **few)  # as if killed in epoch 2
    progress = again.fit(resume=True)
    assert progress.epoch == 2
    for a, b in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = trial(name, seed=8, **few).model.get_weights()
    start = trial(name, seed=7, **few).model.get_weights()
    assert any((a != b).any() for a, b in zip(start, other, strict=True))


@pytest.mark.parametrize("precision", fast(["bfloat16", "float16"], {"float16"}))
@pytest.mark.parametrize("name", TRAINED)
def test_mixed_precision_stays_finite(trial, name, precision):
    optimizer = {"optimizer": "adam", "learning_rate": 0.001}
    t = trial(name, epochs=2, precision=precision, batch_size=10, **optimizer)
    t.fit(resume=False)
    assert all(np.isfinite(w).all() for w in t.model.get_weights())
    assert t.model.score(_features(t)[0]).dtype == tf.float32


def test_held_out_targets_never_enter_the_prediction(solved, name):
    """Permutes the held-out targets: predictions and what the report was given stay."""
    trial, _, _ = solved(name)
    features, targets = _features(trial)
    before = trial.model.score(features).numpy()
    assert not any(k.startswith("target") for k in features)
    if trial.model.reads == "histories":
        for row, held_out in zip(features["items"].numpy(), targets["target_items"].numpy()):
            assert not set(row[row >= 0]) & set(held_out[held_out >= 0])
    shuffled = {k: tf.reverse(v, [0]) for k, v in targets.items()}
    trial.model.compute_loss(features, shuffled, trial.model.run_forward(features))
    np.testing.assert_array_equal(before, trial.model.score(features))


def test_rows_of_the_other_kind_are_refused():
    info = DatasetInfo("x", "x", "user", 3, 4, {})
    with pytest.raises(ValueError, match="--data rows=item"):
        MODELS["autorec"].create(info)


def test_a_model_without_scores_is_refused():
    class Nothing(Recommender):
        pass

    with pytest.raises(NotImplementedError, match="Nothing has neither `call` nor `forward`"):
        Nothing.create(DatasetInfo("x", "x", "user", 3, 4, {}))
