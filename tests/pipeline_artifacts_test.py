"""Artefacts: made once, whole or not at all, and only by one run at a time."""

import json

import pytest

from pipelines import artifacts


def make(root, settings, calls, inputs=None, **options):
    def build(directory):
        calls.append(sorted(p.name for p in directory.iterdir()))
        (directory / "half").write_text("x")
        if settings.get("fails"):
            raise RuntimeError("killed")
        (directory / "whole").write_text(json.dumps(settings))

    return artifacts.make(None, "maker", settings, inputs or {}, build, root=root, **options)


def test_what_is_there_is_not_made_again(tmp_path):
    calls = []
    first = make(tmp_path, {"a": 1}, calls)
    again = make(tmp_path, {"a": 1}, calls)
    assert (first, len(calls)) == (again, 1)
    other = make(tmp_path, {"a": 2}, calls)
    on_other = make(tmp_path, {"a": 1}, calls, {"x": other})
    assert len({first.path, other.path, on_other.path}) == 3 and len(calls) == 3
    assert on_other.inputs == {"x": other.fingerprint}
    assert artifacts.Artifact.load(first.path, "maker") == first


@pytest.mark.parametrize("resumes", [False, True])
def test_a_failure_leaves_no_artefact(tmp_path, resumes):
    calls = []
    with pytest.raises(RuntimeError):
        make(tmp_path, {"fails": True}, calls, resumes=resumes)
    assert not [p for p in (tmp_path / "maker").iterdir() if not p.name.startswith(".")]
    with pytest.raises(RuntimeError):
        make(tmp_path, {"fails": True}, calls, resumes=resumes)
    assert calls == [[], ["half"] if resumes else []]
    whole = make(tmp_path, {}, calls)
    artifacts.sweep(tmp_path, {"maker": whole})
    assert list((tmp_path / "maker").iterdir()) == [whole.path]


def test_by_hand_only_the_own_output_is_replaced(tmp_path):
    def build(directory):
        (directory / "x").write_text("new")

    path = tmp_path / "out"
    artifacts.make(path, "maker", {"a": 1}, {}, build)
    made = artifacts.make(path, "maker", {"a": 2}, {}, build)
    assert artifacts.Artifact.load(path) == made
    with pytest.raises(ValueError, match="was not made by other"):
        artifacts.make(path, "other", {}, {}, build)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("x")
    with pytest.raises(ValueError, match="was not made by"):
        artifacts.make(tmp_path / "mine", "maker", {}, {}, build)
    with pytest.raises(FileNotFoundError, match="mine is not an artefact"):
        artifacts.Artifact.load(tmp_path / "mine")
    with pytest.raises(ValueError, match="was made by maker, not by transform"):
        artifacts.Artifact.load(path, "transform")


def test_two_runs_exclude_each_other(tmp_path):
    with (
        artifacts.locked(tmp_path),
        pytest.raises(ValueError, match="another run is active"),
        artifacts.locked(tmp_path),
    ):
        pass
    with artifacts.locked(tmp_path):  # free again
        pass
