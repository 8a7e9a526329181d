"""The plan of the house: who may import whom, who may touch files, how long a module may be."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "infcop_lite"
MAY_IMPORT = {
    "_moved": set(),
    "classes": set(),
    "layers": set(),
    "masks": {"_moved", "layers"},
    "batches": set(),
    "placement": set(),
    "ranks": {"batches"},
    "never": set(),
    "checks": {"never"},
    "confidence": set(),
    "prices": {"checks"},
    "timetables": {"checks"},
    "stopping": {"checks", "confidence", "never", "prices", "timetables"},
    "source": set(),
    "datasets": {"source"},
    "data": {"batches", "datasets"},
    "pairs": set(),
    "memory": {"batches"},
    "reading": {"memory", "pairs"},
    "streams": {"batches", "pairs"},
    "loaders": {"batches", "data", "memory", "pairs", "reading", "streams"},
    "airnet": set(),
    "models": {"airnet"},
    "limits": set(),
    "compute": {"limits"},
    "train": {"_moved", "batches", "classes", "masks"},
    "flows": {"batches", "classes", "layers", "masks", "train"},
    "precision": {"flows"},
    "feeding": {"batches", "data", "train"},
    "scores": {"batches", "classes", "layers", "masks", "train"},
    "own": set(),
    "config": {
        "_moved",
        "compute",
        "datasets",
        "limits",
        "masks",
        "models",
        "own",
        "scores",
        "stopping",
        "train",
    },
    "identity": {"_moved", "batches", "config", "data", "feeding", "masks", "own"},
    "amounts": {"config", "layers", "masks", "scores"},
    "planning": {"amounts", "config", "layers", "masks"},
    "drawing": {"amounts", "config", "masks", "scores"},
    "evaluation": {"checks", "train"},
    "measured": {"checks", "flows", "never", "precision"},
    "monitor": {
        "batches",
        "checks",
        "data",
        "evaluation",
        "flows",
        "masks",
        "measured",
        "precision",
        "train",
    },
    "ledger": set(),
    "rows": set(),
    "records": {"ledger", "rows"},
    "training": {"batches", "config", "drawing", "feeding", "loaders", "masks", "train"},
    "level": {
        "amounts",
        "batches",
        "compute",
        "config",
        "data",
        "drawing",
        "feeding",
        "masks",
        "measured",
        "models",
        "monitor",
        "train",
        "training",
    },
    "asking": {"config", "measured", "monitor", "never", "stopping"},
    "standing": {"batches", "masks", "measured", "stopping"},
    "pruner": {
        "amounts",
        "asking",
        "batches",
        "config",
        "drawing",
        "level",
        "masks",
        "measured",
        "monitor",
        "placement",
        "planning",
        "ranks",
        "scores",
        "standing",
        "stopping",
    },
    "windows": {"batches", "flows", "level", "masks", "measured", "stopping"},
    "recording": {
        "checks",
        "compute",
        "config",
        "flows",
        "ledger",
        "level",
        "masks",
        "measured",
        "rows",
        "stopping",
    },
    "tree": {"amounts", "level", "masks", "measured", "recording", "rows", "stopping", "windows"},
    "loop": {"compute", "config", "level", "masks", "measured", "recording", "rows", "tree"},
    "resuming": {
        "_moved",
        "compute",
        "config",
        "ledger",
        "level",
        "measured",
        "records",
        "rows",
        "tree",
    },
    "pruning": {
        "amounts",
        "compute",
        "config",
        "data",
        "feeding",
        "identity",
        "layers",
        "level",
        "loaders",
        "loop",
        "masks",
        "monitor",
        "own",
        "planning",
        "resuming",
        "rows",
    },
    "labels": {"stopping"},
    "collecting": {"labels", "records"},
    "results": {"collecting", "records"},
    "evidence": {"collecting", "labels", "results"},
    "tracing": set(),
    "cost": {"layers"},
    "coupling": {"amounts", "batches", "layers", "masks"},
    "linking": {"tracing"},
    "units": {"batches", "coupling", "level", "linking", "masks", "pruning"},
    "compacting": {"_moved", "layers", "linking", "masks", "tracing"},
    "handover": {"flows", "layers", "masks", "records"},
    "storing": {"compacting", "handover", "masks", "records"},
    "pool": set(),
    "sweep": {"_moved", "config", "identity", "loop", "own", "pool", "records", "resuming", "rows"},
    "figures": set(),
    "glue": set(),
    "__main__": {"_moved", "config", "data", "datasets", "own", "records", "rows", "sweep"},
    "__init__": {
        "_moved",
        "collecting",
        "compacting",
        "config",
        "flows",
        "level",
        "loop",
        "masks",
        "planning",
        "pruner",
        "pruning",
        "stopping",
        "sweep",
    },
}
# A module of a package may import its neighbours there, and what its package may.
PACKAGES = {"theory": {"_moved", "masks", "flows", "amounts"}}
PACKAGES["integrations"] = {"placement", "pruner"}
PACKAGES["explorer"] = set(MAY_IMPORT) - {"_moved", "__init__", "__main__"} | {"theory"}
WITHOUT_TORCH = (
    "never",
    "checks",
    "confidence",
    "prices",
    "timetables",
    "stopping",
    "rows",
    "ledger",
    "records",
    "labels",
    "collecting",
    "results",
)
WITHOUT_TORCH += ("never", "evidence", "figures")
WITH_FILES = ("source", "data", "datasets", "ledger", "records", "collecting", "results")
WITH_FILES += ("__main__", "integrations.transformers")
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")
)
FILE_FUNCTIONS = {"open", "load", "save", "savefig", "fromfile", "tofile", "imread", "imsave"}
FILE_METHODS = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "touch", "unlink"),
    *("rmdir", "rename", "savez", "savetxt", "loadtxt", "genfromtxt", "memmap"),
}


def parse(module: str) -> ast.Module:
    return ast.parse(source_of(module))


def source_of(module: str) -> str:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8")


def imported(tree: ast.AST) -> set[str]:
    """Every module that `tree` imports, at the top or inside functions; ours start with a dot."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level and not node.module:
            names = [f".{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + str(node.module)]
        else:
            continue
        found |= {name.replace("infcop_lite", "", 1) or ".__init__" for name in names}
    return found


def file_access(tree: ast.AST) -> set[str]:
    """Calls that read or write files: open(...), torch.save(...), path.write_text(...)."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in {"open", "Path"}:
            found.add(node.func.id)
        elif isinstance(node.func, ast.Attribute):
            owner, name = ast.unparse(node.func.value), node.func.attr
            library = owner in {"torch", "np", "numpy", "json", "pickle", "plt", "io", "os"}
            table = owner in {"pd", "pandas"} and name.startswith("read_")
            if (library and name in FILE_FUNCTIONS) or name in FILE_METHODS or table:
                found.add(f"{owner}.{name}")
            if name in {"open", "savefig", "to_csv", "to_json", "to_pickle", "tofile"}:
                found.add(f"{owner}.{name}")
    return found


def code_lines(source: str) -> int:
    """Lines that hold code: no blank ones, comments or docstrings."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout | {tokenize.ENDMARKER}:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def ours(module: str) -> set[str]:
    """Every module and package of ours that a module imports, as the plan names it.

    One of a package is named with it, `explorer.knobs`, from inside and from outside.
    """
    inside, found = module.rpartition(".")[0], set()
    for name in imported(parse(module)):
        if name.startswith("..") or (name.startswith(".") and not inside):
            found.add(name.lstrip("."))
        elif name.startswith("."):
            found.add(f"{inside}.{name[1:]}")
    return found


def room(module: str) -> str:
    """The package that a module lies in, or the module itself."""
    return module.partition(".")[0]


def allowed(module: str) -> set[str]:
    """What a module may import; of its own package, every neighbour."""
    return PACKAGES[room(module)] | {room(module)} if "." in module else MAY_IMPORT[module]


def test_every_module_has_its_place_in_the_plan():
    assert {module for module in MODULES if "." not in module} == set(MAY_IMPORT)
    assert {room(module) for module in MODULES if "." in module} == set(PACKAGES)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_the_plan_allows(module):
    found = {room(name) for name in ours(module)}
    assert found <= allowed(module), f"{module} imports {found - allowed(module)}"


def test_the_page_of_the_library_shows_this_plan():
    """`_moved` is nobody's business, and the packages have a line each."""
    text = PACKAGE.parent.joinpath("book", "api.md").read_text("utf-8")
    shown = re.findall(r"^\| \[`(\w+)`\]\(#\w+\) \| .+ \| (.+) \|$", text, re.MULTILINE)
    pages = {name: set(re.findall(r"`(\w+)`", imports)) for name, imports in shown}
    assert pages.pop("theory") == PACKAGES["theory"] - {"_moved"}
    assert pages.pop("integrations") == PACKAGES["integrations"]
    del pages["explorer"]
    plan = {k: v - {"_moved"} for k, v in MAY_IMPORT.items() if "__" not in k}
    assert pages == {name: found for name, found in plan.items() if name != "_moved"}


def in_a_circle(imports: dict[str, set[str]]) -> set[str]:
    """What is left when everything is taken away whose imports are all taken away."""
    rest = set(imports)
    while ready := {module for module in rest if not imports[module] & rest}:
        rest -= ready
    return rest


def test_the_plan_has_no_cycles():
    assert not in_a_circle(MAY_IMPORT | PACKAGES)


def test_no_modules_of_a_package_import_each_other_in_a_circle():
    assert not in_a_circle({module: ours(module) for module in MODULES if "." in module})


def test_a_circle_is_noticed():
    assert in_a_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == {"a", "b", "c"}


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_rules_records_and_figures_do_without_torch(module):
    assert not {name for name in imported(parse(module)) if name.split(".")[0] == "torch"}


@pytest.mark.parametrize("module", sorted(set(MODULES) - set(WITH_FILES)))
def test_few_modules_touch_files(module):
    assert not file_access(parse(module))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_read_in_one_sitting(module):
    source = source_of(module)
    assert code_lines(source) <= 200, f"{module} holds more than one idea"
    assert ast.get_docstring(ast.parse(source)), f"{module} does not say what it is about"


def test_imports_are_found_wherever_and_however_they_are_written():
    source = (
        "import infcop_lite.flows\ndef f():\n    from . import imp\n    from .masks import density"
    )
    assert imported(ast.parse(source)) == {".flows", ".imp", ".masks"}


@pytest.mark.parametrize(
    "line", ["open('x')", "torch.save(a, b)", "p.write_text('')", "pd.read_csv(f)", "ax.savefig(f)"]
)
def test_file_access_is_noticed(line):
    assert file_access(ast.parse(line))


def test_code_lines_leave_out_docstrings_and_comments():
    assert code_lines('"""Two\nlines."""\n\n# a comment\nx = [\n    1,\n]\n') == 3
