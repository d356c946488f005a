"""Artefacts: directories that appear only when whole and know what they were made of.

An artefact's fingerprint is a hash of its component, its settings and its inputs' fingerprints.
Where the fingerprint is there already the work is skipped; where a run was killed the next one
finds either the whole directory or one that it makes again. Two runs in one root exclude each
other by a lock, so whatever half-written lies there was left by a run that has ended.
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

RECORD = "artifact.json"
FORMAT = 1  # raise it when a component's output changes
_KEYS = {"component": str, "fingerprint": str, "inputs": dict, "settings": dict}


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A finished directory.

    Attributes:
        path: The directory.
        component: What made it.
        fingerprint: Of component, settings and inputs.
        inputs: Fingerprints by name.
        settings: What it was made with.
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
            component: What must have made it; "" for whatever it is.

        Raises:
            FileNotFoundError: no artefact is there.
            ValueError: another component made it, or its record is damaged.
        """
        record = pathlib.Path(path) / RECORD
        if not record.exists():
            raise FileNotFoundError(
                f"{path} is no artefact (it has no {RECORD}): make it with "
                f"`python -m {__package__}.{component or 'local_runner'}`"
            )
        found = cls(path=pathlib.Path(path), **read_json(record, _KEYS))
        if component and found.component != component:
            raise ValueError(f"{path} was made by {found.component}, not by {component}")
        return found


def fingerprint(component: str, settings: Mapping, inputs: Mapping[str, str]) -> str:
    """SHA-256 over what an artefact is made of and with."""
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
    """Makes an artefact, or finds it made.

    Args:
        path: Where it shall lie; None for `<root>/<component>/<fingerprint>`.
        component: Who makes it.
        settings: JSON types.
        inputs: Artefacts, or fingerprints of what is none, by name.
        build: Fills an empty directory.
        root: The pipeline's root, needed without `path`.
        resumes: `build` can go on where it was killed: what it left is given to it again.

    Raises:
        ValueError: `path` holds something else.
    """
    known = {n: x.fingerprint if isinstance(x, Artifact) else x for n, x in inputs.items()}
    settings = json.loads(json.dumps(settings))
    mark = fingerprint(component, settings, known)
    path = path or root / component / mark[:16]
    path = path.absolute()
    if path.exists() and any(path.iterdir()):
        if _fingerprint_of(path, component) == mark:
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
    _say(component, f"{time.perf_counter() - start:.1f} s", path)
    return Artifact.load(path, component)


def _fingerprint_of(path: pathlib.Path, component: str) -> str:
    """The fingerprint of what lies in `path`; "" where that is no artefact of `component`."""
    if not (path / RECORD).exists():
        return ""
    found = Artifact.load(path)
    return found.fingerprint if found.component == component else ""


def _refuse_foreign(path: pathlib.Path, component: str) -> None:
    if not _fingerprint_of(path, component):
        raise ValueError(
            f"{path} holds something that {component} has not made: choose another directory"
        )


def _say(component: str, what: str, path: pathlib.Path) -> None:
    print(f"{component:18}{what:>10}  {path}", flush=True)


@contextlib.contextmanager
def locked(root: pathlib.Path) -> Iterator[None]:
    """Only one run works in `root` at a time; the lock of a killed one is free.

    Raises:
        ValueError: another run is at work there.
    """
    root.mkdir(parents=True, exist_ok=True)
    message = f"another run is at work in --pipeline_root={root}: wait for it, or give another"
    with locks.held(root / ".lock", message):
        yield


def reading(file: pathlib.Path, cure: str = "") -> contextlib.AbstractContextManager[None]:
    """Turns what reading a file that an earlier step wrote raises into an error with the cure.

    Args:
        file: The file.
        cure: What to do; by default, to make its artefact again.

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
        keys: The names it must have, and the types of their values.
        optional: Names it may have.
        cure: As of `reading`.

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
                raise TypeError(f"{name} is no {kind.__name__}")
        return found


def sweep(root: pathlib.Path, kept: Mapping[str, Artifact]) -> None:
    """Removes what killed runs left half-written beside finished artefacts; call it locked."""
    for artifact in kept.values():
        for partial in artifact.path.parent.glob(".partial-*"):
            shutil.rmtree(partial)
    for work in root.glob(".beam-*"):
        shutil.rmtree(work)


def content(path: pathlib.Path) -> str:
    """SHA-256 of a file, as an input that is no artefact."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
