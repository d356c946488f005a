"""Raw files from, and served models to, object stores: `s3://`, `gs://`, `memory://`, by fsspec.

Nothing is renamed there, because object stores cannot. Raw files are staged in the pipeline's root,
under a name of the object's version, so that an unchanged object is read once. A pushed version
is complete when its manifest exists, which is written last; what a killed push left has none, keeps
its number, and is completed or ignored.
"""

import hashlib
import json
import pathlib
import re
from typing import Any

from tfrec import aside

MANIFEST = "assets.extra/manifest.json"  # sizes of all other files of a version, by path
_LAST = "saved_model.pb"  # of the files before it: without it, no server loads a version
_RECORD = "assets.extra/pushed.json"
ROLLED_BACK = ".rolled_back-"  # of versions that are not served, and keep their number
_URL = re.compile(r"[a-z][a-z0-9+]+://")


def is_url(path: Any) -> bool:
    """Whether a flag's value is the address of an object store."""
    return bool(_URL.match(str(path)))


def refuse(flag: str, path: Any) -> None:
    """Refuses an address where only a directory will do.

    Raises:
        ValueError: naming the flags that take an address.
    """
    if is_url(path):
        raise ValueError(
            f"{flag}={path} must be a directory, on this machine or on a file system that all "
            "workers share; --raw and --push_dir may be addresses of an object store"
        )


def _filesystem(url: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        ValueError: its package is not installed.
    """
    try:
        import fsspec

        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"{url} cannot be read ({error}): pip install 'tfrec[stores]', and s3fs for s3:// or "
            "gcsfs for gs://"
        ) from error


def names(url: str) -> list[str]:
    """Names of what is in a folder of an object store; empty if there is none."""
    store, path = _filesystem(url)
    store.invalidate_cache()
    try:
        return [pathlib.PurePosixPath(found).name for found in store.ls(path, detail=False)]
    except FileNotFoundError:
        return []


def staged(url: str, folder: pathlib.Path) -> pathlib.Path:
    """A local copy of an object, or of a folder of objects.

    Args:
        url: Its address.
        folder: Where copies are kept; one of the same version is used again.

    Raises:
        FileNotFoundError: there is no such object.
        ValueError: as from `_filesystem`.
    """
    store, path = _filesystem(url)
    store.invalidate_cache()
    found = store.find(path, detail=True)
    if not found:
        raise FileNotFoundError(f"{url} does not exist")
    kinds = {n: [i.get(k) for k in ("ETag", "etag", "size", "created")] for n, i in found.items()}
    text = json.dumps([url, kinds], sort_keys=True, default=str)
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    target = folder / mark / pathlib.PurePosixPath(path).name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    if list(found) == [path]:
        with aside.file(target) as file:
            store.get_file(path, str(file))
        return target
    with aside.folder(target) as copy:
        for name in found:
            own = copy / pathlib.PurePosixPath(name).relative_to(path)
            own.parent.mkdir(parents=True, exist_ok=True)
            store.get_file(name, str(own))
    return target


def mirror(url: str, model: str, folder: pathlib.Path) -> pathlib.Path:
    """A local --push_dir with the records of the versions that a store has.

    Args:
        url: The store's --push_dir.
        model: The model.
        folder: Where mirrors are kept.
    """
    own = folder / hashlib.sha256(url.encode()).hexdigest()[:16]
    versions = own / model
    versions.mkdir(parents=True, exist_ok=True)
    address = f"{url.rstrip('/')}/{model}"
    store, base = _filesystem(address)
    for name in (name for name in names(address) if name.isdigit()):
        there = f"{base}/{name}/"
        if (versions / name / _RECORD).exists():
            continue
        if not (store.exists(there + MANIFEST) and store.exists(there + _RECORD)):
            (versions / f"{ROLLED_BACK}{name}").mkdir(exist_ok=True)  # its number is taken
            continue
        with aside.folder(versions / name) as version:
            (version / _RECORD).parent.mkdir(parents=True)
            (version / _RECORD).write_bytes(store.cat_file(there + _RECORD))
    return own


def upload(version: pathlib.Path, url: str) -> str:
    """Copies a version to a store, the manifest last; returns its address there.

    Args:
        version: `<mirror>/<model>/<number>`.
        url: The store's --push_dir.
    """
    address = f"{url.rstrip('/')}/{version.parent.name}/{version.name}"
    store, base = _filesystem(address)
    store.invalidate_cache()
    if store.exists(f"{base}/{MANIFEST}"):
        return address
    files = {p.relative_to(version).as_posix(): p for p in version.rglob("*") if p.is_file()}
    for name in sorted(files, key=lambda name: (name == _LAST, name)):
        store.makedirs(f"{base}/{name}".rpartition("/")[0], exist_ok=True)
        store.put_file(str(files[name]), f"{base}/{name}")
    sizes = {name: path.stat().st_size for name, path in files.items()}
    text = json.dumps({"files": sizes}, indent=2, sort_keys=True) + "\n"
    store.pipe_file(f"{base}/{MANIFEST}", text.encode())
    return address
