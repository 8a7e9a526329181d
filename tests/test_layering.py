"""The plan of the house: who may import whom, who may touch files, how long a module may be."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "infcop_lite"
#: The plan stands on the page of the library, in its table: a module, its idea, what it may import.
PLAN = re.findall(
    r"^\| \[`(\w+)`\]\(api-[\w.#-]+\) \| .+ \| (.+) \|$",
    PACKAGE.parent.joinpath("book", "api.md").read_text("utf-8"),
    re.MULTILINE,
)
ROOMS = {name: set(re.findall(r"`(\w+)`", imports)) for name, imports in PLAN}
# The line of the explorer says "the above": all of them.
ROOMS["explorer"] = set(ROOMS) - {"explorer"}
PACKAGES = {name for name in ROOMS if (PACKAGE / name).is_dir()}
#: What comes in through the front: it opens every room, and none leads back to it.
DOORS = {"__init__", "__main__"}
#: Old names: whoever had one may send on from it, and the page need not say so.
MOVED = "_moved"
#: What the front takes first: how an interruption of its imports ends.
FIRST = "_interrupted"
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
WITHOUT_TORCH += ("never", "evidence", "figures", "looking", "hindsight")
WITHOUT_TORCH += ("verdicts", "pairing", "faults", "families", "wording", "referee")
WITH_FILES = ("source", "data", "datasets", "ledger", "records", "collecting", "results")
WITH_FILES += ("__main__", "options", "terminal", "integrations.transformers")
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
    if module in DOORS:
        return set(ROOMS) | {MOVED, FIRST}
    own = {room(module)} if "." in module else set()
    return ROOMS.get(room(module), set()) | own | {MOVED}


def test_every_module_has_its_place_in_the_plan():
    assert {room(module) for module in MODULES} == set(ROOMS) | DOORS | {MOVED, FIRST}


def test_the_plan_says_what_is_done_and_no_more():
    """A permission that nobody uses would let an arrow in that nobody decided."""
    used = {name: set[str]() for name in ROOMS}
    for module in set(MODULES) - DOORS - {MOVED, FIRST}:
        used[room(module)] |= {room(name) for name in ours(module)} - {room(module), MOVED}
    del used["explorer"]
    assert used == {name: ROOMS[name] for name in used}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_the_plan_allows(module):
    found = {room(name) for name in ours(module)}
    assert found <= allowed(module), f"{module} imports {found - allowed(module)}"


def in_a_circle(imports: dict[str, set[str]]) -> set[str]:
    """What is left when everything is taken away whose imports are all taken away."""
    rest = set(imports)
    while ready := {module for module in rest if not imports[module] & rest}:
        rest -= ready
    return rest


def test_the_plan_has_no_cycles():
    assert not in_a_circle(ROOMS)


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
