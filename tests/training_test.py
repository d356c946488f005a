"""The training loop and the run directory: the kept epoch, early stopping, files."""

import dataclasses
import json
import signal

import numpy as np
import pytest
import tensorflow as tf

from tfrec import config as config_lib
from tfrec import metrics
from tfrec.models.registry import MODELS
from tfrec.training import lists, loop, methods, strategies
from tfrec.training.experiment import Experiment
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir

WRITTEN = {
    "config.json",
    "metrics.json",
    "model.keras",
    "per_user.npz",
    "record.json",
    "logs",
    "history.csv",
    "validation.npz",
    "test.npz",
}

SMALL = {"autoencoder": {"hidden": (8,)}, "autorec": {"hidden": (8,), "rows": "user"}}


@pytest.fixture
def trial(board, one, run_name):
    """`trial(**training)` -> an Experiment with a small autoencoder on the checkerboard."""

    def make(model="autoencoder", run_dir=None, resume=False, strategy=one, **training):
        cls = MODELS[model]
        settings = cls.Config(**SMALL.get(model, {}))
        data_dir, data = board("user", cls.task == "ranking")
        train = {"epochs": 3, "batch_size": 10, "patience": 0, "learning_rate": 0.02} | training
        config = RunConfig(
            model=model,
            settings=config_lib.to_dict(settings),
            data=data,
            data_dir=data_dir,
            train=dataclasses.replace(cls.paper, **train),
        )
        run_dir = RunDir(run_dir or run_name())
        run_dir.start(config, resume=resume)
        return Experiment(config, run_dir, strategy)

    return make


def scripted(trial, values):
    """Validation returns `values` in turn; returns a list of the validated weights."""
    measure, answers, weights = trial.measure, iter(values), []

    def fake(split):
        if split != "validation":
            return measure(split)
        weights.append(trial.model.get_weights())
        return {"rmse": next(answers)}, None

    trial.measure = fake
    return weights


def same(a, b):
    return all((x == y).all() for x, y in zip(a, b, strict=True))


# ------------------------------------------------------------------ which epoch is kept


def test_stops_early_and_goes_back_to_the_best_epoch(trial):
    t = trial(epochs=9, patience=2)
    weights = scripted(t, [3.0, 1.0, 1.5, 1.0, 0.5])
    result = t.run()
    assert (result["best_epoch"], result["epochs"]) == (2, 4), "an equal value is no better one"
    assert result["validation"]["rmse"] == 1.0
    assert same(t.run_dir.load_model().get_weights(), weights[1])
    assert not same(weights[1], weights[3])
    t.model.set_weights(weights[1])
    assert t.measure("test")[0].items() <= result["test"].items()


def test_patience_0_never_stops(trial):
    t = trial(epochs=4, patience=0)
    scripted(t, [1.0, 2.0, 3.0, 4.0])
    result = t.run()
    assert (result["best_epoch"], result["epochs"]) == (1, 4)


def test_validates_every_so_many_epochs_and_after_the_last(trial):
    t = trial(epochs=5, validate_every=2)
    weights = scripted(t, [2.0, 1.0, 3.0])
    result = t.run()
    assert len(weights) == 3
    assert (result["best_epoch"], result["epochs"]) == (4, 5)


def test_patience_counts_epochs_but_stops_at_a_validation(trial):
    t = trial(epochs=9, validate_every=2, patience=3)
    scripted(t, [1.0, 2.0, 2.0])
    result = t.run()
    assert (result["best_epoch"], result["epochs"]) == (2, 6)


def test_another_metric_may_pick_the_epoch(trial):
    t = trial(monitor="rerank_precision@5")
    assert t.higher_is_better
    values = iter([0.1, 0.3, 0.2])
    t.measure = lambda split: ({"rmse": 1.0, "rerank_precision@5": next(values)}, None)
    assert t.fit(resume=False).best_epoch == 2


def test_an_unknown_monitor_is_refused_before_training(trial):
    with pytest.raises(ValueError, match=r"--train monitor=rsme: .*did you mean 'rmse'"):
        trial(monitor="rsme")


def test_a_monitor_that_is_not_measured_names_those_that_are(trial):
    with pytest.raises(ValueError, match=r"--train monitor=ndcg@10 is not measured; known: rmse"):
        trial(monitor="ndcg@10").fit(resume=False)


def test_refit_trains_a_new_model_on_train_and_validation(trial):
    t = trial(epochs=9, patience=2, refit=True)
    scripted(t, [3.0, 1.0, 1.5, 1.0])
    asked = []
    batches = t.batches
    t.batches = lambda split, epoch=0: asked.append((split, epoch)) or batches(split, epoch)
    result = t.run()
    assert asked[-3:] == [("train+validation", 0), ("train+validation", 1), ("test", 0)]
    assert result["best_epoch"] == 2
    whole = trial(epochs=2)
    whole.batches = lambda split, epoch=0, b=whole.batches: b("train+validation", epoch)
    whole.rows = lambda split, rows=whole.rows: rows("train+validation")
    whole.has = lambda split: False
    whole.fit(resume=False)
    share = whole.config.train.recent_share
    lists.learn_items(whole.model, whole.config.data_dir, "train+validation", share)
    lists.set_rule(whole.model, lists.own_rule(t.model))
    assert same(t.run_dir.load_model().get_weights(), whole.model.get_weights())


# ------------------------------------------------------------------ steps


@pytest.mark.parametrize("refit", [False, True])
def test_begin_epoch_gets_all_rows_even_those_that_fill_no_batch(trial, refit):
    t = trial(batch_size=12, epochs=1)
    seen, make = [], t.make_model

    def begin_epoch(epoch, rows):
        seen.append([u for features, _ in rows for u in features["user"].numpy() if u >= 0])

    def watched():
        model = make()
        model.begin_epoch = begin_epoch
        return model

    t.make_model, t.model = watched, watched()
    if refit:
        t.refit(2)
    else:
        t.fit(resume=False)
    assert [sorted(users) for users in seen] == [list(range(40))] * (1 + refit)


def test_the_training_log_is_the_mean_of_the_replicas(trial, mirrored):
    logs = []
    for strategy in ({}, {"strategy": mirrored}):
        t = trial(learning_rate=1e-9, batch_size=20, **strategy)
        trainer = loop.Trainer(t.model, t.strategy, t.config.train)
        logs.append(trainer.epoch(t.batches("train"), 0))
    norms = [each.pop("gradient_norm") for each in logs]
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)
    assert norms[1] == pytest.approx(norms[0], rel=0.1), "replicas draw dropout of their own"


def test_learning_rate_falls_after_the_decay_epochs(trial):
    t = trial(epochs=4, learning_rate=0.08, decay_epochs=(1, 3), decay_factor=0.5)
    rates, measure = [], t.measure
    t.measure = lambda split: rates.append(float(t.model.optimizer.learning_rate)) or measure(split)
    t.fit(resume=False)
    assert rates == pytest.approx([0.08, 0.04, 0.04, 0.02])


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_the_end_of_the_data_leaves_no_partial_step(trial, monkeypatch, optimizer):
    t = trial("autorec", optimizer=optimizer, epochs=2, iterations=2)
    begun, done = tf.Variable(0), []
    compute_loss, steps = t.model.compute_loss, strategies.steps

    def counting(*args, **kwargs):
        begun.assign_add(1)  # like a regularizer, it needs no batch
        return compute_loss(*args, **kwargs)

    def counted_steps(function, dataset):
        for logs in steps(function, dataset):
            done.append(1)
            yield logs

    t.model.compute_loss = counting
    monkeypatch.setattr(strategies, "steps", counted_steps)
    loop.Trainer(t.model, t.strategy, t.config.train).fit(
        lambda epoch: t.batches("train", epoch), None
    )
    assert int(begun) == len(done) > 1


@pytest.mark.parametrize("replicas", ["one", "mirrored"])
def test_the_moving_average_is_measured_and_kept_and_training_goes_on_without_it(
    trial, monkeypatch, request, replicas
):
    strategy, seen = request.getfixturevalue(replicas), []
    plain = trial(strategy=strategy, epochs=2)
    plain.fit(resume=False)
    t = trial(strategy=strategy, epochs=2, average=0.75)
    weights = scripted(t, [2.0, 1.0])

    def steps(function, dataset):
        for logs in real_steps(function, dataset):
            seen.append(t.model.get_weights())
            yield logs

    real_steps = strategies.steps
    monkeypatch.setattr(strategies, "steps", steps)
    t.fit(resume=False)
    assert same(plain.model.get_weights(), seen[-1]), "the average changed the training"
    average = seen[0]
    for now in seen[1:]:
        average = [0.75 * a + 0.25 * b for a, b in zip(average, now, strict=True)]
    for kept in (weights[-1], t.run_dir.load_model().get_weights(), t.model.get_weights()):
        for a, b in zip(kept, average, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_resumed_run_averages_on(trial, run_name):
    training, path = {"epochs": 3, "average": 0.9}, run_name()
    whole = trial(**training)
    whole.fit(resume=False)
    broken = trial(run_dir=path, **training)
    broken.batches = lambda split, epoch=0, b=broken.batches: (
        b(split, epoch) if epoch < 1 else 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        broken.fit(resume=False)
    again = trial(run_dir=path, resume=True, **training)
    again.fit(resume=True)
    assert same(again.model.get_weights(), whole.model.get_weights())


def test_lbfgs_with_an_average_is_refused(trial):
    with pytest.raises(ValueError, match=r"--train average=0.9: lbfgs .*leave it out"):
        trial(optimizer="lbfgs", average=0.9)


def test_lbfgs_is_for_models_that_declare_a_loss_without_random_numbers(trial):
    train = config_lib.TrainConfig(optimizer="lbfgs")
    found = set()
    for name, cls in MODELS.items():
        try:
            assert methods.method(cls, cls.Config(**cls.paper_settings), train) is methods.LBFGS
            found.add(name)
        except ValueError as error:
            assert f"--train optimizer=lbfgs: {cls.__name__} with these settings" in str(error)
    assert found == {"autorec", "glocalk", "sparsefc"}
    dropout = MODELS["sparsefc"].Config(input_dropout=0.5)
    with pytest.raises(ValueError, match=r"SparseFC with these settings .* such as adam"):
        methods.method(MODELS["sparsefc"], dropout, train)
    t = trial(optimizer="lbfgs")  # a trained model can still be evaluated
    assert t.measure("test")[0]["n_ratings"] > 0
    with pytest.raises(ValueError, match="--train optimizer=lbfgs: AutoEncoder"):
        t.fit(resume=False)


def test_a_diverging_run_says_what_to_do(trial):
    with pytest.raises(ValueError, match=r"training loss is \w+ in epoch \d.*learning_rate"):
        trial(optimizer="sgd", learning_rate=1e30, momentum=0.0).fit(resume=False)


def test_a_validation_that_is_not_a_number_says_what_to_do(trial):
    t = trial()
    scripted(t, [float("nan")])
    with pytest.raises(ValueError, match="validation rmse is not a number: lower the learning"):
        t.fit(resume=False)


@pytest.mark.parametrize("model", ["popularity", "biases"])
def test_closed_form_models_run_through_the_same_loop(trial, model):
    t = trial(model, epochs=5)
    result = t.run()
    assert (result["best_epoch"], result["epochs"]) == (1, 1)
    ratings = {"validation.npz", "test.npz"} if model == "popularity" else set()
    assert {p.name for p in t.run_dir.path.iterdir()} == WRITTEN - ratings


# ------------------------------------------------------------------ evaluation


def test_results_do_not_depend_on_the_evaluation_batch(trial):
    results = [trial(eval_batch_size=n).measure("test")[0] for n in (1, 7, 512)]
    assert results[1] == pytest.approx(results[0], abs=1e-6)
    assert results[2] == pytest.approx(results[0], abs=1e-6)


def test_results_do_not_depend_on_the_replicas(trial, mirrored):
    alone, two = trial(), trial(strategy=mirrored, eval_batch_size=16)
    two.model.set_weights(alone.model.get_weights())
    for split in ("validation", "test"):
        assert two.measure(split)[0] == pytest.approx(alone.measure(split)[0], abs=1e-6)


def test_saved_values_of_two_runs_can_be_compared(trial):
    a, b = trial(), trial(seed=1)
    difference = a.run()["test"]["rmse"] - b.run()["test"]["rmse"]
    compared = metrics.compare(a.run_dir.per_user, b.run_dir.per_user, "rmse")
    assert compared.mean_difference == pytest.approx(difference, abs=1e-6)
    assert compared.n == 40


# ------------------------------------------------------------------ what is written


def test_metrics_file(trial):
    t = trial()
    result = t.run()
    written = json.loads((t.run_dir.path / "metrics.json").read_text())
    assert written == json.loads(json.dumps(result, default=float))
    assert {"protocol", "validation", "test", "best_epoch", "epochs", "seconds"} <= set(written)
    lists_of = {"hr@10", "ndcg@10", "coverage@10"}
    assert {"rmse", "mae", "n_ratings"} | lists_of <= set(written["validation"]) & set(
        written["test"]
    )
    assert lists_of == set(written["floors"]["popularity"])
    assert lists_of | {"rmse", "mae"} == set(written["floors"]["biases"])
    assert t.run_dir.load_model().list_order.counts.numpy().sum() == t.info.n_ratings["train"]
    assert written["protocol"].startswith("checkerboard, shipped fold u1")
    assert {p.name for p in t.run_dir.path.iterdir()} == WRITTEN, "no state.npz after the end"


# ------------------------------------------------------------------ interruptions


def snapshot(run_dir):
    names = ("state.npz", "model.keras", "config.json")
    return {p.name: p.read_bytes() for p in run_dir.path.iterdir() if p.name in names}


def test_an_interrupt_in_the_middle_of_an_epoch_saves_it(trial, monkeypatch):
    t = trial(epochs=3)

    def steps(function, dataset):
        for number, logs in enumerate(real_steps(function, dataset)):
            if number == 1 and t.run_dir.state.exists():  # the first epoch is finished
                signal.raise_signal(signal.SIGTERM)
            yield logs

    real_steps = strategies.steps
    monkeypatch.setattr(strategies, "steps", steps)
    with pytest.raises(KeyboardInterrupt, match="in epoch 2 after step 2"):
        t.fit(resume=False)
    left = {p.name for p in t.run_dir.path.iterdir()}
    states = {"state.npz", "state-1.npz"}
    written = {"model.keras", "config.json", "logs", "history.csv", "validation.npz"}
    assert left == states | written, "nothing half-written"
    assert [t.run_dir.saved_progress()["progress"][x] for x in ("epoch", "step")] == [1, 2]


def test_a_failing_write_leaves_the_last_state(trial, monkeypatch):
    t = trial(epochs=3)
    t.fit(resume=False)
    kept = snapshot(t.run_dir)

    def breaks(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez", breaks)
    with pytest.raises(OSError, match=r"No space left on device: '.*state.npz'"):
        t.run_dir.save_state(t.model, {})
    assert snapshot(t.run_dir) == kept
    assert not [p for p in t.run_dir.path.iterdir() if p.name.startswith(".")]


def test_resume_of_a_finished_run_gives_its_numbers_and_model(trial):
    t = trial()
    result = t.run()
    again = trial(run_dir=t.run_dir.path, resume=True)
    again.fit = None  # must not be called
    assert again.run(resume=True)["test"] == pytest.approx(result["test"])
    assert same(again.model.get_weights(), t.model.get_weights())


def test_resume_before_the_end_of_the_first_epoch_starts_over(trial, run_name):
    whole, path = trial(), run_name()
    trial(run_dir=path)  # a run that ended at once
    again = trial(run_dir=path, resume=True)
    assert again.run(resume=True)["test"] == whole.run()["test"]
