"""The structure of the code: who may import whom, and the rules that every file holds to.

Each rule is a function from a file to the faults it finds there, read from the syntax tree, so
nothing is imported. The rules themselves are tested on a made-up tree that breaks each of them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parent.parent.parent

# Where a third-party package may be imported, as the beginnings of paths.
ONLY_IN = {
    "gradio": ("serdemo/ui/", "app.py", "serdemo/experiments/fuzz/api_target.py"),
    "transformers": (
        "serdemo/nn/encoders/pretrained.py",
        "serdemo/nn/speech_classification.py",
        "serdemo/nn/transformers_model.py",
        "serdemo/nn/weights.py",
        "serdemo/nn/encoders/whisper.py",
        "serdemo/cli/benchmarks/predict.py",
        "serdemo/experiments/training_speed.py",
    ),
    "matplotlib": ("serdemo/evaluation/plots.py",),
    "umap": ("serdemo/embeddings/projection.py",),
    "pynndescent": ("serdemo/embeddings/projection.py",),
    "pyarrow": (
        "serdemo/data/corpora/record_table.py",
        "serdemo/embeddings/parquet_limits.py",
        "serdemo/embeddings/table.py",
        "serdemo/embeddings/table_values.py",
        "serdemo/experiments/fuzz/table_targets.py",
        "serdemo/inference/parquet_file.py",
    ),
    "sounddevice": ("serdemo/audio/microphone.py",),
    "torchvision": ("serdemo/nn/image_pooling.py",),
    "opensmile": ("serdemo/evaluation/functionals.py",),
    "datasets": ("serdemo/data/corpora/hf_dataset.py",),
    "prometheus_client": ("serdemo/ui/shell/metrics.py",),
    "spaces": ("serdemo/ui/shell/zerogpu.py",),
    "huggingface_hub": (
        "serdemo/evaluation/model_card.py",
        "serdemo/nn/encoders/pretrained.py",
        "serdemo/nn/weights.py",
        "serdemo/runs/registry/eval_results.py",
        "serdemo/runs/registry/hub.py",
    ),
}
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "torch.save",
    "torch.hub.load",
    "os.system",
    "os.popen",
}
SETTINGS = "serdemo/schema/settings.py"
ENVIRONMENT = {"os.environ", "os.getenv", "environ", "getenv"}
MAX_LINES = 400
MAX_FUNCTION_LINES = 80
MAX_ENTRIES = 16  # of the listing of `serdemo`
COLLOQUIAL = {"told", "heard", "heed", "asked", "kept", "said"}


def sources(root: Path) -> list[str]:
    """Every source file of the project, relative to `root`, with forward slashes."""
    files = [root / "app.py", *(root / "serdemo").rglob("*.py")]
    return sorted(path.relative_to(root).as_posix() for path in files if path.exists())


def parse(root: Path, name: str) -> ast.Module:
    return ast.parse((root / name).read_text(encoding="utf-8"), name)


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of all that is imported, anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def relative_imports(root: Path, name: str) -> Iterator[str]:
    for line, target in imported(parse(root, name)):
        if target.startswith("."):
            yield f"{name}:{line}: relative import of {target}"


def misplaced_imports(root: Path, name: str) -> Iterator[str]:
    for line, target in imported(parse(root, name)):
        package = target.split(".")[0]
        if package in ONLY_IN and not name.startswith(ONLY_IN[package]):
            yield f"{name}:{line}: {package} may not be imported here"


def unsafe_code(root: Path, name: str) -> Iterator[str]:
    tree = parse(root, name)
    for line, target in imported(tree):
        if target.split(".")[0] in FORBIDDEN_IMPORTS:
            yield f"{name}:{line}: imports {target}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if (called := ast.unparse(node.func)) in FORBIDDEN_CALLS:
                yield f"{name}:{node.lineno}: calls {called}"
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg in ("shell", "allow_pickle", "trust_remote_code") and not (
                    isinstance(value, ast.Constant) and value.value is False
                ):
                    yield f"{name}:{node.lineno}: sets {keyword.arg}"


def environment_reads(root: Path, name: str) -> Iterator[str]:
    """Reads of single environment variables; passing all of them on to a child is no such read."""
    if name == SETTINGS:
        return
    tree = parse(root, name)
    passed_on = {
        id(value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if key is None
    }
    written = {
        id(node.func.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "setdefault"
    }
    for node in ast.walk(tree):
        named = isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in ENVIRONMENT
        if named and id(node) not in passed_on | written:
            yield f"{name}:{node.lineno}: the environment is read in {SETTINGS} only"


def too_long(root: Path, name: str) -> Iterator[str]:
    lines = len((root / name).read_text(encoding="utf-8").splitlines())
    if lines > MAX_LINES:
        yield f"{name}: {lines} lines, over {MAX_LINES}"


def undocumented(root: Path, name: str) -> Iterator[str]:
    """Missing docstrings and types, and annotations that are evaluated at import."""
    tree = parse(root, name)
    if not ast.get_docstring(tree):
        yield f"{name}: no docstring"
    annotated = (ast.FunctionDef, ast.AsyncFunctionDef, ast.AnnAssign)
    future = any(target == "__future__.annotations" for _, target in imported(tree))
    if not future and any(isinstance(node, annotated) for node in ast.walk(tree)):
        yield f"{name}: no `from __future__ import annotations`"
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield f"{name}:{node.lineno}: {node.name} has no docstring"
            yield from (f"{name}:{fault}" for part in node.body for fault in untyped(part))
        elif isinstance(node, annotated[:2]) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield f"{name}:{node.lineno}: {node.name} has no docstring"
            yield from (f"{name}:{fault}" for fault in untyped(node))


def colloquial(root: Path, name: str) -> Iterator[str]:
    """Names of modules, functions, classes, arguments, attributes and variables that nobody searches for."""
    for part in Path(name).with_suffix("").parts:
        if COLLOQUIAL.intersection(words(part)):
            yield f"{name}: the module's own name"
    for node in ast.walk(parse(root, name)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bound = node.name
            case ast.arg(arg=bound) | ast.keyword(arg=str(bound)):
                pass
            case ast.Name(id=bound, ctx=ast.Store()) | ast.Attribute(attr=bound, ctx=ast.Store()):
                pass
            case _:
                continue
        if COLLOQUIAL.intersection(words(bound)):
            yield f"{name}:{node.lineno}: {bound}"


def words(name: str) -> set[str]:
    """The words of a name in snake case or capitals."""
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))


def long_functions(root: Path, name: str) -> Iterator[str]:
    for node in ast.walk(parse(root, name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {lines} lines, over {MAX_FUNCTION_LINES}"


def untyped(node: ast.stmt) -> Iterator[str]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    given = node.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    bare = [a.arg for a in arguments if a and a.arg not in ("self", "cls") and not a.annotation]
    if bare or node.returns is None:
        yield f"{node.lineno}: {node.name} is not typed"


def test_a_package_imports_only_what_stands_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contracts of import-linter in pyproject.toml."""
    # It would disable all loggers of this process, whose records later tests read.
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_the_listing_is_short() -> None:
    entries = [p for p in (ROOT / "serdemo").iterdir() if p.name != "__pycache__"]
    assert len(entries) <= MAX_ENTRIES


RULES = (
    relative_imports,
    misplaced_imports,
    unsafe_code,
    environment_reads,
    too_long,
    long_functions,
    colloquial,
    undocumented,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_holds_to_the_rule(rule) -> None:
    names = sources(ROOT)
    assert len(names) > 40, "the sources were not found"
    faults = [fault for name in names for fault in rule(ROOT, name)]
    assert not faults, "\n".join(faults)


HEAD = '"""A file."""\n\nfrom __future__ import annotations\n\n'


@pytest.mark.parametrize(
    ("rule", "name", "text", "faults"),
    [
        (relative_imports, "serdemo/nn/model.py", "from . import losses", 1),
        (relative_imports, "serdemo/nn/model.py", "from serdemo.nn import losses", 0),
        (misplaced_imports, "serdemo/ui/theme.py", "import gradio as gr", 0),
        (misplaced_imports, "serdemo/cli.py", "def f() -> None:\n    from gradio import Blocks", 1),
        (misplaced_imports, "serdemo/encoders/compact.py", "import transformers.models", 1),
        (unsafe_code, "serdemo/audio.py", "model.eval()\nre.compile('a')\nnp.load('x')", 0),
        (unsafe_code, "serdemo/audio.py", "eval('1')\nexec('1')\ntorch.load('x')", 3),
        (unsafe_code, "serdemo/audio.py", "import pickle\nfrom joblib import load", 2),
        (unsafe_code, "serdemo/audio.py", "run('ls', shell=True)\nrun('ls', shell=False)", 1),
        (unsafe_code, "serdemo/audio.py", "np.load('x', allow_pickle=True)", 1),
        (environment_reads, "serdemo/cli.py", "x = {**os.environ}\nos.environ.setdefault(x)", 0),
        (environment_reads, "serdemo/cli.py", "os.environ.get('A')\nos.getenv('B')", 2),
        (environment_reads, SETTINGS, "os.environ['A']", 0),
        (too_long, "serdemo/audio.py", "\n" * (MAX_LINES - 4), 0),
        (too_long, "serdemo/audio.py", "\n" * (MAX_LINES + 1), 1),
        (
            colloquial,
            "serdemo/audio.py",
            "told_apart = 1\ndef f(kept: int) -> int:\n    return g(said=2)",
            3,
        ),
        (colloquial, "serdemo/heard.py", "class MostAsked:\n    x: int = 1", 2),
        (colloquial, "serdemo/audio.py", "untold = askedness = 1", 0),
        (long_functions, "serdemo/audio.py", "def f() -> None:\n" + "    pass\n" * 79, 0),
        (long_functions, "serdemo/audio.py", "def f() -> None:\n" + "    pass\n" * 80, 1),
        (undocumented, "serdemo/audio.py", "def _f(x):\n    pass", 0),
        (undocumented, "serdemo/audio.py", 'def f(x: int) -> int:\n    """It."""', 0),
        (undocumented, "serdemo/audio.py", 'def f(x) -> int:\n    """It."""', 1),
        (undocumented, "serdemo/audio.py", "def f(*x: int):\n    pass", 2),
        (undocumented, "serdemo/audio.py", "class A:\n    def f(self):\n        pass", 2),
    ],
)
def test_the_rules_find_what_is_wrong(tmp_path: Path, rule, name: str, text: str, faults) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + text, encoding="utf-8")
    assert len(list(rule(tmp_path, name))) == faults


def test_a_bare_file_is_found_bare(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x: int = 1\n", encoding="utf-8")
    assert sources(tmp_path) == ["app.py"]
    assert len(list(undocumented(tmp_path, "app.py"))) == 2
