"""Raw files, artefacts and models in object stores: `s3://`, `gs://`, `memory://`, by fsspec.

Nothing is renamed there, because object stores cannot. Raw files are staged in the pipeline's root,
under a name of the object's version, so that an unchanged object is read once. A folder there, an
artefact or a pushed version, is complete when its manifest exists, which is written last; what a
killed run left has none, and is completed or ignored; a version keeps its number.

A root in a store is staged in a local directory, whose file `.store` has the address: an artefact
is copied to the store when it is finished, and back where it is needed and missing.
"""

import hashlib
import json
import pathlib
import re
from typing import Any

from tfrec import aside

MANIFEST = "assets.extra/manifest.json"  # sizes of all other files of a version, by path
_OF_ARTIFACT = "manifest.json"  # the same of an artefact
_LAST = "saved_model.pb"  # of the files before it: without it, no server loads a version
_ADDRESS = ".store"
_RECORD = "assets.extra/pushed.json"
ROLLED_BACK = ".rolled_back-"  # of versions that are not served, and keep their number
_URL = re.compile(r"[a-z][a-z0-9+]+://")


def is_url(path: Any) -> bool:
    """Whether a flag's value is the address of an object store."""
    return bool(_URL.match(str(path)))


def refuse(flag: str, path: Any) -> None:
    """Refuses an address where only a directory will do.

    Raises:
        ValueError: it is an address.
    """
    if is_url(path):
        raise ValueError(f"{flag}={path} must be a directory")


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
    _put(version, address, MANIFEST, _LAST)
    return address


def _put(folder: pathlib.Path, address: str, manifest: str, last: str = "") -> None:
    """Copies a folder to a store, unless it is complete there; `last` is the last of its files."""
    store, base = _filesystem(address)
    store.invalidate_cache()
    if store.exists(f"{base}/{manifest}"):
        return
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    for name in sorted(files, key=lambda name: (name == last, name)):
        store.makedirs(f"{base}/{name}".rpartition("/")[0], exist_ok=True)
        store.put_file(str(files[name]), f"{base}/{name}")
    sizes = {name: path.stat().st_size for name, path in files.items()}
    text = json.dumps({"files": sizes}, indent=2, sort_keys=True) + "\n"
    store.pipe_file(f"{base}/{manifest}", text.encode())


def root(path: str, cache: pathlib.Path) -> pathlib.Path:
    """A --pipeline_root as a directory: itself, or the one where a store's is staged.

    Args:
        path: The flag's value.
        cache: Where roots are staged.
    """
    if not is_url(path):
        return pathlib.Path(path)
    address = path.rstrip("/")
    names(address)  # fails before any work if the store cannot be read
    staging = cache / "pipelines" / hashlib.sha256(address.encode()).hexdigest()[:16]
    staging.mkdir(parents=True, exist_ok=True)
    with aside.file(staging / _ADDRESS) as file:
        file.write_text(address)
    return staging


def _address(path: pathlib.Path) -> str:
    """The address of `<root>/<component>/<name>`; "" if that root is not in a store."""
    note = path.parent.parent / _ADDRESS
    return f"{note.read_text()}/{path.parent.name}/{path.name}" if note.exists() else ""


def store(artifact: pathlib.Path) -> None:
    """Copies a finished artefact to the store of its root, if that is in one."""
    if address := _address(artifact):
        _put(artifact, address, _OF_ARTIFACT)


def fetch(artifact: pathlib.Path) -> None:
    """Copies an artefact from the store of its root, if it is complete there and missing here.

    Raises:
        ValueError: a file there is not that of the manifest.
    """
    address = "" if artifact.exists() else _address(artifact)
    if not address:
        return
    store, base = _filesystem(address)
    store.invalidate_cache()
    if not store.exists(f"{base}/{_OF_ARTIFACT}"):
        return
    with aside.folder(artifact) as copy:
        for name, size in json.loads(store.cat_file(f"{base}/{_OF_ARTIFACT}"))["files"].items():
            own = copy / name
            own.parent.mkdir(parents=True, exist_ok=True)
            store.get_file(f"{base}/{name}", str(own))
            if own.stat().st_size != size:
                raise ValueError(
                    f"{address}/{name} has {own.stat().st_size} bytes, not {size}: remove "
                    f"{address} and run the pipeline again"
                )


def fetch_all(component: pathlib.Path) -> None:
    """`fetch` of all artefacts of `<root>/<component>`."""
    if address := _address(component / "any").removesuffix("/any"):
        for name in names(address):
            fetch(component / name)


def fetch_file(path: pathlib.Path) -> None:
    """Copies `<root>/<component>/<file>` from the store of its root, if it is there."""
    if address := _address(path):
        store, there = _filesystem(address)
        store.invalidate_cache()
        if store.exists(there):
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.file(path) as file:
                store.get_file(there, str(file))


def store_file(path: pathlib.Path) -> None:
    """Copies `<root>/<component>/<file>` to the store of its root, if that is in one."""
    if address := _address(path):
        store, there = _filesystem(address)
        store.makedirs(there.rpartition("/")[0], exist_ok=True)
        store.put_file(str(path), there)
