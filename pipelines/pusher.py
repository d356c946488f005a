"""Pusher: publishes a blessed run as the next version for TF Serving; rollback withdraws it.

A version is written under a temporary name, checked in a new process, and renamed to
`<push_dir>/<model>/<n>`. Its `assets.extra/pushed.json` records its run, so that a model is pushed
only once. A version that was rolled back keeps its files as `.rolled_back-<n>`, which TF Serving
ignores; its number is not used again. Pushes and rollbacks of one model wait for each other.
"""

import contextlib
import json
import pathlib

from absl import flags

from tfrec import cli, locks

from . import artifacts, evaluator, object_stores, trainer

COMPONENT = "pusher"
_PUSHED = "pushed.json"  # in assets.extra
_KEYS = {"run": str, "fingerprint": str, "k": int}
_WAIT = 600.0  # seconds to wait for another push, which takes about as long as an export

FLAGS = flags.FlagValues()
flags.DEFINE_string("run_dir", "", "a run, as made by trainer", flag_values=FLAGS)
flags.DEFINE_string("blessing", "", "its blessing, as made by evaluator", flag_values=FLAGS)
flags.DEFINE_string("push_dir", "saved_models", "root of the served models", flag_values=FLAGS)
flags.DEFINE_integer("k", 20, "items in a response", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_string("rollback", "", "model whose newest version is withdrawn", flag_values=FLAGS)


def run(
    trained: artifacts.Artifact, blessing: artifacts.Artifact, push_dir: pathlib.Path, k: int = 20
) -> pathlib.Path:
    """Publishes a blessed run; returns the directory of its version.

    Raises:
        ValueError: it is not blessed, the blessing is another run's, it was rolled back, or
            another push of this model has not ended within ten minutes.
    """
    found = evaluator.read(blessing.path)
    if blessing.inputs["run"] != trained.fingerprint:
        raise ValueError(f"{blessing.path} is not the blessing of {trained.path}")
    if not found["blessed"]:
        raise ValueError(f"not blessed, nothing was pushed: {'; '.join(found['reasons'])}")
    base = (push_dir / trained.settings["model"]).absolute()
    mark = {"run": str(trained.path.absolute()), "fingerprint": trained.fingerprint, "k": k}
    base.mkdir(parents=True, exist_ok=True)
    with _alone(base):
        if (version := _already(base, mark)) is not None:
            _say("unchanged", version)
            return version
        version = _export(trained, base, k, mark)
    _say("pushed", version)
    return version


def local(push_dir: pathlib.Path | str, model: str, root: pathlib.Path) -> pathlib.Path:
    """The directory to push to: --push_dir, or the mirror of one in an object store."""
    if object_stores.is_url(push_dir):
        return object_stores.mirror(str(push_dir), model, root / ".push")
    return pathlib.Path(push_dir)


def published(version: pathlib.Path, push_dir: pathlib.Path | str) -> pathlib.Path | str:
    """Copies a version to --push_dir if that is in an object store; returns where it is."""
    if not object_stores.is_url(push_dir):
        return version
    address = object_stores.upload(version, str(push_dir))
    print(f"{COMPONENT:18}{'uploaded':>10}  {address}", flush=True)
    return address


def _export(trained: artifacts.Artifact, base: pathlib.Path, k: int, mark: dict) -> pathlib.Path:
    """Exports a run as the next version; numbers that were rolled back are not used again."""
    from tfrec.serving import export
    from tfrec.training import runs

    number = 1 + max((_number(version) for version in _versions(base)), default=0)
    run_dir = runs.RunDir(trained.path)
    return export.export(
        run_dir.load_model(),
        str(run_dir.data_dir()),
        str(base),
        k,
        version=number,
        extras={_PUSHED: json.dumps(mark, indent=2) + "\n"},
    )


def _alone(base: pathlib.Path) -> contextlib.AbstractContextManager[None]:
    """Locks a served model for one push or rollback at a time; others wait."""
    message = (
        f"another push to {base} has been running for {_WAIT / 60:.0f} minutes: wait until it has "
        "finished, then run the same command again"
    )
    return locks.held(base / ".push.lock", message, _WAIT)


def _already(base: pathlib.Path, mark: dict) -> pathlib.Path | None:
    """The newest version, if it is the one to be pushed.

    Raises:
        ValueError: it was pushed before and rolled back.
    """
    same = [version for version in _versions(base) if _pushed(version) == mark]
    for version in same:
        if version.name.startswith(object_stores.ROLLED_BACK):
            raise ValueError(
                f"this model was rolled back and is not pushed again: {version}; rename it to "
                "its number to serve it again"
            )
    newest = max(_versions(base), key=_number, default=None)
    return newest if newest in same else None


def served(push_dir: pathlib.Path, model: str) -> artifacts.Artifact | None:
    """The run of the served model, which is the highest version; None if there is none.

    Raises:
        ValueError: its run is missing.
    """
    versions = [v for v in _versions(push_dir / model) if v.name.isdigit()]
    if not versions:
        return None
    newest = max(versions, key=_number)
    run_dir = _pushed(newest).get("run")
    if not run_dir:
        return None  # exported by hand
    try:
        return artifacts.Artifact.load(run_dir, trainer.COMPONENT)
    except FileNotFoundError:
        raise ValueError(
            f"the run of the served model {newest} is missing ({run_dir}), so no model can be "
            f"compared with it: restore it, or use another --push_dir"
        ) from None


def rollback(push_dir: pathlib.Path, model: str) -> pathlib.Path:
    """Withdraws the newest version; returns the version that is served now.

    Raises:
        ValueError: there are fewer than two versions.
    """
    base = push_dir / model
    with _alone(base) if base.is_dir() else contextlib.nullcontext():
        versions = sorted((v for v in _versions(base) if v.name.isdigit()), key=_number)
        if len(versions) < 2:
            raise ValueError(
                f"--rollback={model}: {base} has {len(versions)} version(s), none to roll back to"
            )
        newest = versions[-1]
        newest.rename(base / f"{object_stores.ROLLED_BACK}{newest.name}")
    _say("rolled back", newest)
    return versions[-2]


def _versions(base: pathlib.Path) -> list[pathlib.Path]:
    """All versions, including those that were rolled back."""
    paths = base.iterdir() if base.is_dir() else []
    return sorted(p for p in paths if p.name.removeprefix(object_stores.ROLLED_BACK).isdigit())


def _number(version: pathlib.Path) -> int:
    return int(version.name.removeprefix(object_stores.ROLLED_BACK))


def _pushed(version: pathlib.Path) -> dict:
    """The record of a version's run; {} if it was exported by hand."""
    path = version / "assets.extra" / _PUSHED
    return artifacts.read_json(path, _KEYS, cure=_cure(version)) if path.exists() else {}


def _cure(version: pathlib.Path) -> str:
    return f"remove {version}, or use another --push_dir"


def _say(what: str, path: pathlib.Path) -> None:
    print(f"{COMPONENT:18}{what:>10}  {path}", flush=True)


def main() -> None:
    """Runs the step."""
    if FLAGS.rollback:
        object_stores.refuse(f"--rollback={FLAGS.rollback}: --push_dir", FLAGS.push_dir)
        print(f"served: {rollback(pathlib.Path(FLAGS.push_dir), FLAGS.rollback)}")
        return
    load = artifacts.Artifact.load
    trained = load(cli.require(FLAGS, "run_dir"), trainer.COMPONENT)
    blessing = load(cli.require(FLAGS, "blessing"), evaluator.COMPONENT)
    cli.start_tensorflow()
    push_dir = local(FLAGS.push_dir, trained.settings["model"], trained.path.absolute().parent)
    published(run(trained, blessing, push_dir, FLAGS.k), FLAGS.push_dir)


COMMAND = cli.Command(
    main,
    FLAGS,
    "Publishes a blessed run as PUSH_DIR/<model>/<version>, or withdraws the newest one.",
    f"python -m {__package__}.pusher --rollback=ease --push_dir=saved_models",
)

if __name__ == "__main__":
    COMMAND.run()
