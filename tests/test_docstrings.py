"""What a user of the library reads: public docstrings, help texts, warnings and messages."""

import argparse
import ast
import builtins
import re
from pathlib import Path

import infcop_lite
from infcop_lite.options import parser

HOUSE = Path(__file__).parents[1] / "infcop_lite"
LONGEST = 30
FILES = {
    str(path.relative_to(HOUSE)): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(HOUSE.rglob("*.py"))
    if path.name not in ("_moved.py", "_interrupted.py")
}
#: Parts of a docstring, which end the sentence before them.
PARTS = "Args|Returns|Yields|Raises|Note|Notes|Attributes|Source|Example"


def sentences(text):
    """The sentences of a docstring, without its examples, titles and names of arguments."""
    text = re.sub(r"^[ ]*(>>>|\.\.\.).*?(?=^\s*$|\Z)", "", text, flags=re.M | re.S)
    text = re.sub(rf"^\s*(?:{PARTS}):\s*$", "\n\n", text, flags=re.M)
    text = re.sub(r"^(\s+[-*]? ?)(?:[\w*, ]+): ", r"\n\n", text, flags=re.M)
    text = re.sub(r"``[^`]*``|`[^`]*`", "CODE", text)
    text = re.sub(r"\b(e\.g|i\.e|et al|vs|Eq|p)\.", r"\1", text)
    return [part for part in re.split(r"(?<=[.?!])\s+|\n\s*\n|:\s*\n", text) if part.strip()]


def too_long(text):
    return [part for part in sentences(text) if len(re.findall(r"\w\S*", part)) > LONGEST]


def documented(tree):
    """(name, node) of what is public in a module: itself, functions, classes and methods."""
    yield "", tree
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            for part in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                    yield f"{node.name}.{part.name}", part


PUBLIC = [(file, name, node) for file, tree in FILES.items() for name, node in documented(tree)]


def own_errors(node):
    """What the body of a function raises; of a class, what its making raises."""
    if isinstance(node, ast.ClassDef):
        inits = {"__init__", "__post_init__"}
        node = next((p for p in node.body if getattr(p, "name", "") in inits), None)
    if not isinstance(node, ast.FunctionDef):
        return set()
    return {
        raised.exc.func.id
        for raised in ast.walk(node)
        if isinstance(raised, ast.Raise)
        and isinstance(raised.exc, ast.Call)
        and isinstance(raised.exc.func, ast.Name)
        and raised.exc.func.id[0].isupper()
    }


def is_named(error, text):
    """Whether a docstring names an error, or a built-in error that it is a kind of."""
    kinds = getattr(builtins, error, Exception).__mro__
    names = {error} | {kind.__name__ for kind in kinds} - {"Exception", "BaseException", "object"}
    return any(re.search(rf"\b{name}\b", text) for name in names)


def said(node):
    """The longest text that one message can be: an f-string's fields count as one word each."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "CODE" for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return said(node.left) + said(node.right)
    return ""


def messages(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            arguments = node.exc.args
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "warn":
            arguments = node.args[:1]
        else:
            continue
        for argument in arguments:
            if text := said(argument):
                yield text


def helps(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield choice.dest, choice.help or ""
            for name, inner in action.choices.items():
                for option, text in helps(inner):
                    yield f"{name} {option}", text
        elif action.help and action.help != argparse.SUPPRESS:
            yield action.dest, action.help


def test_no_sentence_of_a_public_docstring_is_too_long():
    long = [
        f"{file}:{name}: {part}"
        for file, name, node in PUBLIC
        for part in too_long(ast.get_docstring(node) or "")
    ]
    assert not long, "\n".join(long)


def test_no_message_or_help_text_is_too_long():
    long = [
        f"{file}: {text}"
        for file, tree in FILES.items()
        for text in messages(tree)
        if too_long(text)
    ]
    long += [f"--help of {name}: {text}" for name, text in helps(parser()) if too_long(text)]
    assert not long, "\n".join(long)


def test_first_lines_say_what_without_a_colon():
    wrong = []
    for file, name, node in PUBLIC:
        lines = (ast.get_docstring(node) or "").splitlines()
        first = re.sub(r":(?:\w+:)?`|``.*?``", "", lines[0]) if lines else ""
        if not first.endswith((".", "?")) or ":" in first:
            wrong.append(f"{file}:{name}: {first or 'no docstring'}")
    assert not wrong, "\n".join(wrong)


def test_what_a_function_raises_stands_in_its_docstring():
    silent = [
        f"{file}:{name}: {', '.join(sorted(missing))}"
        for file, name, node in PUBLIC
        if (
            missing := {
                error
                for error in own_errors(node)
                if not is_named(error, (ast.get_docstring(node) or "").partition("Raises:")[2])
            }
        )
    ]
    assert not silent, "\n".join(silent)


def test_what_a_newcomer_calls_has_an_example():
    """The names of the front door, and what reads and judges finished runs."""
    met = {"evidence.py", "records.py", "collecting.py", "stopping.py", "loop.py", "own.py"}
    door = [getattr(infcop_lite, name) for name in infcop_lite.__all__]
    met_alone = {(f"{it.__module__.rpartition('.')[2]}.py", it.__name__) for it in door}
    bare = [
        f"{file}:{name}"
        for file, name, node in PUBLIC
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and (file in met or (file, name) in met_alone)
        and "." not in name
        and ">>>" not in (ast.get_docstring(node) or "")
    ]
    assert not bare, "\n".join(bare)


def test_the_measures_see_what_they_are_for():
    long = "word " * 31 + "end."
    assert too_long(long)
    assert too_long(f"What.\n\nArgs:\n    a: {long}")
    assert not too_long("word " * 20 + "end. " + "word " * 20 + "end.")
    assert not too_long("What.\n\n>>> " + long)
    raises = ast.parse("def f():\n    raise ValueError(f'a {b} c')").body[0]
    assert own_errors(raises) == {"ValueError"}
    assert list(messages(raises)) == ["a CODE c"]
