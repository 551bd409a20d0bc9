"""Which package may import which, read from the source without importing anything."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from wingbeat.plugins import GROUPS

SOURCE = Path(__file__).parents[1] / "src" / "wingbeat"

# A unit may import units of a lower level and those it stands beside by name.
LEVELS = (
    (
        *("products", "kernels", "typing", "brief", "turn", "terminal", "generators", "heap"),
        *("garbage", "special", "unneeded_compiler", "call_notes", "version", "worker_server"),
    ),
    (
        "params",
        "errors",
        "arguments",
        "fingerprint",
        "determinism",
        "stats",
        "cache",
        "plugins",
        "moved",
        "files",
        "locks",
        "tracing",
    ),
    ("metrics",),
    ("symmetry",),
    ("task",),
    ("replicas",),
    ("trajectory",),
    ("checkpoints",),
    ("landscape", "representation", "curvature", "lyapunov"),
    ("measure",),
    ("execution",),
    ("analyses", "twins", "calibration"),
    ("study",),
    ("scripts",),
    ("report",),
    ("tasks",),
    ("studies",),
    ("cli",),
)
LEVEL = {unit: level for level, units in enumerate(LEVELS) for unit in units}
METRICS_MAY_IMPORT = {
    *("errors", "arguments", "stats", "params", "typing", "moved", "special", "metrics"),
}
# They stand beside the pipeline: adapters of frameworks, and another library's names.
BESIDE = {"integrations", "deep_lyapunov", "testing", "zoo", "__init__", "__main__"}
IMPORTED_BY_NONE = {"integrations", "cli", "deep_lyapunov", "testing", "zoo"}
# Methods that hand over to a later step, imported only when they are called.
HANDED_ON = {("execution", "report"), ("study", "report"), ("trajectory", "checkpoints")}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "manager"}

FILES = sorted(SOURCE.rglob("*.py"))


def unit_of(path: Path) -> str:
    """Return the first folder or the module below ``wingbeat`` that a file belongs to."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported_units(path: Path, *, calls: bool = True) -> set[str]:
    """Return the units of wingbeat that a file imports, also (``calls``) inside functions."""
    units = set()
    for node in _runtime_nodes(ast.parse(path.read_text(encoding="utf-8")), calls):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: import by full name, not relatively"
            names = _targets(node)
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        units |= {name.split(".")[1] for name in names if name.startswith("wingbeat.")}
        assert "wingbeat" not in names, f"{path.name}: import the module that defines the name"
    return units


def _targets(node: ast.ImportFrom) -> list[str]:
    if node.module == "wingbeat":
        return [f"wingbeat.{a.name}" for a in node.names if a.name != "__version__"]
    return [node.module or ""]


def _runtime_nodes(tree: ast.AST, calls: bool) -> list[ast.AST]:
    """Walk a tree, leaving out what only type checkers see and, at will, function bodies."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        elif calls or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting.extend(ast.iter_child_nodes(node))
    return found


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 10
    assert {unit_of(path) for path in FILES} >= {
        "params",
        "errors",
        "task",
        "replicas",
        "tasks",
        "studies",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    unit, imported = unit_of(path), imported_units(path)
    allowed_from_above = {unit} if unit in IMPORTED_BY_NONE else set()
    allowed_from_above |= {"cli"} if unit == "__main__" else set()
    assert not (imported & IMPORTED_BY_NONE) - allowed_from_above
    if unit in BESIDE:
        return
    assert unit in LEVEL, f"{unit} has no place in the layers: add it to LEVELS"
    on_call = imported - imported_units(path, calls=False)
    handed_on = {name for name in on_call if (unit, name) in HANDED_ON}
    above = {name for name in imported - {unit} - handed_on if LEVEL[name] >= LEVEL[unit]}
    assert not above - _companions(unit), f"{unit} imports {above} from its own layer or above"


def _companions(unit: str) -> set[str]:
    """Return what a unit of the lowest level may import on that level."""
    return {
        "params": {"errors"},
        "determinism": {"errors"},
        "plugins": {"errors", "garbage"},
        "special": {"garbage"},
        "files": {"errors"},
        "locks": {"errors", "files"},
        "arguments": {"errors"},
        "stats": {"errors", "params", "files"},
    }.get(unit, set())


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if unit_of(path) == "metrics"],
    ids=lambda path: path.name,
)
def test_metrics_stand_alone(path: Path) -> None:
    assert imported_units(path) <= METRICS_MAY_IMPORT


def test_module_names_say_something() -> None:
    assert not [path for path in FILES if FORBIDDEN_NAMES & set(path.with_suffix("").parts)]


def test_the_check_sees_a_wrong_import(tmp_path: Path) -> None:
    source = tmp_path / "wrong.py"
    source.write_text("def f():\n    from wingbeat.cli import main\n    return main\n")
    assert imported_units(source) == {"cli"}
    assert imported_units(source, calls=False) == set()
    source.write_text("if TYPE_CHECKING:\n    from wingbeat.cli import main\n")
    assert imported_units(source) == set()


def imports_between(root: Path) -> dict[str, set[str]]:
    """Return for each module which modules it imports: late ones and those of types too."""
    files = {_module(root, path): path for path in sorted(root.rglob("*.py"))}
    return {name: _imported(path, root.name, set(files)) - {name} for name, path in files.items()}


def _module(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _imported(path: Path, package: str, known: set[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            inner = [n.partition(".")[2] for n in names if n.startswith(f"{package}.")]
            found |= {n if n in known else n.rpartition(".")[0] for n in inner}
    return found & known


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that reach each other, by the first of each."""
    reached = {name: _reached(graph, name) for name in graph}
    found = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return [list(one) for one in sorted(found)]


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen


def test_no_file_imports_itself_by_a_detour() -> None:
    assert circles(imports_between(SOURCE)) == []


def test_the_check_sees_circles_of_every_kind(tmp_path: Path) -> None:
    root = tmp_path / "pack"
    (root / "room").mkdir(parents=True)
    (root / "__init__.py").write_text("from pack.a import x\n")
    (root / "a.py").write_text("if TYPE_CHECKING:\n    from pack.room import b\n")
    (root / "room" / "__init__.py").write_text("")
    (root / "room" / "b.py").write_text("def f():\n    from pack.c import y\n")
    (root / "c.py").write_text("from pack.a import x\n")
    assert circles(imports_between(root)) == [["a", "c", "room.b"]]


LONGEST_FILE = 400
LONGEST_FUNCTION = 60
"""Lines, those of the docstring not counted: a command's options and their help need most."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_has_one_concept_and_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def long_functions(source: str) -> list[str]:
    """Return the functions whose lines without docstring are too many."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = _lines(node) - (_lines(node.body[0]) if ast.get_docstring(node) else 0)
            found += [node.name] * (lines > LONGEST_FUNCTION)
    return found


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_functions_are_short() -> None:
    found = {
        f"{path.relative_to(SOURCE)} {name}"
        for path in FILES
        for name in long_functions(path.read_text(encoding="utf-8"))
    }
    assert not found


def test_a_public_class_name_is_there_once() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(SOURCE)))
    assert not {name: there for name, there in places.items() if len(there) > 1}


def shared_prefixes(files: list[Path], root: Path) -> set[str]:
    """Return ``folder/prefix`` of every prefix that two files of a folder share."""
    count = Counter(
        f"{path.parent.relative_to(root)}/{path.stem.partition('_')[0]}"
        for path in files
        if "_" in path.stem.strip("_")
    )
    return {name for name, number in count.items() if number > 1}


def test_a_folder_per_concept_and_never_a_prefix() -> None:
    assert not shared_prefixes(FILES, SOURCE)


def test_the_checks_of_shape_see_a_fault(tmp_path: Path) -> None:
    long = "def a():\n" + "    x = 1\n" * LONGEST_FUNCTION
    assert long_functions(long) == ["a"]
    assert long_functions(long.replace("    x = 1\n", '    """One."""\n', 1)) == []
    files = [tmp_path / name for name in ("a_one.py", "a_two.py", "a.py", "__init__.py")]
    assert shared_prefixes(files, tmp_path) == {"./a"}


PAGE = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_drawing_of_the_house_is_the_order_of_its_layers() -> None:
    drawing = PAGE.partition("```text\n")[2].partition("```")[0]
    lines = [tuple(line.partition(" ..")[0].split(", ")) for line in drawing.splitlines()]
    assert lines == list(reversed(LEVELS))


def test_every_place_that_the_walk_names_is_there() -> None:
    named = {place for place in re.findall(r"`([\w/]+(?:\.py|/))`", PAGE) if "/" in place}
    named -= {"tests/", "src/wingbeat/"}
    absent = {place for place in named if not (SOURCE / place).exists()} - {"tests/test_layers.py"}
    assert len(named) > 25
    assert not absent


def test_the_walk_names_every_registry_and_twelve_changes() -> None:
    table = PAGE.partition("| entry point |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(wingbeat\.\w+)` \|\n?", table)) == set(GROUPS)
    changes = re.findall(r"^\| (\d+)\. ", PAGE.partition("## Where does it go?")[2], re.M)
    assert changes == [str(number) for number in range(1, 13)]
    assert len(PAGE.splitlines()) <= 100, "a walk of one page"
