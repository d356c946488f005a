"""Downloads a file over HTTP, with progress, SHA-256 and an atomic rename at the end."""

import hashlib
import pathlib
import sys

import requests
import tqdm

from tfrec import aside

TIMEOUT_SECONDS = 30
_BLOCK = 1 << 20


def download(url: str, path: str | pathlib.Path, sha256: str | None = None) -> pathlib.Path:
    """Downloads `url` to `path`, unless the file exists already.

    Args:
        url: http or https address.
        path: File to write.
        sha256: The expected hash; if None, the file's hash is printed.

    Returns:
        `path`.

    Raises:
        ConnectionError: the network, the server or the address failed; nothing is kept.
        ValueError: the file has another hash; nothing is kept.
    """
    path = pathlib.Path(path)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with aside.file(path) as part:
        try:
            found = _fetch(url, part, path.name)
        except requests.RequestException as error:
            raise ConnectionError(
                f"download of {url} failed: {error}; run it again, or download the file by other "
                "means and pass it with --raw"
            ) from error
        if sha256 is None:
            print(f"{url}: no SHA-256 is known for it, this file has {found}", file=sys.stderr)
        elif found != sha256.lower():
            raise ValueError(
                f"{url} has SHA-256 {found}, expected {sha256}. Try again; if the hash stays, the "
                "file has changed: download it yourself and pass it with --raw"
            )
    return path


def _fetch(url: str, part: pathlib.Path, name: str) -> str:
    """Downloads to `part`; returns the SHA-256 in hex."""
    digest = hashlib.sha256()
    with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response:
        response.raise_for_status()
        total = int(response.headers.get("Content-Length", 0)) or None
        bar = tqdm.tqdm(total=total, unit="B", unit_scale=True, desc=name, disable=None)
        with bar, part.open("wb") as out:
            for block in response.iter_content(_BLOCK):
                digest.update(block)
                bar.update(out.write(block))
    return digest.hexdigest()
