"""Raw files from object stores, and pushes to them: `memory://`, and a real S3 server (slow)."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest
from pipeline_data_test import pack, ratings

from pipelines import artifacts, engine, example_gen, object_stores, pusher

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def bucket(request):
    """The address of an empty folder in memory."""
    address = f"memory://{request.node.name}"
    yield address
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("raw") / "day-7.zip", ratings())


def put(path, address):
    store, target = fsspec.core.url_to_fs(address)
    store.put_file(str(path), target)


def test_a_span_is_read_from_a_store_once(bucket, raw, tmp_path, capsys):
    put(raw, f"{bucket}/day-7.zip")
    put(raw, f"{bucket}/day-x.zip")
    found = example_gen.sources("ml-latest-small", f"{bucket}/day-{{SPAN}}.zip", None)
    assert [(s.number, s.raw) for s in found] == [(7, f"{bucket}/day-7.zip")]
    made = example_gen.run(found, tmp_path, engine.Local())[7]
    local = example_gen.make(example_gen.Source(7, "ml-latest-small", raw), tmp_path / "local")
    assert made.fingerprint == local.fingerprint
    (copy,) = (tmp_path / ".raw").glob("*/day-7.zip")
    before = copy.stat().st_ino
    capsys.readouterr()
    example_gen.run(found, tmp_path, engine.Local())
    assert "unchanged" in capsys.readouterr().out and copy.stat().st_ino == before
    put(pack(tmp_path / "other.zip", ratings(seed=3)), f"{bucket}/day-7.zip")
    assert example_gen.run(found, tmp_path, engine.Local())[7].fingerprint != made.fingerprint


def test_a_folder_is_staged_whole(bucket, raw, tmp_path):
    for name in ("a/ratings.csv", "movies.csv"):
        put(raw, f"{bucket}/small/{name}")
    copy = object_stores.staged(f"{bucket}/small", tmp_path)
    found = sorted(p.relative_to(copy).as_posix() for p in copy.rglob("*") if p.is_file())
    assert (copy.name, found) == ("small", ["a/ratings.csv", "movies.csv"])


def test_what_is_missing_or_cannot_be_an_address_is_refused(bucket, tmp_path):
    with pytest.raises(FileNotFoundError, match="not-there.zip does not exist"):
        object_stores.staged(f"{bucket}/not-there.zip", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nothing there matches; \{SPAN\} is a number"):
        example_gen.sources("ml-latest-small", f"{bucket}/day-{{SPAN}}.zip", None)
    with pytest.raises(ValueError, match="--push_dir=s3://b must be a directory"):
        object_stores.refuse("--push_dir", "s3://b")
    with pytest.raises(ValueError, match="pip install 'tfrec.stores.', and s3fs for s3://"):
        object_stores.names("nosuchstore://bucket")
    assert not object_stores.is_url("C:/data") and not object_stores.is_url(tmp_path)


def version(base, number, text="weights"):
    """A version as an export leaves it."""
    path = base / "ease" / f"{number}"
    (path / "assets.extra").mkdir(parents=True)
    (path / "saved_model.pb").write_text(text)
    (path / "assets.extra/pushed.json").write_text(
        json.dumps({"run": "r", "fingerprint": text, "k": 20})
    )
    return path


def test_a_version_is_complete_when_its_manifest_is_there(bucket, tmp_path, monkeypatch):
    store = fsspec.filesystem("memory")
    mirror = pusher.local(bucket, "ease", tmp_path)
    first = version(mirror, 1)
    address = pusher.published(first, bucket)
    assert address == f"{bucket}/ease/1"
    manifest = json.loads(store.cat(f"{address}/assets.extra/manifest.json"))
    assert manifest["files"].keys() == {"saved_model.pb", "assets.extra/pushed.json"}
    order = []
    put_file = store.put_file
    monkeypatch.setattr(
        type(store), "put_file", lambda self, a, b: order.append(b) or put_file(a, b)
    )
    monkeypatch.setattr(type(store), "pipe_file", lambda *_: 1 / 0)  # killed before the manifest
    with pytest.raises(ZeroDivisionError):
        pusher.published(version(mirror, 2), bucket)
    assert order[-1].endswith("saved_model.pb") and len(order) == 2
    monkeypatch.undo()
    other = pusher.local(bucket, "ease", tmp_path / "another root")
    found = {p.name for p in (other / "ease").iterdir()}
    assert found == {"1", ".rolled_back-2"}  # 2 is not served, and its number is not used again
    again = pusher.published(mirror / "ease/2", bucket)  # the same pipeline completes it
    assert store.exists(f"{again}/assets.extra/manifest.json")
    assert {"1", "2"} < {
        p.name for p in (pusher.local(bucket, "ease", tmp_path / "another root") / "ease").iterdir()
    }


def made(root, content="rows", **files):
    """An artefact, and how often it was built."""
    built = []

    def build(directory):
        built.append(directory)
        for name, text in ({"rows": content} | files).items():
            (directory / name).write_text(text)

    return artifacts.make(None, "transform", {}, {}, build, root=root), len(built)


def test_artefacts_of_a_root_in_a_store_are_made_once(bucket, tmp_path, capsys):
    here, there = (object_stores.root(f"{bucket}/root/", tmp_path / name) for name in "ab")
    assert object_stores.root(str(tmp_path), tmp_path) == tmp_path
    first, n = made(here)
    assert n == 1 and made(here)[1] == 0
    again, n = made(there)
    assert n == 0 and again.fingerprint == first.fingerprint
    assert again.path != first.path and (again.path / "rows").read_text() == "rows"
    assert capsys.readouterr().out.count("unchanged") == 2
    shutil.rmtree(again.path)
    assert artifacts.Artifact.load(again.path) == again


def test_an_artefact_without_its_manifest_is_made_again(bucket, tmp_path, monkeypatch):
    store = fsspec.filesystem("memory")
    here, there = (object_stores.root(bucket, tmp_path / name) for name in "ab")
    monkeypatch.setattr(type(store), "pipe_file", lambda *_: 1 / 0)  # killed before the manifest
    with pytest.raises(ZeroDivisionError):
        made(here, left="over")
    monkeypatch.undo()
    assert made(there)[1] == 1
    assert made(here)[1] == 0  # it was finished, though not in the store
    other = object_stores.root(bucket, tmp_path / "c")
    found, n = made(other)
    assert n == 0 and not (found.path / "left").exists()
    store.pipe_file(object_stores._address(found.path) + "/rows", b"damaged")
    with pytest.raises(ValueError, match=r"/rows has 7 bytes, not 4: remove memory://"):
        made(object_stores.root(bucket, tmp_path / "d"))


def test_a_schema_is_edited_in_the_store(bucket, tmp_path):
    schemas = [object_stores.root(bucket, tmp_path / n) / "schema_gen/schema.pbtxt" for n in "ab"]
    object_stores.fetch_file(schemas[0])
    assert not schemas[0].exists()
    schemas[0].parent.mkdir()
    schemas[0].write_text("inferred")
    object_stores.store_file(schemas[0])
    fsspec.filesystem("memory").pipe_file(f"{bucket}/schema_gen/schema.pbtxt", b"edited")
    for path in schemas:
        object_stores.fetch_file(path)
        assert path.read_text() == "edited"
    object_stores.fetch_file(tmp_path / "no/store/here")


@pytest.fixture
def s3(monkeypatch):
    """The address of a bucket of a server on this machine."""
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(words, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}"),
        ):
            monkeypatch.setenv(name, value)
        for _ in range(600):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_the_whole_pipeline_from_s3_to_s3(s3, raw, tmp_path):
    """Raw files, artefacts and models are in the store; a second machine has nothing else."""
    put(raw, f"{s3}/raw/day-7.zip")
    command = [
        *(sys.executable, "-m", "pipelines.local_runner", "--dataset=ml-latest-small"),
        *(f"--raw={s3}/raw/day-{{SPAN}}.zip", "--model=ease", "--runner=local"),
        *(f"--pipeline_root={s3}/root", f"--push_dir={s3}/served"),
    ]
    cache = tmp_path / "cache"

    def run(*words):
        done = subprocess.run(
            [*command, *words],
            env=os.environ | {"TFREC_CACHE": str(cache)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"pusher{'pushed':>22}" in run("--split=last")
    shutil.rmtree(cache)
    again = run("--split=last")
    assert again.count("unchanged") == 9 and f"{'kept':>10}" in again
    shutil.rmtree(cache)
    compared = run(
        "--split=last", "--set", "regularization=123"
    )  # with the served run, fetched for that
    assert re.search(r"^all +\d+ +[\d.]+ +[\d.]+ +[\d.]+$", compared, re.MULTILINE)
    store = fsspec.filesystem("s3", use_listings_cache=False)
    files = json.loads(store.cat("bucket/served/ease/1/assets.extra/manifest.json"))["files"]
    assert all(store.size(f"bucket/served/ease/1/{name}") == n for name, n in files.items())
    assert "saved_model.pb" in files and store.exists("bucket/served/ease/2/saved_model.pb")
    fetched = object_stores.staged(f"{s3}/served/ease/1", tmp_path / "fetched")
    import tensorflow as tf

    assert "serving_default" in tf.saved_model.load(str(fetched)).signatures
