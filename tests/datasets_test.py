"""Readers of raw data sets: small files of every layout, every error, counts of real data."""

import os
import pathlib
import zipfile

import numpy
import pandas
import pytest

from tfrec.datasets import columns, files, registry

LINES_100K = "196\t242\t3\t881250949\n007\t302\t5\t891717742\n"
LINES_DAT = "1::1193::5::978300760\n1::661::3.5::978302109\n"
LINES_CSV = "userId,movieId,rating,timestamp\r\n1,31,2.5,1260759144\r\n2,31,4,1260759179\r\n"
FLAGS = "0|" * 18 + "0"

FILES = {
    "ml-100k": {
        "u.data": LINES_100K,
        "u1.base": "1\t1\t5\t874965758\n2\t1\t4\t874965759\n",
        "u1.test": "1\t6\t1\t887431973\n",
        "u.genre": "".join(f"genre{i}|{i}\n" for i in range(19)) + "\n",
        "u.user": "196|49|M|writer|55105\n007|53|F|other|94043\n",
        "u.item": "242|Am\xe9lie (1995)|01-Jan-1995||http://x|0|1|1"
        + "|0" * 16
        + f"\n302|unknown||||{FLAGS}\n",
    },
    "ml-1m": {
        "ratings.dat": LINES_DAT.replace("3.5", "3"),
        "users.dat": "1::F::1::10::48067\n",
        "movies.dat": "1193::Am\xe9lie: One (1975)::Drama\n661::James (1996)::Animation|Musical\n",
    },
    "ml-10m": {"ratings.dat": LINES_DAT, "movies.dat": "1193::Amélie (1975)::Drama\n"},
    "ml-25m": {
        "ratings.csv": LINES_CSV,
        "movies.csv": 'movieId,title,genres\r\n31,"Amélie, The (2006–2007)",(no genres listed)\r\n',
    },
}
LATIN = ("ml-100k", "ml-1m")

DATA = pathlib.Path(
    os.environ.get("TFREC_DATA") or pathlib.Path(__file__).parents[2] / "shared" / "data"
)


pytestmark = pytest.mark.usefixtures("no_environment")


def write(folder: pathlib.Path, name: str, **changes: str) -> pathlib.Path:
    """Writes a small set; `changes` replaces files ("_" for "."), None leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    changes = {key.replace("_", "."): text for key, text in changes.items()}
    for file, text in {**FILES[name], **changes}.items():
        if text is not None:
            encoding = "latin-1" if name in LATIN else "utf-8"
            (folder / file).write_bytes(text.encode(encoding))
    return folder


def zipped(folder: pathlib.Path, inner: str) -> pathlib.Path:
    path = folder.parent / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, inner + file.name)
    return path


def ratings(dataset) -> pandas.DataFrame:
    return pandas.concat(dataset.chunks(), ignore_index=True)


def test_100k_keeps_ids_order_and_side_fields(tmp_path):
    found = registry.load("ml-100k", write(tmp_path / "x", "ml-100k"))
    frame = ratings(found)
    assert frame.to_dict("list") == {
        "user": ["196", "007"],
        "item": ["242", "302"],
        "value": [3.0, 5.0],
        "time": [881250949, 891717742],
    }
    assert frame["value"].dtype == numpy.float32 and frame["time"].dtype == numpy.int64
    assert found.users.loc[1].to_dict() == {
        "user": "007",
        "gender": "F",
        "age": "53",
        "occupation": "other",
        "zip": "94043",
    }
    assert found.items.to_dict("list") == {
        "item": ["242", "302"],
        "title": ["Amélie (1995)", "unknown"],
        "genres": ["genre1|genre2", ""],
        "year": ["1995", ""],
    }


def test_100k_fold_has_training_rows_then_test_rows(tmp_path):
    frame = ratings(registry.load("ml-100k", write(tmp_path / "x", "ml-100k"), fold="u1"))
    assert frame["test"].tolist() == [False, False, True]
    assert frame["item"].tolist() == ["1", "1", "6"]


def test_1m_is_latin_and_10m_is_utf8_with_halves(tmp_path):
    small = registry.load("ml-1m", write(tmp_path / "a", "ml-1m"))
    assert ratings(small)["value"].tolist() == [5.0, 3.0]
    assert small.items["title"].tolist() == ["Amélie: One (1975)", "James (1996)"]
    assert small.users.loc[0].tolist() == ["1", "F", "1", "10", "48067"]
    large = registry.load("ml-10m", write(tmp_path / "b", "ml-10m"))
    assert ratings(large)["value"].tolist() == [5.0, 3.5]
    assert large.items.loc[0].tolist() == ["1193", "Amélie (1975)", "Drama", "1975"]
    assert list(large.users.columns) == ["user"] and large.users.empty
    assert (large.rating_min, large.rating_max, large.rating_step) == (0.5, 5.0, 0.5)


def test_csv_with_quotes_other_columns_and_any_order(tmp_path):
    text = 'rating,userId,"note",movieId,timestamp\n4.5,1,"a, b",31,7\n'
    found = registry.load("ml-25m", write(tmp_path / "x", "ml-25m", ratings_csv=text))
    assert ratings(found).loc[0].tolist() == ["1", "31", 4.5, 7]
    assert found.items.loc[0].tolist() == ["31", "Amélie, The (2006–2007)", "", "2006"]


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("inner", ["", "ml-something/"])
def test_zip_and_folder_are_the_same_data(tmp_path, name, inner):
    folder = write(tmp_path / "x", name)
    loose, packed = registry.load(name, folder), registry.load(name, zipped(folder, inner))
    assert loose.fingerprint == packed.fingerprint and len(loose.fingerprint) == 64
    pandas.testing.assert_frame_equal(ratings(loose), ratings(packed))
    pandas.testing.assert_frame_equal(loose.items, packed.items)


def test_fingerprint_sees_one_changed_rating(tmp_path):
    one = registry.load("ml-100k", write(tmp_path / "a", "ml-100k"))
    other = LINES_100K.replace("\t3\t", "\t4\t")
    two = registry.load("ml-100k", write(tmp_path / "b", "ml-100k", u_data=other))
    assert one.fingerprint != two.fingerprint


def test_blocks_cut_anywhere_give_the_same_rows(tmp_path, monkeypatch):
    found = registry.load("ml-25m", write(tmp_path / "x", "ml-25m"))
    whole = ratings(found)
    monkeypatch.setattr(files, "BLOCK_BYTES", 5)
    pandas.testing.assert_frame_equal(ratings(found), whole)


def test_search_order_of_files(tmp_path, monkeypatch):
    folder = write(tmp_path / "data" / "ml-100k", "ml-100k")
    zipped(folder, "ml-100k/")
    for raw in (folder, folder.parent, folder.parent / "ml-100k.zip"):
        assert len(ratings(registry.load("ml-100k", raw))) == 2
    monkeypatch.setenv("TFREC_DATA", str(folder.parent))
    assert len(ratings(registry.load("ml-100k"))) == 2
    monkeypatch.setenv("TFREC_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="TFREC_DATA=.*nowhere is not a folder"):
        registry.load("ml-100k")


def test_download_goes_to_the_cache_once(tmp_path, monkeypatch):
    folder = write(tmp_path / "ml-1m", "ml-1m")
    calls = []

    def download(url, path, sha256):
        calls.append((url, len(sha256)))
        path.parent.mkdir()
        return zipped(folder, "ml-1m/").replace(path)

    monkeypatch.setattr(registry.download, "download", download)
    for _ in range(2):
        assert len(ratings(registry.load("ml-1m"))) == 2
    assert calls == [("https://files.grouplens.org/datasets/movielens/ml-1m.zip", 64)]
    assert (tmp_path / "cache" / "ml-1m.zip").exists()


BAD_LINES = [
    ("ml-100k", "u_data", "1\t2\t3\t4\n1\tx\tgood\t4\n", r"u.data, line 2, column 3 \(value\): 'g"),
    (
        "ml-100k",
        "u_data",
        "1\t2\t3\t4\n\n1\t2\t6\t4\n",
        r"line 3, column 3 .*'6' is not a rating f",
    ),
    ("ml-100k", "u_data", "1\t2\tnan\t4\n", r"line 1, column 3 .*'nan' is not a rating from 1 to"),
    ("ml-100k", "u_data", "1\t2\t3\t1e9\n", r"line 1, column 4 \(time\): '1e9' is not a whole nu"),
    ("ml-100k", "u_data", "1\t2\t3\t1260759144000\n", r"line 1, column 4 .*not a time in seconds"),
    ("ml-100k", "u_data", "1\t2\t3\n", r"line 1: 3 columns separated by tab, 4 are expected"),
    ("ml-100k", "u_data", "1,2,3,4\n", r"line 1: 4 columns separated by ',', but tab is expect"),
    ("ml-100k", "u_data", "\t2\t3\t4\n", r"line 1, column 1 \(user\): the user id is empty"),
    ("ml-100k", "u_data", "", r"u.data is empty"),
    ("ml-100k", "u_user", "1|2\n", r"u.user, line 1: 2 columns separated by '\|', 5 are exp"),
    ("ml-1m", "ratings_dat", "1::2::3::4\n1:2:3:4\n", r"ratings.dat, line 2: 1 columns sep"),
    (
        "ml-1m",
        "ratings_dat",
        "1::2::0::4\n",
        r"column 3 .*'0' is not a rating from 1 to 5; correct",
    ),
    ("ml-10m", "movies_dat", "1::a::b\n2::a\n", r"movies.dat, line 2: 2 columns separated by '::'"),
    (
        "ml-25m",
        "ratings_csv",
        "userId,movieId,rating\n",
        r"line 1: no column 'timestamp' \(found: u",
    ),
    ("ml-25m", "ratings_csv", "1,2,3,4\n", r"line 1: no column 'userId' \(found: 1, 2, 3, 4\)"),
    ("ml-25m", "ratings_csv", LINES_CSV + "1,2,,4\n", r"line 4, column 3 \(value\): '' is not a n"),
    ("ml-25m", "ratings_csv", LINES_CSV[:33], r"ratings.csv is empty: it has no data lines"),
]


@pytest.mark.parametrize(("name", "file", "text", "message"), BAD_LINES)
def test_bad_lines_are_named(tmp_path, name, file, text, message):
    folder = write(tmp_path / "x", name, **{file: text})
    with pytest.raises(ValueError, match=message) as raised:
        list(registry.load(name, folder).chunks())
    assert "\n" not in str(raised.value) and str(tmp_path) in str(raised.value)


def test_bytes_that_are_no_text_are_named(tmp_path):
    folder = write(tmp_path / "x", "ml-10m")
    (folder / "movies.dat").write_bytes(b"1::a::b\n2::Am\xe9lie::b\n")
    with pytest.raises(ValueError, match="movies.dat, line 2, column 2: not utf-8 text"):
        registry.load("ml-10m", folder)


def test_line_numbers_go_on_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", 64)
    text = LINES_CSV + "1,2,3,4\n" * 100 + "1,2,x,4\n"
    found = registry.load("ml-25m", write(tmp_path / "x", "ml-25m", ratings_csv=text))
    with pytest.raises(ValueError, match=r"ratings.csv, line 104, column 3 \(value\): 'x'"):
        list(found.chunks())


@pytest.mark.parametrize("block_bytes", [7, 1 << 20])
def test_a_rating_is_found_on_its_line(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(files, "BLOCK_BYTES", block_bytes)
    fold = {"u1_base": "1\t1\t5\t4\n\n2\t1\t4\t9\n", "u1_test": "\n3\t1\t4\t9\n4\t1\t4\t9"}
    for name, which, contents, locations in (
        ("ml-100k", "u1", fold, ["u1.base, line 1", "u1.base, line 3"]),
        ("ml-100k", "u1", fold, [None, None, "u1.test, line 2", "u1.test, line 3"]),
        ("ml-1m", None, {}, ["ratings.dat, line 1", "ratings.dat, line 2"]),
        ("ml-25m", None, {}, ["ratings.csv, line 2", "ratings.csv, line 3"]),
    ):
        folder = write(tmp_path / name, name, **contents)
        found = registry.load(name, folder, which)
        for number, location in enumerate(locations):
            assert location is None or found.locate(number) == f"{folder}/{location}"
        user, line = ratings(found)["user"].iloc[-1], found.locate(len(ratings(found)) - 1)
        path, number = line.split(", line ")
        lines = pathlib.Path(path).read_text().splitlines()
        assert lines[int(number) - 1].startswith(user)


def test_missing_damaged_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--raw=.*none.zip does not exist; ml-1m: downl"):
        registry.load("ml-1m", tmp_path / "none.zip")
    folder = write(tmp_path / "x", "ml-1m", users_dat=None)
    with pytest.raises(FileNotFoundError, match=r"holds no users.dat \(it holds: movies.dat, r"):
        registry.load("ml-1m", folder)
    whole = zipped(write(tmp_path / "y", "ml-1m"), "ml-1m/")
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole.read_bytes()[:-60])
    with pytest.raises(ValueError, match=r"cut.zip is damaged, truncated"):
        registry.load("ml-1m", cut)
    flipped = bytearray(whole.read_bytes())
    flipped[flipped.index(b"978302109")] ^= 1
    cut.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"cut.zip/ml-1m/ratings.dat is damaged.*CRC"):
        registry.load("ml-1m", cut)
    with pytest.raises(ValueError, match="pass the ml-1m zip or the folder"):
        registry.load("ml-1m", folder / "ratings.dat")
    with pytest.raises(ValueError, match=r"holds ratings.dat 2 times: x/ratings.dat, y/ratings"):
        registry.load("ml-10m", tmp_path)


def test_unknown_names_and_folds(tmp_path):
    with pytest.raises(ValueError, match=r"did you mean 'ml-100k'\? known: ml-100k, ml-1m"):
        registry.load("ml100k")
    with pytest.raises(ValueError, match="--data fold=u9: ml-100k has no such fold; .*known: u1"):
        registry.load("ml-100k", write(tmp_path / "a", "ml-100k"), fold="u9")
    with pytest.raises(ValueError, match="fold=u1: ml-1m comes without folds.*--split=random"):
        registry.load("ml-1m", write(tmp_path / "b", "ml-1m"), fold="u1")


def test_small_frames_are_gathered_to_chunks(monkeypatch):
    monkeypatch.setattr(columns, "CHUNK_ROWS", 4)
    frames = [pandas.DataFrame({"user": ["a"] * n}) for n in (3, 2, 1)]
    assert [len(chunk) for chunk in columns.gather(frames)] == [5, 1]


def test_embedded_set_and_its_licence():
    found = registry.load("ml-latest-small")
    frame = ratings(found)
    assert (len(frame), frame["user"].nunique(), frame["item"].nunique()) == (100836, 610, 9724)
    assert len(found.items) == 9742 and found.has_times
    assert frame.loc[0].tolist() == ["1", "1", 4.0, 964982703]
    folder = pathlib.Path(registry.__file__).parent / "embedded"
    with zipfile.ZipFile(folder / "ml-latest-small.zip") as archive:
        readme = archive.read("ml-latest-small/README.txt").decode()
    assert "so long as it is distributed under these same license conditions" in readme
    notice = (folder / "LICENSE-ml-latest-small.txt").read_text()
    assert "NOT covered" in notice and "Harper and Joseph A. Konstan" in notice


@pytest.mark.parametrize(
    ("name", "fold", "n_ratings", "n_users", "n_items", "n_test", "n_movies"),
    [
        ("ml-100k", None, 100000, 943, 1682, None, 1682),
        ("ml-100k", "u1", 100000, 943, 1682, 20000, 1682),
        ("ml-1m", None, 1000209, 6040, 3706, None, 3883),
    ],
)
def test_counts_of_real_movielens(name, fold, n_ratings, n_users, n_items, n_test, n_movies):
    if not (DATA / f"{name}.zip").exists() and not (DATA / name).exists():
        pytest.skip(f"{name} is not in {DATA}; set TFREC_DATA")
    found = registry.load(name, DATA, fold)
    frame = ratings(found)
    counts = (len(frame), frame["user"].nunique(), frame["item"].nunique())
    assert counts == (n_ratings, n_users, n_items)
    assert (len(found.users), len(found.items)) == (n_users, n_movies)
    assert (int(frame["test"].sum()) if fold else None) == n_test
