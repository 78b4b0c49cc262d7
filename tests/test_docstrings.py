"""What docstrings must say: axes and types of arrays, and more than the name of what they describe."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARRAY = re.compile(r"\b(np\.ndarray|torch\.Tensor|NDArray)\b")
SHAPE = re.compile(r"\bshapes?\b|\([^()]*\b(x|y|channels)\b[^()]*\)|\b[Ss]ee `|\b[Aa]s `\w+")
"""A shape, the axes in brackets, or a reference to where they are said."""
HONOURS = {"forward", "run", "read", "blocks", "planes", "write"}
"""Methods of layers, volumes and maps: the protocol in each room's base.py says once what they take and return."""
REFERENCE = re.compile(r"\b[Ss]ee `|\b[Aa]s `\w+")
DTYPE = re.compile(
    r"\b(u?int(8|16|32|64)?|float(16|32|64)?|bfloat16|bool|dtypes?|types?|numbers?|16-bit|8-bit|double|integers?)\b"
)


@dataclass(frozen=True)
class Function:
    """A public function or method, and where it is."""

    place: str
    node: ast.FunctionDef
    in_class: bool = False
    in_base: bool = False

    def has_numpy(self) -> bool:
        """Whether some array is NumPy's; blobs of PyTorch are float32, or of the precision that a net runs with."""
        returns = [self.node.returns] if self.node.returns else []
        annotations = [a.annotation for a in ast.walk(self.node.args) if isinstance(a, ast.arg) and a.annotation]
        return any("np.ndarray" in ast.unparse(each) for each in [*annotations, *returns])

    def arrays(self) -> list[str]:
        """Names of parameters that are arrays, `return` for the result."""
        arguments = [*self.node.args.posonlyargs, *self.node.args.args, *self.node.args.kwonlyargs]
        found = [a.arg for a in arguments if a.annotation and ARRAY.search(ast.unparse(a.annotation))]
        return found + ["return"] * bool(self.node.returns and ARRAY.search(ast.unparse(self.node.returns)))


def functions() -> list[Function]:
    found = []
    for folder in ("python/cdeep3m", "matlab_ports"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            bodies = [tree.body, *(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_")]
            found += [
                Function(f"{path.relative_to(ROOT)}: {node.name}", node, body is not tree.body, path.name == "base.py")
                for body in bodies
                for node in body
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            ]
    return found


TAKING_ARRAYS = [f for f in functions() if f.arrays() and not (f.in_class and f.node.name in HONOURS and not f.in_base)]


@pytest.mark.parametrize("function", TAKING_ARRAYS, ids=lambda function: function.place)
def test_a_function_of_arrays_says_their_shapes_and_types(function):
    said = ast.get_docstring(function.node) or ""
    assert SHAPE.search(said), f"{function.place}: no shape of {function.arrays()}"
    if function.has_numpy():
        assert DTYPE.search(said) or REFERENCE.search(said), f"{function.place}: no type of {function.arrays()}"
