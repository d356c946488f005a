"""Downloads a file over HTTP, with progress, resume, SHA-256 and an atomic rename at the end."""

import hashlib
import http.client
import pathlib
import ssl
import sys
import urllib.error
import urllib.request

import tqdm

TIMEOUT_SECONDS = 30
_BLOCK = 1 << 20
_NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    TimeoutError,
    ConnectionError,
)


def download(url: str, path: str | pathlib.Path, sha256: str | None = None) -> pathlib.Path:
    """Downloads `url` to `path`, unless the file exists already.

    Bytes go to `<path>.part`, which is renamed once it is complete and its hash is right. After
    a broken transfer the next call resumes if the server supports it; without a known hash it
    starts over, since the file may have changed in between.

    Args:
        url: http or https address.
        path: File to write.
        sha256: The expected hash; if None, the file's hash is printed.

    Returns:
        `path`.

    Raises:
        ConnectionError: the network, the server or the address failed.
        ValueError: the file has another hash; it is removed.
    """
    path = pathlib.Path(path)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    if sha256 is None:
        part.unlink(missing_ok=True)
    try:
        _fetch(url, part)
    except _NETWORK as e:
        reason = getattr(e, "reason", None) or e
        code = f"HTTP {e.code} " if isinstance(e, urllib.error.HTTPError) else ""
        again = " to go on where it stopped" if sha256 else ""
        raise ConnectionError(
            f"download of {url} failed: {code}{reason}; run it again{again}, "
            "or download the file by other means and pass it with --raw"
        ) from e
    _check(url, part, sha256)
    return part.replace(path)


def file_sha256(path: pathlib.Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch(url: str, part: pathlib.Path) -> None:
    """Downloads to `part`; resumes if it exists and the server supports it."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "tfrec", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            if not (error.code == 416 and have):
                raise
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return None  # complete already; only its hash was not checked
        part.unlink()  # longer than the file
        return _fetch(url, part)
    with response:
        resumed = response.status == 206 and _start(response) == have
        if have and response.status == 206 and not resumed:
            part.unlink()
            return _fetch(url, part)
        _append(response, part, have if resumed else 0)
    return None


def _append(response: http.client.HTTPResponse, part: pathlib.Path, have: int) -> None:
    """Writes the response's bytes after the first `have` bytes of `part`."""
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    bar = tqdm.tqdm(
        total=total,
        initial=have,
        unit="B",
        unit_scale=True,
        desc=part.name.removesuffix(".part"),
        disable=None,
    )
    with bar, part.open("ab" if have else "wb") as out:
        while block := response.read(_BLOCK):
            out.write(block)
            bar.update(len(block))
            have += len(block)
    if total is not None and have != total:
        raise ConnectionError(f"the transfer ended after {have:,} of {total:,} bytes")


def _start(response: http.client.HTTPResponse) -> int:
    """The offset of a 206 response's first byte; -1 if it gives none."""
    text = response.headers.get("Content-Range", "")
    start = text.removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else -1


def _check(url: str, part: pathlib.Path, sha256: str | None) -> None:
    found = file_sha256(part)
    if sha256 is None:
        print(f"{url}: no SHA-256 is known for it, this file has {found}", file=sys.stderr)
    elif found != sha256.lower():
        part.unlink()
        raise ValueError(
            f"{url} has SHA-256 {found}, expected {sha256}; the download is removed. Try "
            "again; if the hash stays, the file has changed: download it yourself and pass it with "
            "--raw"
        )
