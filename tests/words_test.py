"""Words that are not the field's do not occur in the rooms that have been rewritten.

The words are those of DESIGN, section 7, and of the examples in its reading of the sources; a
later round adds rooms to `ROOMS`.
"""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = (
    "tfrec/*.py",
    "tfrec/api/*.py",
    "tfrec/api/*/*.py",
    "tfrec/data/*.py",
    "tfrec/datasets/*.py",
    "tfrec/layers/*.py",
    "tfrec/metrics/*.py",
    "tfrec/models/*.py",
    "tfrec/pages/*.py",
    "tfrec/pages/*/*.html",
    "tfrec/presets/*.py",
    "tfrec/server/*.py",
    "tfrec/server/*.html",
    "tfrec/serving/*.py",
    "tfrec/serving/deploy_templates/*",
    "tfrec/split_rules/*.py",
    "tfrec/tasks/*.py",
    "tfrec/training/*.py",
    "pipelines/*.py",
    "benchmarks/*.py",
    "examples/*.py",
    "tests/*.py",
    "*.md",
    "docs/*.md",
    "docs/*.py",
    "docs/*/*.md",
)
LISTS = "tests/words_test.py"  # in a room, but has the words itself

# Neither as words nor as parts of names: `is_told` has the word "told".
WORDS = {"place", "places", "placed", "told", "nobody", "anew", "kin", "looks", "struck", "whoever"}
NAMES = {"named", "the_mask", "looks_at", "layers_of_time"}  # as whole names of Python
PHRASES = ("right item", "second look", "look at whom", "nobody's")

# Plain English, or another project's names.
ALLOWED = re.compile(
    r"\bin place\b"  # without a copy; and "in place of", instead of
    r"|\blooks? (up|like)\b|looks_like"  # a lookup; a resemblance
    r"|\bmetric_decimal_place\b"  # a setting of RecBole
    r"|\bNo module named\b"  # Python's own error
)


def found(text):
    """Words of `WORDS`, `NAMES` and `PHRASES` in a source, with their line numbers."""
    for number, line in enumerate(text.splitlines(), 1):
        line = ALLOWED.sub(" ", line)
        for name in re.findall(r"[A-Za-z_]\w*", line):
            for word in WORDS & set(name.lower().split("_")):
                yield number, word
        for name in re.findall(r"(?:\.|\bdef )(\w+)\b|(?<![\w.])(\w+)(?= = )", line):
            yield from ((number, n) for n in NAMES & set(name))
        yield from ((number, phrase) for phrase in PHRASES if phrase in line.lower())


@pytest.mark.parametrize("room", ROOMS)
def test_words_that_are_not_the_fields_do_not_occur(room):
    paths = sorted(ROOT.glob(room))
    assert paths, "no such room"
    names = {path.relative_to(ROOT).as_posix(): path for path in paths}
    assert not [
        f"{name}:{number}: {word}"
        for name, path in names.items()
        if name != LISTS
        for number, word in found(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# Whoever is asked", ["whoever"]),
        ("old_place = 1", ["place"]),
        ("tasks.named(x)", ["named"]),
        ("named = 1", ["named"]),
        ("def looks_at(x):", ["looks", "looks_at"]),
        ('"The slow second look"', ["second look"]),
        ("x.sort()  # in place\nfoo.replace('place_holder')", ["place"]),
        ("# sorts in place; a parameter named x; placement", []),
    ],
)
def test_the_search_finds_words_and_names_but_not_plain_english(text, words):
    assert [word for _, word in found(text)] == words
