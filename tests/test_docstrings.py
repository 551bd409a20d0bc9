"""Every function that somebody may call, or has to read, says what it does, in the imperative."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "wingbeat"
SHORT = 6
"""Lines up to which a function inside a function, or of a private class, explains itself."""
THIRD_PERSON = re.compile(
    "(Add|Build|Check|Compare|Compute|Declare|Draw|Find|Give|Hold|Judge|Keep|List|Make|Measure|"
    "Read|Refuse|Return|Run|Show|Take|Tell|Train|Write|Yield)s"
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST, inside: bool = False) -> Iterator[tuple[Function, bool]]:
    """Yield every function, and whether it lies inside another one or in a private class."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield node, inside
        private = isinstance(node, ast.ClassDef) and node.name.startswith("_")
        yield from functions(node, inside or private or isinstance(node, Function))


def undocumented(source: str) -> list[str]:
    """Return the public functions without docstring, short ones inside others left out."""
    return [
        node.name
        for node, inside in functions(ast.parse(source))
        if not node.name.startswith("_")
        and ast.get_docstring(node) is None
        and not (inside and (node.end_lineno or 0) - node.lineno < SHORT)
    ]


def first_words(source: str) -> dict[str, str]:
    """Return the first word of the docstring of every public function, by the function's name."""
    found = {}
    for node, _ in functions(ast.parse(source)):
        text = ast.get_docstring(node)
        decorators = " ".join(ast.unparse(one) for one in node.decorator_list)
        if text and not node.name.startswith("_") and "property" not in decorators:
            found[node.name] = text.split()[0].strip(".,;:`")
    return found


def test_public_functions_say_what_they_do() -> None:
    found = {
        str(path.relative_to(SOURCE)): undocumented(path.read_text(encoding="utf-8"))
        for path in SOURCE.rglob("*.py")
    }
    lacking = {path: names for path, names in found.items() if names}
    assert not lacking


def test_first_lines_are_in_the_imperative() -> None:
    """No "Returns": not the third person of a verb that docstrings begin with."""
    words = {
        (str(path.relative_to(SOURCE)), name): word
        for path in SOURCE.rglob("*.py")
        for name, word in first_words(path.read_text(encoding="utf-8")).items()
    }
    wrong = {place: word for place, word in words.items() if THIRD_PERSON.fullmatch(word)}
    assert not wrong


def test_the_checks_see_a_fault() -> None:
    long = "\n".join(f"        x{i} = {i}" for i in range(SHORT))
    source = f'def a():\n    def b():\n        pass\n    def c():\n{long}\n    """No"""\n'
    assert undocumented(source) == ["a", "c"]
    assert first_words('def a():\n    """Returns it."""\n') == {"a": "Returns"}
