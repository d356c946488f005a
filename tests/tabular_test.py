"""A user's own table: separators, kinds of times, Parquet, and errors for bad ones."""

import datetime
import gzip
import json
import pathlib
import re
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from commands_test import run

from tfrec.config import DataConfig
from tfrec.data import prepared, records
from tfrec.datasets import files, registry, roles, tabular_parquet
from tfrec.schema import DatasetInfo

NAMED = "user=customer_id,item=sku,value=stars,time=bought_at,title=name"
TABLE = pd.DataFrame(
    {
        "name": ["Mug, blue", "Tea", 'A "fine" pen', "Mug, blue"],
        "customer_id": ["007", "8", "8", "9"],
        "bought_at": [86_400, 1_700_000_000, 1_700_000_001, 1_700_003_600],
        "sku": ["m1", "t", "p", "m1"],
        "stars": ["1", "4.5", "2", "3"],
    }
)
EVENTS = {
    "user": ["007", "8", "8", "9"],
    "item": ["m1", "t", "p", "m1"],
    "value": [1.0, 4.5, 2.0, 3.0],
    "time": [86_400, 1_700_000_000, 1_700_000_001, 1_700_003_600],
}


pytestmark = pytest.mark.usefixtures("no_environment")


def put(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(path, columns=NAMED):
    return registry.load("tabular", path, columns=columns)


def events(raw):
    return pd.concat(raw.chunks(), ignore_index=True).to_dict("list")


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("ending", ["csv", "tsv.gz", "unheard-of"])
def test_separator_and_packing_are_found_out(tmp_path, separator, ending):
    text = TABLE.to_csv(sep=separator, index=False).encode()
    path = put(tmp_path / f"a.{ending}", gzip.compress(text) if ending.endswith("gz") else text)
    raw = load(path)
    assert events(raw) == EVENTS
    assert raw.items.to_dict("list") == {
        "item": ["m1", "t", "p"],
        "title": ["Mug, blue", "Tea", 'A "fine" pen'],
    }
    assert (raw.rating_min, raw.rating_max, raw.rating_step) == (1.0, 4.5, 0.5 + 0.5)
    assert raw.has_times and raw.users.empty
    assert raw.locate(2) == f"{path}, line 4"


def test_blocks_cut_anywhere_and_line_breaks_in_quotes(tmp_path, monkeypatch):
    text = TABLE.replace("Tea", "Tea\nfor two\r\n").to_csv(index=False)
    monkeypatch.setattr(files, "BLOCK_BYTES", 60)
    raw = load(put(tmp_path / "a.csv", text))
    assert events(raw) == EVENTS
    assert raw.locate(2) == f"{tmp_path}/a.csv, line 6"


@pytest.mark.parametrize("header", [True, False])
def test_columns_by_position(tmp_path, header):
    path = put(tmp_path / "a.csv", TABLE.to_csv(index=False, header=header))
    raw = load(path, "user=2,item=4,value=5,time=3")
    assert events(raw) == EVENTS
    assert raw.locate(0).endswith(f"line {1 + header}")


def test_a_header_that_looks_like_data_and_the_other_way_round(tmp_path):
    path = put(tmp_path / "a.csv", "u,i\nx,y\n")
    assert events(load(path, "user=1,item=2"))["user"] == ["u", "x"]
    assert events(load(path, "user=1,item=2,header=yes"))["user"] == ["x"]


def test_names_of_ours_need_no_flag_and_capitals_do_not_matter(tmp_path):
    path = put(tmp_path / "a.csv", "User,ITEM,rating\n1,2,3\n")
    raw = load(path, "")
    assert events(raw) == {"user": ["1"], "item": ["2"], "value": [1.0], "time": [0]}
    assert not raw.has_times
    assert (raw.rating_min, raw.rating_max, raw.rating_step) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("1700000000", 1_700_000_000), ("2023-11-14", 1_699_920_000)),
        *(("2023-11-14T22:13:20", 1_700_000_000), ("2023-11-14 22:13:20.999", 1_700_000_000)),
        *(("2023-11-14T22:13:20Z", 1_700_000_000), ("2023-11-15T00:13:20+02:00", 1_700_000_000)),
    ],
)
def test_kinds_of_times(tmp_path, text, seconds):
    path = put(tmp_path / "a.csv", f"user,item,time\n1,2,{text}\n")
    assert events(load(path, ""))["time"] == [seconds]
    if "02:00" not in text:
        pa.parquet.write_table(
            pa.table({"user": [1], "item": [2], "time": [text]}), tmp_path / "a.pq"
        )
        assert events(load(tmp_path / "a.pq", ""))["time"] == [seconds]


@pytest.mark.parametrize("packed_rows", [1, 1000])
def test_parquet(tmp_path, packed_rows):
    when = pd.to_datetime(TABLE["bought_at"], unit="s")
    table = TABLE.assign(stars=TABLE["stars"].astype(float), bought_at=when, note=None)
    table.to_parquet(tmp_path / "a.parquet", row_group_size=packed_rows)
    raw = load(tmp_path / "a.parquet")
    assert events(raw) == EVENTS
    assert raw.items["title"].tolist() == ["Mug, blue", "Tea", 'A "fine" pen']
    assert raw.locate(3) == f"{tmp_path}/a.parquet, row 4"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("in_blocks", [False, True])
def test_the_first_title_that_is_not_empty_counts(tmp_path, monkeypatch, ending, in_blocks):
    names = ["", "Y" * 40, "X" * 40, "", "other X", " "]
    table = pd.DataFrame({"user": [*"abcdef"], "item": [*"xyxyxz"], "title": names})
    if ending == "parquet":
        table["title"] = table["title"].replace("", None)
        table.to_parquet(tmp_path / "a.parquet")
    else:
        table.to_csv(tmp_path / "a.csv", index=False)
    if in_blocks:
        monkeypatch.setattr(files, "BLOCK_BYTES", 60)
        monkeypatch.setattr(tabular_parquet, "_ROWS", 1)
    found = load(tmp_path / f"a.{ending}", "").items
    assert dict(zip(found["item"], found["title"], strict=True)) == {"x": "X" * 40, "y": "Y" * 40}


def test_titles_that_are_all_empty_are_none(tmp_path):
    raw = load(put(tmp_path / "a.csv", "user,item,title\n1,2,\n"), "")
    assert raw.items.empty and list(raw.items) == ["item"]


def test_parquet_of_other_types(tmp_path):
    day = datetime.date(2023, 11, 14)
    table = pa.table({"user": [1.0, 2.0], "item": pa.array(["x", "y"]).dictionary_encode(),
                      "time": [day, day], "value": pa.array([1, 5], pa.int8())})  # fmt: skip
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    assert events(load(tmp_path / "a.parquet", "")) == {
        "user": ["1", "2"],
        "item": ["x", "y"],
        "value": [1.0, 5.0],
        "time": [1_699_920_000] * 2,
    }


def test_a_folder_is_read_in_order_of_names(tmp_path):
    put(tmp_path / "b.csv", "user,item\n3,1\n")
    put(tmp_path / "a.csv", "item,user\n1,1\n1,2\n")
    put(tmp_path / "README.txt", "about")
    raw = load(tmp_path, "")
    assert events(raw)["user"] == ["1", "2", "3"]
    assert raw.locate(2) == f"{tmp_path}/b.csv, line 2"


CSV = TABLE.to_csv(index=False)
BAD = {
    "a name that is not there": (
        CSV, "user=custmer_id,item=sku",
        r"a.csv, line 1: no column 'custmer_id' for user among the 5 separated by comma: did you "
        r"mean 'customer_id'\? known: name, customer_id, .*--columns ...,user=COLUMN",
    ),
    "no names at all": (CSV, "", r"line 1: no column 'user' for user .* known: name, customer_id"),
    "the wrong separator": (
        CSV, NAMED + ",separator=semicolon",
        r"line 1: no column 'customer_id' .* among the 1 separated by semicolon: .*separator=tab\|",
    ),
    "a line too long": (
        CSV + "x,1,2,3,4,5\n", NAMED,
        r"a.csv, line 6: 6 columns separated by comma, 5 are expected: 'x,1,2,3,4,5'; correct that "
        r"line \(a field .*in double quotes\), or .*separator=tab\|comma",
    ),
    "a line with another separator": (CSV + "x;1;2;3;4\n", NAMED, r"line 6: 1 columns sep"),
    "no number": (
        CSV + "x,1,86400,3,many\n", NAMED,
        r"a.csv, line 6, column 5 \(stars\): 'many' is not a number; correct that line, or give "
        r"another column with --columns ...,value=COLUMN",
    ),
    "no value": (CSV + "x,1,86400,3,\n", NAMED, r"line 6, column 5 \(stars\): '' is not a number"),
    "not a number": (CSV + "x,1,86400,3,nan\n", NAMED, r"line 6, column 5 \(stars\): 'nan' is not"),
    "no id": (CSV + "x,,86400,3,1\n", NAMED, r"line 6, column 2 .*: the user id is em"),
    "milliseconds": (
        CSV + "x,1,1700000000000,3,1\n", NAMED,
        r"column 3 \(bought_at\): '1700000000000' is not a time in seconds.*divide them by 1000",
    ),
    "another kind of time": (CSV + "x,1,2023-11-14,3,1\n", NAMED, r"column 3 .*'2023-11-14'"),
    "a time of no kind": (
        "user,item,time\n1,2,31/01/2024\n", "",
        r"a.csv, line 2, column 3 \(time\): '31/01/2024' is neither whole seconds since 1970 nor "
        r"an ISO time .*--columns ...,time=COLUMN, or leave time= out",
    ),
    "a day written as a number": ("user,item,time\n1,2,20240131\n", "", r"'20240131' is nei"),
    "a time before 1970": (
        "user,item,time\n1,2,2024-01-31\n1,3,1969-01-31\n", "",
        r"line 3, column 3 \(time\): '1969-01-31' is not a time from 1970 on",
    ),
    "a mixed time": (
        "user,item,time\n1,2,2024-01-31\n1,3,2024-01-31T00:00:00Z\n", "", r"line 3.*a time like",
    ),
    "bytes": (b"user,item\n1,2\n1,\xff\n", "", r"line 3, column 2 \(item\): not utf-8 text"),
    "a quote that closes late": (
        'user,item\n1,2\n1,"x\n1,2\n1,3"\n', "",
        r"line 3, column 2 \(item\): 'x\\n1,2\\n1,3' holds a line break; is a quote not closed",
    ),
    "a quote that stays open": (
        "user,item\n1,2\n" + '1,"x\n' + "1,2\n" * 40_000, "", r"line 3: .*is a quote not closed",
    ),
    "one column": ("user\n1\n2\n", "user=1,item=2", r"line 1: no separator .*separator=tab\|"),
    "nothing": ("", "", "a.csv is empty"),
    "a header alone": ("user,item\n", "", "a.csv is empty: it has no data lines"),
    "a position too far": (CSV, "user=1,item=9", r"--columns item=9: .* the columns 1 to 5, sep"),
    "names without a header": (CSV, NAMED + ",header=no", r"no header .*--columns=user=1,item=2,v"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_tables_are_named(tmp_path, what):
    text, columns, message = BAD[what]
    path = put(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=message) as raised:
        list(load(path, columns).chunks())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("user=a,itm=b", "--columns=user=a,itm=b: 'itm' is unknown; did you mean 'item'"),
        ("user=a", "--columns=user=a: item=COLUMN is missing"),
        ("user=a,item=b,user=c", "'user' is given twice"),
        ("user", "'user' is not of the form name=column, such as --columns=user=customer_id"),
        ("user=a,item=b,separator=;", "--columns separator=;: known: tab, comma"),
    ],
)
def test_bad_flags_are_named(columns, message):
    with pytest.raises(ValueError, match=message):
        roles.parse(columns)


PARQUET = {
    "a name that is not there": (
        {"user": [1]},
        "user=usr,item=user",
        "no column 'usr' for user; did",
    ),
    "a missing id": ({"user": ["a", None], "item": [1, 2]}, "", "row 2, column user: .*is missing"),
    "text for a value": (
        {"user": [1], "item": [1], "value": ["x"]},
        "",
        "column value: .*as value",
    ),
    "milliseconds": (
        {"user": [1], "item": [1], "time": [10**12]},
        "",
        "row 1, column time: .*1000",
    ),
    "half an id": ({"user": [1.5], "item": [1]}, "", "column user: double cannot be read as user"),
}


@pytest.mark.parametrize("what", PARQUET)
def test_bad_parquet_is_named(tmp_path, what):
    table, columns, message = PARQUET[what]
    pa.parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="a.parquet.*" + message):
        load(tmp_path / "a.parquet", columns)


@pytest.mark.parametrize("packing", ["snappy", "gzip", "none"])
def test_damaged_pages_of_parquet_are_named(tmp_path, packing):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"user": range(999), "item": range(999)}).to_parquet(path, compression=packing)
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 300 + content[304:])
    with pytest.raises(ValueError, match="a.parquet is damaged, truncated .*download it"):
        load(path, "")


PACKED = {"zip": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}


@pytest.mark.parametrize("packing", PACKED)
def test_damaged_and_encrypted_zips_are_named(tmp_path, packing):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", PACKED[packing]) as archive:
        archive.writestr("a.csv", "user,item\n" + "".join(f"{i},{i % 7}\n" for i in range(999)))
    assert len(events(load(path, ""))["user"]) == 999
    whole = path.read_bytes()
    spoilt = bytearray(whole)
    spoilt[len(whole) // 2] ^= 0xFF
    path.write_bytes(spoilt)
    with pytest.raises(ValueError, match="a.zip/a.csv is damaged, truncated"):
        load(path, "")
    spoilt = bytearray(whole)
    spoilt[6] |= 1  # the flag for encryption, in the head of the file and in the directory
    spoilt[whole.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(spoilt)
    with pytest.raises(ValueError, match="a.zip/a.csv is .*encrypted, password required"):
        load(path, "")


def test_a_gzip_that_is_cut_off_is_named(tmp_path):
    text = gzip.compress(CSV.encode())
    for content in (text[: len(text) // 2], text[:5], CSV.encode()):
        with pytest.raises(ValueError, match="a.csv.gz is damaged, truncated"):
            load(put(tmp_path / "a.csv.gz", content))


def test_other_files_and_sets_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a.parquet is damaged, truncated"):
        load(put(tmp_path / "a.parquet", b"no"))
    (tmp_path / "b").mkdir()
    put(tmp_path / "b/x.doc", "1")
    put(tmp_path / "b/y.doc", "1")
    with pytest.raises(FileNotFoundError, match=r"holds no table \(it holds: x.doc, y.doc\)"):
        load(tmp_path / "b")
    with pytest.raises(FileNotFoundError, match="--raw is missing: it is your own table"):
        registry.load("tabular")
    with pytest.raises(ValueError, match="--columns=user=a,item=b: the columns of ml-1m are fixed"):
        registry.load("ml-1m", columns="user=a,item=b")
    with pytest.raises(ValueError, match="split=folds: tabular comes without folds"):
        registry.load("tabular", put(tmp_path / "a.csv", CSV), fold="u1", columns=NAMED)


def test_errors_of_commands_are_one_line(capsys, tmp_path):
    path = put(tmp_path / "a.csv", CSV.replace("4.5", "many"))
    words = ["--dataset=tabular", f"--raw={path}", f"--data_dir={tmp_path / 'data'}"]
    for columns, expected in (
        (NAMED, r"error: \S+a.csv, line 3, column 5 \(stars\): 'many' is not a number; correct"),
        (
            "user=who,item=sku",
            r"error: \S+a.csv, line 1: no column 'who' for user among the 5",
        ),
    ):
        done = run(capsys, "prepare", *words, f"--columns={columns}")
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
        assert re.match(expected, done.err), done.err
    done = run(capsys, "prepare", "--dataset=tabular", f"--data_dir={tmp_path / 'data'}")
    assert "error: --raw is missing: it is your own table" in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_prepare_train_and_recommend(capsys, tmp_path):
    """All commands, from a semicolon table without values and with ISO times."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"who": draw.integers(0, 30, 400), "sku": draw.integers(0, 12, 400)})
    table = table.drop_duplicates().assign(
        at="2024-01-31", name=lambda t: "Thing " + t.sku.map(str)
    )
    path = put(tmp_path / "a.csv", table.to_csv(sep=";", index=False))
    words = ["--dataset=tabular", f"--raw={path}", "--columns=user=who,item=sku,time=at,title=name"]
    run_dir = f"--run_dir={tmp_path / 'run'}"
    done = run(capsys, "train", "--model=popularity", *words, run_dir)
    assert done.status == 0, done.err
    data_dir = pathlib.Path(json.loads((tmp_path / "run/config.json").read_text())["data_dir"])
    info = json.loads((data_dir / "info.json").read_text())
    assert info["config"]["columns"] == "user=who,item=sku,time=at,title=name"
    assert sum(info["n_ratings"].values()) == len(table)
    done = run(capsys, "recommend", run_dir, "--items=3,4")
    assert "Thing 5" in done.out and "Thing 3" not in done.out
    put(tmp_path / "b.csv", table[:100].to_csv(index=False))
    words[1] = f"--raw={tmp_path / 'b.csv'}"
    done = run(capsys, "prepare", *words, f"--data_dir={tmp_path / 'data'}")
    assert done.status == 0 and "81 train" in done.out
    raws = ("a.csv", "./a.csv", "b.csv")
    dirs = [prepared.default_dir(DataConfig(dataset="tabular"), raw) for raw in raws]
    assert dirs[0] == dirs[1] != dirs[2]


@pytest.fixture
def jokes(tmp_path):
    """Ratings from -10 to 10, zero among them, as those of Jester are."""
    draw = np.random.default_rng(0)
    user, item = np.nonzero(draw.random((40, 15)) < 0.7)
    value = draw.integers(-40, 41, len(user)) / 4
    value[:3] = -10, 0, 10
    table = pd.DataFrame({"user": user, "item": item, "value": value})
    table.to_csv(tmp_path / "jokes.csv", index=False)
    return table, ["--dataset=tabular", f"--raw={tmp_path / 'jokes.csv'}"]


def test_negative_ratings_from_file_to_recommendations(capsys, tmp_path, jokes):
    table, words = jokes
    data_dir, run_dir = tmp_path / "data", tmp_path / "run"
    words = [*words, f"--data_dir={data_dir}"]
    small = ["--set", "hidden=8,4,8", "--train", "epochs=1", f"--run_dir={run_dir}"]
    done = run(capsys, "train", "--model=autoencoder", *words, *small)
    assert done.status == 0, done.err
    info = DatasetInfo.load(data_dir)
    assert (info.rating_min, info.rating_max, info.rating_step) == (-10, 10, 0.25)
    assert info.dropped == {} and info.config["min_rating"] is None
    stored = [
        (row["user"], item, value)
        for row in records.read_rows(data_dir, info)
        for part in ("", "validation_", "test_")
        for item, value in zip(row[part + "items"], row[part + "values"], strict=True)
    ]
    assert sorted(stored) == sorted(table.itertuples(index=False, name=None))
    predictions = np.load(run_dir / "per_user.npz")
    assert np.isfinite(predictions["squared_error"]).all()
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert 1 < metrics["test"]["rmse"] < 20
    done = run(capsys, "recommend", f"--run_dir={run_dir}", "--items=3:-9.5,4:7")
    assert done.status == 0, done.err
    done = run(capsys, "describe", f"--data_dir={data_dir}")
    mean = f"{info.rating_mean:.3f}"
    assert re.search(rf"^values +-10 to 10, mean {mean} in training$", done.out, re.M), done.out


@pytest.mark.parametrize(
    ("setting", "sentence", "kept"),
    [
        ("min_rating=-2.5", "ratings >= -2.5", lambda v: v[v >= -2.5]),
        ("min_rating=0", "ratings >= 0", lambda v: v[v >= 0]),
        ("drop_rating=0", "ratings of 0 left out", lambda v: v[v != 0]),
        ("drop_rating=none", "by rating (seed 0)", lambda v: v),
        ("label_above=0", "label 1 for ratings > 0, else 0", lambda v: v > 0),
        ("label_above=-1", "label 1 for ratings > -1, else 0", lambda v: v > -1),
    ],
)
def test_filters_by_value_take_any_number(capsys, tmp_path, jokes, setting, sentence, kept):
    table, words = jokes
    data_dir = tmp_path / "data"
    done = run(capsys, "prepare", *words, f"--data_dir={data_dir}", "--data", setting)
    assert done.status == 0, done.err
    info = DatasetInfo.load(data_dir)
    assert sentence in info.protocol
    rows = list(records.read_rows(data_dir, info))
    parts = ("values", "validation_values", "test_values")
    stored = np.concatenate([row[part] for row in rows for part in parts])
    due = kept(table["value"].to_numpy()).astype(float)
    assert sorted(stored) == sorted(due) and len(due) > 100
    assert (info.rating_min, info.rating_max) == ((0, 1) if "label" in setting else (-10, 10))
