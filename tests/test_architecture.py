"""The import rules of docs/design.md, enforced: who may import whom, and what stays out."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from graphlib import TopologicalSorter
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
COMMANDS = {
    PACKAGES["rs_toolkit"] / "cli" / f"{name}.py"
    for name in ("main", "backbones", "data", "distill", "evaluate", "tune")
}
HEAVY = (
    *("tensorflow", "keras", "tf_keras", "tf2onnx", "onnx", "onnxruntime", "ai_edge_litert"),
    *("torch", "sklearn", "scipy", "matplotlib", "pyarrow", "rich", "cryptography"),
    *("bottle", "cleanlab", "faiss", "pandas", "optuna", "av", "pillow_heif"),
)
RUNTIME_MAY_IMPORT = {*sys.stdlib_module_names, "numpy", "PIL", "rs_runtime"}
# The only files that may import these, inside functions.
RUNTIME_MAY_IMPORT_LATE = {
    "engines/engine.py": {"ai_edge_litert", "onnxruntime"},
    "kit/signature.py": {"cryptography"},
    "outputs/parquet.py": {"pyarrow"},
    "photos/opened.py": {"pillow_heif"},
    "photos/video.py": {"av"},
}
FILES = [(name, file) for name, folder in PACKAGES.items() for file in sorted(folder.rglob("*.py"))]
# The path of each module without suffix: rs_toolkit/data/photos, rs_toolkit/data/__init__.
MODULES = {
    file.relative_to(PACKAGES[package].parent).with_suffix("").as_posix(): file
    for package, file in FILES
}
# Where files that are not listed stand, if not above all folders.
OTHERS = "*.py"
# The folders inside each folder, the top floor first.
FLOORS = {
    "rs_toolkit": (
        *("cli", "evaluation", "clean", "audit", "review", "checks", "folders", "splits", "config"),
        *("batches", "metrics", "sample", "data"),
    ),
    "rs_toolkit/checks": ("duplicates", "labels", "similar"),
    "rs_toolkit/data": ("readers",),
    "rs_train": ("tuning", "student", "classifier", "teacher"),
    "rs_export": ("shrink", "tflite", "onnx", "quantize", "measure"),
    "rs_runtime": ("outputs", "sources", OTHERS, "engines", "kit", "photos"),
}
# Files that stand above all folders, where the others do not.
ROOF = {"rs_runtime": {"cli", "arguments", "run", "__main__", "__init__"}}
# Files beside those folders that stand below them all.
GROUND = {
    "rs_toolkit": {
        *("errors", "files", "progress", "environment", "pictures", "garbage", "ray_cluster"),
    },
    "rs_toolkit/checks": {"findings"},
    "rs_toolkit/data": {
        *("photos", "packs", "index", "known_files", "table"),
        *("remembered", "taxonomy", "groups", "labels"),
    },
    "rs_train": {"run_folder"},
    "rs_export": {"recipes", "metadata", "tables"},
    "rs_runtime": {"errors", "files", "console", "stderr", "streams", "ahead", "interrupts"},
}


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
        path = file.relative_to(PACKAGES["rs_runtime"]).as_posix()
        allowed = RUNTIME_MAY_IMPORT | RUNTIME_MAY_IMPORT_LATE.get(path, set())
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
        "from rs_toolkit.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('LOADED', sorted(set({(*HEAVY, 'numpy', 'PIL')!r}) & set(sys.modules)))"
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


def imported_modules(file: Path, *, at_import: bool) -> set[str]:
    """Return those of MODULES that a file imports.

    With ``at_import`` only what is loaded together with it: nothing inside functions or for types.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found.update(module for name in names if (module := module_of(name)))
        for child in ast.iter_child_nodes(node):
            if not (at_import and is_late(child)):
                visit(child)

    visit(ast.parse(file.read_text("utf-8")))
    return found


def is_late(node: ast.AST) -> bool:
    """Return whether a node's imports do not run, or not when its module is imported."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def module_of(name: str) -> str | None:
    """Return the module that has a dotted name or, where that names a part of one, holds it."""
    path = name.replace(".", "/")
    for candidate in (path, path.rpartition("/")[0]):
        for module in (candidate, f"{candidate}/__init__"):
            if module in MODULES:
                return module
    return None


def floor(parent: str, module: str) -> int:
    """Return the number of a module's floor in a folder: 0 at the top."""
    room, _, inside = module.removeprefix(f"{parent}/").partition("/")
    if inside or (OTHERS in FLOORS[parent] and room not in ROOF[parent] | GROUND[parent]):
        return 1 + FLOORS[parent].index(room if inside else OTHERS)
    return 1 + len(FLOORS[parent]) if room in GROUND[parent] else 0


@pytest.mark.parametrize("parent", FLOORS)
def test_a_folder_imports_only_folders_below_it(parent) -> None:
    upward = []
    for module, file in MODULES.items():
        if module.startswith(f"{parent}/"):
            here = floor(parent, module)
            for other in imported_modules(file, at_import=False):
                inside = other.startswith(f"{parent}/") and other != f"{parent}/__init__"
                # The outside of a folder is judged where the folder above it is.
                if inside and floor(parent, other) < here:
                    upward.append(f"{module} imports {other}")
                if other == f"{parent}/__init__" and here:
                    upward.append(f"{module} imports {parent}, which loads what is above it")
    assert upward == []


def test_every_folder_has_its_floor() -> None:
    folders: dict[str, set[str]] = {}
    for module in MODULES:
        above, _, folder = module.rpartition("/")[0].rpartition("/")
        if above:
            folders.setdefault(above, set()).add(folder)
    assert {parent: {*rooms} - {OTHERS} for parent, rooms in FLOORS.items()} == folders
    for parent, names in GROUND.items():
        assert {f"{parent}/{name}" for name in names} <= MODULES.keys()


def test_no_module_is_imported_by_what_it_imports() -> None:
    graph = {module: imported_modules(file, at_import=True) for module, file in MODULES.items()}
    TopologicalSorter({module: found - {module} for module, found in graph.items()}).prepare()


def test_every_folder_says_what_it_takes_and_gives() -> None:
    silent = []
    for folder in {file.parent for file in MODULES.values()}:
        init = folder / "__init__.py"
        said = init.is_file() and ast.get_docstring(ast.parse(init.read_text("utf-8")))
        if not re.search(r"^Takes \S.*\bGives \S", said or "", re.M | re.S):
            silent.append(folder.relative_to(REPOSITORY).as_posix())
    assert sorted(silent) == [], "wanted a line that begins with Takes, and after it Gives"
