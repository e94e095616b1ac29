"""The import rules of docs/design.md, enforced: who may import whom, and what stays out."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

# No fixture: the files must be known when tests are collected.
REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = {
    f"rs_{name}": REPOSITORY / name / f"rs_{name}"
    for name in ("runtime", "toolkit", "train", "export")
}
MAY_IMPORT = {
    "rs_runtime": {"rs_runtime"},
    "rs_toolkit": {"rs_runtime", "rs_toolkit"},
    "rs_train": {"rs_runtime", "rs_toolkit", "rs_train"},
    "rs_export": {"rs_runtime", "rs_toolkit", "rs_export"},
}
# The command line dispatches to training and export inside its command bodies.
COMMANDS = {PACKAGES["rs_toolkit"] / name for name in ("cli.py", "data_cli.py", "filter_cli.py")}
HEAVY = (
    *("tensorflow", "keras", "tf_keras", "tf2onnx", "onnx", "onnxruntime", "ai_edge_litert"),
    *("torch", "sklearn", "scipy", "matplotlib", "pyarrow", "rich", "cryptography"),
    *("bottle", "cleanlab", "faiss", "pandas"),
)
RUNTIME_MAY_IMPORT = {*sys.stdlib_module_names, "numpy", "PIL", "rs_runtime"}
# The only files that may import these, inside functions.
RUNTIME_MAY_IMPORT_LATE = {
    "engine.py": {"ai_edge_litert", "onnxruntime"},
    "signature.py": {"cryptography"},
}
FILES = [(name, file) for name, folder in PACKAGES.items() for file in sorted(folder.rglob("*.py"))]


def imports(file: Path, *, module_level: bool) -> set[str]:
    """Return top-level packages that a file imports; type-checking blocks do not count."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            children: list[ast.AST] = list(node.orelse)
        elif module_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            children = []
        else:
            children = list(ast.iter_child_nodes(node))
        for child in children:
            visit(child)

    visit(ast.parse(file.read_text("utf-8")))
    return found


@pytest.mark.parametrize(("package", "file"), FILES, ids=lambda x: getattr(x, "name", x))
def test_imports_follow_the_layers(package, file) -> None:
    ours = imports(file, module_level=file in COMMANDS) & set(PACKAGES)
    assert ours <= MAY_IMPORT[package]


@pytest.mark.parametrize(("package", "file"), FILES, ids=lambda x: getattr(x, "name", x))
def test_heavy_imports_are_inside_functions(package, file) -> None:
    assert not imports(file, module_level=True) & set(HEAVY)


def test_runtime_imports_nothing_but_numpy_pillow_one_engine_and_cryptography() -> None:
    for file in sorted(PACKAGES["rs_runtime"].rglob("*.py")):
        allowed = RUNTIME_MAY_IMPORT | RUNTIME_MAY_IMPORT_LATE.get(file.name, set())
        assert imports(file, module_level=False) <= allowed, file


def test_no_pickle_eval_or_exec() -> None:
    for _, file in FILES:
        used = imports(file, module_level=False)
        assert not used & {"pickle", "marshal", "shelve", "dill", "joblib"}, file
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile", "__import__"}, file


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['rs-toolkit', '--help']\n"
        "from rs_toolkit.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("LOADED []"), done.stdout[-200:]


@pytest.mark.parametrize(("package", "file"), FILES, ids=lambda x: getattr(x, "name", x))
def test_public_names_exist_and_are_documented(package, file) -> None:
    parts = file.relative_to(PACKAGES[package].parent).with_suffix("").parts
    module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    public = {
        node.name: node
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        # Commands are reached through the app.
        and not any(ast.unparse(item).startswith("app.") for item in node.decorator_list)
    }
    names = getattr(module, "__all__", [])
    assert not [name for name in names if not hasattr(module, name)], "in __all__, undefined"
    assert not public.keys() - set(names), "public, not in __all__"
    assert not [name for name, node in public.items() if not ast.get_docstring(node)], (
        "no docstring"
    )
