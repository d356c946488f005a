"""Netflix: DeepRec's parts and folds, the Prize's files, and errors for bad ones."""

import gzip
import os
import pathlib

import pandas
import pytest

from tfrec import presets
from tfrec.config import DataConfig
from tfrec.data import prepare
from tfrec.datasets import files, registry

DATA = pathlib.Path(
    os.environ.get("TFREC_DATA") or pathlib.Path(__file__).parents[2] / "shared" / "data"
)


pytestmark = pytest.mark.usefixtures("no_environment")


def ratings(dataset) -> pandas.DataFrame:
    return pandas.concat(dataset.chunks(), ignore_index=True)


def test_counts_of_real_netflix_sample():
    if not (DATA / "netflix-sample").exists():
        pytest.skip(f"netflix-sample is not in {DATA}; set TFREC_DATA")
    frame = ratings(registry.load("netflix", DATA))
    counts = (len(frame), frame["user"].nunique(), frame["item"].nunique())
    assert counts == (204821, 97618, 11259)
    by_item = ratings(registry.load("netflix", DATA / "netflix-sample" / "iRec-*"))
    assert (len(by_item), by_item["item"].nunique()) == (26091, 163)


PARTS = {
    "part-1.txt": b"10\t8\t3.0\n11\t8\t5\n",
    "part-0.txt.gz": gzip.compress(b"12\t9\t1.0\n"),
    "iRec-0.txt": b"8\t10\t2.0\n",
    "README.txt": b"about",
}


def put(folder: pathlib.Path, contents: dict[str, bytes]) -> pathlib.Path:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def found_at(dataset) -> list[str]:
    """File and line of each rating."""
    return [dataset.locate(number) for number in range(len(ratings(dataset)))]


def test_netflix_parts_one_file_pattern_and_item_first(tmp_path):
    put(tmp_path / "x", PARTS)
    found = registry.load("netflix", tmp_path / "x")
    assert not found.has_times
    assert ratings(found).to_dict("list") == {
        "user": ["12", "10", "11"],
        "item": ["9", "8", "8"],
        "value": [1.0, 3.0, 5.0],
        "time": [0, 0, 0],
    }
    assert found_at(found) == [
        f"{tmp_path}/x/part-0.txt.gz, line 1",
        f"{tmp_path}/x/part-1.txt, line 1",
        f"{tmp_path}/x/part-1.txt, line 2",
    ]
    one = registry.load("netflix", tmp_path / "x" / "part-0.txt.gz")
    assert ratings(one)["user"].tolist() == ["12"]
    by_item = registry.load("netflix", tmp_path / "x" / "iRec*")
    assert ratings(by_item).loc[0].tolist() == ["10", "8", 2.0, 0]
    put(tmp_path / "y", {"a.txt": b"1\t2\t3\t1000000000\n"})
    timed = registry.load("netflix", tmp_path / "y")
    assert timed.has_times and ratings(timed)["time"].tolist() == [1000000000]


def test_netflix_folds_are_folders(tmp_path):
    put(
        tmp_path,
        {
            "N3M_TRAIN/n3m.train.txt": b"1\t1\t5\n2\t1\t4\n",
            "N3M_VALID/n3m.valid.txt": b"1\t2\t3\n",
            "N3M_TEST/n3m.test.txt": b"1\t3\t2\n",
        },
    )
    for fold, tests, items in (
        ("N3M", [0, 0, 2, 1], ["1", "1", "2", "3"]),
        ("N3M_VALID", [0, 0, 1], ["1", "1", "2"]),
    ):
        found = registry.load("netflix", tmp_path, fold=fold)
        assert ratings(found)["test"].tolist() == tests
        assert ratings(found)["item"].tolist() == items
        assert found.brings_validation == (fold == "N3M")
    with pytest.raises(ValueError, match="holds the folds N3M; .* --split=folds --data fold=N3M"):
        registry.load("netflix", tmp_path)
    assert found_at(registry.load("netflix", tmp_path, fold="N3M")) == [
        f"{tmp_path}/N3M_TRAIN/n3m.train.txt, line 1",
        f"{tmp_path}/N3M_TRAIN/n3m.train.txt, line 2",
        f"{tmp_path}/N3M_VALID/n3m.valid.txt, line 1",
        f"{tmp_path}/N3M_TEST/n3m.test.txt, line 1",
    ]
    with pytest.raises(ValueError, match="no folder N6M_TRAIN; .*known: N3M"):
        registry.load("netflix", tmp_path, fold="N6M")
    inner = registry.load("netflix", tmp_path / "N3M_TRAIN")
    assert len(ratings(inner)) == 2


def test_netflix_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="netflix is not here and cannot be .*--raw=FOLDER"):
        registry.load("netflix")
    with pytest.raises(FileNotFoundError, match="holds no ratings"):
        registry.load("netflix", put(tmp_path / "a", {"README.txt": b"x"}))
    put(tmp_path / "b", {"part-0.txt": b"1\t2\t3.0\n1 2 3\n"})
    with pytest.raises(ValueError, match="part-0.txt, line 2: 1 columns separated by tab, 3 are"):
        list(registry.load("netflix", tmp_path / "b").chunks())
    put(tmp_path / "c", {"part-0.txt": b"1\t2\t3\t2005-09-06\n"})
    with pytest.raises(ValueError, match=r"line 1, column 4 \(time\): '2005-09-06' is a date"):
        list(registry.load("netflix", tmp_path / "c").chunks())
    put(tmp_path / "d", {"part-0.txt.gz": gzip.compress(b"1\t2\t3\n" * 999)[:-9]})
    with pytest.raises(ValueError, match="part-0.txt.gz is damaged, truncated"):
        registry.load("netflix", tmp_path / "d")


PRIZE = "8:\n1488844,3,2005-09-06\n822109,5,1970-01-02\n10:\n885013,4,2005-10-19\n"


@pytest.mark.parametrize("block_bytes", [8, 30, 1 << 20])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_prize_files(tmp_path, monkeypatch, block_bytes, newline):
    monkeypatch.setattr(files, "BLOCK_BYTES", block_bytes)
    put(
        tmp_path,
        {
            "combined_data_1.txt": PRIZE.replace("\n", newline).encode(),
            "combined_data_10.txt": b"9:\n1,1,1970-01-01",
            "combined_data_2.txt": b"7:\n1,2,1970-01-01\n",
            "movie_titles.csv": b"7,2003,Am\xe9lie, the Movie\n8,NULL,X\n",
            "probe.txt": b"1:\n30878\n",
        },
    )
    found = registry.load("netflix", tmp_path)
    assert ratings(found).to_dict("list") == {
        "user": ["1488844", "822109", "885013", "1", "1"],
        "item": ["8", "8", "10", "7", "9"],
        "value": [3.0, 5.0, 4.0, 2.0, 1.0],
        "time": [1125964800, 86400, 1129680000, 0, 0],
    }
    assert [
        location.removeprefix(f"{tmp_path}/combined_data_") for location in found_at(found)
    ] == [
        "1.txt, line 2",
        "1.txt, line 3",
        "1.txt, line 5",
        "2.txt, line 2",
        "10.txt, line 2",
    ]
    with pytest.raises(ValueError, match="--data fold=x: these netflix files .*--split=time"):
        registry.load("netflix", tmp_path, fold="x")
    assert found.items.to_dict("list") == {
        "item": ["7", "8"],
        "title": ["Amélie, the Movie", "X"],
        "genres": ["", ""],
        "year": ["2003", ""],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,3,2005-09-06\n", r"line 1: '1,3,2005-09-06' comes before any 'item:' line"),
        (PRIZE + "1,3\n", r"line 6: expected 'item:' or user,rating,YYYY-MM-DD, found '1,3'"),
        (PRIZE + "1,9,2005-09-06\n", r"line 6, column 2 \(value\): '9' is not a rating from 1 to"),
        (PRIZE + "1,,2005-09-06\n", r"line 6, column 2 \(value\): '' is not a number"),
        (PRIZE + "1,3,2005-13-06\n", r"line 6, column 3 \(time\): '2005-13-06' is not a date"),
    ],
)
def test_prize_errors(tmp_path, text, message):
    put(tmp_path, {"mv_0000008.txt": text.encode()})
    with pytest.raises(ValueError, match="mv_0000008.txt, " + message):
        list(registry.load("netflix", tmp_path).chunks())


def test_deeprecs_folders_are_its_split(tmp_path):
    """Its own validation and test; the input of both is the training window."""
    lines = [f"{u}\t{i}\t{1 + (u + i) % 5}\n" for u in range(8) for i in range(9)]
    cuts = {"TRAIN": lines[0::3] + lines[1::3], "VALID": lines[2::6], "TEST": lines[5::6]}
    put(tmp_path, {f"NF_{n}/x.txt": "".join(part).encode() for n, part in cuts.items()})
    config = DataConfig(dataset="netflix", split="folds", fold="NF")
    info = prepare.prepare(registry.open_as(config, tmp_path), config, tmp_path / "data", False)
    assert info.n_ratings == {"train": 48, "validation": 12, "test": 12}
    assert info.test_history == ("history",)
    assert info.protocol == "netflix, shipped fold NF with its own validation, rows by user"


def prize_days(*days):
    """On each of six days users 1 to 4 rate one of six items, never the same one twice."""
    text = ""
    for item in range(6):
        rated = [(u, d) for n, d in enumerate(days) for u in range(1, 5) if (u + n) % 6 == item]
        text += f"{item}:\n" + "".join(f"{u},{u},{day}\n" for u, day in rated)
    return text.encode()


def test_deeprecs_windows_are_cut_from_the_prizes_files(tmp_path):
    """The preset of three months: training from September to November 2005, December held out."""
    days = ("2005-08-31", "2005-09-01", "2005-10-10", "2005-11-30", "2005-12-31", "2006-01-01")
    put(tmp_path, {"mv_0000001.txt": prize_days(*days)})
    config = presets.preset("deeprec-netflix-time3m").data
    raw = registry.open_as(config, tmp_path)
    assert set(ratings(raw)["time"]) == {int(pandas.Timestamp(day).timestamp()) for day in days}
    info = prepare.prepare(raw, config, tmp_path / "data", progress=False)
    assert info.n_ratings["train"] == 12
    assert info.dropped["outside_since_until"] == 8
    assert info.n_ratings["validation"] == info.n_ratings["test"] == 2
    for name, days in (("6m", "2005-06-01"), ("1y", "2004-06-01"), ("full", "1999-12-01")):
        assert presets.preset(f"deeprec-netflix-time{name}").data.since == days
