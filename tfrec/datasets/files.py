"""The text files of a data set: one interface for zips, folders and single files."""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import lzma
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, cast

import pyarrow

BLOCK_BYTES = 20 << 20  # about a million ratings

_DAMAGE = (
    *(zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, pyarrow.ArrowException),
    RuntimeError,  # encrypted, or an unknown compression method
    OSError,  # without an errno: from bzip2, gzip and Parquet
)


@dataclasses.dataclass(frozen=True)
class TextFile:
    """One file.

    Attributes:
        where: Its full name in errors, such as "data/ml-1m.zip/ml-1m/ratings.dat".
        name: Its path inside the zip or folder.
        opener: Opens it for reading bytes; `.gz` files are decompressed.
    """

    where: str
    name: str
    opener: Callable[[], IO[bytes]]

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yields (number of the first line, some whole lines), in bounded memory.

        Raises:
            ValueError: the file is damaged, truncated or empty.
        """
        line, rest = 1, b""
        with naming(self.where), self.opener() as stream:
            while data := stream.read(BLOCK_BYTES):
                cut = data.rfind(b"\n") + 1
                block, rest = (rest + data[:cut], data[cut:]) if cut else (b"", rest + data)
                if block:
                    yield line, block
                    line += block.count(b"\n")
        if rest:
            yield line, rest
        elif line == 1:
            raise ValueError(f"{self.where} is empty; get the data set again")

    def read(self) -> bytes:
        """The file's content, for small files."""
        return b"".join(block for _, block in self.blocks())

    def first_line(self, encoding: str = "utf-8") -> str:
        """The first line, without line ending and byte order mark."""
        with naming(self.where), self.opener() as stream:
            line = stream.readline(1 << 20)
        if not line:
            raise ValueError(f"{self.where} is empty; get the data set again")
        return line.decode(encoding, "replace").lstrip("\ufeff").rstrip("\r\n")


class Files:
    """The files of one data set.

    Args:
        where: The zip or folder, for errors.
        openers: Functions that open the files, by path inside.
    """

    def __init__(self, where: str, openers: dict[str, Callable[[], IO[bytes]]]) -> None:
        self.where = where
        self._openers = openers

    @property
    def names(self) -> list[str]:
        """Paths inside the zip or folder, sorted."""
        return sorted(self._openers)

    def file(self, name: str) -> TextFile:
        """The file at the path `name`, one of `names`."""
        opener = self._openers[name]
        return TextFile(
            where=f"{self.where}/{name}",
            name=name,
            opener=lambda: _unpacked(opener(), name.endswith(".gz")),
        )

    def find(self, base_name: str) -> TextFile | None:
        """The file of that name in any inner folder; None if absent.

        Raises:
            ValueError: two inner folders hold such a file.
        """
        found = [name for name in self.names if pathlib.PurePosixPath(name).name == base_name]
        top = min((name.count("/") for name in found), default=0)
        found = [name for name in found if name.count("/") == top]
        if len(found) > 1:
            raise ValueError(
                f"{self.where} holds {base_name} {len(found)} times: {', '.join(found)}; "
                "pass the inner folder that is meant with --raw"
            )
        return self.file(found[0]) if found else None

    def require(self, base_name: str) -> TextFile:
        """Like `find`.

        Raises:
            FileNotFoundError: there is no such file.
        """
        found = self.find(base_name)
        if found is None:
            cure = "pass the data set's own zip or folder with --raw"
            raise self.missing(base_name, cure)
        return found

    def missing(self, what: str, cure: str) -> FileNotFoundError:
        """An error for files that are not there, with the names of those that are."""
        held = ", ".join(self.names[:8]) + (", ..." if len(self.names) > 8 else "")
        return FileNotFoundError(
            f"{self.where} holds no {what} (it holds: {held or 'nothing'}); {cure}"
        )


def from_path(path: pathlib.Path) -> Files:
    """The files of a zip, of a folder (two levels deep), or a single file."""
    if path.is_dir():
        inside = [p for pattern in ("*", "*/*") for p in path.glob(pattern) if p.is_file()]
        openers = {p.relative_to(path).as_posix(): _opener(p) for p in inside}
        return Files(str(path), openers)
    if path.suffix == ".zip" or zipfile.is_zipfile(path):
        return from_zip(path, str(path))
    return from_paths([path])


def from_paths(paths: Iterable[pathlib.Path]) -> Files:
    """Single files of one folder."""
    paths = list(paths)
    return Files(str(paths[0].parent), {p.name: _opener(p) for p in paths})


def from_zip(source: pathlib.Path | bytes, where: str) -> Files:
    """The files of a zip.

    Args:
        source: Its path, or its bytes.
        where: Its name in errors.

    Raises:
        ValueError: it is damaged or not a zip.
    """

    def archive() -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)

    def opener(member: str) -> Callable[[], IO[bytes]]:
        def open_member() -> IO[bytes]:
            with archive() as opened:  # the open member keeps the zip's file open
                return opened.open(member)

        return open_member

    with naming(where), archive() as opened:
        members = [m for m in opened.namelist() if not m.endswith("/")]
    members = [m for m in members if not m.startswith("__MACOSX/")]
    return Files(where, {member: opener(member) for member in members})


def fingerprint(files: Iterable[TextFile]) -> str:
    """SHA-256 (hex) over the contents of `files` in order, independent of their names."""
    total = hashlib.sha256()
    for file in files:
        digest = hashlib.sha256()
        for _, block in file.blocks():
            digest.update(block)
        total.update(digest.digest())
    return total.hexdigest()


def _opener(path: pathlib.Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _unpacked(stream: IO[bytes], packed: bool) -> IO[bytes]:
    return cast(IO[bytes], _Gunzip(stream)) if packed else stream


class _Gunzip(gzip.GzipFile):
    """A GzipFile that also closes the underlying stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(fileobj=stream)
        self._under = stream

    def close(self) -> None:
        super().close()
        self._under.close()


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Turns the various errors of damaged archives into one that names the file."""
    try:
        yield
    except _DAMAGE as error:
        if getattr(error, "errno", None) is not None:
            raise
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{where} is damaged, truncated or not of its format ({reason}); download it again"
        ) from error
