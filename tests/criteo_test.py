"""Criteo's rows: both layouts, errors for bad ones, and from a file to an AUC."""

import gzip
import os
import pathlib

import numpy as np
import pandas as pd
import pytest
from html_page import Page

import tfrec
from tfrec.config import DataConfig, TrainConfig
from tfrec.data import inputs, prepare, protocol
from tfrec.datasets import files, registry
from tfrec.training.experiment import Experiment
from tfrec.training.run_config import RunConfig
from tfrec.training.runs import RunDir

DATA = pathlib.Path(
    os.environ.get("TFREC_DATA") or pathlib.Path(__file__).parents[2] / "shared" / "data"
)
NUMBERS = [f"I{n}" for n in range(1, 14)]
CATEGORIES = [f"C{n}" for n in range(1, 27)]


pytestmark = pytest.mark.usefixtures("no_environment")


def make(n, seed=0):
    """`n` rows of text, a fifth of the fields missing; clicks go by C1, and I2 over 20."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({name: draw.integers(-1, 50, n).astype(str) for name in NUMBERS})
    for name in CATEGORIES:
        frame[name] = [f"{x:08x}" for x in draw.integers(0, 9, n)]
    frame = frame.where(draw.random(frame.shape) > 0.2, "")
    likely = (frame["C1"] > "00000003") * 1 + (pd.to_numeric(frame["I2"]) > 20) * 1
    frame.insert(0, "label", (draw.random(n) < 0.1 + 0.4 * likely).astype(int).astype(str))
    return frame


def tabs(frame):
    return frame.to_csv(sep="\t", header=False, index=False).encode()


def put(folder, **contents):
    """Writes files ("_" for "."); returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


def read(path, **changes):
    return pd.concat(registry.load("criteo", path, **changes).chunks(), ignore_index=True)


def test_both_layouts_give_the_same_rows(tmp_path, monkeypatch):
    frame = make(60)
    mixed = frame.assign(id="x")[["C7", "id", *frame.columns.drop("C7")]]
    mixed = mixed.to_csv(index=False, quoting=1, lineterminator="\r\n").encode()
    put(tmp_path, a_txt=tabs(frame), b_csv=mixed, c_txt_gz=gzip.compress(tabs(frame)))
    put(tmp_path, d_txt=frame.to_csv(sep="\t", index=False).encode())
    monkeypatch.setattr(files, "BLOCK_BYTES", 3000)  # several chunks
    for name in ("a.txt", "b.csv", "c.txt.gz", "d.txt"):
        found = read(tmp_path / name)
        assert found["value"].tolist() == frame["label"].astype(float).tolist()
        assert (found["time"] == 0).all()
        for column in CATEGORIES:
            assert found[column].tolist() == frame[column].tolist()
        expected = frame[NUMBERS].apply(pd.to_numeric).astype(np.float32)
        pd.testing.assert_frame_equal(found[NUMBERS], expected)
        assert found["user"].tolist() == ["0"] * 60
        assert found["item"].tolist() == [str(n) for n in range(60)]
    several = read(tmp_path)
    assert several["item"].tolist() == [str(n) for n in range(240)]


def test_a_thousand_rows_are_stored_as_a_user(tmp_path, monkeypatch):
    row = b"1" + b"\t" * 39 + b"\n"
    put(tmp_path, a_txt=row * 700, b_txt=row * 1302)
    monkeypatch.setattr(files, "BLOCK_BYTES", 10_000)
    found = read(tmp_path)
    assert found[["user", "item"]].iloc[[0, 999, 1000, 2001]].to_numpy().tolist() == [
        *(["0", "0"], ["0", "999"], ["1", "0"], ["2", "1"])
    ]
    assert not found.duplicated(["user", "item"]).any()


def test_train_is_read_and_what_has_no_labels_is_not(tmp_path):
    row = tabs(make(1))
    put(tmp_path / "dac", train_txt=row, test_txt=b"1\n", readme_txt=b"about")
    assert len(read(tmp_path)) == 1  # the folder above works, too
    put(tmp_path / "days", day0_gz=gzip.compress(row), day1_txt=row, license_txt=b"no")
    assert len(read(tmp_path / "days")) == 2
    found = registry.load("criteo", tmp_path / "dac" / "train.txt")
    assert (found.has_ids, found.has_times) == (False, False)
    assert (found.rating_min, found.rating_max, found.rating_step) == (0, 1, 1)
    assert found.kinds == dict.fromkeys(NUMBERS, "number") | dict.fromkeys(CATEGORIES, "category")


@pytest.mark.parametrize(
    ("column", "text", "message"),
    [
        (0, "2", r"column 1 \(value\): '2' is not a rating from 0 to 1"),
        (0, "0.5", r"column 1 \(value\): '0.5' is neither 0 nor 1"),
        (0, "", r"column 1 \(value\): '' is not a number"),
        (3, "x", r"column 4 \(I3\): 'x' is not a number"),
        (13, "inf", r"column 14 \(I13\): 'inf' is not a number"),
        (20, "a\tb", "41 columns separated by tab, 40 are expected"),
        (20, b"\xff", "column 21: not utf-8 text"),
    ],
)
def test_bad_lines_are_named(tmp_path, column, text, message):
    fields = [b"1", *[b""] * 39]
    good = b"\t".join(fields) + b"\n"
    fields[column] = text if isinstance(text, bytes) else text.encode()
    put(tmp_path, train_txt=good * 4 + b"\t".join(fields) + b"\n" + good)
    with pytest.raises(ValueError, match=f"train.txt, line 5[,:] ?{message}.*; correct that line"):
        read(tmp_path)


def test_other_files_are_refused(tmp_path):
    header = ",".join(["label", *NUMBERS, *CATEGORIES])
    put(tmp_path / "a", train_csv=header.replace("C7", "C70").encode() + b"\n1\n")
    with pytest.raises(ValueError, match="train.csv, line 1: no column 'C7'"):
        read(tmp_path / "a")
    put(tmp_path / "b", dac_tar_gz=b"packed")
    for path in (tmp_path / "b", tmp_path / "b" / "dac.tar.gz"):
        with pytest.raises(FileNotFoundError, match="holds no Criteo rows .*unpack train.txt"):
            read(path)
    with pytest.raises(FileNotFoundError, match="criteo is not here .*dac.tar.gz.*--raw=FOLDER"):
        registry.load("criteo")
    put(tmp_path / "c", train_txt=tabs(make(1)))
    with pytest.raises(ValueError, match="split=folds: criteo comes without folds; use --split=ra"):
        registry.load("criteo", tmp_path / "c", fold="u1")


@pytest.mark.parametrize(
    "setting",
    [
        *({"split": "users"}, {"split": "last"}, {"split": "time"}, {"split": "folds"}),
        *({"rows": "item"}, {"min_user_ratings": 5}, {"min_item_ratings": 5}, {"core": True}),
        *({"max_user_ratings": 5}, {"label_above": 3.0}, {"drop_rating": 1.0}, {"min_rating": 1.0}),
        {"duplicates": "last"},
    ],
)
def test_settings_that_need_users_or_items_are_refused(tmp_path, setting):
    raw = registry.load("criteo", put(tmp_path, train_txt=tabs(make(1))))
    (name,) = setting
    with pytest.raises(ValueError, match=f"--data {name}=.*: criteo is rows .*leave it out"):
        prepare.prepare(raw, DataConfig(**setting), tmp_path / "data", progress=False)


def test_the_protocol_mentions_rows(tmp_path):
    raw = registry.load("criteo", put(tmp_path, train_txt=tabs(make(1))))
    assert protocol.describe(DataConfig(min_category=10), raw) == (
        "criteo, random 90/10 by row (seed 0), validation 10 % of train, "
        "events' categories with >= 10 rows in train"
    )


def test_counts_of_the_real_samples():
    folder = DATA / "criteo-sample"
    if not folder.exists():
        pytest.skip(f"criteo-sample is not in {DATA}; set TFREC_DATA")
    headed = read(folder / "criteo_sample.txt")
    assert (len(headed), headed["value"].sum(), headed["C1"].iloc[0]) == (200, 49, "05db9164")
    assert headed["I1"].isna().sum() == 90
    plain = read(folder / "criteo_train_899rows.txt.gz")
    assert (len(plain), plain["value"].sum(), plain["I5"].iloc[0]) == (900, 176, 1382)


def test_from_a_file_to_an_auc(tmp_path, one):
    """Rare categories are unknown, no id is read, and the rule is found."""
    frame = make(3000)
    frame.loc[frame.index[::400], "C2"] = "rare"  # 8 rows
    path = put(tmp_path, train_txt_gz=gzip.compress(tabs(frame)))
    data = DataConfig(dataset="criteo", test=0.2, min_category=20)
    settings = {"latent": 4, "hidden": (8,), "dropout": 0.0}
    train = TrainConfig(epochs=4, batch_size=64, learning_rate=0.01)
    config = RunConfig("deepfm", settings, data, str(tmp_path / "data"), train)
    run_dir = RunDir(tmp_path / "run")
    run_dir.start(config)
    trial = Experiment(config, run_dir, one, raw=str(path))
    info = trial.info
    assert (info.n_users, info.n_items, info.has_ids) == (3, 1000, False)
    assert info.n_ratings == {"train": 2160, "validation": 240, "test": 600}
    assert [f.name for f in info.fields] == [*NUMBERS, *CATEGORIES]
    assert [f.size for f in info.fields] == [1] * 13 + [10] * 26  # nine categories and unknown
    assert {f.name: f.unknown for f in info.fields if f.unknown} == {"C2": 8}
    assert set(next(iter(trial.batches("test")))[0]) == {"user", "item", *NUMBERS, *CATEGORIES}
    result = trial.run()
    assert result["test"]["auc"] > 0.7
    assert "gauc" not in result["test"]
    _expect_stored_rows(trial, frame)
    tfrec.load(run_dir.path).report(tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text()).check()
    assert set(page.sections) == {"protocol", "metrics", "learning-curves", "calibration"}


def _expect_stored_rows(trial, frame):
    """The test split has the rows of the file."""
    batches = inputs.events(
        trial.config.data_dir, trial.info, "test", 600, context=("C1", "I2", "time")
    )
    features, targets = next(iter(batches.as_numpy_iterator()))
    rows = frame.iloc[features["user"] * 1000 + features["item"]]  # ids are positions here
    assert targets["value"].tolist() == rows["label"].astype(float).tolist()
    assert features["C1"].tolist() == [int(x, 16) + 1 if x else 0 for x in rows["C1"]]
    i2 = next(f for f in trial.info.fields if f.name == "I2")
    number = pd.to_numeric(rows["I2"])
    logs = np.sign(number) * np.log1p(number.abs())
    expected = ((logs - i2.mean) / i2.deviation).fillna(0)
    np.testing.assert_allclose(features["I2"], expected, rtol=1e-4, atol=1e-6)
    assert not features["time"].any()
