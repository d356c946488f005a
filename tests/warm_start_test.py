"""Warm start: rows of weights and of slots follow their raw ids into larger data."""

import dataclasses
import types

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfrec import config as config_lib
from tfrec.config import DataConfig
from tfrec.data import vocabulary
from tfrec.data.prepare import prepare
from tfrec.models import registry
from tfrec.training import warm_start
from tfrec.training.experiment import Experiment
from tfrec.training.runs import RunConfig, RunDir


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
        "users": None,
        "items": None,
        "fingerprint": str(len(frame)),
        "rating_min": 1.0,
        "rating_max": 5.0,
        "rating_step": 1.0,
        "has_times": True,
    }
    return types.SimpleNamespace(**(fields | changes))


def is_old(frame):
    """Half the users and two thirds of the items, from all over the vocabularies."""
    number = frame.user.str[1:].astype(int), frame.item.str[1:].astype(int)
    return (number[0] % 2 == 0) & (number[1] % 3 > 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """`data(rows)` -> directories with the old ratings, and with all."""
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


def trial(model, data_dir, run_dir, earlier="", **settings):
    cls = registry.model_class(model)
    epochs = settings.pop("epochs", 2)
    settings = dataclasses.replace(cls.Config(), **settings)
    train = dataclasses.replace(cls.paper, epochs=epochs, optimizer="adam", batch_size=8)
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
    pairs = [pair for pair in pairs if "seed" not in pair[1].name]
    moved = 0
    for before, after, at_start in pairs:
        before, after, at_start = (np.asarray(x) for x in (before, after, at_start))
        axes = [k for k, n in enumerate(after.shape) if n in names]
        if not axes:
            np.testing.assert_array_equal(before, after)
            continue
        (axis,) = axes
        was, now = names[after.shape[axis]]
        for place, raw_id in enumerate(now):
            row = np.take(after, place, axis)
            if raw_id in was:
                np.testing.assert_array_equal(row, np.take(before, was.index(raw_id), axis))
                moved += 1
            else:
                np.testing.assert_array_equal(row, np.take(at_start, place, axis))
        if after.shape[axis] > len(now):  # the place of whoever is not known
            np.testing.assert_array_equal(np.take(after, -1, axis), np.take(before, -1, axis))
    assert moved >= 3 * 12  # weights, and two slots of each


def test_a_run_starts_where_the_other_ended(data, tmp_path, capsys):
    small, large = data("user")
    trial("multvae", small, tmp_path / "old", hidden=(6,), latent=3, epochs=8).run()
    warm = trial("multvae", large, tmp_path / "w", tmp_path / "old", hidden=(6,), latent=3)
    warm.fit(resume=False)
    assert "warm start from" in capsys.readouterr().out
    steps = [int(v) for v in warm.model.optimizer.variables if v.name == "iteration"]
    assert steps[0] > 2 * 3  # its own two epochs, and those of the old run


def test_what_can_not_be_told_apart_is_refused(data, tmp_path):
    small, large = data("user")
    trial("fm", small, tmp_path / "fm", latent=2, epochs=1).run()
    new = trial("fm", large, tmp_path / "fm2", tmp_path / "fm", latent=2)
    with pytest.raises(ValueError, match="an axis over users and items together"):
        new.fit(resume=False)
    trial("multvae", small, tmp_path / "v", hidden=(6,), latent=3, epochs=1).run()
    new = trial("multvae", large, tmp_path / "v2", tmp_path / "v", hidden=(5,), latent=3)
    with pytest.raises(ValueError, match=r"hidden=\(6,\).*hidden=\(5,\).*same --model and --set"):
        new.fit(resume=False)
    trial("ease", small, tmp_path / "e").run()
    with pytest.raises(ValueError, match="EASE is solved in one pass"):
        trial("ease", large, tmp_path / "e2", tmp_path / "e").fit(resume=False)


def test_ids_meet_by_name_only():
    found = warm_start.moved(["a", "b", "c"], ["0", "c", "a"])
    assert (found.old.tolist(), found.new.tolist()) == ([2, 0], [1, 2])
    assert not len(warm_start.moved(["a"], ["b"]).old)
