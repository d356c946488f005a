"""Ensembles: weights by hand, runs that cannot be combined, and one model made of several."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from commands_test import cache, run, tfrec  # noqa: F401  (fixtures)
from random_weights import randomise

import tfrec as api
from tfrec import config as config_lib
from tfrec import presets
from tfrec.config import DataConfig, TrainConfig
from tfrec.models.ensemble import Ensemble
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import signatures
from tfrec.training import batches, ensembles, evaluation, lists
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir

USER, ITEM = [0, 0, 1, 1], [0, 1, 0, 2]
VALUE = {"validation": [4.0, 2.0, 3.0, 5.0], "test": [1.0, 5.0, 4.0, 3.0]}


def finished(path, model, data_dir, data, seed=0, **settings):
    """A run directory as training leaves it, of a model with random weights."""
    info, cls, train = DatasetInfo.load(data_dir), MODELS[model], TrainConfig()
    made = cls.create(info, cls.Config(**settings))
    randomise(made, np.random.default_rng(seed), 0.2, keep=True)
    lists.learn_items(made, data_dir, "train")
    run_dir = RunDir(path)
    used = config_lib.to_dict(made.config)
    run_dir.start(RunConfig(model, used, data, data_dir, train, fingerprint=info.fingerprint))
    run_dir.save_model(made)
    result = {"seconds": 1.5, "peak_memory_mb": 7}
    for part in ("validation", "test") if made.task == "rating" else ():
        report = evaluation.new_report(made, data_dir)
        for features, targets in batches.read(
            made, data_dir, part
        ):  # eager is faster than a graph here
            report.update(features, targets, made.score(features))
        run_dir.save_predictions(part, report.predictions())
        report.save(run_dir.per_user)
        result |= {part: report.result(), "protocol": evaluation.protocol(made, report)}
    run_dir.write_json("metrics.json", result)
    return str(path)


@pytest.fixture(scope="module")
def runs(board, tmp_path_factory):
    """Finished runs on the checkerboard by name; made when first used."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    kinds = {
        "biases": ("biases", (), {}),
        "net": ("autoencoder", (), {"hidden": (4,)}),
        "rows": ("autorec", ("item",), {"hidden": (4,), "rows": "item"}),
        "mf": ("mf", (), {"latent": 4}),
        "ease": ("ease", ("user", True), {}),
        "linear": ("weightedease", ("user", True), {}),
        "bpr": ("mf", ("user", True), {"loss": "bpr", "latent": 4}),
    }

    def make(name):
        if name not in made:
            model, which, settings = kinds[name]
            made[name] = finished(folder / name, model, *board(*which), len(made), **settings)
        return made[name]

    return make


@pytest.fixture
def member(runs, tmp_path):
    """`member(name, validation, test)` -> the directory of a run with these predictions."""

    def make(name, validation, test, **other):
        shutil.copytree(runs("biases"), tmp_path / name)
        for part, predicted in (("validation", validation), ("test", test)):
            columns = {"user": USER, "item": ITEM, "value": VALUE[part], "prediction": predicted}
            columns = {k: np.array(v) for k, v in (columns | other).items()}
            RunDir(tmp_path / name).save_predictions(part, columns)
        return str(tmp_path / name)

    return make


def test_weights_of_the_least_squared_error_and_none_below_0():
    a, b = np.array([1.0, 2, 3, 5]), np.array([2.0, 1, 4, 3])
    found = ensembles.weights(np.stack([a, b], 1), 0.7 * a + 0.2 * b)
    np.testing.assert_allclose(found, [0.7, 0.2])
    alone = a @ (a - 0.1 * b) / (a @ a)
    np.testing.assert_allclose(ensembles.weights(np.stack([a, b], 1), a - 0.1 * b), [alone, 0])


def test_an_ensemble_by_hand(member, tmp_path):
    """Validation: the values are half of each; test: (.5, 4.5, 5.5, 3) against 1, 5, 4, 3."""
    members = [
        member("a", [8.0, 0, 2, 6], [1.0, 5, 5, 2]),
        member("b", [0.0, 4, 4, 4], [0.0, 4, 6, 4]),
    ]
    result = ensembles.ensemble(members, str(tmp_path / "both"))
    assert result["members"] == pytest.approx(dict(zip(members, (0.5, 0.5))))
    assert result["validation"]["rmse"] == pytest.approx(0, abs=1e-6)
    # 0.5 and 5.5 are clipped to 1 and 5
    assert result["test"]["rmse"] == pytest.approx(np.sqrt((0 + 0.25 + 1 + 0) / 4))
    assert (result["seconds"], result["peak_memory_mb"]) == (3.0, 7)
    assert json.loads((tmp_path / "both/metrics.json").read_text()) == result
    with np.load(tmp_path / "both/per_user.npz") as saved:
        np.testing.assert_allclose(saved["squared_error"], [0.25, 1])


def test_test_ratings_do_not_move_the_weights(member, tmp_path, monkeypatch):
    a = member("a", [4, 2.5, 3, 4], [1, 2, 3, 4])
    b = member("b", [3, 2, 3.5, 5], [4, 3, 2, 1])
    first = ensembles.ensemble([a, b], str(tmp_path / "first"))
    monkeypatch.setitem(VALUE, "test", [5.0, 1.0, 1.0, 1.0])
    again = [member("c", [4, 2.5, 3, 4], [1, 2, 3, 4]), member("d", [3, 2, 3.5, 5], [4, 3, 2, 1])]
    second = ensembles.ensemble(again, str(tmp_path / "second"))
    assert list(first["members"].values()) == list(second["members"].values())
    assert first["test"]["rmse"] != second["test"]["rmse"]


# ------------------------------------------------------------------ errors


def test_runs_that_cannot_be_combined(member, runs, tmp_path):
    a, path = member("a", [4, 2, 3, 5], [1, 2, 3, 4]), str(tmp_path / "both")

    def refused(*members, at=path, error=ValueError):
        with pytest.raises(error) as found:
            ensembles.ensemble(members, at)
        return str(found.value)

    assert "takes two runs, or more" in refused(a)
    assert "named twice" in refused(a, a)
    other = member("other", [4, 2, 3, 5], [1, 2, 3, 4], item=[0, 2, 0, 2])
    assert re.search(r"other was measured on other validation ratings than", refused(a, other))
    b = member("b", [4, 2, 3, 5], [1, 2, 3, 4])
    assert "already holds a run" in refused(a, b, at=a)
    assert re.search(
        r"task of \S+ease is ranking, that of \S+a is rating", refused(a, runs("ease"))
    )
    RunDir(a).predictions["test"].unlink()
    missing = refused(a, b, error=FileNotFoundError)
    assert "holds no predicted ratings of test" in missing
    (tmp_path / "b/metrics.json").unlink()
    assert "holds no finished run" in refused(b, a, error=FileNotFoundError)
    assert not (tmp_path / "both").exists()


def test_a_run_on_other_items_is_named(runs, tmp_path):
    """Another folder of prepared data, whose items are in another order."""
    shutil.copytree(RunDir(runs("net")).config().data_dir, tmp_path / "data")
    items = (tmp_path / "data/items.txt").read_text().split()
    (tmp_path / "data/items.txt").write_text("\n".join(items[::-1]) + "\n")
    shutil.copytree(runs("net"), tmp_path / "other")
    config = json.loads((tmp_path / "other/config.json").read_text())
    (tmp_path / "other/config.json").write_text(
        json.dumps(config | {"data_dir": str(tmp_path / "data")})
    )
    with pytest.raises(ValueError, match=r"other was trained on other data than \S+: items.txt of"):
        ensembles.ensemble([runs("biases"), str(tmp_path / "other")], str(tmp_path / "both"))


def test_a_member_that_reads_the_context_of_events_is_not_served(runs, board, tmp_path):
    data_dir = board()[0]
    info, cls = DatasetInfo.load(data_dir), MODELS["bayesianfm"]
    members = [RunDir(runs("biases")).load_model(), cls.create(info, cls.Config(session=86_400))]
    settings = Ensemble.Config(("runs/b", "runs/timed"), (data_dir,) * 2, (0.5, 0.5))
    model = Ensemble.of(members, settings)
    with pytest.raises(ValueError, match=r"member runs/timed \(BayesianFM\) reads time of each"):
        signatures.make(model, data_dir, 5, tmp_path / "titles.txt")
    assert not (tmp_path / "titles.txt").exists()


def test_an_ensemble_is_not_trained(board):
    with pytest.raises(ValueError, match="tfrec ensemble --runs=A,B"):
        api.fit("ensemble", board()[0])


# ------------------------------------------------------------------ one model


@pytest.fixture(scope="module")
def both(runs, tmp_path_factory):
    """An ensemble of history models."""
    folder = tmp_path_factory.mktemp("both")
    return api.ensemble([runs("biases"), runs("net")], folder / "both")


@pytest.fixture(scope="module")
def mixed(runs, tmp_path_factory):
    """An ensemble of a history model, one of item rows and one of events."""
    folder = tmp_path_factory.mktemp("mixed")
    return api.ensemble([runs(name) for name in ("rows", "biases", "mf")], folder / "mixed")


def test_what_is_saved_gives_the_sum_of_the_members_and_of_their_orders(runs, both, tmp_path):
    members = [RunDir(runs(name)).load_model() for name in ("biases", "net")]
    RunDir(tmp_path).save_model(made := Ensemble.of(members, both.model.config))
    made.weigh((0.25, 0.5))
    made.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    features = {
        "user": tf.constant([-1]),
        "items": tf.constant([[3, 8, 11]]),
        "values": tf.constant([[5.0, 1.0, 4.0]]),
    }
    parts = [tf.clip_by_value(member.score(features), 1, 5) for member in members]
    due = 0.25 * parts[0] + 0.5 * parts[1]
    np.testing.assert_allclose(loaded.score(features), due, rtol=1e-5)
    read = features["items"], features["values"]
    orders = [m.list_order(s, *read) for m, s in zip(members, parts)]
    np.testing.assert_allclose(
        loaded.list_order(due, *read), 0.25 * orders[0] + 0.5 * orders[1], rtol=1e-4, atol=1e-5
    )


def test_it_is_a_run(both, runs, tfrec, tmp_path):  # noqa: F811
    found = api.load(both.path)
    assert repr(found).startswith(f"ensemble in {both.path}: rmse")
    again = found.evaluate()
    assert again == pytest.approx({n: both.metrics["test"][n] for n in again}, abs=1e-5)
    made = tfrec("ensemble", f"--runs={runs('biases')},{runs('net')}", f"--run_dir={tmp_path}/b")
    for weight in both.metrics["members"].values():
        assert re.search(rf"^{weight:.3f} of /", made.out, re.M)
    assert json.loads((tmp_path / "b/metrics.json").read_text()) == both.metrics
    against = tfrec("evaluate", f"--run_dir={both.path}", f"--against={runs('biases')}")
    assert re.search(r"rmse [+-]0\.\d+ \[.*\] \(95 %\)", against.out)
    table = api.compare([runs("biases"), runs("net"), found])
    assert set(table.frame.index) == {"biases", "autoencoder", "ensemble"}
    assert table.frame.loc["ensemble", "rmse"] == pytest.approx(both.metrics["test"]["rmse"])
    with pytest.raises(ValueError, match=r"both is an ensemble itself"):
        api.ensemble([both, runs("biases")], tmp_path / "more")


def weighted(names, ensemble, runs, pairs):
    """The weighted sum of the members' own answers."""
    weights = ensemble.metrics["members"].values()
    return sum(w * api.load(runs(n)).score(pairs).score for w, n in zip(weights, names))


PAIRS = pd.DataFrame({"user": ["u3", "u3", "u9"], "item": ["i4", "i30", "i1"]})


def test_scores_are_the_weighted_sum_of_the_members(both, mixed, runs):
    for ensemble, names in ((both, ("biases", "net")), (mixed, ("rows", "biases", "mf"))):
        assert max(ensemble.metrics["members"].values()) > 0
        due = np.clip(weighted(names, ensemble, runs, PAIRS), 1, 5)
        np.testing.assert_allclose(ensemble.score(PAIRS).score, due, rtol=1e-4)


def test_measured_again_by_user(mixed):
    again = mixed.evaluate()
    assert again == pytest.approx({n: mixed.metrics["test"][n] for n in again}, abs=1e-5)


def test_an_ensemble_of_known_users_recommends_by_user(mixed):
    """`proof_test` has such an ensemble as a SavedModel."""
    found = mixed.recommend(users=["u3", "stranger"], k=5)
    assert found.groupby("user").size().to_dict() == {"stranger": 5}, "u3 has rated all items"
    with pytest.raises(ValueError, match="cannot score a new history; ask for users"):
        mixed.recommend(histories=[["i1"]])
    with pytest.raises(ValueError, match="has no item vectors and scores no histories"):
        mixed.similar(["i1"])


def test_an_ensemble_of_histories_explains(both):
    found = both.recommend(histories=[["i3", "i8"]], k=2, explain=2)
    assert all(reason.item in ("i3", "i8") for row in found.because for reason in row)


# ------------------------------------------------------------------ rankings


def test_rankings_are_standardised_and_chosen_on_validation(runs, tmp_path):
    names = ("ease", "linear")
    ranked = api.ensemble([runs(name) for name in names], tmp_path / "ranked")
    weights = np.array([*ranked.metrics["members"].values()])
    assert weights.sum() == pytest.approx(1)
    monitor, found = ranked.config.task.monitor, ranked.metrics["validation"]
    evaluator, qualities = evaluation.Evaluator(ranked.model), []
    for tried in ((1.0, 0.0), (0.0, 1.0), weights):
        ranked.model.weigh(tried)
        report = evaluation.new_report(ranked.model, ranked.data_dir)
        rows = batches.read(ranked.model, ranked.data_dir, "validation")
        qualities.append(evaluator(rows, report)[monitor])
    assert qualities[2] == pytest.approx(found[monitor], abs=1e-6)
    assert qualities[2] >= max(qualities[:2])
    features = {
        "user": tf.constant([-1]),
        "items": tf.constant([[4, 6]]),
        "values": tf.constant([[5.0, 5.0]]),
    }
    parts = [RunDir(runs(name)).load_model().score(features).numpy() for name in names]
    due = sum(w * (s - s.mean()) / s.std() for w, s in zip(weights, parts))
    np.testing.assert_allclose(ranked.model.score(features), due, rtol=1e-3, atol=1e-4)


def test_rankings_that_cannot_be_combined(runs, board, tmp_path):
    with pytest.raises(ValueError, match=r"bpr \(MF\) has weights of known users"):
        ensembles.ensemble([runs("ease"), runs("bpr")], str(tmp_path / "both"))


def test_members_with_a_refit_are_weighed_by_their_models_before_it(runs, tmp_path):
    refit = RunDir(shutil.copytree(runs("linear"), tmp_path / "refit"))
    config = refit.config()
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, refit=True))
    refit.write_json("config.json", dataclasses.asdict(config))
    members = [runs("ease"), str(refit.path)]
    with pytest.raises(FileNotFoundError, match=r"refit/validated\.keras .*: train it again"):
        ensembles.ensemble(members, str(tmp_path / "both"))
    refit.keep_validated()
    other = refit.load_model()
    refit.save_model(randomise(other, np.random.default_rng(9), 0.2, keep=True))
    found = ensembles.ensemble(members, str(tmp_path / "both"))
    before = ensembles.ensemble([runs("ease"), runs("linear")], str(tmp_path / "before"))
    assert [*found["members"].values()] == [*before["members"].values()]
    assert found["validation"] == before["validation"]
    member = RunDir(tmp_path / "both").load_model().members[1]
    for used, refitted in zip(member.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(used, refitted)
    assert not np.array_equal(
        other.get_weights()[0], refit.load_model(validated=True).get_weights()[0]
    )


# ------------------------------------------------------------------ the commands


@pytest.mark.parametrize("name", presets.ENSEMBLES)
def test_members_of_a_preset_share_their_split(name):
    splits = set()
    for member in presets.ENSEMBLES[name].members:
        data = config_lib.to_dict(presets.preset(member).data)
        splits.add(str({k: v for k, v in data.items() if k != "rows"}))
        assert presets.preset(member).train["refit"]
    assert len(splits) == 1


def test_a_preset_trains_and_combines(tfrec, monkeypatch, tmp_path):  # noqa: F811
    data, train = DataConfig(min_item_ratings=60), {"batch_size": 1000, "refit": True}
    for name, damping in (("one-x", 1.0), ("other-x", 30.0)):
        preset = presets.Preset("biases", data, {"sweeps": 2, "damping": damping}, train)
        monkeypatch.setitem(presets.PRESETS, name, preset)
    both = presets.EnsemblePreset(("one-x", "other-x"))
    monkeypatch.setitem(presets.ENSEMBLES, "best-x", both)
    path = tmp_path / "best"
    refused = tfrec("train", "--preset=best-x", f"--run_dir={path}", "--train", "epochs=1")
    assert "--train with --preset=best-x, an ensemble of one-x, other-x" in refused.err
    assert not path.exists()
    done = tfrec("train", "--preset=best-x", f"--run_dir={path}", "--nodry_run")
    assert done.status == 0, done.err
    assert re.search(rf"^\d\.\d+ of {path}/one-x$", done.out, re.M)
    best, one = (json.loads((p / "metrics.json").read_text()) for p in (path, path / "one-x"))
    assert best["test"]["n_ratings"] == one["test"]["n_ratings"]
    assert best["floors"] == one["floors"]
    resumed = tfrec("train", "--preset=best-x", f"--run_dir={path}", "--resume", "--nodry_run")
    assert resumed.out.count("this run is finished") == 2 and resumed.status == 0
