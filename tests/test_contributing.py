"""CONTRIBUTING, followed: in a scratch clone one of each thing is added as it says, and passes.

A contributor adds a rule, a score, a network, a data set, a chapter that uses them all, and a
picture with knobs, in a commit each. What git counts is held to what adding may cost.
"""

import hashlib
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import address
import alone
import build
import install_cell
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SLUG, BRANCH = address.configured()


# --- what the contributor writes ---------------------------------------------------------------


def idx(array):
    """A file as MNIST's are: a magic number, the shape, the bytes."""
    return struct.pack(f">2B2B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def forged_files():
    """Path -> content of a data set like MNIST: class k has a bright row k, the rest is noise."""
    rng, contents = np.random.default_rng(0), {}
    for part, count in (("train", 200), ("t10k", 50)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = rng.integers(0, 50, (count, 28, 28), np.uint8)
        images[np.arange(count), 2 * labels + 4] += 200
        contents[f"KMNIST/raw/{part}-images-idx3-ubyte"] = idx(images)
        contents[f"KMNIST/raw/{part}-labels-idx1-ubyte"] = idx(labels)
    return contents


FILES = forged_files()
MD5S = "".join(
    f'            "{path}": "{hashlib.md5(content).hexdigest()}",\n'
    for path, content in FILES.items()
)

RULE = '''\
@dataclass(frozen=True)
class Halfway:
    """Stop when the training loss is below a share of the first one of its level.

    Args:
        share: of the first loss, > 0.

    >>> Halfway().stop([Check(1.0, train_loss=2.0), Check(2.0, train_loss=0.9)])
    True
    """

    share: float = 0.5
    kind = "loss"
    reads = frozenset[str]()

    def __post_init__(self) -> None:
        _positive("share", self.share)

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the last loss is low enough."""
        first = next((c.train_loss for c in checks if c.epoch > 0), math.nan)
        return checks[-1].train_loss < self.share * first


'''
RULE_EXAMPLE = '    "halfway": (Halfway(), history(train_loss=[NAN, 0.9, 0.5, 0.4]), 3),\n'

SCORE = '''\
def positive(model: nn.Module, masks: Masks, batch: Batch | None, loss: Loss) -> Scores:
    """Return weights through a sigmoid: negative ones go first.

    >>> positive(nn.Linear(2, 1), {}, None, nn.functional.cross_entropy)["weight"].shape
    torch.Size([1, 2])
    """
    return {name: weight.detach().sigmoid() for name, weight in prunable(model).items()}


'''

NETWORK = '''\
def _toy(shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Flatten, two layers.

    >>> sum(weight.numel() for weight in _toy((1, 2, 2), 3).parameters())
    91
    """
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(prod(shape), 11),
            relu=nn.ReLU(),
            fc2=nn.Linear(11, num_classes),
        )
    )


'''

DATA_SET = f"""\
    "toy": Source(
        title="a toy",
        files={{
{MD5S}        }},
        read=_idx,
        fetch=partial(_torchvision, name="KMNIST"),
        mean=(0.1236,),
        deviation=(0.1618,),
        classes=(*"zero one two three four five six seven eight nine".split(),),
    ),
"""

SHEET_ROW = "| [`toy`](#toy) | 200 | 50 | 28 × 28, grey | 10 |\n"
SHEET = """
## toy

**Source.** Noise.

**Licence.** None is needed.

**Split here.** As written.

**Known faults.** It teaches nothing.
"""

WIDGET = '''\
"""How far a loss falls: a share of it, to be turned."""

import matplotlib.pyplot as plt
import pandas as pd

from .knobs import BLUE, Explorer, Knob, as_svg, explore, style

SHARES = (0.25, 0.5, 0.75)


def falling_loss(rate: float = 0.8) -> Explorer:
    """Return a loss that falls, and where it is below a share of its first value.

    Args:
        rate: of the loss from one epoch to the next, in (0, 1).

    >>> falling_loss().table["epoch"].tolist()
    [7, 4, 2]
    """
    losses = [rate**epoch for epoch in range(12)]
    hits = [next(i for i, loss in enumerate(losses) if loss < share) for share in SHARES]

    def draw(share: float) -> str:
        with style():
            figure, ax = plt.subplots()
            ax.plot(losses, color=BLUE)
            ax.axhline(share, linestyle=":")
            ax.set(xlabel="epoch", ylabel="loss")
            hit = hits[SHARES.index(share)]
            return as_svg(figure, f"A falling loss, below {share} of the first from epoch {hit} on")

    knob = Knob("share", {str(share): share for share in SHARES}, 1)
    table = pd.DataFrame({"share": SHARES, "epoch": hits})
    return explore(draw, knob, table=table, title="Where the loss is low enough")
'''
WIDGET_ROW = (
    "| the share of the loss | from which epoch on it is low enough | "
    "[chapter 99](../notebooks/99-toy.ipynb#turn-the-share) |\n"
)
WIDGET_CELLS = {
    "share": "## Turn the share\n\nFrom which epoch on is the loss low enough?",
    "share-knob": "from infcop_lite.explorer.toy import falling_loss\n\nfalling_loss()",
}

TITLE = f"""\
# When is a loss half of what it was?

[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/{SLUG}/blob/{BRANCH}/notebooks/99-toy.ipynb)

A toy of everything, on digits that are no digits.

**What this chapter teaches.** That a rule, a score, a network and data can be added.

**What it needs.** [Chapter 2](02-iterative-magnitude-pruning.ipynb).

**Time.** See *Measured* in the box above."""
CHAPTER = {  # cell id -> text; those in CODE are code
    "title": TITLE,
    "install": install_cell.INSTALL.replace("{slug}", SLUG).replace("{extras}", "").rstrip("\n"),
    "parameters": 'profile = "ci"  # ci: small · laptop: larger · paper: the published sizes',
    "imports": """\
import matplotlib.pyplot as plt
import torch
from torch import nn

from infcop_lite import Check, Config, data, models, run, scores, stopping""",
    "data": """\
name = "toy" if data.available("toy") else "mnist-small"
dataset = data.load(name)
assert dataset.classes[9] == "nine"
print(f"{name}: {len(dataset.train)} training images")""",
    "hand-text": "## By hand\n\nThree losses, and a unit of three weights.",
    "hand-rule": """\
checks = [Check(float(epoch), train_loss=loss) for epoch, loss in ((1, 0.8), (2, 0.4), (3, 0.39))]
by_hand = [0.8 < 0.4, 0.4 < 0.4, 0.39 < 0.4]
assert [stopping.Halfway().stop(checks[:n]) for n in (1, 2, 3)] == by_hand
assert by_hand == [False, False, True]""",
    "hand-score": """\
unit = nn.Linear(3, 1)
unit.weight.data = torch.tensor([[-2.0, 0.0, 1.0]])
found = scores.SCORES["positive"](unit, {}, None, nn.functional.cross_entropy)["weight"]
assert torch.allclose(found, 1 / (1 + torch.exp(-unit.weight)))""",
    "run-text": "## A run\n\nAll of them together, in two levels.",
    "run": """\
network = models.build("toy", dataset)
assert sum(weight.numel() for weight in network.parameters()) == 785 * 11 + 12 * 10
config = Config(data=name, model="toy", stop="halfway", score="positive", levels=2, epochs=20)
rows = list(run(config))
assert {row.kind for row in rows} == {"loss"}
assert abs(rows[-1].density - (1 - config.fraction) ** 2) < 0.01""",
    "run-stops": """\
first = [row for row in rows if row.level == 0 and row.epoch > 0]
low = [row.train_loss < 0.5 * first[0].train_loss for row in first]
assert low == [False] * (len(low) - 1) + [True]
print(f"epochs until half the loss: {first[-1].epoch:g} of {config.epochs:g}")""",
    "figure-toy-loss": """\
fig, ax = plt.subplots(layout="constrained")
ax.plot([row.epoch for row in first], [row.train_loss for row in first], "o-", color="#0072B2")
ax.set(xlabel="epoch", ylabel="training loss")
plt.show()""",
    "figure-toy-loss-read": "The loss falls until it is below half of its first value.",
    "exercises": "## Exercises",
}
CODE = {"install", "parameters", "imports", "data", "hand-rule", "hand-score", "run", "run-stops"}
CODE |= {"figure-toy-loss"}
ALT = "The training loss of the first level falls from epoch to epoch, to below half of the first."
EXERCISES = {  # title -> text, solution
    "A third of a loss, by hand": ("When is it a third?", "assert 1 / 3 < 0.5"),
    "A third of a loss, in code": (
        "Write that rule.",
        "assert stopping.Halfway(1 / 3).share < 0.5",
    ),
    "Which share? To explore": (
        "Turn the level in [chapter 3](03-stopping-criterion.ipynb#one-run-level-by-level).",
        "assert first[-1].train_loss < first[0].train_loss",
    ),
    "A better share, open": ("Which share would you take?", "print(first[-1].train_loss)"),
}


QUIZ = "\n".join(
    f"""\
## toy-{name}

Is a loss of 0.4 below {share} of a first one of 0.8?

+ {"Yes" if share > 0.5 else "No"}
> So it is: the share of 0.8 is what counts.
- {"No" if share > 0.5 else "Yes"}
> Multiply the first loss by the share.
- It depends on the seed
> No seed enters a comparison of two numbers.
"""
    for name, share in zip(("a", "b", "c", "d", "e"), (0.1, 0.3, 0.5, 0.7, 0.9), strict=True)
)
TIMES = '99-toy,ci,4.0,8.0,0.5,"x86_64, 2 cores, one thread, torch 2.14.1"\n'


def cell(name, text, code=False):
    made = (new_code_cell if code else new_markdown_cell)(text, id=name)
    if name in ("install", "parameters"):
        also = ["skip-execution", "remove-cell"] if name == "install" else [name]
        made.metadata["tags"] = also
    if name.startswith("figure-") and code:
        made.metadata["mystnb"] = {
            "image": {"alt": ALT},
            "figure": {
                "name": name.replace("figure", "fig"),
                "caption": "A loss until it is half.",
            },
        }
    return made


def chapter():
    cells = [cell(name, text, name in CODE) for name, text in CHAPTER.items()]
    for number, (title, (text, solution)) in enumerate(EXERCISES.items(), 1):
        name, label = f"exercise-{number}", f"ex-toy-{number}"
        start = f"````{{solution-start}} {label}\n:class: dropdown\n````"
        cells += [
            cell(name, f"```{{exercise}} {title}\n:label: {label}\n\n{text}\n```"),
            cell(f"{name}-solution", start),
            cell(f"{name}-answer", solution, code=True),
            cell(f"{name}-end", "````{solution-end}\n````"),
        ]
    made = new_notebook(cells=cells)
    made.metadata.kernelspec = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    made.metadata.language_info = {"name": "python"}
    return made


# --- how it gets there -------------------------------------------------------------------------


def insert(path, *, text, before="", after=""):
    """Write text before or after the first line that begins so."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    (place, *_) = [i for i, line in enumerate(lines) if line.startswith(before or after)]
    lines.insert(place + bool(after), text)
    path.write_text("".join(lines), "utf-8")


def write_chapter(root, made):
    text = nbformat.writes(made, version=4)
    (root / "notebooks" / "99-toy.ipynb").write_text(f"{text}\n", "utf-8")


def add_rule(root):
    rules, tests = root / "infcop_lite" / "stopping.py", root / "tests" / "test_stopping.py"
    insert(rules, before="#: Name -> function", text=RULE)
    insert(
        rules,
        after='    "loss": lambda',
        text='    "halfway": lambda c, accuracy, loss: Halfway(),\n',
    )
    insert(tests, after="    FlowConsistency,", text="    Halfway,\n")
    insert(tests, after="EXAMPLES = {", text=RULE_EXAMPLE)
    insert(tests, after="TOLERANT = [", text="    Halfway,\n")


def add_score(root):
    scores = root / "infcop_lite" / "scores.py"
    insert(scores, before="#: Name -> score.", text=SCORE)
    insert(scores, after='    "random": at_random', text='    "positive": positive,\n')


def add_network(root):
    models = root / "infcop_lite" / "models.py"
    insert(models, before="def _lenet5(", text=NETWORK)
    insert(models, after='    "airnet-64"', text='    "toy": Network(_toy, (1, 28, 28)),\n')


def add_data_set(root):
    insert(root / "infcop_lite" / "datasets.py", before='    "mnist-small": Source(', text=DATA_SET)
    page = root / "book" / "data-sheets.md"
    insert(page, after="| [`mnist-small`]", text=SHEET_ROW)
    page.write_text(page.read_text("utf-8") + SHEET, "utf-8")


def add_chapter(root):
    write_chapter(root, chapter())
    contents = root / "book" / "_toc.yml"
    insert(contents, before="      - file: book/lying", text="      - file: notebooks/99-toy\n")
    (root / "course" / "quiz" / "99-toy.md").write_text(QUIZ, "utf-8")
    with (root / "benchmarks" / "times.csv").open("a", encoding="utf-8") as table:
        table.write(TIMES)


def add_widget(root):
    (root / "infcop_lite" / "explorer" / "toy.py").write_text(WIDGET, "utf-8")
    insert(root / "book" / "explorer.md", before="| rounds, budget", text=WIDGET_ROW)
    made = nbformat.read(root / "notebooks" / "99-toy.ipynb", as_version=4)
    place = [c.id for c in made.cells].index("exercises")
    made.cells[place:place] = [cell(k, text, k == "share-knob") for k, text in WIDGET_CELLS.items()]
    write_chapter(root, made)


ADDITIONS = {
    "rule": add_rule,
    "score": add_score,
    "network": add_network,
    "data set": add_data_set,
    "chapter": add_chapter,
    "widget": add_widget,
}
MOST = {  # files, and lines added, where they are counted
    "rule": (2, 30),
    "score": (1, 10),
    "network": (1, 20),
    "data set": (2, 25),
    "chapter": (4, None),
    "widget": (3, None),
}


def git(root, *words):
    """What a command of git says in the clone."""
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    done = subprocess.run(
        ["git", *author, *words], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout


def clone_with(root, additions):
    """Copy the working tree, make a commit for each addition; name -> path -> lines added."""
    alone.repository(root, ".")
    (root / ".venv").mkdir()
    (root / ".venv" / ".installed").touch()  # so that make takes the environment for made
    for path, content in FILES.items():
        (root.parent / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (root.parent / "data" / path).write_bytes(content)
    counted = {}
    for name, add in additions.items():
        add(root)
        git(root, "add", "--all")
        lines = [
            line.split("\t") for line in git(root, "diff", "--cached", "--numstat").splitlines()
        ]
        counted[name] = {path: int(added) for added, _, path in lines}
        git(root, "commit", "--quiet", "--message", f"{name}: a toy")
    return counted


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The clone with every addition, and what git counted."""
    root = tmp_path_factory.mktemp("contributor") / "clone"
    root.mkdir()
    return root, clone_with(root, ADDITIONS)


def call(root, *words):
    """Run a command in the clone, which imports its own library; what it said, how it ended."""
    ours = re.compile("INFCOP_.*|PYTHON.*|PYTEST_.*|MAKE.*|COV_.*")
    env = {name: value for name, value in os.environ.items() if not ours.fullmatch(name)}
    env |= {"INFCOP_DATA_DIR": str(root.parent / "data"), "OMP_NUM_THREADS": "1"}
    env |= {"PYTHONPATH": os.pathsep.join(str(root / name) for name in (".", "tools"))}
    return subprocess.run(words, cwd=root, env=env, capture_output=True, text=True, check=False)


def pytest_in(root, *words):
    return call(root, sys.executable, "-m", "pytest", "-q", "-m", "not slow", *words)


def passes(done, least=1):
    """Whether all tests passed, and at least so many ran."""
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert passed
    assert int(passed[1]) >= least


# --- what it costs, and that it passes ---------------------------------------------------------


@pytest.mark.parametrize("name", ADDITIONS)
def test_adding_a_thing_stays_small(clone, name):
    _, counted = clone
    files, lines = MOST[name]
    assert 1 <= len(counted[name]) <= files, counted[name]
    if lines:
        assert sum(counted[name].values()) <= lines, counted[name]


def test_make_quick_passes(clone):
    root, _ = clone
    """On the modules of the library in which something was added; the others are as they were."""
    quick = [f"infcop_lite/{name}.py" for name in ("stopping", "scores", "models", "datasets")]
    quick += ["infcop_lite/explorer/toy.py"]
    quick += [f"tests/test_{name}.py" for name in ("layering", "stopping", "config")]
    words = [f"BIN={Path(sys.executable).parent}", f"QUICK={' '.join(quick)}"]
    passes(call(root, "make", "quick", *words), least=500)


def test_what_holds_for_every_score_network_and_data_set_holds_for_the_toys(clone):
    root, _ = clone
    files = [f"tests/test_{name}.py" for name in ("scores", "models", "data", "data_sheets")]
    passes(pytest_in(root, *files, "-k", "toy or positive"), least=17)


def test_the_shape_of_the_chapter_and_the_pages_pass(clone):
    root, _ = clone
    names = ("notebooks", "exercises", "teaching", "book", "statements", "quiz", "times", "colab")
    files = [f"tests/test_{name}.py" for name in names]
    others = " or ".join(path.stem for path in build.notebooks())
    passes(pytest_in(root, *files, "-k", f"99-toy or not ({others})"), least=100)


def test_the_chapter_runs_on_what_was_added_and_its_picture_has_a_knob(clone):
    root, _ = clone
    done = call(root, sys.executable, "tools/build.py", "notebooks/99-toy.ipynb")
    assert done.returncode == 0, done.stderr
    executed = nbformat.read(root / "book/_build/executed/notebooks/99-toy.ipynb", as_version=4)
    outputs = {c.id: c.outputs for c in executed.cells if c.cell_type == "code"}
    assert outputs["data"][0].text == "toy: 180 training images\n"
    assert "image/png" in outputs["figure-toy-loss"][0].data
    shown = "".join(output.data["text/html"] for output in outputs["share-knob"])
    assert 'class="drawn recorded"' in shown


# --- that it would be noticed ------------------------------------------------------------------


def without(*lines):
    """An edit that takes lines out again, the first that begins so each."""

    def edit(text):
        for line in lines:
            assert line in text
            text = re.sub(rf"(?m)^[^\n]*{re.escape(line)}[^\n]*\n", "", text, count=1)
        return text

    return edit


def instead(old, new):
    def edit(text):
        assert old in text
        return text.replace(old, new, 1)

    return edit


BROKEN = {  # what is left out or broken: the file, the edit, the test that says so
    "no example of the rule": (
        "tests/test_stopping.py",
        without('"halfway": (Halfway()'),
        "tests/test_config.py::test_the_list_of_stop_names_is_complete",
    ),
    "the rule forgets its share": (
        "infcop_lite/stopping.py",
        instead("self.share * first", "first"),
        "tests/test_stopping.py::test_each_rule_first_stops_where_it_should_by_hand[halfway]",
    ),
    "the rule takes any share": (
        "infcop_lite/stopping.py",
        instead('        _positive("share", self.share)', "        pass"),
        "tests/test_stopping.py::test_a_tolerance_that_is_not_a_positive_number_is_refused",
    ),
    "the score changes the network": (
        "infcop_lite/scores.py",
        instead("weight.detach().sigmoid()", "weight.detach().sigmoid_()"),
        "tests/test_scores.py::"
        "test_a_score_is_a_number_for_each_weight_and_leaves_the_network_as_it_was[positive]",
    ),
    "the network has other weights": (
        "infcop_lite/models.py",
        instead("11, num_classes", "11, num_classes, bias=False"),
        "infcop_lite/models.py::infcop_lite.models._toy",
    ),
    "the data set has too few classes": (
        "infcop_lite/datasets.py",
        instead("seven eight nine", "seven eight"),
        "tests/test_data.py::test_every_layout_becomes_float_images_and_whole_number_classes[toy]",
    ),
    "the chapter is not in the contents": (
        "book/_toc.yml",
        without("notebooks/99-toy"),
        "tests/test_book.py::test_the_contents_list_every_notebook_once",
    ),
    "the widget is in no table": (
        "book/explorer.md",
        without("99-toy"),
        "tests/test_exercises.py::"
        "test_the_page_of_what_can_be_turned_links_every_section_with_knobs_and_no_other",
    ),
    "the widget imports what is above it": (
        "infcop_lite/explorer/toy.py",
        instead("import pandas as pd", "import pandas as pd\n\nfrom ..__main__ import main"),
        "tests/test_layering.py::test_a_module_imports_only_what_the_plan_allows[explorer.toy]",
    ),
    "an exercise of the chapter is open to nobody": (
        "notebooks/99-toy.ipynb",
        instead("Which share? To explore", "Which share? In code"),
        "tests/test_exercises.py::"
        "test_every_chapter_has_exercises_of_all_kinds_with_solutions_that_run[99-toy]",
    ),
    "the chapter has no quiz": (
        "course/quiz/99-toy.md",
        instead("## toy-e", "toy-e"),
        "tests/test_quiz.py::"
        "test_a_quiz_has_five_questions_and_each_wrong_answer_says_what_is_wrong[99-toy]",
    ),
    "a cell of the chapter is numbered": (
        "notebooks/99-toy.ipynb",
        instead('"id": "run-stops"', '"id": "run-2"'),
        "tests/test_notebooks.py::test_cell_ids_are_words[99-toy]",
    ),
}


#: What is broken together, so that one start of pytest is enough: no two of them meet in a file.
ROUNDS = (
    (
        "no example of the rule",
        "the score changes the network",
        "the network has other weights",
        "the data set has too few classes",
        "the chapter is not in the contents",
        "an exercise of the chapter is open to nobody",
    ),
    (
        "the rule forgets its share",
        "the widget is in no table",
        "a cell of the chapter is numbered",
        "the chapter has no quiz",
    ),
    ("the rule takes any share", "the widget imports what is above it"),
)


def test_everything_that_may_break_is_broken_once_and_meets_nothing_else_broken():
    assert sorted(name for names in ROUNDS for name in names) == sorted(BROKEN)
    for names in ROUNDS:
        touched = [{path, tests.partition("::")[0]} for path, _, tests in map(BROKEN.get, names)]
        assert sum(map(len, touched)) == len(set.union(*touched))


@pytest.mark.parametrize("names", ROUNDS, ids=range(1, len(ROUNDS) + 1))
def test_what_is_left_out_or_broken_is_noticed(clone, names):
    root, _ = clone
    broken = [BROKEN[name] for name in names]
    sound = {path: (root / path).read_text("utf-8") for path, _, _ in broken}
    try:
        for path, edit, _ in broken:
            (root / path).write_text(edit(sound[path]), "utf-8")
        done = pytest_in(root, *(test for _, _, test in broken))
    finally:
        for path, text in sound.items():
            (root / path).write_text(text, "utf-8")
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    failed = re.findall(r"(?m)^FAILED (\S+)", done.stdout)
    named = {test for _, _, test in broken}
    assert {name if name in named else name.partition("[")[0] for name in failed} == named


# --- that CONTRIBUTING says so -----------------------------------------------------------------

TEXT = (build.ROOT / "CONTRIBUTING.md").read_text("utf-8")
HEADINGS = {
    "rule": "Adding a stop rule",
    "score": "Adding a score",
    "network": "Adding a network",
    "data set": "Adding a data set",
    "chapter": "Adding a chapter",
    "widget": "Adding a picture with knobs",
}
GENERAL = {  # how CONTRIBUTING writes what has a name of its own
    "notebooks/99-toy.ipynb": "notebooks/NN-question.ipynb",
    "course/quiz/99-toy.md": "course/quiz/NN-question.md",
    "infcop_lite/explorer/toy.py": "infcop_lite/explorer/",
}


def section(heading):
    (found,) = re.findall(rf"(?ms)^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", TEXT)
    return found


@pytest.mark.parametrize("name", ADDITIONS)
def test_contributing_names_every_place(clone, name):
    _, counted = clone
    named = set(re.findall(r"`([^`\n]+)`", section(HEADINGS[name])))
    assert {GENERAL.get(path, path) for path in counted[name]} <= named


def test_contributing_names_commands_that_exist_and_is_short():
    targets = re.findall(r"(?m)^([\w-]+):.*##", (build.ROOT / "Makefile").read_text("utf-8"))
    asked = set(re.findall(r"\bmake ([a-z-]+)\b(?= |`|;|,|\n)", TEXT))
    assert {"quick", "check", "test", "gather", "soak"} <= asked
    assert asked <= set(targets)
    assert len(TEXT.splitlines()) < 140
