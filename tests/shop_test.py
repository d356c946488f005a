"""Unusual files of a shop: from CSV or a frame to recommendations, with its own fields."""

import json
import pathlib
import re

import numpy as np
import pandas as pd
import pytest
from commands_test import run

import tfrec
from tfrec.data import fields, vocabulary
from tfrec.datasets import roles

COLUMNS = (
    "user=customer,item=sku,value=stars,time=bought_at,title=product,"
    "category=cats:set,price=unit_price:number,brand=brand"
)
N_ITEMS, GUESTS = 24, 15


def orders():
    """Quoted commas, unicode, guests, repeats, and each item's first row without a title."""
    draw = np.random.default_rng(0)
    user, item = np.nonzero(draw.random((60, N_ITEMS)) < 0.5)
    table = pd.DataFrame(
        {
            "customer": [f"kunde {u:02}" for u in user],
            "sku": [f"sku-{i}" for i in item],
            # Dear things are liked: the price tells what no id of a cold item could.
            "stars": np.where(item % 2, 5, 1) - (draw.random(len(item)) < 0.2),
            "bought_at": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(draw.integers(0, 90, len(item)), "D"),
            "product": [f'Größe {i}, "XL" ☕' for i in item],
            "cats": [f"tea|hot, or {'cold' if i % 3 else 'iced'}" for i in item],
            "unit_price": [f"{1.5 + 100 * (i % 2):.2f}" for i in item],
            "brand": [("Ácme", "B & Söhne", "")[i % 3] for i in item],
            "note": "a; b",
        }
    ).sample(frac=1, random_state=1)
    repeats = table.iloc[:20]
    guests = table.iloc[:GUESTS].assign(customer="")
    table = pd.concat([table, repeats, guests], ignore_index=True)
    table.loc[~table["sku"].duplicated(), "product"] = "  "
    return table


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """`(folder, table)`: shop.csv, and the same as events with tables of items and customers."""
    folder, table = tmp_path_factory.mktemp("shop"), orders()
    table.to_csv(folder / "shop.csv", index=False)
    own = ["product", "cats", "unit_price", "brand"]
    table.drop(columns=own).to_csv(folder / "events.csv", index=False)
    items = table[table["product"] != "  "].drop_duplicates("sku")
    items[["sku", *own]].to_csv(folder / "products.csv", index=False)
    ids = [c for c in table["customer"].drop_duplicates() if c]
    customers = pd.DataFrame({"customer": ids, "city": ["Köln", "Zürich, CH"] * (len(ids) // 2)})
    customers.assign(zip="01234", age=np.arange(len(ids))).to_parquet(folder / "customers.parquet")
    return folder, table


def read(data_dir):
    """The prepared fields by name, and the titles."""
    info = json.loads((pathlib.Path(data_dir) / "info.json").read_text())
    found = {f["name"]: (f["of"], f["kind"], f["size"]) for f in info["fields"]}
    return info, found, vocabulary.titles(data_dir)


def test_one_command_from_an_odd_file_to_a_list(shop, tmp_path, capsys):
    folder, table = shop
    words = [f"--raw={folder / 'shop.csv'}", f"--columns={COLUMNS}", "--train", "epochs=2"]
    words += ["--model=fm", f"--data_dir={tmp_path / 'd'}", f"--run_dir={tmp_path / 'r'}"]
    done = run(capsys, "train", *words)
    assert done.status == 1
    assert f"(customer): the user id is empty; {GUESTS} rows have no user or item" in done.err
    assert "--data missing=drop" in done.err
    done = run(capsys, "train", *words, "--data", "missing=drop", "--data", "duplicates=last")
    assert done.status == 0, done.err
    at = done.out.index("found ")
    look = done.out[at : done.out.index("\n", done.out.index("left out"))].splitlines()
    what = f"{len(table) - 35} interactions of 60 users and 24 items"
    assert look == [
        f"found        {what}, 2024-01-01 to 2024-03-30",
        f"columns      {COLUMNS.replace(',', ', ').replace(':set', '').replace(':number', '')}",
        look[2],
        "item fields  category (set, 3), price (number), brand (category, 2), title (text)",
        "left out     15 rows without an id, 20 repeats of a pair",
    ]
    assert look[2].startswith("values       0 to 5, mean ")
    info, found, titles = read(tmp_path / "d")
    assert info["dropped"] == {"missing_id": GUESTS, "duplicates": 20}
    assert found["category"] == ("item", "set", 4)
    assert found["price"][:2] == ("item", "number") and found["brand"] == ("item", "category", 3)
    assert sorted(titles) == sorted(f'Größe {i}, "XL" ☕' for i in range(N_ITEMS))
    done = run(capsys, "recommend", f"--run_dir={tmp_path / 'r'}", "--user=kunde 01", "--k=3")
    assert done.status == 0 and done.out.count("Größe") >= 3, done.err


def test_side_tables_give_the_same_fields(shop, tmp_path, capsys):
    folder, _ = shop
    words = [
        f"--raw={folder / 'events.csv'}",
        f"--items={folder / 'products.csv'}",
        f"--users={folder / 'customers.parquet'}",
        f"--columns={COLUMNS},city=city:category",
        *("--data", "missing=drop", "--data", "duplicates=last"),
    ]
    done = run(capsys, "prepare", *words, f"--data_dir={tmp_path / 'd'}")
    assert done.status == 0, done.err
    _, found, titles = read(tmp_path / "d")
    words = [f"--raw={folder / 'shop.csv'}", f"--columns={COLUMNS}", *words[4:]]
    run(capsys, "prepare", *words, f"--data_dir={tmp_path / 'e'}")
    _, want, same = read(tmp_path / "e")
    assert titles == same
    users = {"city": ("user", "category", 3), "age": ("user", "number", 1)}
    assert found == want | users | {"zip": ("user", "category", 2)}
    tables, alone = fields.read(tmp_path / "d"), fields.read(tmp_path / "e")
    for name in ("category", "price", "brand"):
        np.testing.assert_array_equal(tables[name], alone[name])
    words = [f"--items={folder / 'products.csv'}", "--dataset=ml-100k"]
    done = run(capsys, "prepare", *words, f"--data_dir={tmp_path / 'f'}")
    assert done.err.startswith("error: --items is for tables of your own: ml-100k has its own")


@pytest.mark.parametrize(
    ("model", "settings"), [("fm", {"check_export": False}), ("bertrating", {"title": "none"})]
)
def test_a_frame_in_four_lines_with_fields_for_models(model, settings, shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path))
    orders = shop[1].assign(customer=lambda t: t["customer"].replace("", None))
    ours = {"user": "customer", "item": "sku", "rating": "stars", "title": "product"}
    own = {"category": "cats:set", "price": "unit_price:number", "brand": "brand"}
    data = tfrec.Dataset.from_pandas(orders, **ours, **own, missing="drop")
    split = data.split(duplicates="last")
    run = tfrec.fit(model, split, epochs=1, verbose=False, **settings)
    shown = run.recommend(users=["kunde 01"], k=3)
    assert shown["title"].str.startswith("Größe").all() and len(shown) == 3
    assert "category (set), price (number), brand (category)" in repr(data)
    assert "left out     15 missing_id" in repr(data)
    # The score moves when only what is known of the item changes.
    net = run.model
    features = {"user": np.int32([0] * 4), "item": np.int32([3] * 4)}
    before = net.predict(features, verbose=0)
    for name in ("category", "price"):
        table = net.codes.tables[name]
        kept = table.numpy()
        table.assign(table * 0 + 2)
        assert np.abs(net.predict(features, verbose=0) - before).max() > 1e-6, name
        table.assign(kept)


def test_repeats_are_summed_or_counted(shop, tmp_path):
    frame = pd.DataFrame(
        {"u": list("aabbcc") * 2, "i": list("xyxyxy") * 2, "n": [1, 2, 3, 4, 5, -6] + [10] * 6}
    )
    data = tfrec.Dataset.from_pandas(frame, user="u", item="i", rating="n")
    whole = {"test": 0.0, "validation": 0.0}
    for how, lowest, highest in (("sum", 4, 15), ("count", 2, 2), ("first", -6, 5)):
        info = data.split(duplicates=how, data_dir=tmp_path / how, **whole).info
        assert (info.rating_mean * 6, info.dropped) == (
            {"sum": 69, "count": 12, "first": 9}[how],
            {"duplicates": 6},
        )
        if how != "first":
            assert (info.rating_min, info.rating_max) == (lowest, highest)
    once = data.split(duplicates="count", data_dir=tmp_path / "once", min_rating=2, **whole)
    assert once.info.n_ratings["train"] == 6 and "duplicates counted" in once.info.protocol
    parts = {"train": frame[:6], "test": frame[6:], "user": "u", "item": "i"}
    with pytest.raises(ValueError, match="add up within a part, but a pair .* in two of the given"):
        tfrec.Dataset.split_files(**parts, data_dir=tmp_path / "p", duplicates="sum")


def test_given_parts_are_used_unchanged(shop, tmp_path, capsys):
    frame = shop[1].query("customer != ''").drop_duplicates(["customer", "sku"])
    part = np.where(frame.index % 5 == 0, "test", np.where(frame.index % 7 == 0, "Valid", "train"))
    frame = frame.assign(part=part)[["customer", "sku", "part"]]
    words = []
    for name in ("train", "Valid", "test"):
        path = tmp_path / f"{name}.csv.gz"
        frame[part == name].to_csv(path, index=False)
        words.append(f"--{ {'Valid': 'validation'}.get(name, name) }_raw={path}")
    columns = "--columns=user=customer,item=sku"
    done = run(capsys, "prepare", *words, columns, f"--data_dir={tmp_path / 'files'}")
    assert done.status == 0, done.err
    frame.to_csv(tmp_path / "all.csv", index=False)
    whole = f"--raw={tmp_path / 'all.csv'}"
    done = run(
        capsys, "prepare", whole, columns + ",part=part", f"--data_dir={tmp_path / 'column'}"
    )
    assert done.status == 0, done.err
    kept = tfrec.Dataset.from_pandas(frame, user="customer", item="sku", part="part").split(
        data_dir=tmp_path / "frame"
    )
    want = {
        "train": sum(part == "train"),
        "validation": sum(part == "Valid"),
        "test": sum(part == "test"),
    }
    for found in ("files", "column", "frame"):
        info = read(tmp_path / found)[0]
        assert info["n_ratings"] == want
        assert "parts as given with its own validation" in info["protocol"]
    assert kept.info.n_users == 60
    for extra, expected in (
        (["--split=last"], "error: --split=last: the parts are given"),
        ([whole], "error: --raw=.* with --train_raw and --test_raw: leave one out"),
    ):
        done = run(capsys, "prepare", *words, *extra, columns, f"--data_dir={tmp_path / 'x'}")
        assert done.status == 1 and re.match(expected, done.err), done.err
    done = run(capsys, "prepare", words[0], columns, f"--data_dir={tmp_path / 'x'}")
    assert "--train_raw and --test_raw go together" in done.err
    frame.assign(part="tset").to_csv(tmp_path / "bad.csv", index=False)
    done = run(
        capsys,
        "prepare",
        f"--raw={tmp_path / 'bad.csv'}",
        columns + ",part=part",
        f"--data_dir={tmp_path / 'x'}",
    )
    assert "bad.csv, line 2: 'tset' is not a part; did you mean 'test'" in done.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("times=at", "'times' is unknown; did you mean 'time'.*times=at:category"),
        ("price=p:numbers", "price=p:numbers: no kind 'numbers'; did you mean 'number'"),
        ("price=p:number:shop", "no owner 'shop'; known: item, user, event"),
        ("tags=t:set:event", "a field of events is a category or a number, not a set"),
        ("größe=g", "'größe' cannot be the name of a field"),
        ("hour=h:number", "'hour' cannot be the name of a field"),
        ("price=i", "price=i: that column is given twice"),
    ],
)
def test_wrong_fields_are_named(text, expected):
    with pytest.raises(ValueError, match=expected):
        roles.parse("user=u,item=i," + text)


def test_bad_side_tables_are_refused(shop, tmp_path):
    events = pd.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "size": ["1", "much"]})
    make = tfrec.Dataset.from_pandas
    for settings, expected in (
        (
            {"items": pd.DataFrame({"sku": ["x"]})},
            "frame of items has no column 'item' of item",
        ),
        ({"items": pd.DataFrame({"item": ["x", "x"]})}, "item 'x' has more than one row; keep one"),
        ({"items": pd.DataFrame({"item": ["x", None]})}, "row 2, column item: the item id is miss"),
        ({"users": tmp_path / "none.csv"}, "--users=.*none.csv does not exist"),
        ({"volume": "sizes:number"}, "the frame has no column 'sizes' for volume.*mean 'size'"),
        (
            {
                "items": pd.DataFrame({"item": ["x"], "city": ["b"]}),
                "users": pd.DataFrame({"user": ["a"], "city": ["b"]}),
            },
            "both --items and --users have a column 'city'",
        ),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=expected):
            make(events, **settings)
    with pytest.raises(ValueError, match="the frame, row 2, column size: 'much' is not a number"):
        make(events, size="size:number:event").split(data_dir=tmp_path / "d")
