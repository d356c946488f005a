"""Santander: additions since the month before, defects of the file, bad files, AE and VAE on it."""

import gzip
import json
import os
import pathlib

import numpy as np
import pandas as pd
import pytest
import santander_synthetic
from commands_test import run

from tfrec.config import DataConfig
from tfrec.data import prepare, records
from tfrec.datasets import files, registry, santander_layout

DATA = pathlib.Path(
    os.environ.get("TFREC_DATA") or pathlib.Path(__file__).parents[2] / "shared" / "data"
)
CCO, CARD, LOAN = "ind_cco_fin_ult1", "ind_tjcr_fin_ult1", "ind_pres_fin_ult1"


pytestmark = pytest.mark.usefixtures("no_environment")


def line(month, customer, *held, **fields):
    """A row of the file."""
    row = dict.fromkeys(santander_synthetic.COLUMNS, "")
    row |= dict.fromkeys(santander_layout.PRODUCTS, "0")
    row |= {"fecha_dato": f"2015-{month:02}-28", "ncodpers": customer} | fields
    return ",".join((row | dict.fromkeys(held, "1")).values())


def put(path, *lines):
    header = ",".join(f'"{name}"' for name in santander_synthetic.COLUMNS)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def events(raw):
    """(user, item) -> month of 2015 (0 is December 2014)."""
    frame = pd.concat(raw.chunks(), ignore_index=True)
    assert (frame.value == 1).all()
    months = frame.time.to_numpy().astype("datetime64[s]").astype("datetime64[M]").astype(int)
    assert not frame.duplicated(["user", "item"]).any()
    return dict(zip(zip(frame.user, frame.item), (months - 539).tolist()))


def test_additions_are_against_the_customers_row_before(tmp_path):
    path = put(
        tmp_path / "train_ver2.csv",
        *(line(1, "7", CCO), line(1, "8", CCO, CARD), line(1, "9")),
        *(line(2, "7", CCO, CARD), line(2, "8", CARD)),
        *(line(3, "7", CARD), line(3, "8", CARD, CCO), line(3, "9", LOAN), line(3, "10", CCO)),
        *(line(4, "7", CARD, CCO), line(4, "8", CCO), line(4, "10", CCO, LOAN), line(4, "11", CCO)),
    )
    assert events(registry.load("santander", path)) == {
        ("7", CARD): 2,
        ("7", CCO): 4,  # given up in March, added again
        ("8", CCO): 3,
        ("8", CARD): 0,  # given up in April, the last month: held before it
        ("9", LOAN): 3,  # his row before is January's
        ("10", CCO): 2,  # held when first seen in March
        ("10", LOAN): 4,
        ("11", CCO): 3,
    }


def test_products_given_up_before_the_last_month_are_dropped(tmp_path):
    path = put(tmp_path / "a.csv", line(1, "7", CCO), line(2, "7"), line(3, "8", CCO))
    assert events(registry.load("santander", path)) == {("8", CCO): 2}


def test_the_split_is_the_task_of_the_competition(tmp_path):
    """Input: what was held the month before. Targets: what is added. By brute force."""
    path = santander_synthetic.write(tmp_path / "train_ver2.csv", 400, months=5, seed=3)
    config = DataConfig(dataset="santander", split="month")
    info = prepare.prepare(registry.load("santander", path), config, tmp_path / "data", False)
    items, users = ((tmp_path / "data" / f).read_text().split() for f in ("items.txt", "users.txt"))
    found = {"input": {}, "targets": {}}
    for row in records.read_rows(tmp_path / "data", info):
        seen = [*row["items"], *row["validation_items"]]
        found["input"][users[row["user"]]] = {items[i] for i in seen}
        found["targets"][users[row["user"]]] = {items[i] for i in row["test_items"]}
    table = pd.read_csv(path, dtype=str).set_index(["fecha_dato", "ncodpers"])
    held = table[list(santander_layout.PRODUCTS)].apply(lambda x: x.str.strip() == "1")
    april, may = held.loc["2015-04-28"], held.loc["2015-05-28"]
    targets = 0
    for user in users:
        if user in april.index:
            before = set(april.columns[april.loc[user]])
            assert found["input"][user] == {x for x in before if x in items}
            after = set(may.columns[may.loc[user]]) if user in may.index else set()
            assert found["targets"][user] == {x for x in after - before if x in items}
            targets += len(found["targets"][user])
    assert targets == info.n_ratings["test"] > 10
    assert "latest calendar month test, the month before validation" in info.protocol
    assert info.protocol.endswith("test month 2015-05")


def test_customers_have_the_fields_that_training_sees(tmp_path):
    rows = [line(m, "7", CCO, age=f" {20 + m}", indrel_1mes="1.0") for m in range(1, 6)]
    rows.insert(4, line(4, "8", CCO, age=" 50"))
    users = registry.load("santander", put(tmp_path / "a.csv", *rows)).users.set_index("user")
    assert users.loc["7", "age"] == "23"  # March: April is validation, May is test
    assert users.loc["7", "relation"] == "1"
    assert users.loc["8", "age"] == ""
    one = registry.load("santander", put(tmp_path / "b.csv", rows[0])).users
    assert one["age"].tolist() == ["21"]


@pytest.mark.parametrize(
    ("column", "text", "name", "clean"),
    [
        *(("age", " NA", "age", ""), ("age", "164", "age", ""), ("age", "x", "age", "")),
        *(("age", " 35", "age", "35"), ("sexo", "Q", "sex", ""), ("sexo", "V", "sex", "V")),
        *(("antiguedad", "-999999", "seniority", ""), ("antiguedad", "      6", "seniority", "6")),
        *(("renta", "         NA", "income", ""), ("renta", "87218.1", "income", "87218")),
        *(("fecha_alta", "2012-08-10", "joined", "2012"), ("fecha_alta", "", "joined", "")),
        *(("indrel_1mes", "1.0", "relation", "1"), ("indrel_1mes", "P", "relation", "P")),
        *(("nomprov", '"CORUÑA, A"', "province", "CORUÑA, A"), ("indrel", "NA", "primary", "")),
    ],
)
def test_dirty_fields_become_clean_or_unknown(tmp_path, column, text, name, clean):
    path = put(tmp_path / "a.csv", line(1, "7", CCO, **{column: text}))
    assert registry.load("santander", path).users[name].tolist() == [clean]


def test_dirty_flags_are_read(tmp_path):
    dirty = {"ind_nomina_ult1": " 1", "ind_nom_pens_ult1": "NA", CARD: "1.0", LOAN: "0.0"}
    path = put(tmp_path / "a.csv", line(1, " 7", **dirty))
    assert events(registry.load("santander", path)) == {("7", "ind_nomina_ult1"): 0, ("7", CARD): 0}


@pytest.mark.parametrize("block_bytes", [300, 5000])
def test_blocks_and_parts_give_the_same(tmp_path, monkeypatch, block_bytes):
    (tmp_path / "x").mkdir()
    path = santander_synthetic.write(tmp_path / "x" / "train_ver2.csv", 60, months=3)
    whole = registry.load("santander", path.parent)
    head, *rows = path.read_text().splitlines()
    parts = tmp_path / "y"
    parts.mkdir()
    (parts / "2.csv.gz").write_bytes(gzip.compress("\n".join([head, *rows[100:]]).encode()))
    (parts / "1.csv").write_text("\n".join([head, *rows[:100], ""]))
    (parts / "test_ver2.csv").write_text("not read")
    monkeypatch.setattr(files, "BLOCK_BYTES", block_bytes)
    for again in (registry.load("santander", path), registry.load("santander", parts)):
        assert events(again) == events(whole)
        pd.testing.assert_frame_equal(again.users, whole.users)


GOOD = line(2, "7", CCO)
FAULTS = [
    (line(2, "8", **{CARD: "2"}), r"line 3, column 43 \(ind_tjcr_fin_ult1\): '2' is neither 0 nor"),
    (line(2, "8", fecha_dato="28/2"), r"line 3, column 1 \(fecha_dato\): '28/2' is not a date"),
    (line(2, " "), r"line 3, column 2 \(ncodpers\): '' is not a customer's number"),
    (line(2, "8") + ",9", r"line 3: 49 columns separated by ',', 48 are expected: '2015-02-28,8"),
    (line(2, "7"), r"line 3: a second row of customer '7' in 2015-02; leave one out"),
    (line(1, "8"), r"line 3: 2015-01 comes after 2015-02; sort the rows by fecha_dato"),
]


@pytest.mark.parametrize(("bad", "message"), FAULTS)
def test_bad_lines_are_named(tmp_path, bad, message):
    with pytest.raises(ValueError, match="a.csv, " + message):
        registry.load("santander", put(tmp_path / "a.csv", GOOD, bad, line(2, "9")))


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="a.csv is empty: it has no data lines"):
        registry.load("santander", put(tmp_path / "a.csv"))
    text = put(tmp_path / "a.csv", GOOD).read_text()
    (tmp_path / "a.csv").write_text(text.replace('"renta"', '"rent"'))
    with pytest.raises(ValueError, match="a.csv, line 1: no column 'renta' .* of train_ver2.csv"):
        registry.load("santander", tmp_path / "a.csv")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/readme.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match="holds no rows of customers .*train_ver2.csv"):
        registry.load("santander", tmp_path / "b")
    with pytest.raises(FileNotFoundError, match="santander is not here .*train_ver2.csv.*--raw="):
        registry.load("santander")
    with pytest.raises(ValueError, match="santander comes without folds; use --split=month"):
        registry.load("santander", put(tmp_path / "a.csv", GOOD), fold="u1")


def test_the_real_sample():
    if not (DATA / "santander").exists():
        pytest.skip(f"santander is not in {DATA}; set TFREC_DATA")
    raw = registry.load("santander", DATA)
    frame = pd.concat(raw.chunks())
    assert (len(frame), len(raw.users), frame.item.nunique()) == (11_999, 9_999, 18)
    assert (frame.item == CCO).sum() == 9_295 and (frame.item == "ind_recibo_ult1").sum() == 796
    assert raw.users.loc[0, ["age", "income", "province"]].tolist() == ["35", "87218", "MALAGA"]
    assert (raw.users["age"] == "").sum() == 50
    assert len(raw.items) == 24


def test_the_generator_is_seeded(tmp_path):
    seeds = enumerate((0, 0, 1))
    made = [santander_synthetic.write(tmp_path / f"{i}.csv", 50, 2, seed) for i, seed in seeds]
    one, same, other = (path.read_bytes() for path in made)
    assert one == same != other


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Six synthetic months of 3,000 customers."""
    folder = tmp_path_factory.mktemp("santander")
    raw = registry.load("santander", santander_synthetic.write(folder / "train_ver2.csv", 3000))
    data_dir = folder / "data"
    prepare.prepare(raw, DataConfig(dataset="santander", split="month"), data_dir, False)
    return data_dir


def test_ae_and_vae_beat_popularity_and_name_products(capsys, tmp_path, prepared):
    """Trained by their presets, on synthetic months: map@7 on validation."""
    reached = {}
    for model in ("popularity", "multdae", "multvae"):
        words = [f"--preset={model}-santander-month", f"--data_dir={prepared}"]
        words += [f"--run_dir={tmp_path / model}", "--nodry_run"]
        for setting in ("epochs=5", "batch_size=50", "learning_rate=0.005"):
            words += ["--train", setting]
        done = run(capsys, "train", *words)
        assert done.status == 0, done.err
        metrics = json.loads((tmp_path / model / "metrics.json").read_text())
        assert "map@24" in metrics["test"] and "map@10" not in metrics["test"]
        reached[model] = metrics["validation"]["map@7"]
    assert min(reached["multdae"], reached["multvae"]) > 1.5 * reached["popularity"], reached
    done = run(capsys, "recommend", f"--run_dir={tmp_path / 'multvae'}", f"--items={CCO}", "--k=24")
    assert "Direct debit (recibos domiciliados)" in done.out
    assert "Current account" not in done.out  # held already
    user = (prepared / "users.txt").read_text().split()[0]
    done = run(capsys, "recommend", f"--run_dir={tmp_path / 'multdae'}", f"--user={user}")
    assert "rated items, left out below" in done.out and "  ind_" in done.out


def test_rating_models_refuse_equal_values(capsys, tmp_path, prepared):
    for model in ("autoencoder", "vae"):
        words = [f"--model={model}", f"--data_dir={prepared}", f"--run_dir={tmp_path / 'run'}"]
        done = run(capsys, "train", *words)
        assert "predicts ratings, but all of santander are 1" in done.err
        assert "--model=ials" in done.err


def test_the_fields_of_customers_are_the_models(prepared):
    info = json.loads((prepared / "info.json").read_text())
    names = {f["name"]: f["kind"] for f in info["fields"]}
    assert names["age"] == "bucket" and names["segment"] == names["channel"] == "category"
    assert "spouse_of_employee" not in names  # nothing is known of it
    assert np.load(prepared / "fields.npz")["income"].max() > 5
