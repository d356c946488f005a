"""Downloads against a server on loopback: hashes checked, nothing left behind."""

import hashlib
import http.server
import threading

import pytest

from tfrec.datasets.download import download

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, whole or cut."""

    def do_GET(self):
        self.server.requests += 1
        if self.path == "/missing":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/cut" else CONTENT)
        return None

    def log_message(self, *args):
        """Quiet."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.requests = 0
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_downloads_once_into_a_new_folder(server, tmp_path):
    path = tmp_path / "new" / "file.zip"
    for _ in range(2):
        assert download(server.url + "/plain", path, SHA256.upper()) == path
    assert path.read_bytes() == CONTENT
    assert server.requests == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_wrong_hash_leaves_nothing(server, tmp_path):
    wrong = "0" * 64
    with pytest.raises(ValueError, match=f"has SHA-256 {SHA256}, expected {wrong}"):
        download(server.url + "/plain", tmp_path / "file.zip", wrong)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_hash_is_printed(server, tmp_path, capsys):
    path = tmp_path / "file.zip"
    download(server.url + "/plain", path)
    assert path.read_bytes() == CONTENT
    assert SHA256 in capsys.readouterr().err


def test_network_errors_are_one_line_and_leave_nothing(server, tmp_path):
    with pytest.raises(ConnectionError, match="/cut failed: .*; run it again, or .* --raw"):
        download(server.url + "/cut", tmp_path / "file.zip", SHA256)
    with pytest.raises(ConnectionError, match="/missing failed: 404 .*Not Found.* --raw") as e:
        download(server.url + "/missing", tmp_path / "file.zip", SHA256)
    assert "\n" not in str(e.value)
    server_url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match="failed: .*refused"):
        download(server_url + "/plain", tmp_path / "file.zip", SHA256)
    assert list(tmp_path.iterdir()) == []
