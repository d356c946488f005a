"""The house's floors, read from the imports."""

import ast
import pathlib
import re

import tfrec

ROOT = pathlib.Path(__file__).parent.parent
FLOORS = {
    "server": 0, "schema": 0, "settings": 0, "ratings": 0, "damage": 0, "locks": 0, "aside": 0,
    "interrupts": 0, "memory": 0, "pages": 1,
    "overrides": 1, "split_rules": 1,
    "config": 2,
    "presets": 3, "names": 3, "reference": 3, "losses": 3, "ranking": 3, "layers": 3, "datasets": 3,
    "settings_file": 3,
    "metrics": 4, "data": 4,
    "tasks": 5,
    "models": 6, "splits": 6,
    "training": 7, "serving": 7,
    "api": 8,
    "cli": 9, "data_flags": 9, "train": 9, "ensemble": 9, "prepare": 9, "compare": 9,
    "tune": 9,
    "evaluate": 9, "recommend": 9, "export": 9,
    "serve": 9, "request": 9, "deploy": 9, "doctor": 9, "describe": 9, "report": 9,
    "__main__": 10,
}  # fmt: skip
SHARED = {"cli", "damage", "data_flags"}  # may be imported on its own floor


def modules():
    for path in sorted((ROOT / "tfrec").rglob("*.py")):
        parts = path.relative_to(ROOT / "tfrec").with_suffix("").parts
        if parts != ("__init__",):
            yield path, parts[0]


def imported(path):
    """Top-level parts of tfrec that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "tfrec" and len(parts) > 1 and parts[1] in FLOORS:
                yield parts[1]
            assert parts[0] != "pipelines" or "pipelines" in str(path), f"{path} knows pipelines"


def test_every_module_has_a_floor():
    assert {part for _, part in modules()} <= set(FLOORS)


def test_modules_import_lower_floors_only():
    for path, here in modules():
        for there in imported(path):
            if there == here or there in SHARED:
                continue
            assert FLOORS[there] < FLOORS[here], f"{path} on floor {FLOORS[here]} imports {there}"


def test_the_local_server_imports_nothing_else_of_tfrec():
    for path in (ROOT / "tfrec/server").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert not name.startswith("tfrec") or name.startswith("tfrec.server"), path


def test_only_tasks_and_models_know_tasks_by_name():
    """Presets name settings; elsewhere what depends on the task is asked of its object."""
    for path in [*(ROOT / "tfrec").rglob("*.py"), *(ROOT / "pipelines").glob("*.py")]:
        if path.relative_to(ROOT).parts[1] in ("tasks", "models", "presets"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                text = ast.unparse(node)
                compares_names = re.search(r"\btask\b", text) and re.search(r"['\"]", text)
                assert not compares_names, f"{path}:{node.lineno}: {text}"
            elif isinstance(node, ast.Dict):
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}
                assert not keys & {"ranking", "ctr"}, f"{path}:{node.lineno}"


def test_the_top_imports_nothing_before_it_is_used():
    top = ast.parse((ROOT / "tfrec/__init__.py").read_text())
    (shown,) = (node for node in top.body if isinstance(node, ast.If))
    assert ast.unparse(shown.test) == "typing.TYPE_CHECKING"
    shown.body = []
    nodes = [n for n in ast.walk(top) if isinstance(n, (ast.Import, ast.ImportFrom))]
    assert {ast.unparse(node) for node in nodes} == {"import importlib", "import typing"}


def test_type_checkers_are_shown_the_names_that_are_imported_when_used():
    top = ast.parse((ROOT / "tfrec/__init__.py").read_text())
    (shown,) = (node for node in top.body if isinstance(node, ast.If))
    found = {alias.name: node.module for node in shown.body for alias in node.names}
    assert found == tfrec._NAMES | dict.fromkeys(tfrec._MODULES, "tfrec")
    assert set(tfrec.__all__) == {"__version__", *found}


def test_the_pipeline_runs_under_any_name():
    """In a wheel its package is tfrec.pipelines."""
    for path in (ROOT / "pipelines").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [n for n in names if n and n.startswith(("pipelines", "tfrec.pipelines"))]
            text = node.value if isinstance(node, ast.Constant) else ""
            assert "python -m pipelines" not in str(text), f"{path} runs under one name only"


def test_optional_packages_stay_behind_their_door():
    doors = {
        "tensorflow_recommenders": "serving/tfrs_index.py",
        "optuna": "api/study.py",
    }
    for path, _ in modules():
        text = path.read_text()
        for package, door in doors.items():
            assert f"import {package}" not in text or str(path).endswith(door)
