"""ExampleGen: converts the raw files of a span, with any reader of tfrec, to columnar chunks.

A text file in a zip can only be read from its start, so a span is one task, which streams;
several spans are read in parallel if the engine has several workers.
"""

import dataclasses
import pathlib
import re

from absl import flags

from tfrec import cli

from . import artifacts, engine, object_stores

COMPONENT = "example_gen"
_SPAN = "{SPAN}"

FLAGS = flags.FlagValues()
flags.DEFINE_string("dataset", "ml-latest-small", "the data set", flag_values=FLAGS)
flags.DEFINE_string("raw", "", "the raw files of one span: a zip or a folder", flag_values=FLAGS)
flags.DEFINE_string("fold", "", "a shipped fold, such as u1", flag_values=FLAGS)
flags.DEFINE_string("output", "", "the span's directory to make", flag_values=FLAGS)


@dataclasses.dataclass(frozen=True)
class Source:
    """The source of one span.

    Attributes:
        number: The span's number.
        dataset: Key of the data set registry.
        raw: Its raw files; None for the data set's default location.
        fold: A shipped fold, or None.
    """

    number: int
    dataset: str
    raw: str | None = None
    fold: str | None = None


def sources(dataset: str, raw: str | None, fold: str | None) -> list[Source]:
    """The spans of --raw: one, or all that match if it contains `{SPAN}`.

    Raises:
        FileNotFoundError: nothing matches the pattern.
    """
    if not raw or _SPAN not in raw:
        return [Source(1, dataset, raw or None, fold)]
    if object_stores.is_url(raw):
        return _in_store(dataset, raw, fold)
    path = pathlib.Path(raw)
    if path.parent != pathlib.Path(str(path.parent).replace(_SPAN, "")):
        raise ValueError(f"--raw={raw}: {_SPAN} must be in the last part of the path")
    folder = path.parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    found = _matching(raw, path.name, names)
    return [Source(n, dataset, str(folder / found[n]), fold) for n in sorted(found)]


def _in_store(dataset: str, raw: str, fold: str | None) -> list[Source]:
    """`sources` of an address with `{SPAN}` in its last part."""
    folder, _, name = raw.rpartition("/")
    if _SPAN in folder:
        raise ValueError(f"--raw={raw}: {_SPAN} must be in the last part of the path")
    found = _matching(raw, name, object_stores.names(folder))
    return [Source(n, dataset, f"{folder}/{found[n]}", fold) for n in sorted(found)]


def _matching(raw: str, name: str, names: list[str]) -> dict[int, str]:
    """The names that match, by number."""
    pattern = re.compile(re.escape(name).replace(re.escape(_SPAN), r"(\d+)"))
    found = {int(m.group(1)): m.group(0) for m in map(pattern.fullmatch, names) if m}
    if not found:
        raise FileNotFoundError(f"--raw={raw}: nothing there matches; {_SPAN} is a number")
    return found


def make(
    source: Source, path: pathlib.Path | None = None, root: pathlib.Path | None = None
) -> artifacts.Artifact:
    """Makes the span's directory; a task of an engine.

    Raises:
        ValueError, FileNotFoundError: there are no such raw files.
    """
    from tfrec.datasets import registry

    from . import spans

    files = source.raw
    if files and object_stores.is_url(files):
        folder = path.absolute().parent if path else root
        files = object_stores.staged(files, folder / ".raw")
    raw = registry.load(source.dataset, files, source.fold)
    return artifacts.make(
        path,
        COMPONENT,
        {"dataset": source.dataset, "fold": source.fold},
        {"raw": raw.fingerprint},
        lambda directory: spans.write(raw, directory),
        root=root,
    )


@dataclasses.dataclass(frozen=True)
class _Make:
    """`make` in a root, as a function of only the source."""

    root: pathlib.Path
    __name__ = COMPONENT

    def __call__(self, source: Source) -> artifacts.Artifact:
        return make(source, root=self.root)


def run(
    found: list[Source], root: pathlib.Path, engine: engine.Engine
) -> dict[int, artifacts.Artifact]:
    """Makes the artefacts of all spans, by number."""
    made = engine.map(_Make(root), found)
    return {source.number: artifact for source, artifact in zip(found, made, strict=True)}


def main() -> None:
    """Makes a span; prints the next command."""
    from . import spans

    output = cli.require(FLAGS, "output")
    source = Source(1, FLAGS.dataset, FLAGS.raw or None, FLAGS.fold or None)
    span = spans.Span.load(make(source, pathlib.Path(output)).path)
    if span.error:
        raise ValueError(span.error)
    print(f"span: {span.about['n']:,} events   next: python -m {__package__}.statistics_gen")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Reads the raw files of a span to columnar chunks (Parquet) and side tables.",
    f"python -m {__package__}.example_gen --dataset=ml-1m --raw=ml-1m.zip --output=span-1",
)

if __name__ == "__main__":
    COMMAND.run()
