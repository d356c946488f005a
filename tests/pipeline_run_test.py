"""The whole pipeline: skipping, blessing, pushing, spans with a warm start, rolling back."""

import contextlib
import json
import pathlib
import time
import types
from concurrent import futures

import numpy as np
import pandas as pd
import pytest
from commands_test import run as run_command
from pipeline_data_test import pack, ratings

from pipelines import artifacts, engine, evaluator, example_gen, measure, pipeline, pusher, trainer
from tfrec import locks
from tfrec.config import DataConfig
from tfrec.serving import export
from tfrec.training import readings


@pytest.fixture(autouse=True)
def quick_export(monkeypatch, request):
    """Exports are proved in tests/serving_test.py; most tests here need no more than a file."""
    monkeypatch.setattr(export, "check", lambda aside: None)  # a fresh TensorFlow
    if "exports" not in request.keywords:

        def one_file(model, data_dir, export_dir, k, version, extras):
            path = pathlib.Path(export_dir) / str(version)
            (path / "assets.extra").mkdir(parents=True)
            (path / "saved_model.pb").write_text(f"{model.name} {k}")
            for name, text in extras.items():
                (path / "assets.extra" / name).write_text(text)
            return path

        monkeypatch.setattr(export, "export", one_file)


def board(n_users=40, n_items=24, first=1, start=0, noise=0.0):
    """User u likes item i where u + i is even; a model can learn that."""
    u, i = (x.ravel() for x in np.meshgrid(np.arange(n_users), np.arange(n_items), indexing="ij"))
    random = np.random.default_rng(first)
    liked = ((u + i) % 2 == 0) ^ (random.random(len(u)) < noise)
    return pd.DataFrame(
        {
            "userId": u + first,
            "movieId": i + 101,
            "rating": np.where(liked, 4.5, 1.5),
            "timestamp": 1_000_000_000 + start + random.permutation(len(u)) * 1000,
        }
    )


def settings(raw, push_dir, model="autoencoder", own=("hidden=16",), train=(), **changes):
    train = train or ("epochs=2", "learning_rate=0.01", "optimizer=adam")
    choice = trainer.choose(model, list(own), list(train))
    data = changes.pop("data", {})
    thresholds, bless = changes.pop("thresholds", ()), changes.pop("bless", "not_worse")
    return pipeline.Settings(
        sources=example_gen.sources("ml-latest-small", str(raw), None),
        data=DataConfig(rows=choice.rows, shards=1, **data),
        choice=choice,
        demand=evaluator.Demand(tuple(thresholds), bless),
        push_dir=push_dir,
        **changes,
    )


@pytest.fixture
def sandbox(tmp_path, capsys):
    """A root, a push directory, a raw zip, and `sandbox.run(...)`, which returns what it said."""
    pack(tmp_path / "day-1.zip", board())
    made = types.SimpleNamespace(
        root=tmp_path / "root", push=tmp_path / "push", raw=tmp_path / "day-{SPAN}.zip"
    )

    def run(**changes):
        capsys.readouterr()
        made.version = pipeline.run(
            settings(made.raw, made.push, **changes), made.root, engine.Local()
        )
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        components = {p.name for p in made.root.iterdir()} | {"pusher"}
        return [(w[0], w[1] in ("unchanged", "kept")) for w in lines if w and w[0] in components]

    made.run = run
    return made


def blessing(sandbox):
    paths = json.loads((sandbox.root / pipeline.LAST_RUN).read_text())
    return evaluator.read(pathlib.Path(paths["evaluator"]))


def test_a_second_run_skips_all_and_another_split_what_it_can(sandbox):
    first = sandbox.run()
    assert sandbox.version == (sandbox.push / "autoencoder/1").absolute()
    assert (sandbox.version / "saved_model.pb").exists()
    assert [name for name, _ in first] == [
        *("example_gen", "statistics_gen", "schema_gen", "example_validator", "transform"),
        *("statistics_gen", "example_validator", "trainer", "evaluator", "pusher"),
    ]
    assert not any(skipped for _, skipped in first)
    assert all(skipped for _, skipped in sandbox.run())
    assert not list(sandbox.root.rglob(".partial-*"))

    other = sandbox.run(data={"split": "time", "test": 0.2}, bless="thresholds")
    assert [skipped for _, skipped in other] == [True] * 4 + [False] * 6
    assert sandbox.version.name == "2"
    again = sandbox.run(
        train=("epochs=3", "learning_rate=0.01", "optimizer=adam"), bless="thresholds"
    )
    assert [skipped for _, skipped in again] == [True] * 7 + [False] * 3


def test_a_model_that_is_not_blessed_is_neither_pushed_nor_evaluated_again(sandbox):
    with pytest.raises(ValueError, match=r"rmse<0\.001 does not hold: it is \d\.\d+"):
        sandbox.run(thresholds=["rmse<0.001"])
    assert not sandbox.push.exists()
    with pytest.raises(ValueError, match="not blessed, nothing was pushed: rmse<0.001"):
        sandbox.run(thresholds=["rmse<0.001"])
    with pytest.raises(ValueError, match="history 20 to 49: rmse<0.001 does not hold"):
        sandbox.run(thresholds=["history 20 to 49: rmse<0.001"])
    with pytest.raises(ValueError, match="did you mean 'rmse'"):
        sandbox.run(thresholds=["rmsee<3"])
    with pytest.raises(ValueError, match="no such slice; .*known: all"):
        sandbox.run(thresholds=["strangers: rmse<3"])
    with pytest.raises(ValueError, match="is not METRIC<NUMBER"):
        sandbox.run(thresholds=["rmse=3"])
    with pytest.raises(ValueError, match="did you mean 'better'"):
        sandbox.run(bless="betters")
    sandbox.run(thresholds=["rmse<3", "all: mae<3", "history 20 to 49: rmse<3"])
    assert blessing(sandbox)["blessed"]
    assert json.loads(readings.path().read_text().splitlines()[-1])["why"] == "evaluator"


def test_a_worse_model_does_not_replace_the_served_one(sandbox):
    good = ("epochs=6", "learning_rate=0.03", "optimizer=adam")
    sandbox.run(train=good)
    with pytest.raises(ValueError, match="worse than the served model: rmse .* p = 0.0"):
        sandbox.run(train=("epochs=1", "learning_rate=0.0001", "optimizer=adam"))
    row = blessing(sandbox)["slices"]["all"]
    assert row["difference"] > 0 and row["low"] > 0 and row["p"] < 0.05
    assert sorted(p.name for p in (sandbox.push / "autoencoder").iterdir()) == ["1"]
    with pytest.raises(ValueError, match="not significantly better than the served model"):
        sandbox.run(train=(*good, "eval_batch_size=99"), bless="better")  # the same model again


def test_rollback_and_what_follows(sandbox):
    sandbox.run()
    with pytest.raises(ValueError, match=r"has 1 version\(s\), none to roll back to"):
        pusher.rollback(sandbox.push, "autoencoder")
    more = {"train": ("epochs=3", "learning_rate=0.01", "optimizer=adam"), "bless": "thresholds"}
    sandbox.run(**more)
    assert pusher.rollback(sandbox.push, "autoencoder").name == "1"
    base = sandbox.push / "autoencoder"
    assert sorted(p.name for p in base.iterdir()) == [".rolled_back-2", "1"]
    with pytest.raises(ValueError, match="was rolled back and is not pushed again"):
        sandbox.run(**more)
    (base / ".rolled_back-2").rename(base / "2")
    # An old model is a new version where another one is served now; 2 is not given again.
    pusher.rollback(sandbox.push, "autoencoder")
    (base / "1").rename(base / "0")
    sandbox.run(k=5)
    assert sandbox.version.name == "3"
    served = pusher.served(sandbox.push, "autoencoder")
    assert served.settings["train"]["epochs"] == 2


@pytest.mark.exports
def test_a_killed_push_leaves_nothing_to_be_served(sandbox, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "check", killed)
    with pytest.raises(KeyboardInterrupt):
        sandbox.run()
    assert not list((sandbox.push / "autoencoder").iterdir())
    (sandbox.push / "autoencoder/.writing-1").mkdir()  # as kill -9 would leave it
    (sandbox.push / "autoencoder/.push.lock").touch()
    monkeypatch.setattr(export, "check", lambda aside: None)
    assert [skipped for _, skipped in sandbox.run()] == [True] * 9 + [False]
    assert [p.name for p in (sandbox.push / "autoencoder").iterdir()] == ["1"]
    documents_itself(sandbox.push / "autoencoder/1")


def documents_itself(version):
    """All texts of a version have the name of the model and the version served."""
    name = version.parent.name
    page = (version / "README.md").read_text()
    assert f"to be served as `{name}`" in page and str(version) in page
    assert f"/v1/models/{name}:predict" in page
    # In a PredictionLog, field 1 of a ModelSpec is the model's name.
    records = (version / "assets.extra/tf_serving_warmup_requests").read_bytes()
    assert b"\n" + bytes([len(name)]) + name.encode() in records
    assert json.loads((version / "assets.extra/pushed.json").read_text())["k"] == 20
    for file in [version / "README.md", *(version / "assets.extra").iterdir()]:
        assert not any(word in file.read_bytes() for word in (b".pushing", b".writing"))


# ------------------------------------------------------------------ two pipelines, one push_dir


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """Two blessed runs of one model, and pushes of them that take 0.3 seconds."""
    busy = []

    def slow_export(trained, base, k, mark):
        busy.append(trained.path.name)
        assert len(busy) == 1, "two at once"
        numbers = [int(p.name) for p in base.iterdir() if p.name.isdigit()]
        (base / ".writing-0").mkdir()
        time.sleep(0.3)
        version = (base / ".writing-0").rename(base / str(max(numbers, default=0) + 1))
        (version / "assets.extra").mkdir()
        (version / "assets.extra/pushed.json").write_text(json.dumps(mark))
        busy.clear()
        return version

    monkeypatch.setattr(pusher, "_export", slow_export)
    yes = {"blessed": True, "reasons": [], "metric": "rmse", "result": {}, "slices": {}}
    yes |= {"served": None, "protocol": ""}
    runs = []
    for name in "ab":
        trained = artifacts.make(
            tmp_path / name, "trainer", {"model": "m", "name": name}, {}, lambda _: None
        )
        blessed = artifacts.make(
            tmp_path / f"{name}-blessing", "evaluator", {}, {"run": trained},
            lambda folder: (folder / evaluator.BLESSING).write_text(json.dumps(yes)),
        )  # fmt: skip
        runs.append((trained, blessed))
    return runs


def test_two_pipelines_push_one_after_the_other(two_runs, tmp_path):
    with futures.ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(pusher.run, *run, tmp_path / "push") for run in [*two_runs, two_runs[1]]
        ]
        versions = [one.result() for one in asked]
    base = tmp_path / "push/m"
    assert sorted(p.name for p in base.iterdir()) in (["1", "2"], ["1", "2", "3"])
    assert {v.name for v in versions} == {p.name for p in base.iterdir()}


def test_waiting_for_another_push_is_limited(two_runs, tmp_path, monkeypatch):
    push = tmp_path / "push"
    pusher.run(*two_runs[0], push)
    monkeypatch.setattr(pusher, "_WAIT", 0.2)
    with locks.held(push / "m/.push.lock", ""):
        for call in (lambda: pusher.run(*two_runs[1], push), lambda: pusher.rollback(push, "m")):
            with pytest.raises(ValueError, match="another push to .*/push/m has been running for"):
                call()
    assert [p.name for p in (push / "m").iterdir()] == ["1"]
    with pytest.raises(ValueError, match="push/other has 0 version"):
        pusher.rollback(push, "other")
    assert not (push / "other").exists()


def test_a_new_span_is_validated_and_trained_on_from_where_the_old_one_ended(sandbox, tmp_path):
    sandbox.run(data={"split": "time"})
    first = pusher.served(sandbox.push, "autoencoder")
    grown = board(n_items=30, first=101, start=2_000_000_000)
    pack(tmp_path / "day-2.zip", grown)
    changes = {"data": {"split": "time"}, "warm_start": True}
    said = sandbox.run(**changes)
    assert [name for name, skipped in said if skipped] == [
        *("example_gen", "statistics_gen", "schema_gen"),  # of the first span
    ]
    second = pusher.served(sandbox.push, "autoencoder")
    assert second.inputs["earlier"] == first.fingerprint
    found = blessing(sandbox)
    assert found["served"] == first.fingerprint and "new items" in found["slices"]
    assert found["slices"]["all"]["p"] <= 1
    assert all(skipped for _, skipped in sandbox.run(**changes))  # not warm from itself


def test_two_models_are_compared_on_what_neither_was_trained_on(sandbox, tmp_path):
    sandbox.run(data={"split": "random", "test": 0.2})
    old = pusher.served(sandbox.push, "autoencoder")
    pack(tmp_path / "day-2.zip", board(first=101, start=2_000_000_000))
    sandbox.run(data={"split": "random", "test": 0.2}, bless="thresholds")
    paths = json.loads((sandbox.root / pipeline.LAST_RUN).read_text())
    rows = artifacts.Artifact.load(paths["transform"])
    from tfrec.schema import DatasetInfo
    from tfrec.training import runs

    trained = artifacts.Artifact.load(paths["trainer"])
    model = runs.RunDir(trained.path).load_model()
    carried, learned = evaluator._served_model(old, rows, model)
    info, old_dir = model.info, pathlib.Path(runs.RunDir(old.path).config().data_dir)
    n = DatasetInfo.load(old_dir).n_ratings
    assert len(learned) == n["train"] + n["validation"]
    from pipelines import slices

    cut = slices.Slices({}, {})
    both = [measure.measure(m, rows.path, cut, learned) for m in (model, carried)]
    tested = [m.result["n_ratings"] for m in both]
    assert tested[0] == tested[1] < info.n_ratings["test"]
    of_old_users = np.isin(np.arange(info.n_users * info.n_items), learned).sum()
    assert of_old_users == len(learned)  # all of them are still there


def test_slices_have_the_members_that_they_name(sandbox):
    from pipelines import slices
    from tfrec.data import inputs, training_pairs
    from tfrec.schema import DatasetInfo

    sandbox.run()
    paths = json.loads((sandbox.root / pipeline.LAST_RUN).read_text())
    data_dir = pathlib.Path(paths["transform"])
    info = DatasetInfo.load(data_dir)
    by_user, by_item = slices.counts(data_dir, info)
    assert by_user.sum() == by_item.sum() == info.n_ratings["train"]
    cut = slices.of(data_dir, info, {"101", "102"})
    assert cut.items["new items"].tolist() == [False] * 2 + [True] * 22
    assert sum(members.sum() for name, members in cut.users.items()) == info.n_users
    assert set(cut.users) <= {"history 0 to 19", "history 20 to 49"}
    pairs = training_pairs.pairs(data_dir, info, "train+validation")
    assert len(pairs) == info.n_ratings["train"] + info.n_ratings["validation"]
    for features, _ in inputs.histories(data_dir, info, "train", 64, fill=True):
        for row, items in zip(features["user"].numpy(), features["items"].numpy()):
            if row >= 0:
                assert (items >= 0).sum() == by_user[row]


@pytest.mark.parametrize(
    ("model", "own", "train", "metric"),
    [
        ("mf", ["latent=2"], ["epochs=1"], "rmse"),
        ("autorec", ["hidden=4"], ["epochs=1", "optimizer=adam"], "rmse"),
        ("ease", [], ["batch_size=32"], "ndcg@100"),
    ],
)
def test_models_of_every_kind_pass_through(sandbox, model, own, train, metric):
    """Of events, by item, of rankings; a second one is held against the first."""
    asked = {"model": model, "own": own, "train": train, "thresholds": [f"{metric}>0"]}
    sandbox.run(**asked, data={"test": 0.5})
    assert blessing(sandbox)["metric"] == metric
    with contextlib.suppress(ValueError):  # worse, perhaps: it is measured in either case
        sandbox.run(**asked, data={"test": 0.5, "seed": 1})
    found = blessing(sandbox)["slices"]["all"]
    assert found["users"] >= 20 and found["served"] > 0


@pytest.mark.exports
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_the_commands_print_the_next_one(capsys, tmp_path, monkeypatch):
    """The components by hand, each on the output of the one before."""
    monkeypatch.delenv("TFREC_DEBUG", raising=False)
    raw = pack(tmp_path / "x.zip", ratings())

    def by_hand(component, *words):
        return run_command(capsys, component, *words, package="pipelines")

    steps = [
        ("example_gen", f"--raw={raw}", f"--output={tmp_path / 'span'}"),
        (
            *("statistics_gen", f"--examples={tmp_path / 'span'}"),
            f"--output={tmp_path / 'statistics'}",
        ),
        (
            *("schema_gen", f"--examples={tmp_path / 'span'}"),
            *(f"--statistics={tmp_path / 'statistics'}", f"--schema={tmp_path / 's.pbtxt'}"),
        ),
        (
            *("example_validator", f"--examples={tmp_path / 'span'}"),
            *(f"--statistics={tmp_path / 'statistics'}", f"--schema={tmp_path / 's.pbtxt'}"),
            f"--output={tmp_path / 'anomalies'}",
        ),
        ("transform", f"--examples={tmp_path / 'span'}", f"--output={tmp_path / 'rows'}"),
        (
            *("trainer", f"--rows={tmp_path / 'rows'}", "--model=popularity"),
            f"--output={tmp_path / 'run'}",
        ),
        (
            *("evaluator", f"--rows={tmp_path / 'rows'}", f"--run_dir={tmp_path / 'run'}"),
            f"--output={tmp_path / 'blessing'}",
        ),
        (
            *("pusher", f"--run_dir={tmp_path / 'run'}", f"--blessing={tmp_path / 'blessing'}"),
            f"--push_dir={tmp_path / 'push'}",
        ),
    ]
    for component, *words in steps:
        done = by_hand(component, *words)
        assert (done.status, done.err) == (0, ""), component
        assert component in done.out
    assert (tmp_path / "push/popularity/1/saved_model.pb").exists()
    refused = by_hand("trainer", f"--rows={tmp_path / 'span'}", f"--output={tmp_path / 'run'}")
    assert refused.err.startswith(f"error: {tmp_path / 'span'} was made by example_gen, not by")


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_the_runner_is_one_command(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("TFREC_DEBUG", raising=False)

    def runner(*words):
        return run_command(capsys, "local_runner", *words, package="pipelines")

    raw = pack(tmp_path / "x.zip", board())
    words = [f"--raw={raw}", "--model=popularity", "--runner=local"]
    words += [f"--pipeline_root={tmp_path / 'root'}", f"--push_dir={tmp_path / 'push'}"]
    done = runner(*words)
    assert done.status == 0 and "--rollback=popularity" in done.out
    assert (tmp_path / "push/popularity/1/saved_model.pb").exists()
    typo = runner(*words, "--set", "x=1")
    assert typo.err.startswith("error: --set 'x=1'")
    missing = runner(f"--raw={raw}")
    assert missing.err.startswith("error: --pipeline_root is missing")
