"""Warm start: rows of weights and of slots follow raw ids and categories into larger data."""

import dataclasses

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfrec import config as config_lib
from tfrec.config import DataConfig
from tfrec.data import vocabulary
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.models import registry
from tfrec.schema import DatasetInfo, Field
from tfrec.training import moves, optimizers, warm_start
from tfrec.training.experiment import Experiment
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir


def ratings():
    random = np.random.default_rng(0)
    users, items = (x.ravel() for x in np.meshgrid(np.arange(24), np.arange(18), indexing="ij"))
    taken = random.random(len(users)) < 0.6
    return pd.DataFrame(
        {
            "user": [f"u{x}" for x in users[taken]],
            "item": [f"i{x}" for x in items[taken]],
            "value": random.integers(1, 6, taken.sum()).astype(np.float32),
            "time": random.integers(0, 1000, taken.sum()),
        }
    )


def raw(frame, **changes):
    fields = {
        "name": "toy",
        "chunks": lambda: iter([frame]),
        "fingerprint": str(len(frame)),
        "rating_min": 1.0,
        "rating_max": 5.0,
        "rating_step": 1.0,
        "has_times": True,
    }
    return RawDataset(**(fields | changes))


def is_old(frame):
    """Half the users and two thirds of the items, from all over the vocabularies."""
    number = frame.user.str[1:].astype(int), frame.item.str[1:].astype(int)
    return (number[0] % 2 == 0) & (number[1] % 3 > 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """`data(rows)` -> directories of the old ratings, and of all ratings."""
    frame, made = ratings(), {}

    def make(rows):
        if rows not in made:
            made[rows] = []
            for part in (frame[is_old(frame)].reset_index(drop=True), frame):
                path = tmp_path_factory.mktemp("warm") / "data"
                prepare(raw(part), config(rows), path, progress=False)
                made[rows].append(str(path))
        return made[rows]

    return make


def config(rows):
    return DataConfig(dataset="toy", rows=rows, split="time", shards=1)


def trial(model, data_dir, run_dir, earlier="", train=(), **settings):
    cls = registry.model_class(model)
    epochs = settings.pop("epochs", 2)
    settings = dataclasses.replace(cls.Config(), **settings)
    train = {"epochs": epochs, "optimizer": "adam", "batch_size": 8, **dict(train)}
    train = dataclasses.replace(cls.paper, **train)
    run = RunConfig(
        model=model,
        settings=config_lib.to_dict(settings),
        data=config(cls.rows(settings)),
        data_dir=data_dir,
        train=train,
        warm_start=str(earlier),
    )
    made = Experiment(run, RunDir(run_dir), tf.distribute.get_strategy())
    made.run_dir.start(run)
    return made


CASES = [
    ("mf", "user", {"latent": 3}),
    ("autorec", "item", {"hidden": (4,)}),
    ("multvae", "user", {"hidden": (6,), "latent": 3}),
]


@pytest.mark.parametrize(("model", "rows", "settings"), CASES)
def test_weights_and_slots_follow_their_ids(data, tmp_path, model, rows, settings):
    small, large = data(rows)
    trial(model, small, tmp_path / "old", **settings).run()
    old = keras.saving.load_model(RunDir(tmp_path / "old").model)
    fresh = trial(model, large, tmp_path / "fresh", **settings)
    new = trial(model, large, tmp_path / "new", tmp_path / "old", **settings)
    new.model.compile("adam")
    new.model.optimizer.build(new.model.trainable_variables)
    said = warm_start.start(new.model, large, str(tmp_path / "old"), new.config.train)
    assert "knew 12 of 24 users, 12 of 18 items" in said

    ids = [
        [vocabulary.read(f"{d}/{kind}s.txt") for d in (small, large)] for kind in ("user", "item")
    ]
    names = {24: ids[0], 18: ids[1], 25: ids[0], 19: ids[1]}
    pairs = list(zip(old.variables, new.model.variables, fresh.model.variables, strict=True))
    slots = zip(old.optimizer.variables, new.model.optimizer.variables)
    pairs += [(o, n, np.zeros(n.shape)) for o, n in slots]
    given = {id(weight) for weight in new.model.data_weights}  # counted in the new data
    pairs = [pair for pair in pairs if "seed" not in pair[1].name and id(pair[1]) not in given]
    moved = 0
    for before, after, at_start in pairs:
        before, after, at_start = (np.asarray(x) for x in (before, after, at_start))
        axes = [k for k, n in enumerate(after.shape) if n in names]
        if not axes:
            np.testing.assert_array_equal(before, after)
            continue
        (axis,) = axes
        was, now = names[after.shape[axis]]
        for position, raw_id in enumerate(now):
            row = np.take(after, position, axis)
            if raw_id in was:
                np.testing.assert_array_equal(row, np.take(before, was.index(raw_id), axis))
                moved += 1
            else:
                np.testing.assert_array_equal(row, np.take(at_start, position, axis))
        if after.shape[axis] > len(now):  # the row of unknown ids
            np.testing.assert_array_equal(np.take(after, -1, axis), np.take(before, -1, axis))
    assert moved >= 3 * 12  # weights, and two slots of each


def test_a_run_starts_where_the_other_ended(data, tmp_path, capsys):
    small, large = data("user")
    trial("multvae", small, tmp_path / "old", hidden=(6,), latent=3, epochs=8).run()
    warm = trial("multvae", large, tmp_path / "w", tmp_path / "old", hidden=(6,), latent=3)
    warm.fit(resume=False)
    assert "warm start from" in capsys.readouterr().out
    steps = [int(v) for v in warm.model.optimizer.variables if v.name == "iteration"]
    assert steps[0] > 2 * 3  # its two epochs, and those of the old run


def started(model, data_dir, run_dir, earlier, **settings):
    """An untrained trial started from `earlier`, and the printed message."""
    made = trial(model, data_dir, run_dir, earlier, **settings)
    made.model.compile(optimizers.make(made.config.train, made.model))
    made.model.optimizer.build(made.model.trainable_variables)
    return made, warm_start.start(made.model, data_dir, str(earlier), made.config.train)


def test_an_average_of_new_ids_starts_at_their_weights(data, tmp_path):
    """Keras starts averages at 0 and sets them in the very first step."""
    small, large = data("user")
    settings = {"train": {"average": 0.9}, "latent": 3}
    trial("mf", small, tmp_path / "old", **settings).run()
    warm, _ = started("mf", large, tmp_path / "w", tmp_path / "old", **settings)
    averages = [v for v in warm.model.optimizer.variables if v.name.endswith("_average")]
    for weight, average in zip(warm.model.trainable_variables, averages, strict=True):
        np.testing.assert_array_equal(weight, average)


def test_without_slots_of_the_same_kind_the_optimizer_starts_from_scratch(data, tmp_path):
    small, large = data("user")
    trial("mf", small, tmp_path / "old", latent=3, epochs=1).run()
    settings = {"train": {"average": 0.9}, "latent": 3}
    warm, said = started("mf", large, tmp_path / "w", tmp_path / "old", **settings)
    assert said.endswith("; its optimizer starts from scratch")
    assert int(warm.model.optimizer.iterations) == 0


JOBS = ("cook", "judge", "pilot", "smith", "baker")
GENRES = {
    "war": lambda i: i % 2 == 1,
    "noir": lambda i: i % 4 == 3,
    "gore": lambda i: i % 3 == 0,  # no film of the old data
    "drama": lambda i: i % 5 == 4,
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Directories of the old events and of all events, with side tables.

    The vocabularies of jobs and genres are longer in the new data, with words between the old ones.
    """
    frame, made = ratings(), []
    users, items = frame.user.unique(), frame.item.unique()
    people = pd.DataFrame(
        {
            "user": users,
            "job": [JOBS[int(u[1:]) % 4 if int(u[1:]) % 2 == 0 else 4] for u in users],
            "age": [str(20 + int(u[1:])) for u in users],
        }
    )
    films = pd.DataFrame(
        {
            "item": items,
            "genres": [
                "|".join(g for g, is_of in GENRES.items() if is_of(int(i[1:]))) for i in items
            ],
        }
    )
    kinds = {"job": "category", "age": "bucket", "genres": "set"}
    for part in (frame[is_old(frame)].reset_index(drop=True), frame):
        path = tmp_path_factory.mktemp("tables") / "data"
        prepare(
            raw(part, users=people, items=films, kinds=kinds), config("user"), path, progress=False
        )
        made.append(str(path))
    return made


OF_EVENTS = [
    ("fm", {"latent": 3, "fields": ("user", "item", "job", "genres", "weekday", "day")}),
    ("fm", {"latent": 3, "fields": ("item", "genres")}),
    ("deepfm", {"latent": 3, "fields": ("user", "item", "job", "genres"), "hidden": (4,)}),
    ("dcn", {"latent": 3, "fields": ("user", "item", "job", "genres"), "hidden": (4,)}),
    ("bertrating", {"title": "none", "embedding": 4, "tower": 4}),
]


@pytest.mark.parametrize(("model", "settings"), OF_EVENTS)
def test_models_of_fields_score_known_events_as_before(tables, tmp_path, model, settings):
    small, large = tables
    if model in ("deepfm", "dcn"):
        settings = {**settings, "task": "rating"}
    old, new = (
        trial(model, d, tmp_path / name, **settings) for d, name in ((small, "o"), (large, "n"))
    )
    draw = np.random.default_rng(0)
    for weight in old.model.trainable_variables:
        weight.assign(draw.normal(size=weight.shape))
    if model == "bertrating":  # it reads the age, whose buckets have other bounds: see below
        for t in (old, new):
            table = t.model.codes.tables["age"]
            table.assign(np.zeros(table.shape))
    warm_start.transfer(old.model, new.model, small, large)
    scores = [events_of(t, directory) for t, directory in zip((old, new), tables, strict=True)]
    assert len(scores[0]) > 50
    for pair, score in scores[0].items():
        assert scores[1][pair] == pytest.approx(score, rel=1e-5), pair


def events_of(trial, data_dir):
    """Scores of the events of `small`, by raw user and item, at one time."""
    users, items = (vocabulary.read(f"{data_dir}/{kind}s.txt") for kind in ("user", "item"))
    old = ratings()
    old = old[is_old(old)]
    features = {
        "user": tf.constant([users.index(u) for u in old.user]),
        "item": tf.constant([items.index(i) for i in old.item]),
        "time": tf.constant([5] * len(old), tf.int64),
    }
    scores = trial.model.score(features).numpy()
    return dict(zip(zip(old.user, old.item, strict=True), scores.tolist(), strict=True))


def test_slots_of_codes_follow_and_buckets_of_other_bounds_are_initialized(tables, tmp_path):
    small, large = tables
    settings = {"latent": 3, "fields": ("user", "age", "job")}
    trial("fm", small, tmp_path / "old", **settings).run()
    old = keras.saving.load_model(RunDir(tmp_path / "old").model)
    fresh = trial("fm", large, tmp_path / "fresh", **settings).model.v.numpy()
    warm, said = started("fm", large, tmp_path / "w", tmp_path / "old", **settings)
    assert said.endswith("18 items; with other codes than before, so not carried over: age")
    starts, now, before = warm.model.codes.starts, warm.model.v.numpy(), old.v.numpy()
    ages = slice(starts["age"] + 1, starts["job"])
    np.testing.assert_array_equal(now[ages], fresh[ages])
    slots = [
        next(v.numpy() for v in m.optimizer.variables if v.name.endswith("v_momentum"))
        for m in (old, warm.model)
    ]
    jobs = [vocabulary.read(f"{d}/field_job.txt") for d in (small, large)]
    assert jobs[0] == ["cook", "pilot"] and jobs[1] == ["baker", "cook", "pilot"]
    for old_code, job in enumerate(jobs[0], old.codes.starts["job"] + 1):
        code = starts["job"] + 1 + jobs[1].index(job)
        np.testing.assert_array_equal(now[code], before[old_code])
        np.testing.assert_array_equal(slots[1][code], slots[0][old_code])
        assert slots[0][old_code].any()
    baker = starts["job"] + 1 + jobs[1].index("baker")
    np.testing.assert_array_equal(now[baker], fresh[baker])
    assert not slots[1][baker].any()


def test_fields_of_another_kind_or_order_are_refused(tables, tmp_path):
    small, large = tables
    trial("fm", small, tmp_path / "old", latent=2, fields=("user", "item", "job"), epochs=1).run()
    old = RunDir(tmp_path / "old").load_model()
    new = type(old)(dataclasses.replace(old.info, fields=(Field("job", "user", "set", 3),)))
    new.config = old.config
    with pytest.raises(ValueError, match=r"fields of the earlier run are user, item, job, those"):
        warm_start.transfer(old, new, small, large)


@pytest.mark.parametrize(
    ("was", "now", "pairs"),
    [
        (None, Field("x", "event", "hour", 25), []),
        (Field("x", "event", "hour", 25), Field("x", "event", "hour", 25), range(24)),
        (
            Field("x", "user", "bucket", 4, boundaries=(1.0, 2.0)),
            Field("x", "user", "bucket", 4, boundaries=(1.0, 2.0)),
            range(3),
        ),
        (
            Field("x", "user", "bucket", 4, boundaries=(1.0, 2.0)),
            Field("x", "user", "bucket", 4, boundaries=(1.0, 3.0)),
            [],
        ),
    ],
)
def test_codes_that_mean_the_same(tmp_path, was, now, pairs):
    info = DatasetInfo("t", "t", "user", 1, 1, {})
    for name in ("users.txt", "items.txt"):
        vocabulary.write(tmp_path / name, ["a"])
    old, new = (dataclasses.replace(info, fields=(f,) if f else ()) for f in (was, now))
    found = moves.read(old, new, tmp_path, tmp_path)["x"]
    assert found.old.tolist() == found.new.tolist() == list(pairs)


def test_days_are_counted_from_another_first_day(tmp_path):
    old, new = (Field("day", "event", "day", n, boundaries=(b,)) for n, b in ((4, 10.0), (6, 9.0)))
    info = DatasetInfo("t", "t", "user", 1, 1, {})
    for name in ("users.txt", "items.txt"):
        vocabulary.write(tmp_path / name, ["a"])
    old, new = (dataclasses.replace(info, fields=(f,)) for f in (old, new))
    found = moves.read(old, new, tmp_path, tmp_path)["day"]
    assert (found.old.tolist(), found.new.tolist()) == ([0, 1, 2], [1, 2, 3])


def test_models_that_cannot_be_carried_over_are_refused(data, tmp_path):
    small, large = data("user")
    trial("mf", small, tmp_path / "mf", latent=2, epochs=1, implicit=True).run()
    new = trial("mf", large, tmp_path / "mf2", tmp_path / "mf", latent=2, implicit=True)
    with pytest.raises(ValueError, match="depends on the data in another way"):
        new.fit(resume=False)
    trial("multvae", small, tmp_path / "v", hidden=(6,), latent=3, epochs=1).run()
    new = trial("multvae", large, tmp_path / "v2", tmp_path / "v", hidden=(5,), latent=3)
    with pytest.raises(ValueError, match=r"hidden=\(6,\).*hidden=\(5,\).*same --model and --set"):
        new.fit(resume=False)
    trial("ease", small, tmp_path / "e").run()
    with pytest.raises(ValueError, match="EASE is solved in one pass"):
        trial("ease", large, tmp_path / "e2", tmp_path / "e").fit(resume=False)


def test_ids_are_matched_by_name_only():
    found = moves.moved(["a", "b", "c"], ["0", "c", "a"])
    assert (found.old.tolist(), found.new.tolist()) == ([2, 0], [1, 2])
    assert not len(moves.moved(["a"], ["b"]).old)
