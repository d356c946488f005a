"""The house's floors, read from the imports."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
FLOORS = {
    "schema": 0, "config": 0, "damage": 0, "locks": 0,
    "presets": 1, "losses": 1, "ranking": 1, "layers": 1, "datasets": 1,
    "metrics": 2, "data": 2,
    "models": 3,
    "training": 4, "serving": 4,
    "cli": 5, "train": 5, "blend": 5, "prepare": 5, "evaluate": 5, "recommend": 5, "export": 5,
    "serve": 5, "request": 5, "deploy": 5, "doctor": 5, "describe": 5,
    "__main__": 6,
}  # fmt: skip
SHARED = {"cli", "damage"}  # may be imported on its own floor
# serving asks a run directory, which training writes
ALLOWED = {("serving", "training")}


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
            if there == here or there in SHARED or (here, there) in ALLOWED:
                continue
            assert FLOORS[there] < FLOORS[here], f"{path} on floor {FLOORS[here]} imports {there}"


def test_the_top_imports_nothing():
    nodes = ast.walk(ast.parse((ROOT / "tfrec/__init__.py").read_text()))
    assert not [n for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]


def test_optional_packages_stay_behind_their_door():
    doors = {"tensorflow_recommenders": "serving/retrieval.py", "tensorflow_io": "tabular.py"}
    for path, _ in modules():
        text = path.read_text()
        for package, door in doors.items():
            assert f"import {package}" not in text or str(path).endswith(door)
