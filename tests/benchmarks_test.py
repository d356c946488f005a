"""The parts of the benchmarks that need no peer: the same interactions, the same measure."""

import importlib.util
import json
import pathlib
import re
import sys
import types

import numpy as np
import pandas as pd
import pytest

import tfrec
from tfrec.data import inputs, records
from tfrec.schema import DatasetInfo

FOLDER = pathlib.Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(FOLDER))  # benchmarks import each other, as when they are run
GIVEN = {
    "train": [("7", "a"), ("7", "b"), ("12", "b"), ("12", "c"), ("12", "d")],
    "validation": [("7", "c"), ("12", "e")],
    "test": [("12", "a"), ("7", "e"), ("7", "d")],
}


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path / "cache"))
    recbole = load("recbole")
    for part, rows in GIVEN.items():
        lines = ["user,item", *(",".join(row) for row in rows)]
        (tmp_path / f"{part}.csv").write_text("\n".join(lines) + "\n")
    return recbole, recbole.prepare_given(tmp_path)


def test_the_given_interactions_go_to_the_given_parts(given):
    data_dir, info = given[1].data_dir, given[1].info
    rows = {row["user"]: row for row in records.read_rows(data_dir, info)}
    assert (info.n_users, info.n_items) == (2, 5)
    assert sorted(rows[0]["items"]) == [0, 1]  # user 7: a, b
    assert sorted(rows[1]["items"]) == [1, 2, 3]
    assert (rows[0]["validation_items"], rows[1]["validation_items"]) == ([2], [4])
    assert sorted(rows[0]["test_items"]) == [3, 4]
    assert {info.row_counts[part] for part in GIVEN} == {2}
    (features, targets), = inputs.histories(data_dir, info, "validation", 2)  # fmt: skip
    assert np.sort(targets["target_items"], axis=0).ravel().tolist() == [2, 4]
    assert features["items"].shape == (2, 3)


def test_train_is_the_input_and_validation_is_excluded_too(given):
    recbole, data = given
    inputs_seen = {}

    def score(features):
        items = features["items"].numpy()
        inputs_seen.update(zip(features["user"].numpy().tolist(), np.sort(items).tolist()))
        return np.tile(np.float32([0, 1, 9, 3, 2]), (len(items), 1))  # c best: excluded

    result = recbole.measure(data, score).result()
    assert {u: [i for i in x if i >= 0] for u, x in inputs_seen.items() if u >= 0} == {
        0: [0, 1],
        1: [1, 2, 3],
    }
    assert result["recall@10"] == 1.0  # user 7: d, e; user 12: a, all that is left
    assert result["ndcg@10"] == 1.0


def test_lists_are_measured_in_their_order(given):
    recbole, data = given
    lists = {"7": ["e", "d"], "12": ["a"]}
    report = recbole.measure(data, recbole.list_scores(data, lists))
    assert report.result()["ndcg@10"] == 1
    peer = {"name": "x", "top": lists, "validation": {"ndcg@10": 0, "recall@10": 0}}
    peer["test"] = {"ndcg@10": 0.9, "recall@10": 1.0}
    with pytest.raises(ValueError, match="do not measure the same"):
        recbole.compared(peer, report, data)


def test_tfrecs_side_learns_from_the_given_train_part(given, tmp_path):
    recbole, data = given
    line, report = recbole.run_ours("ease", data, tmp_path, seed=0)
    assert line["test"] == recbole.shown(report.result())
    assert line["validation"].keys() == line["test"].keys()
    assert (line["epochs"], line["settings"]) == (1, {"regularization": 300.0})
    assert line["cpu_seconds"] > 0
    assert not tfrec.load(tmp_path / "runs" / "ease").metrics["test"]


def test_an_autoencoder_without_hidden_layers_is_a_setting_like_any_other(given, tmp_path):
    recbole, data = given
    recbole.OURS["multvae"][1]["epochs"] = 1
    assert recbole.run_ours("multvae", data, tmp_path, 0)[0]["settings"]["hidden"] == ()


def test_ials_reads_rows_as_ones():
    found = load("ials").matrix(np.array([[2, 0, -1], [-1, -1, -1]]), 3)
    np.testing.assert_array_equal(found.toarray(), [[1, 0, 1], [0, 0, 0]])


def test_ials_names_the_missing_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "implicit", types.ModuleType("implicit"))
    with pytest.raises(ValueError, match="pip install implicit"):
        load("ials").implicit()


@pytest.fixture
def likes(tmp_path):
    """recbole_ctr.py, prepared likes of 6 users and 10 items, and all of them by raw ids."""
    n = np.arange(60)
    label = (n // 2 % 2).astype(np.float32)
    frame = pd.DataFrame({"user": n % 6, "item": n // 6, "value": label, "time": 1})
    frame["user"], frame["item"] = "u" + frame["user"].astype(str), "i" + frame["item"].astype(str)
    raw = tfrec.Dataset.from_pandas(frame, rating="value", time="time", name="likes")
    data = raw.split("random", test=0.3, data_dir=tmp_path / "data")
    labels = {(row.user, row.item): row.value for row in frame.itertuples()}
    return load("recbole_ctr"), data, labels


def written(likes, folder, part):
    module, data, _ = likes
    module.write_events(folder, data, part)
    lines = (folder / f"events.{part}.inter").read_text().splitlines()
    assert lines[0] == "user_id:token\titem_id:token\tlabel:float"
    return [line.split("\t") for line in lines[1:]]


def test_recbole_gets_the_very_same_labelled_rows(likes, tmp_path):
    _, data, labels = likes
    parts = {p: written(likes, tmp_path / "x", p) for p in ("train", "validation", "test")}
    assert {part: len(rows) for part, rows in parts.items()} == data.info.n_ratings
    rows = [(user, item, float(label)) for part in parts.values() for user, item, label in part]
    assert sorted(rows) == sorted((*ids, label) for ids, label in labels.items())


def their_logits(likes, folder, right):
    """Logits 2 and -2, the test events in an order of their own."""
    labels = likes[2]
    rows = written(likes, folder, "test")[::-1]
    return [[u, i, 2.0 if (labels[u, i] == 1) == right else -2.0] for u, i, _ in rows]


def test_their_logits_are_measured_by_raw_id(likes, tmp_path):
    module, data, _ = likes
    for right, auc, logloss in ((True, 1.0, 0.126928), (False, 0.0, 2.126928)):
        logits = their_logits(likes, tmp_path, right)
        result = module.measure(data, module.logit_scores(data, logits)).result()
        assert (result["auc"], result["logloss"]) == (auc, pytest.approx(logloss, abs=1e-6))
    with pytest.raises(ValueError, match="logits of"):
        module.logit_scores(data, logits[1:])


def test_a_lead_needs_two_that_measure_the_same(likes, tmp_path):
    module, data, _ = likes
    good, bad = (their_logits(likes, tmp_path, right) for right in (True, False))
    report = module.measure(data, module.logit_scores(data, good))
    valid = {"auc": 0.5, "logloss": 0.7}
    peer = {"name": "x", "validation": valid, "test": {"auc": 0.0, "logloss": 2.12693}}
    found = module.compared({**peer, "logits": bad}, report, data)
    assert found["lead"]["logloss"]["mean_difference"] == pytest.approx(-2.0)
    with pytest.raises(ValueError, match="do not measure the same"):
        module.compared({**peer, "logits": good}, report, data)


def test_the_best_of_tfrecs_trials_is_tested(likes, tmp_path):
    module, data, _ = likes
    module.GRIDS["fm"][1].clear()
    module.GRIDS["fm"][1]["learning_rate"] = [1e-9, 0.1]
    module.TRAIN.update(batch_size=8, epochs=2)
    line, report = module.run_ours("fm", data, tmp_path, seed=0)
    tried = [trial["validation"]["logloss"] for trial in line["trials"]]
    assert len(tried) == 2
    assert line["validation"]["logloss"] == min(tried)
    assert line["settings"]["learning_rate"] == (1e-9, 0.1)[np.argmin(tried)]
    assert line["test"] == module.shown(report.result())
    assert all(trial["cpu_seconds"] > 0 for trial in line["trials"])
    seconds = module.our_seconds("fm", data, tmp_path)
    assert len(seconds) == module.EPOCHS
    assert min(seconds) > 0


def test_both_sides_have_as_many_trials():
    module = load("recbole_ctr")
    jobs = {job["name"]: job for job in module.jobs(["fm", "deepfm"])}
    assert jobs["fm-default"]["trials"] == [{}]
    for name in ("fm", "deepfm"):
        ours = module.combinations(module.GRIDS[name][1])
        assert len(jobs[f"{name}-tuned"]["trials"]) == len(ours) > 1
    assert module.combinations({"a": [1, 2], "b": [3]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]


def test_speed_is_their_median_over_ours():
    line = load("recbole_ctr").speed_line("fm", [0.2, 0.5, 0.1], [9.0, 0.1, 0.1])
    assert (line["tfrec"], line["RecBole"], line["ratio"]) == (0.2, 0.1, 0.5)


def test_the_last_two_of_a_sequence_are_held_out(tmp_path, monkeypatch):
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path / "cache"))
    module = load("recbole_sequence")
    module.FLAGS(["recbole_sequence.py"])
    module.OURS["sasrec"][0].update(width=4, heads=1, blocks=1, window=6)
    sequences = {"7": list("abcde"), "12": list("edcab")}
    (tmp_path / "sequences.json").write_text(json.dumps(sequences))
    data = module.read_sequences(tmp_path / "sequences.json")
    run = module.run_ours("sasrec", data, tmp_path, epochs=2)
    names = tfrec.load(tmp_path / "sasrec-2").items
    for row in records.read_rows(data.data_dir, data.info):
        parts = (row["items"], row["validation_items"], row["test_items"])
        whole = {"".join(names[i] for part in parts for i in part): [len(part) for part in parts]}
        assert whole in ({"abcde": [3, 1, 1]}, {"edcab": [3, 1, 1]})
    assert (run["epochs"], run["model"]) == (2, "sasrec")
    assert 0 <= run["ndcg@10"] <= run["hr@10"] <= 1
    assert run["cpu_seconds"] > 0


@pytest.mark.slow
def test_refeeding_tunes_both_sides_with_equal_updates(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path / "cache"))
    module = load("refeeding")
    words = ["--preset=deeprec-latestsmall-random90", f"--out={tmp_path}", "--dropouts=0,0.5"]
    words += ["--set=hidden=4", "--train=epochs=1", "--train=batch_size=300"]
    module.FLAGS(["x", *words, "--seeds=2"])
    module.main()
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("aug_steps")]
    for steps in (1, 0):
        own = [x for x in lines if x.startswith(f"aug_steps {steps}")]
        tried = {}
        for text in own[:3]:
            dropout, seed = re.search(r"dropout ([\d.]+), seed (\d)", text).groups()
            run = tfrec.load(tmp_path / f"aug{steps}-dropout{dropout}-seed{seed}")
            tried[dropout, seed] = error = run.metrics["validation"]["rmse"]
            assert run.config.settings["aug_steps"] == steps
            assert run.config.settings["dropout"] == float(dropout)
            assert (run.config.train.epochs, run.config.train.seed) == (2 - steps, int(seed))
            assert f"rmse {error:.4f} (epoch " in text
            gap = re.search(r"\^2 ([\d.]+),", text)[1]
            assert float(gap) == pytest.approx(module.gap(run), abs=1e-4)
            assert not run.metrics["test"]
        best = min((d for d, seed in tried if seed == "0"), key=lambda d: tried[d, "0"])
        mean = (tried[best, "0"] + tried[best, "1"]) / 2
        assert f"dropout {best}: validation rmse {mean:.4f} +- " in own[3]


def test_defaults_are_tabled_beside_their_baseline(tmp_path):
    module = load("defaults")
    record = tmp_path / "results.json"
    module.FLAGS(["x", f"--out={tmp_path}", f"--record={record}"])
    runs = {"biases": 0.87004, "mf": 0.86, "als": 0.88, "vae": None}
    for model, rmse in runs.items():
        folder = tmp_path / "shop" / model
        folder.mkdir(parents=True)
        failed = "" if rmse else "not finished after 9 CPU seconds"
        (folder / "command.json").write_text(json.dumps({"cpu_seconds": 9, "error": failed}))
        if rmse:
            found = {"test": {"rmse": rmse}, "best_epoch": 2, "epochs": 5}
            (folder / "metrics.json").write_text(json.dumps(found))
    rows = {}
    for model in runs:
        found = module.measured(model, "shop")
        module.record("shop", model, found)
        rows[model] = module.row(model, found)
    assert rows == {
        "biases": "| biases | rmse | 0.8700 | 0.8700 | - | 2 of 5 | 9 |",
        "mf": "| mf | rmse | 0.8600 | 0.8700 | yes | 2 of 5 | 9 |",
        "als": "| als | rmse | 0.8800 | 0.8700 | NO | 2 of 5 | 9 |",
        "vae": "| vae | not finished after 9 CPU seconds |||||",
    }
    assert json.loads(record.read_text())["shop"]["mf"]["baseline"] == 0.87


def test_features_of_an_id_are_itself_and_its_partners():
    block = load("bayesian_fm").block
    user, item = np.array([0, 0, 1]), np.array([0, 2, 2])
    found = block(user, item, 3, 3, implicit=True).toarray()
    half = 0.5**0.5
    np.testing.assert_allclose(
        found, [[1, 0, 0, half, 0, half], [0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0]]
    )
    np.testing.assert_array_equal(block(user, item, 3, 3, implicit=False).toarray(), np.eye(3))


def test_days_that_training_did_not_have_are_unknown():
    known, asked, n = load("bayesian_fm").day_codes(np.array([5, 9, 5]), np.array([9, 7, 12]))
    assert (known.tolist(), asked.tolist(), n) == ([1, 2, 1], [2, 0, 0], 3)


class FakeSampler:
    """Replaces myfm, and records its arguments."""

    RelationBlock = staticmethod(lambda rows, data: (rows, data))

    def MyFMGibbsRegressor(self, rank, random_seed):  # noqa: N802
        return self

    def fit(self, days, values, X_rel, **settings):  # noqa: N803
        self.days, self.values, self.known, self.settings = days, values, X_rel, settings

    def predict(self, days, relations):
        self.asked = relations
        return np.full(days.shape[0], 9.0)


def test_bayesian_fm_learns_only_from_the_known_events(board, monkeypatch):
    module, sampler = load("bayesian_fm"), FakeSampler()
    module.FLAGS(["bayesian_fm.py", "--samples=7", "--burn_in=2"])
    monkeypatch.setattr(module, "myfm", lambda: sampler)
    data_dir, _ = board()
    info = DatasetInfo.load(data_dir)
    known, asked = (module.read(data_dir, info, part) for part in ("train+validation", "test"))
    predictions = module.predict(known, asked, info.n_users, info.n_items)
    assert (sampler.settings["n_iter"], sampler.settings["n_kept_samples"]) == (9, 7)
    assert sampler.settings["group_shapes"] == [2, 40, 40, 40, 40]  # one day, and unknown ones
    (rows, users), (_, items) = sampler.known
    assert rows == known["user"].tolist()
    assert len(rows) == info.n_ratings["train"] + info.n_ratings["validation"]
    assert (np.diff(users.indptr) == 1 + 38).all()  # himself, and no test item
    assert (np.diff(items.indptr) == 1 + 38).all()
    assert sampler.asked[0][0] == asked["user"].tolist()
    # 9 is cut to 5; half of the test ratings are 5, half are 1.
    assert module.measure(info, asked, predictions)["rmse"] == pytest.approx(8**0.5)


def test_bayesian_fm_names_the_missing_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "myfm", None)
    with pytest.raises(ValueError, match="pip install myfm"):
        load("bayesian_fm").myfm()


def test_synthetic_ratings_have_the_shape_of_their_data_set(tmp_path):
    ingest = load("ingest")

    found = list(ingest.made_up("netflix", 0.0005, 0))
    again = list(ingest.made_up("netflix", 0.0005, 0))
    assert len(found) == 17_770  # each film has a rating
    assert all((a[1] == b[1]).all() and (a[2] == b[2]).all() for a, b in zip(found, again))
    assert all(len(np.unique(users)) == len(users) for _, users, _, _ in found)
    n = sum(len(users) for _, users, _, _ in found)
    assert 0.7 * 50_240 < n < 1.3 * 50_240
    assert {v for _, _, values, _ in found for v in values.tolist()} == {1, 2, 3, 4, 5}
    assert ingest.write_span("netflix", 0.0005, 0, tmp_path / "span") == n


def test_devices_are_measured_on_a_cpu_where_asked(board, tmp_path, monkeypatch):
    gpu = load("gpu")
    out = tmp_path / "found.json"
    monkeypatch.setattr(
        gpu, "CASES", {"calls": [{"steps_per_call": 3}], "jit": [{"jit_compile": 1}]}
    )
    words = [
        "gpu",
        f"--data_dir={board()[0]}",
        "--seconds=60",
        "--steps=3",
        "--models=mf",
        f"--out={out}",
    ]
    gpu.FLAGS(words)
    with pytest.raises(ValueError, match="no GPU here.*--cpu"):
        gpu.main()
    gpu.FLAGS([*words, "--cpu", "--only=calls"])
    gpu.main()
    (case,) = json.loads(out.read_text())["cases"]
    assert case["train"] == {"steps_per_call": 3}
    assert case["steps"] == 3
    assert case["examples_a_second"] > 0
    gpu.FLAGS([*words, "--cpu", "--only=call"])
    with pytest.raises(ValueError, match="--only=call is unknown; known: calls, jit"):
        gpu.main()


def test_a_synthetic_catalogue_is_prepared_in_chunks_and_trained_on(tmp_path, monkeypatch):
    module, folder = load("million_items"), tmp_path / "data"
    monkeypatch.setattr(module, "CHUNK", 150)
    words = ["--items=300", "--rows=400", "--mean=12", "--evaluated=20", "--steps=2", "--warm_up=1"]
    module.FLAGS(["million_items.py", *words, "--train=batch_size=64"])
    module.write_data(folder)
    info = DatasetInfo.load(folder)
    rows = list(records.read_rows(folder, info))
    assert sorted(row["user"] for row in rows) == list(range(400))
    whole = [np.append(row["items"], row["validation_items"]) for row in rows]
    assert all(len(np.unique(items)) == len(items) > 1 for items in whole)
    assert [len(row["validation_items"]) for row in rows] == [1] * 20 + [0] * 380
    assert sum(map(len, whole)) == info.n_ratings["train"] + 20
    counts = np.bincount(np.concatenate(whole), minlength=300)
    assert counts[:30].mean() > 3 * counts[-30:].mean(), "the first items are the popular ones"
    found = module.measure("mf", folder)
    assert found["steps"] == info.n_ratings["train"] // 64
    assert found["cpu_seconds_a_step"] == found["cpu_seconds"]["steps"] / 2 > 0
    assert 0 <= found["ndcg@10"] <= 1
