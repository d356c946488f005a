"""Bad input through the commands: one line with file, line and cure, and no files left."""

import errno
import re
import zipfile

import pytest
import tensorflow as tf
from commands_test import listing, run

RATINGS = "".join(
    f"{u}::{i}::{1 + (u * i) % 5}::{1000 + u * 20 + i}\n"
    for u in range(1, 13)
    for i in range(1, 11)
    if (u + i) % 4
)
FILES = {
    "ratings.dat": RATINGS,
    "users.dat": "".join(f"{u}::F::1::10::48067\n" for u in range(1, 13)),
    "movies.dat": "".join(f"{i}::Film {i} (1990)::Drama\n" for i in range(1, 11)),
}
FIRST, SECOND, *REST = RATINGS.splitlines(keepends=True)


def packed(path, **changes):
    """A small ml-1m.zip; `changes` replaces files, without their suffix."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in FILES.items():
            archive.writestr(f"ml-1m/{name}", changes.get(name.removesuffix(".dat"), text))
    return path


def cut_short(path):
    path.write_bytes(packed(path).read_bytes()[:-200])


def one_byte_off(path):
    content = bytearray(packed(path).read_bytes())
    content[80] ^= 0xFF  # inside the packed ratings
    path.write_bytes(content)


def ratings(text):
    return lambda path: packed(path, ratings=text)


BAD = {
    "missing zip": (lambda path: None, r"--raw=\S+ml-1m.zip does not exist; .*download it"),
    "truncated zip": (cut_short, r"ml-1m.zip is damaged, truncated .*; download it again"),
    "damaged zip": (one_byte_off, r"ml-1m.zip/ml-1m/ratings.dat is damaged.*; download it again"),
    "no zip at all": (
        lambda p: p.write_text(RATINGS),
        r"ml-1m.zip is damaged.*; download it again",
    ),
    "empty zip": (lambda p: zipfile.ZipFile(p, "w").close(), r"ml-1m.zip holds no .*--raw"),
    "wrong separator": (
        ratings(RATINGS.replace("::", ",")),
        r"ratings.dat, line 1: 4 columns separated by ',', but '::' is expected here; correct",
    ),
    "wrong column count": (
        ratings(FIRST + "7::3\n"),
        r"ratings.dat, line 2: 2 columns separated by '::', 4 are expected: '7::3'; correct",
    ),
    "rating that is no number": (
        ratings(FIRST + SECOND + "7::1::five::1000\n"),
        r"ratings.dat, line 3, column 3 \(value\): 'five' is not a number; correct",
    ),
    "rating out of range": (
        ratings(FIRST + "7::1::6::1000\n"),
        r"ratings.dat, line 2, column 3 \(value\): '6' is not a rating from 1 to 5; correct",
    ),
    "time that is no number": (
        ratings("7::1::5::noon\n"),
        r"ratings.dat, line 1, column 4 \(time\): 'noon' is not a whole number",
    ),
    "duplicate": (
        ratings(RATINGS + FIRST),
        r"user '1' rated item '1' twice: \S+ml-1m.zip/ml-1m/ratings.dat, line 1, and "
        r"\S+/ratings.dat, line 91 .*--data duplicates=last",
    ),
    "empty file": (ratings(""), r"ratings.dat is empty.*; get the data set again"),
    "nothing left by the filters": (packed, r"--data", "--data", "min_rating=6"),
}


@pytest.fixture
def tfrec(capsys, monkeypatch, tmp_path):
    """`tfrec(command, *words)` -> status, out, err; finds no data but what is passed."""
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFREC_DATA", raising=False)
    monkeypatch.delenv("TFREC_DEBUG", raising=False)
    return lambda command, *words: run(capsys, command, *words)


@pytest.fixture(params=["prepare", "train"])
def words(request, tmp_path):
    """A command on tmp_path/ml-1m.zip, into tmp_path/data."""
    words = [request.param, "--dataset=ml-1m", f"--data_dir={tmp_path / 'data'}"]
    train = ["--model=popularity", f"--run_dir={tmp_path / 'run'}"]
    return [*words, f"--raw={tmp_path / 'ml-1m.zip'}", *(train if words[0] == "train" else [])]


def refused(done, message):
    """One line on stderr, status 1."""
    assert done.status == 1
    assert re.match("error: .*" + message, done.err), done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("what", BAD)
def test_bad_raw_files(tfrec, tmp_path, words, what):
    make, message, *more = BAD[what]
    make(tmp_path / "ml-1m.zip")
    before = listing(tmp_path)
    refused(tfrec(*words, *more), message)
    assert listing(tmp_path) == before


def test_good_raw_files(tfrec, tmp_path, words):
    packed(tmp_path / "ml-1m.zip")
    done = tfrec(*words)
    assert (done.status, done.err) == (0, "")


def test_duplicates_that_are_dropped_are_counted(tfrec, tmp_path, words):
    packed(tmp_path / "ml-1m.zip", ratings=RATINGS + FIRST)
    assert "dropped: 1 duplicates" in tfrec(*words, "--data", "duplicates=last").out


@pytest.fixture
def prepared(tfrec, tmp_path):
    """Data and a run on it, in tmp_path."""
    packed(tmp_path / "ml-1m.zip")
    words = ["--dataset=ml-1m", f"--data_dir={tmp_path / 'data'}"]
    tfrec("prepare", *words, f"--raw={tmp_path / 'ml-1m.zip'}")
    tfrec("train", "--model=popularity", *words, f"--run_dir={tmp_path / 'run'}")
    return words


def test_a_data_dir_with_other_settings(tfrec, tmp_path, prepared):
    other = ["--split=last", "--data", "seed=1"]
    raw = f"--raw={tmp_path / 'ml-1m.zip'}"
    before = listing(tmp_path)
    message = r"--data_dir=\S+data was .*seed is 0.*split is 'random'.*--overwrite"
    refused(tfrec("prepare", *prepared, *other, raw), message)
    train = ["train", "--model=popularity", *prepared, *other, f"--run_dir={tmp_path / 'new'}"]
    refused(tfrec(*train), message)
    assert listing(tmp_path) == before


def test_a_data_dir_of_other_files(tfrec, tmp_path, prepared):
    packed(tmp_path / "ml-1m.zip", ratings=RATINGS.replace("::5::", "::4::"))
    raw = f"--raw={tmp_path / 'ml-1m.zip'}"
    before = listing(tmp_path)
    message = (
        r"--data_dir=\S+data was prepared from other source files.*`python -m "
        r"tfrec.prepare --overwrite --dataset=ml-1m --split=random --data_dir=\S+data`"
    )
    refused(tfrec("prepare", *prepared, raw), message)
    refused(tfrec("train", *prepared, raw, f"--run_dir={tmp_path / 'new'}"), message)
    assert listing(tmp_path) == before


def test_a_data_dir_of_another_version(tfrec, tmp_path, prepared):
    info = tmp_path / "data/info.json"
    info.write_text(info.read_text().replace('"format": 2', '"format": 1'))
    before = listing(tmp_path)
    train = ["train", "--model=popularity", *prepared, f"--run_dir={tmp_path / 'new'}"]
    message = r"--data_dir=\S+data was .* format 1; this one reads format 2: .*`(python -m .*)`"
    refused(tfrec(*train), message)
    assert listing(tmp_path) == before
    cure = re.search(message, tfrec(*train).err)[1].split()
    assert cure[:3] == ["python", "-m", "tfrec.prepare"]
    tfrec("prepare", *cure[3:], f"--raw={tmp_path / 'ml-1m.zip'}")
    assert tfrec(*train).status == 0


def test_a_data_dir_from_before_a_setting_was_there(tfrec, tmp_path, prepared):
    info = tmp_path / "data/info.json"
    info.write_text(info.read_text().replace('    "columns": "",\n', "", 1))
    assert "columns" not in info.read_text()
    train = ["train", "--model=popularity", *prepared, f"--run_dir={tmp_path / 'new'}"]
    assert tfrec(*train).status == 0


def test_data_and_runs_from_before_filters_could_be_none(tfrec, tmp_path, prepared):
    for file in (tmp_path / "data/info.json", tmp_path / "run/config.json"):
        text = re.sub(
            r'"(min_rating|drop_rating|label_above)": null', r'"\1": 0.0', file.read_text()
        )
        assert text.count(": 0.0,") >= 3
        file.write_text(text)
    assert tfrec("evaluate", f"--run_dir={tmp_path / 'run'}").status == 0
    new = f"--run_dir={tmp_path / 'new'}"
    assert tfrec("train", "--model=popularity", *prepared, new).status == 0
    words = ["train", "--model=popularity", *prepared, "--data", "min_rating=none"]
    refused(
        tfrec(*words, f"--run_dir={tmp_path / 'other'}"),
        r"--data_dir=\S+data was prepared .*\(min_rating is 0.0, requested is None",
    )


@pytest.mark.parametrize("name", ["info.json", "train-00002-of-00004.tfrecord"])
def test_a_damaged_data_dir(tfrec, tmp_path, prepared, name):
    path = tmp_path / "data" / name
    path.write_bytes(path.read_bytes()[:-3])
    message = rf"\S+{name} is damaged, or of another version .* prepare it again with `python -m "
    train = ["train", "--model=popularity", *prepared, f"--run_dir={tmp_path / 'new'}"]
    for words in (train, ["describe", prepared[1]], ["evaluate", f"--run_dir={tmp_path / 'run'}"]):
        refused(tfrec(*words), message)


def test_a_data_dir_that_holds_something_else(tfrec, tmp_path, words):
    packed(tmp_path / "ml-1m.zip")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.txt").write_text("mine")
    before = listing(tmp_path)
    refused(tfrec(*words), r"--data_dir=\S+ is not empty and was not prepared by tfrec")
    refused(tfrec(*words, "--overwrite"), r"--data_dir=\S+ is not empty and was not prepared")
    assert listing(tmp_path) == before


def test_a_run_dir_that_holds_a_run(tfrec, tmp_path, prepared):
    before = listing(tmp_path)
    for model in ("popularity", "biases"):
        done = tfrec("train", f"--model={model}", *prepared, f"--run_dir={tmp_path / 'run'}")
        refused(done, r"--run_dir=\S+run already holds a run: .*--resume.*--overwrite.*--run_dir")
    assert listing(tmp_path) == before


def test_a_run_dir_that_holds_something_else(tfrec, tmp_path, prepared):
    (tmp_path / "mine/logs").mkdir(parents=True)
    (tmp_path / "mine/logs/precious").write_text("x")
    before = listing(tmp_path)
    for more in ([], ["--overwrite"], ["--resume"]):
        done = tfrec("train", *prepared, f"--run_dir={tmp_path / 'mine'}", *more)
        refused(done, r"--run_dir=\S+mine holds logs, but no run .*: give another --run_dir")
    assert listing(tmp_path) == before


def test_rows_of_the_other_kind(tfrec, tmp_path, prepared):
    before = listing(tmp_path)
    done = tfrec("train", "--model=autorec", *prepared, f"--run_dir={tmp_path / 'new'}")
    refused(done, r"AutoRec .* reads rows by item, the data is prepared with rows by user")
    assert listing(tmp_path) == before


# ------------------------------------------------------------------ a full disk

CURE = r".*No space left on device.*; free some space, or give a folder on another disk \(--run_dir"


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def full_for_tensorflow(*args, **kwargs):
    """What its writers raise (seen on a full tmpfs)."""
    text = "{{function_node __wrapped__SaveV2}} /a/b; No space left on device\n [Op:SaveV2]"
    raise tf.errors.ResourceExhaustedError(None, None, text)


@pytest.mark.parametrize(
    ("where", "write"),
    [
        ("tfrec.data.blocks.gather", full_for_tensorflow),
        ("tfrec.data.vocabulary.write", full),
        ("tfrec.training.runs.RunDir.write_json", full),
        ("keras.Model.save", full),
        ("numpy.savez", full),
        ("tfrec.training.tensorboard.Curves.on_epoch_end", full_for_tensorflow),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_full_disk_while_training(tfrec, tmp_path, monkeypatch, where, write):
    packed(tmp_path / "ml-1m.zip")
    words = ["--model=popularity", f"--run_dir={tmp_path / 'run'}", "--dataset=ml-1m"]
    words += [f"--raw={tmp_path / 'ml-1m.zip'}", f"--data_dir={tmp_path / 'data'}"]
    if ".data." not in where:
        tfrec("prepare", *words[2:])
    before = listing(tmp_path)
    monkeypatch.setattr(where, write)
    done = tfrec("train", *words)
    refused(done, CURE)
    assert "{{" not in done.err
    assert listing(tmp_path) == before


def test_full_disk_while_exporting(tfrec, tmp_path, monkeypatch, prepared):
    before = listing(tmp_path)
    monkeypatch.setattr("tfrec.serving.export.write", full_for_tensorflow)
    words = ["export", f"--run_dir={tmp_path / 'run'}", f"--export_dir={tmp_path / 'served'}"]
    refused(tfrec(*words), CURE)
    assert listing(tmp_path) == before


def test_a_bug_shows_where_it_came_from(tfrec, tmp_path, monkeypatch):
    monkeypatch.setattr("tfrec.datasets.registry.DATASETS", None)
    with pytest.raises(TypeError):
        tfrec("prepare", f"--data_dir={tmp_path / 'data'}")


def test_debug_shows_the_traceback(tfrec, monkeypatch):
    monkeypatch.setenv("TFREC_DEBUG", "1")
    with pytest.raises(ValueError, match="unknown"):
        tfrec("train", "--model=x")
