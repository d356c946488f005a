"""Downloads against a server on loopback: progress kept, hashes checked, nothing left behind."""

import hashlib
import http.server
import threading

import pytest

from tfrec.datasets.download import download

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT in the manner of the path: ranges, plain, or cut."""

    def do_GET(self):
        self.server.ranges.append(self.headers.get("Range"))
        if self.path == "/missing":
            return self.send_error(404)
        start = 0
        if self.path == "/ranges" and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        body = CONTENT[start:]
        self.wfile.write(body[:1000] if self.path == "/cut" else body)
        return None

    def log_message(self, *args):
        """Quiet."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.ranges = []
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_downloads_once_into_a_new_folder(server, tmp_path):
    path = tmp_path / "new" / "file.zip"
    for _ in range(2):
        assert download(server.url + "/plain", path, SHA256) == path
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert list(path.parent.iterdir()) == [path]


def test_resumes_where_it_stopped(server, tmp_path):
    path = tmp_path / "file.zip"
    (tmp_path / "file.zip.part").write_bytes(CONTENT[:12345])
    download(server.url + "/ranges", path, SHA256.upper())
    assert path.read_bytes() == CONTENT
    assert server.ranges == ["bytes=12345-"]


def test_starts_over_if_the_server_has_no_ranges(server, tmp_path):
    path = tmp_path / "file.zip"
    (tmp_path / "file.zip.part").write_bytes(b"x" * 500)
    download(server.url + "/plain", path, SHA256)
    assert path.read_bytes() == CONTENT
    assert server.ranges == ["bytes=500-"]


@pytest.mark.parametrize(("extra", "requests"), [(b"", 1), (b"too long", 2)])
def test_a_part_as_long_as_the_file_or_longer(server, tmp_path, extra, requests):
    path = tmp_path / "file.zip"
    (tmp_path / "file.zip.part").write_bytes(CONTENT + extra)
    download(server.url + "/ranges", path, SHA256)
    assert path.read_bytes() == CONTENT
    assert len(server.ranges) == requests


def test_a_cut_transfer_is_kept_and_then_completed(server, tmp_path):
    path = tmp_path / "file.zip"
    with pytest.raises(ConnectionError, match="ended after 1,000 of 1,048,576 bytes; run it again"):
        download(server.url + "/cut", path, SHA256)
    assert not path.exists()
    assert (tmp_path / "file.zip.part").read_bytes() == CONTENT[:1000]
    download(server.url + "/ranges", path, SHA256)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-"]


def test_a_wrong_hash_leaves_nothing(server, tmp_path):
    wrong = "0" * 64
    with pytest.raises(ValueError, match=f"has SHA-256 {SHA256}, expected {wrong}"):
        download(server.url + "/plain", tmp_path / "file.zip", wrong)
    assert list(tmp_path.iterdir()) == []


def test_without_a_known_hash_it_starts_over_and_prints_it(server, tmp_path, capsys):
    path = tmp_path / "file.zip"
    (tmp_path / "file.zip.part").write_bytes(b"of an older version")
    download(server.url + "/ranges", path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert SHA256 in capsys.readouterr().err


def test_network_errors_are_one_line(server, tmp_path):
    with pytest.raises(ConnectionError, match="/missing failed: HTTP 404 Not Found; .* --raw") as e:
        download(server.url + "/missing", tmp_path / "file.zip", SHA256)
    assert "\n" not in str(e.value)
    server_url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match="failed: .*refused"):
        download(server_url + "/plain", tmp_path / "file.zip", SHA256)
    assert list(tmp_path.iterdir()) == []
