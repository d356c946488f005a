"""Artefacts: directories that are written atomically and record what they were made from.

An artefact's fingerprint is a hash of its component, its settings and its inputs' fingerprints.
If an artefact with the fingerprint exists the work is skipped; after a run was killed the next one
finds either a complete directory or makes it again. A lock excludes other runs in the same root,
so incomplete directories there were left by runs that have ended.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tfrec import damage, locks

from . import object_stores

RECORD = "artifact.json"
FORMAT = 1  # raise it when a component's output changes
_KEYS = {"component": str, "fingerprint": str, "inputs": dict, "settings": dict}


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A finished directory.

    Attributes:
        path: The directory.
        component: The component that made it.
        fingerprint: Hash of component, settings and inputs.
        inputs: Fingerprints of the inputs, by name.
        settings: The settings it was made with.
    """

    path: pathlib.Path
    component: str
    fingerprint: str
    inputs: dict[str, str]
    settings: dict[str, Any]

    @classmethod
    def load(cls, path: str | pathlib.Path, component: str = "") -> "Artifact":
        """Reads an artefact's record.

        Args:
            path: The directory.
            component: The component that must have made it; "" for any.

        Raises:
            FileNotFoundError: there is no artefact.
            ValueError: another component made it, or its record is damaged.
        """
        object_stores.fetch(pathlib.Path(path))
        record = pathlib.Path(path) / RECORD
        if not record.exists():
            raise FileNotFoundError(
                f"{path} is not an artefact (it has no {RECORD}): make it with "
                f"`python -m {__package__}.{component or 'local_runner'}`"
            )
        found = cls(path=pathlib.Path(path), **read_json(record, _KEYS))
        if component and found.component != component:
            raise ValueError(f"{path} was made by {found.component}, not by {component}")
        return found


def fingerprint(component: str, settings: Mapping, inputs: Mapping[str, str]) -> str:
    """SHA-256 over component, settings and inputs."""
    text = json.dumps([FORMAT, component, settings, inputs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def make(
    path: pathlib.Path | None,
    component: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Artifact | str],
    build: Callable[[pathlib.Path], None],
    *,
    root: pathlib.Path | None = None,
    resumes: bool = False,
) -> Artifact:
    """Makes an artefact unless it exists already.

    Args:
        path: Its directory; None for `<root>/<component>/<fingerprint>`.
        component: The component that makes it.
        settings: Settings, as JSON types.
        inputs: Artefacts, or fingerprints of other inputs, by name.
        build: Fills an empty directory.
        root: The pipeline's root, needed without `path`.
        resumes: `build` can resume after it was killed, and is given the incomplete directory.

    Raises:
        ValueError: `path` holds something else.
    """
    known = {n: x.fingerprint if isinstance(x, Artifact) else x for n, x in inputs.items()}
    settings = json.loads(json.dumps(settings))
    mark = fingerprint(component, settings, known)
    path = path or root / component / mark[:16]
    path = path.absolute()
    object_stores.fetch(path)
    if path.exists() and any(path.iterdir()):
        if _fingerprint_of(path, component) == mark:
            object_stores.store(path)  # which a killed run may not have done
            _say(component, "unchanged", path)
            return Artifact.load(path, component)
        _refuse_foreign(path, component)
    start = time.perf_counter()
    aside = path.with_name(f".partial-{path.name}-{mark[:16]}")
    if aside.exists() and not resumes:
        shutil.rmtree(aside)
    aside.mkdir(parents=True, exist_ok=resumes)
    build(aside)
    record = {"component": component, "fingerprint": mark, "inputs": known, "settings": settings}
    (aside / RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    if path.exists():  # by hand, with other settings
        shutil.rmtree(path)
    aside.rename(path)
    object_stores.store(path)
    _say(component, f"{time.perf_counter() - start:.1f} s", path)
    return Artifact.load(path, component)


def _fingerprint_of(path: pathlib.Path, component: str) -> str:
    """The fingerprint of the artefact in `path`; "" if it is not one of `component`."""
    if not (path / RECORD).exists():
        return ""
    found = Artifact.load(path)
    return found.fingerprint if found.component == component else ""


def _refuse_foreign(path: pathlib.Path, component: str) -> None:
    if not _fingerprint_of(path, component):
        raise ValueError(f"{path} was not made by {component}: choose another directory")


def _say(component: str, what: str, path: pathlib.Path) -> None:
    print(f"{component:18}{what:>10}  {path}", flush=True)


@contextlib.contextmanager
def locked(root: pathlib.Path) -> Iterator[None]:
    """Locks `root` for one run at a time; the lock of a killed run is released.

    Raises:
        ValueError: another run holds the lock.
    """
    root.mkdir(parents=True, exist_ok=True)
    message = f"another run is active in --pipeline_root={root}: wait for it, or give another"
    with locks.held(root / ".lock", message):
        yield


def reading(file: pathlib.Path, cure: str = "") -> contextlib.AbstractContextManager[None]:
    """Turns errors of reading an earlier step's file into one with the cure.

    Args:
        file: The file.
        cure: The cure; by default, to make its artefact again.

    Raises:
        ValueError: the file is damaged, or of another version.
    """
    again = f"remove {file.parent} and run the command that made it, or the pipeline, again"
    return damage.refused(file, cure or again)


def read_json(
    file: pathlib.Path,
    keys: Mapping[str, type],
    optional: Collection[str] = (),
    cure: str = "",
) -> dict[str, Any]:
    """Reads a JSON object that an earlier step wrote.

    Args:
        file: The file.
        keys: The required names, and the types of their values.
        optional: Names that are allowed too.
        cure: As in `reading`.

    Raises:
        ValueError: it is damaged, or of another version.
    """
    with reading(file, cure):
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError(f"a JSON {type(found).__name__}, not an object")
        if odd := (keys.keys() - found.keys()) | (found.keys() - keys.keys() - set(optional)):
            raise KeyError(f"unknown or missing: {', '.join(sorted(odd))}")
        for name, kind in keys.items():
            if not isinstance(found[name], kind):
                raise TypeError(f"{name} is not of type {kind.__name__}")
        return found


def sweep(root: pathlib.Path, kept: Mapping[str, Artifact]) -> None:
    """Removes incomplete artefacts that killed runs left; call it with the lock held."""
    for artifact in kept.values():
        for partial in artifact.path.parent.glob(".partial-*"):
            shutil.rmtree(partial)
    for work in root.glob(".beam-*"):
        shutil.rmtree(work)


def content(path: pathlib.Path) -> str:
    """SHA-256 of a file that is an input but not an artefact."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
