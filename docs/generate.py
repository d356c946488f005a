"""Writes the generated parts of the pages: settings, flags and presets, out of the source.

    python docs/generate.py

A part stands between `<!-- KIND NAME -->` and `<!-- end -->`; a test fails where it is out of date.
Kinds: `model NAME` (defaults, settings, what was measured), `settings train|data|splits`,
`commands`, `presets`, `results TABLE`, `readings` and `defaults SET` (out of the records in
`results/`).
"""

import dataclasses
import pathlib
import re
import sys

FOLDER = pathlib.Path(__file__).parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER)]
PART = re.compile(
    r"(<!-- (model|settings|commands|presets|results|readings|defaults)(?: ([\w-]+))? -->\n)"
    r".*?(<!-- end -->)",
    re.S,
)


def rewritten(text: str) -> str:
    """A page with its generated parts written again."""
    return PART.sub(lambda m: f"{m[1]}\n{MAKERS[m[2]](m[3] or '')}\n\n{m[4]}", text)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in x) + " |" for x in lines
    )


def settings_table(config: object) -> str:
    """The settings of a dataclass instance: name, default, type and range, meaning."""
    from tfrec.reference import describe

    rows = [
        (
            f"`{entry.name}`",
            f"`{entry.value}`" if entry.value else "",
            ", ".join(filter(None, [entry.type, entry.must_be])),
            entry.help,
        )
        for entry in describe(config)
    ]
    return table(("setting", "default", "values", "meaning"), rows) if rows else "No settings."


def model(name: str) -> str:
    """Defaults of training, settings and presets of a model."""
    from tfrec.config import TrainConfig, text_of
    from tfrec.models.registry import MODELS
    from tfrec.presets import PRESETS

    cls, base = MODELS[name], TrainConfig()
    changed = [
        f"`{field.name}={text_of(getattr(cls.defaults, field.name))}`"
        for field in dataclasses.fields(TrainConfig)
        if getattr(cls.defaults, field.name) != getattr(base, field.name)
    ]
    parts = [f"Training starts from {', '.join(changed)}."] if changed else []
    parts.append(settings_table(cls.Config()))
    found = [f"- `{key}`: {p.result}" for key, p in PRESETS.items() if p.model == name]
    return "\n\n".join(
        [*parts, *(["Presets and what was measured:", "\n".join(found)] * bool(found))]
    )


def settings(name: str) -> str:
    """The settings of training, of the data, or of each split."""
    from tfrec.config import DataConfig, TrainConfig
    from tfrec.split_rules import RULES

    if name == "splits":
        return "\n\n".join(f"### `{key}`\n\n{settings_table(cls())}" for key, cls in RULES.items())
    return settings_table({"train": TrainConfig, "data": DataConfig}[name]())


def commands(name: str) -> str:
    """All commands: what they do, an example, their flags."""
    from tfrec.__main__ import COMMANDS

    return "\n\n".join(f"## {command}\n\n{flags(command)}" for command in COMMANDS)


def flags(name: str) -> str:
    """The example and the flags of a command."""
    from tfrec.__main__ import command

    found = command(name)
    values = found.flag_values
    rows = [(f"`--{x}`", values[x].help or "", _default(values[x])) for x in sorted(values)]
    shown = table(("flag", "meaning", "default"), rows) if rows else "No flags."
    return f"{found.description}\n\n```bash\n{found.example}\n```\n\n{shown}"


def _default(flag) -> str:
    value = flag.default
    if value in (None, "", [], False):
        return ""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"`{text.lower() if value is True else text}`"


def presets(name: str) -> str:
    """All presets: published and measured figures."""
    from tfrec.presets import ENSEMBLES, PRESETS

    rows = [(f"`{key}`", p.goal, p.result) for key, p in (PRESETS | ENSEMBLES).items()]
    return table(("preset", "published", "measured"), rows)


def results(name: str) -> str:
    """A table of results."""
    import result_tables

    return table(*result_tables.rows(name))


def readings(name: str) -> str:
    """The log of readings of test sets."""
    import result_tables

    return table(("test set", "model", "readings"), result_tables.readings())


def defaults(name: str) -> str:
    """The results of all models with default settings on a data set."""
    import result_tables

    return table(*result_tables.defaults(name))


MAKERS = {
    "model": model, "settings": settings, "commands": commands, "presets": presets,
    "results": results, "readings": readings, "defaults": defaults,
}  # fmt: skip


def main() -> None:
    """Rewrites the pages that have generated parts."""
    for page in [FOLDER.parent / "README.md", *sorted(FOLDER.rglob("*.md"))]:
        old = page.read_text()
        if (new := rewritten(old)) != old:
            page.write_text(new)
            print(f"written: {page}")


if __name__ == "__main__":
    main()
