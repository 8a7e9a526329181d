"""Run a tolerance of your own, in a notebook with a kernel."""

import html
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from ..config import Config
from ..explorer.knobs import as_svg, ipywidgets, is_static_page, static_page, style
from ..explorer.levels import draw_levels, panel
from ..explorer.thresholds import CRITERIA
from ..level import Trainer
from ..loop import run

WOULD_DO = (
    '<div class="drawn"><p><b>Run a tolerance of your own.</b> With a kernel, here are a choice of '
    "what is watched, a field for your ε and a button. It prunes {what} with them, in {levels} "
    "levels of at most {epochs:g} epochs after the first training. It shows how far it is, can be "
    "cancelled, and says where each level stopped, the epochs and the accuracy.</p>"
    "<p>Needs a kernel: {way}.</p></div>"
)
NEEDS_WIDGETS = "<p><strong>Needs ipywidgets: <code>pip install ipywidgets</code></strong></p>"


def run_now(config: Config, make_run: Callable[[Config], Trainer] = Trainer.of) -> Any:
    """Return controls that run a tolerance of the reader's own, with progress, to be cancelled.

    Source: `loop.run`, in a thread. A page without a kernel says what it would do, and where.

    Args:
        config: what to run; the criterion and epsilon come from the controls.
        make_run: called with the config at each start. For a network and data of your own,
            ``lambda config: Trainer(copy.deepcopy(net), train, validation, test, config)``, with
            splits from `loaders.in_memory`.

    >>> run_now(Config(data="digits")).children[2].value
    0.5
    """
    w = ipywidgets
    if w is None or is_static_page():
        from IPython.display import HTML

        return HTML(_would_do(config) if is_static_page() else NEEDS_WIDGETS)
    wide = {"style": {"description_width": "initial"}}
    criterion = w.Dropdown(options=list(CRITERIA), description="what is watched", **wide)
    epsilon = w.FloatText(value=0.5, step=0.1, description="your ε", **wide)
    start, cancel = w.Button(description="run this ε now"), w.Button(description="cancel")
    bar = w.FloatProgress(value=0, max=1, description="progress", **wide)
    result = w.HTML()
    wanted = threading.Event()
    cancel.disabled = True

    def work(chosen: Config) -> None:
        text = "<p>The run was ended.</p>"
        try:
            text = _run(make_run(chosen), CRITERIA[criterion.value][0], bar, wanted)
        except Exception as error:  # a reader's own network may raise anything
            text = f"<p>{html.escape(str(error) or type(error).__name__)}</p>"
        finally:
            result.value, start.disabled, cancel.disabled = text, False, True

    def begin(_: Any) -> None:
        stop, reference, _column = CRITERIA[criterion.value]
        try:
            chosen = replace(
                config, stop=stop, epsilon=epsilon.value, reference=reference or "warmup"
            )
        except ValueError as error:
            result.value = f"<p>{html.escape(str(error))}</p>"
            return
        wanted.set()
        start.disabled, cancel.disabled, bar.value, result.value = True, False, 0, ""
        threading.Thread(target=work, args=(chosen,), daemon=True).start()

    start.on_click(begin)
    cancel.on_click(lambda _: wanted.clear())
    what = f"<p>Run it on {config.data} ({config.model}) with a tolerance of your own:</p>"
    buttons = w.HBox([start, cancel], layout=w.Layout(flex_flow="row wrap"))
    return w.VBox([w.HTML(what), criterion, epsilon, buttons, bar, result])


def _would_do(config: Config) -> str:
    """Say what the controls do where there is a kernel, and lead there."""
    address = html.escape(static_page())
    way = f'<a class="button" href="{address}">Open in Colab</a>, or run it in Jupyter'
    what = html.escape(f"{config.data} ({config.model})")
    if "://" not in address:
        way = "open this notebook in Colab or Jupyter"
    return WOULD_DO.format(what=what, levels=config.levels, epochs=config.epochs, way=way)


def _run(trainer: Trainer, stop: str, bar: Any, wanted: threading.Event) -> str:
    """Run it while it is wanted; return what to show."""
    config, rows = trainer.config, []
    for row in run(config, trainer=trainer):
        if not wanted.is_set():
            return "<p>Cancelled.</p>"
        rows.append(asdict(row))
        done = row.level + row.epoch / max(config.epochs, row.epoch, 1e-9)
        bar.value = min(1.0, done / (config.levels + 1))
    bar.value = 1.0
    table = pd.DataFrame(rows)
    relative = table["flow_distance"] / table["reference_norm"]
    table["distance"] = table["mask_distance"] if stop == "mask" else relative
    epochs = config.warmup_epochs + table.loc[table["stopped"], "epoch"].sum()
    most = config.warmup_epochs + config.levels * config.epochs + config.last_epochs
    end = table.iloc[-1]
    kind = "validation" if pd.isna(end["test_accuracy"]) else "test"
    text = (
        f"ε = {config.epsilon:g}: {epochs:.1f} epochs instead of {most:.1f}. Accuracy on "
        f"the {kind} data {end[f'{kind}_accuracy']:.4f} at density {end['density']:.3g}."
    )
    with style():
        figure, ax = panel()  # not pyplot's: this is not the main thread
        budget = max(config.epochs, config.last_epochs)
        draw_levels(table, config.epsilon, budget, config.levels + 1, ax)
        return f"<p>{text}</p>" + as_svg(figure, text)
