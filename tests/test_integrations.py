"""Callbacks of Lightning and of Hugging Face's Trainer, with the real libraries, on toys."""

import copy
import os
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers: nothing is fetched

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what they import is theirs
    import lightning.pytorch as pl
    import transformers
    from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
    from transformers import TrainingArguments

from infcop_lite import Pruner, masks
from infcop_lite.integrations import LightningPruner, TrainerPruner
from infcop_lite.integrations.pacing import Pace

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = random(32, 4)
Y = (X[:, 0] > 0).long()


def mlp():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def zeros_fit(pruner):
    weights = masks.prunable(pruner.model)
    return all(not weights[name][~mask].any() for name, mask in pruner.masks.items())


def same(model, other):
    other = other.state_dict()
    return all(torch.equal(value, other[name]) for name, value in model.state_dict().items())


# Lightning


class Net(pl.LightningModule):
    """Two layers, Adam, a learning rate that halves every epoch."""

    def __init__(self):
        super().__init__()
        self.layers = mlp()

    def training_step(self, batch, _):
        loss = nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        self.log("val_acc", (self.layers(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        adam = torch.optim.Adam(self.parameters(), 0.02)
        return [adam], [torch.optim.lr_scheduler.StepLR(adam, 1, 0.5)]


class ByHand(Net):
    """Two optimisers, one after the other in each batch."""

    automatic_optimization = False

    def training_step(self, batch, _):
        for adam in self.optimizers():
            adam.zero_grad()
            loss = nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
            self.manual_backward(loss)
            adam.step()
        return loss

    def configure_optimizers(self):
        return [torch.optim.Adam(self.parameters(), lr) for lr in (0.02, 0.01)]


class Watch(Callback):
    """Stands before the pruner, and looks after every batch."""

    def __init__(self, pruner):
        self.pruner, self.rates, self.held, self.density = pruner, [], [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 0:
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.held.append(zeros_fit(self.pruner))
        self.density.append(self.pruner.density)


def fitted(
    module=None, settings=None, saving=(), max_epochs=20, resume=None, callback=None, **options
):
    """Fit on eight batches of four; return everything that took part."""
    module = module or Net()
    given = {"fraction": 0.5, "levels": 2, "epochs": 2, "stop": "information", "epsilon": 1e-9}
    given |= settings or {}
    if callback is None:
        pruner = Pruner(module.layers, **given)
        mine = {"probe": (X, Y), "warmup_epochs": 1} | options.pop("mine", {})
        callback = LightningPruner(pruner, **mine)
    watch = Watch(callback.pruner)
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        callbacks=[watch, callback, *saving],
        enable_checkpointing=bool(saving),
        **QUIET | options,
    )
    batches = DataLoader(TensorDataset(X, Y), 4)
    trainer.fit(module, batches, batches, ckpt_path=resume, weights_only=resume and True)
    return SimpleNamespace(
        module=module, pruner=callback.pruner, callback=callback, watch=watch, trainer=trainer
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1},
        {"precision": "bf16-mixed"},
        {"precision": "bf16-true"},
        {"module": ByHand},
    ],
    ids=lambda options: "-".join(map(str, options)) or "plain",
)
def test_lightning_prunes_level_by_level_holds_zeros_and_ends(options):
    made = options.get("module", Net)()
    run = fitted(made, **{name: v for name, v in options.items() if name != "module"})
    assert run.watch.held == [True] * 7 * 8  # one of warm-up, three levels of two epochs
    assert run.watch.density == [1.0] * 24 + [0.5] * 16 + [0.25] * 16
    assert run.trainer.current_epoch == 7
    assert (run.module.layers[0].weight == 0).float().mean() == 0.75
    assert [(check.level, check.epoch) for check in run.pruner.checks] == [
        (level, epoch) for level in (0, 1, 2) for epoch in (1.0, 2.0)
    ]
    assert all(check.distances["information"] > 0 for check in run.pruner.checks)


def test_lightning_trains_the_same_bits_as_a_loop_by_hand():
    run = fitted()
    net = mlp()
    pruner = Pruner(net, fraction=0.5, levels=2, epochs=2, stop="information", epsilon=1e-9)
    adam = torch.optim.Adam(net.parameters(), 0.02)
    for level, epochs in enumerate((3, 2, 2)):
        for epoch in range(epochs):
            adam.param_groups[0]["lr"] = 0.02 / 2 ** (epoch + (level > 0))
            for x, y in zip(X.split(4), Y.split(4), strict=True):
                adam.zero_grad()
                nn.functional.cross_entropy(net(x), y).backward()
                adam.step()
                pruner.step()
            if level == epoch == 0:
                pruner.snapshot(probe=(X, Y))
        pruner.next_level(adam)
    assert same(net, run.module.layers)


@pytest.mark.parametrize("rewind", [True, False])
def test_learning_rates_go_back_to_the_snapshot_or_are_left_alone(rewind):
    run = fitted(mine={"rewind_rates": rewind})
    halvings = (0, 1, 2, 1, 2, 1, 2) if rewind else range(7)
    assert run.watch.rates == [0.02 / 2**n for n in halvings]


def test_checks_hold_what_lightning_has_logged():
    run = fitted(
        mine={"metrics": {"validation_accuracy": "val_acc"}}, settings={"stop": "accuracy"}
    )
    assert all(0 <= check.validation_accuracy <= 1 for check in run.pruner.checks)
    assert all(check.train_loss > 0 for check in run.pruner.checks)
    with pytest.raises(ValueError, match="no 'val_f1' was logged in this epoch for f1, but train"):
        fitted(mine={"metrics": {"f1": "val_f1"}})


def test_steps_may_count_as_epochs_where_data_are_a_stream():
    run = fitted(mine={"steps_per_epoch": 3})
    assert run.watch.density == [1.0] * 9 + [0.5] * 6 + [0.25] * 6


@pytest.mark.parametrize("kept", ["epoch", "step"])
def test_a_killed_lightning_run_goes_on_with_the_same_bits(kept, tmp_path):
    """A checkpoint is written every epoch, or at its last step; each is resumed."""
    every = {"every_n_epochs": 1} if kept == "epoch" else {"every_n_train_steps": 8}
    rule = "information+mask" + "+loss" * (kept == "epoch")  # what a killed epoch logged is lost
    settings = {"stop": rule, "epochs": 3}

    def saving():
        return [ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, **every)]

    whole = fitted(saving=saving(), settings=settings)
    files = sorted(tmp_path.glob("*.ckpt"))
    assert len(files) == whole.trainer.current_epoch > 4
    for file in files[::-2]:  # the last is of a run that had ended
        held = torch.load(file, weights_only=True)
        state = held["callbacks"]["LightningPruner"]["pace"]["pruner"]
        for name, mask in state["masks"].items():
            assert torch.equal(held["state_dict"][f"layers.{name}"] != 0, mask)
        again = fitted(saving=saving(), settings=settings, resume=file)
        assert same(whole.module, again.module), file
        assert [check.distances for check in again.pruner.checks] == [
            check.distances for check in whole.pruner.checks
        ]


def test_a_second_fit_goes_on_where_the_first_ended_and_then_holds_the_zeros():
    with pytest.warns(
        UserWarning, match=r"in level 1 of 2, with density 0\.5000: raise max_epochs"
    ):
        first = fitted(max_epochs=4)
    second = fitted(first.module, callback=first.callback)
    assert second.watch.density == [0.5] * 8 + [0.25] * 16
    before = copy.deepcopy(first.module.layers)
    third = fitted(first.module, callback=first.callback, max_epochs=2)
    assert third.trainer.current_epoch == 2
    assert third.watch.held == [True] * 16
    assert third.watch.density == [0.25] * 16
    assert not same(before, third.module.layers)


def test_a_moving_average_begins_again_with_each_level_and_has_the_same_zeros(tmp_path):
    average = EMAWeightAveraging(decay=0.9)
    run = fitted(saving=[average, ModelCheckpoint(tmp_path, "{step}", save_top_k=-1)])
    assert zeros_fit(run.pruner)  # at the end it has become the network
    assert (run.module.layers[0].weight == 0).float().mean() == 0.75
    for file in tmp_path.glob("*.ckpt"):
        held = torch.load(file, weights_only=True)
        kept = held["callbacks"]["LightningPruner"]["pace"]["pruner"]["masks"]
        for name, mask in kept.items():
            assert torch.equal(held["state_dict"][f"layers.{name}"] != 0, mask)


def test_the_end_of_an_epoch_builds_no_state_of_the_pruner(monkeypatch):
    net = mlp()
    pruner, moving = Pruner(net, levels=1, epochs=9), ([torch.optim.Adam(net.parameters())], [])
    pace = Pace(pruner, None, None, 1, {}, True)
    pace.begin(net, *moving)
    pace.end_epoch({}, *moving)  # takes the snapshot
    monkeypatch.setattr(pruner, "state_dict", None)
    pace.end_epoch({"train_loss": 1.0}, *moving)
    assert len(pruner.checks) == 1


def test_a_snapshot_taken_by_hand_is_what_levels_go_back_to():
    module = Net()
    pruner = Pruner(module.layers, fraction=0.5, levels=1, epochs=1)
    pruner.snapshot()
    before = copy.deepcopy(module.layers[0].bias)
    run = fitted(module, callback=LightningPruner(pruner), max_epochs=9)
    assert run.watch.density == [1.0] * 8 + [0.5] * 8
    assert torch.equal(pruner.state_dict()["snapshot"]["0.bias"], before)


# Hugging Face


IDS = torch.randint(0, 20, (24, 6), generator=torch.Generator().manual_seed(0))
BATCH = {"input_ids": IDS, "labels": (IDS[:, 0] > 9).long()}
DATA = [{name: value[i] for name, value in BATCH.items()} for i in range(24)]
SMALL = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 16, "max_position_embeddings": 8}


def bert(kind=transformers.BertForSequenceClassification):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(transformers.BertConfig(**SMALL))


class Held(transformers.TrainerCallback):
    def __init__(self, pruner):
        self.pruner, self.held, self.density, self.rates = pruner, [], [], []

    def on_step_begin(self, args, state, control, **kwargs):
        self.held.append(zeros_fit(self.pruner))
        self.density.append(self.pruner.density)
        self.rates.append(kwargs["optimizer"].param_groups[0]["lr"])


def trained(
    tmp_path,
    model=None,
    settings=None,
    mine=None,
    resume=None,
    callback=None,
    evaluated_on=DATA,
    **options,
):
    """Train on three batches of eight; return everything that took part."""
    model = model or bert()
    given = {"fraction": 0.5, "levels": 2, "epochs": 2, "stop": "gradient", "epsilon": 1e-9}
    given |= settings or {}
    if callback is None:
        mine = {"probe": BATCH, "warmup_epochs": 1} | (mine or {})
        callback = TrainerPruner(Pruner(model, **given), **mine)
    held = Held(callback.pruner)
    given = {"num_train_epochs": 20, "report_to": [], "disable_tqdm": True, "use_cpu": True}
    given |= {"save_strategy": "no", "logging_strategy": "no", "learning_rate": 0.01}
    given |= {"lr_scheduler_type": "constant", "dataloader_pin_memory": False}
    arguments = TrainingArguments(str(tmp_path), **given | options)
    trainer = transformers.Trainer(
        model,
        arguments,
        train_dataset=DATA,
        eval_dataset=evaluated_on,
        callbacks=[callback, held],
        compute_metrics=lambda found: {
            "accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())
        },
    )
    trainer.train(resume_from_checkpoint=resume)
    return SimpleNamespace(
        model=model, pruner=callback.pruner, callback=callback, held=held, trainer=trainer
    )


@pytest.mark.parametrize(
    "options", [{}, {"gradient_accumulation_steps": 2, "max_grad_norm": 0.1}, {"bf16": True}]
)
def test_the_trainer_prunes_level_by_level_holds_zeros_and_ends(tmp_path, options):
    run = trained(tmp_path, **options)
    steps = 2 if "gradient_accumulation_steps" in options else 3
    assert run.held.held == [True] * 7 * steps
    assert run.held.density == [1.0] * 3 * steps + [0.5] * 2 * steps + [0.25] * 2 * steps
    assert [check.level for check in run.pruner.checks] == [0, 0, 1, 1, 2, 2]
    assert all(check.distances["gradient"] > 0 for check in run.pruner.checks)
    run.model.save_pretrained(tmp_path / "saved")
    saved = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "saved")
    for name, weight in masks.prunable(saved).items():
        assert not weight[~run.pruner.masks[name]].any()
    assert (saved.bert.encoder.layer[0].intermediate.dense.weight == 0).float().mean() == 0.75


@pytest.mark.parametrize("evaluated", [True, False])
def test_checks_hold_what_the_trainer_has_logged_in_that_very_epoch(tmp_path, evaluated):
    metrics = {"train_loss": "loss"} | (
        {"validation_accuracy": "eval_accuracy"} if evaluated else {}
    )
    run = trained(
        tmp_path,
        mine={"metrics": metrics},
        settings={"stop": "loss"},
        logging_strategy="epoch",
        eval_strategy="epoch" if evaluated else "no",
    )
    logged = [entry["loss"] for entry in run.trainer.state.log_history if "loss" in entry]
    assert [check.train_loss for check in run.pruner.checks] == logged[1:]
    scores = [e["eval_accuracy"] for e in run.trainer.state.log_history if "eval_accuracy" in e]
    found = [check.validation_accuracy for check in run.pruner.checks]
    assert found == scores[1:] if evaluated else found[0] != found[0]
    assert not any("runtime" in name for name in run.pruner.checks[0].metrics)


@pytest.mark.parametrize("evaluated", [True, False])
def test_a_metric_that_the_trainer_does_not_log_is_named(tmp_path, evaluated):
    with pytest.raises(ValueError, match="no 'eval_f1' was logged in this epoch for f1, but"):
        trained(
            tmp_path,
            mine={"metrics": {"f1": "eval_f1"}},
            eval_strategy="epoch" if evaluated else "no",
        )


def test_a_check_waits_for_the_evaluation_that_has_its_metric(tmp_path):
    run = trained(
        tmp_path,
        mine={"metrics": {"validation_accuracy": "eval_last_accuracy"}},
        evaluated_on={"first": DATA[:9], "more": DATA[9:], "last": DATA},
        eval_strategy="epoch",
    )
    history = run.trainer.state.log_history
    scores = [entry["eval_last_accuracy"] for entry in history if "eval_last_accuracy" in entry]
    assert [check.validation_accuracy for check in run.pruner.checks] == scores[1:]


def test_steps_may_count_as_epochs_for_the_trainer_too(tmp_path):
    run = trained(
        tmp_path,
        mine={"steps_per_epoch": 2, "metrics": {"validation_accuracy": "eval_accuracy"}},
        eval_strategy="steps",
        eval_steps=2,
    )
    assert run.held.density == [1.0] * 6 + [0.5] * 4 + [0.25] * 4
    history = run.trainer.state.log_history
    scores = [entry["eval_accuracy"] for entry in history if "eval_accuracy" in entry]
    assert [check.validation_accuracy for check in run.pruner.checks] == scores[1:]


@pytest.mark.parametrize("kept", [{"save_strategy": "epoch"}, {"save_strategy": "steps"}])
def test_a_killed_trainer_goes_on_with_the_same_bits(tmp_path, kept):
    kept = kept | {"save_steps": 1, "lr_scheduler_type": "linear"}
    whole = trained(tmp_path, settings={"stop": "gradient+mask"}, **kept)
    steps = whole.trainer.state.global_step
    assert steps == 21
    folders = sorted(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    for folder in folders[:-1:2] if kept["save_strategy"] == "epoch" else (folders[7], folders[11]):
        again = trained(tmp_path, settings={"stop": "gradient+mask"}, resume=str(folder), **kept)
        assert again.trainer.state.global_step == steps
        assert same(whole.model, again.model), folder
        assert str(again.pruner.checks) == str(whole.pruner.checks)


def test_a_checkpoint_from_elsewhere_is_loaded_by_hand(tmp_path):
    whole = trained(tmp_path / "a", save_strategy="epoch")
    folder = tmp_path / "a" / "checkpoint-9"
    with pytest.raises(ValueError, match="of a run that has ended: nothing is left to train"):
        trained(tmp_path / "a", resume=str(tmp_path / "a" / "checkpoint-21"))
    with pytest.raises(ValueError, match=r"pruner\.pt is not there.*call load\(folder\)"):
        trained(tmp_path / "b", resume=str(folder))
    model = bert()
    pruner = Pruner(model, fraction=0.5, levels=2, epochs=2, stop="gradient", epsilon=1e-9)
    callback = TrainerPruner(pruner, probe=BATCH, warmup_epochs=1)
    callback.load(folder)
    again = trained(tmp_path / "b", model, callback=callback, resume=str(folder))
    assert same(whole.model, again.model)


def test_the_learning_rate_of_the_trainer_goes_back_to_the_snapshot(tmp_path):
    run = trained(tmp_path, lr_scheduler_type="linear")
    level = run.held.rates[3:9]
    assert level[0] > level[-1]
    assert run.held.rates == run.held.rates[:3] + 3 * level


def test_a_second_train_goes_on_where_the_first_ended_and_then_holds_the_zeros(tmp_path):
    with pytest.warns(UserWarning, match=r"in level 1 of 2, with density 0\.5000: raise num_train"):
        first = trained(tmp_path, num_train_epochs=4)
    second = trained(tmp_path, first.model, callback=first.callback)
    assert second.held.density == [0.5] * 3 + [0.25] * 6
    third = trained(tmp_path, first.model, callback=first.callback, num_train_epochs=2)
    assert third.held.held == [True] * 6
    assert third.held.density == [0.25] * 6


def test_a_tied_output_layer_is_spared_and_the_tie_is_kept(tmp_path):
    model = bert(transformers.BertForMaskedLM)
    words = {"input_ids": IDS, "labels": IDS}
    pruner = Pruner(model, fraction=0.5, levels=1, epochs=1)
    callback = TrainerPruner(pruner, probe=words)
    arguments = TrainingArguments(
        str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no"
    )
    data = [{"input_ids": ids, "labels": ids} for ids in IDS]
    transformers.Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
    assert pruner.density < 1
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert model.cls.predictions.decoder.weight.count_nonzero() == 20 * 8
    assert (model.cls.predictions.transform.dense.weight == 0).float().mean() == 0.5


def test_gpt2_is_pruned_in_its_own_linear_layers_with_its_tie_kept(tmp_path):
    sizes = {"n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=20, bos_token_id=0, eos_token_id=0, **sizes)
    )
    pruner = Pruner(model, fraction=0.5, levels=1, epochs=1)
    callback = TrainerPruner(pruner, probe={"input_ids": IDS, "labels": IDS})
    arguments = TrainingArguments(
        str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no"
    )
    data = [{"input_ids": ids, "labels": ids} for ids in IDS]
    transformers.Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
    attention = model.transformer.h[0].attn.c_attn
    assert type(attention).__name__ == "Conv1D"
    assert (attention.weight == 0).float().mean() == 0.5
    assert model.lm_head.weight is model.transformer.wte.weight
    assert model.lm_head.weight.all()


# Wrong use


def sharded_after_its_pruner_was_made():
    module = Net()
    callback = LightningPruner(Pruner(module.layers, epochs=1))
    module.layers[0].weight.ds_tensor = torch.zeros(3)  # as DeepSpeed marks it
    fitted(module, callback=callback)


WRONG = {
    "levels that never end": (lambda _: LightningPruner(Pruner(mlp())), "no level would ever end"),
    "half an epoch": (
        lambda _: LightningPruner(Pruner(mlp(), epochs=1), warmup_epochs=0.5),
        r"whole number, not 0\.5",
    ),
    "another module": (
        lambda _: fitted(callback=LightningPruner(Pruner(mlp(), epochs=1))),
        "another network than the one that is trained",
    ),
    "a sharded network": (
        lambda _: sharded_after_its_pruner_was_made(),
        "is sharded over processes by DeepSpeed ZeRO-3",
    ),
    "another model": (
        lambda path: trained(path, callback=TrainerPruner(Pruner(bert(), epochs=1))),
        "another network than the one that is trained",
    ),
    "the best at the end": (
        lambda path: trained(
            path, load_best_model_at_end=True, save_strategy="epoch", eval_strategy="epoch"
        ),
        "load_best_model_at_end would bring back the best of all levels",
    ),
    "another state": (
        lambda _: LightningPruner(Pruner(mlp(), epochs=1)).load_state_dict(
            {"pace": {}, "steps": 0}
        ),
        "no state of this callback",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_callback_refuses_wrong_use_in_one_clear_line(name, tmp_path):
    do, message = WRONG[name]
    with pytest.raises(ValueError, match=message) as error:
        do(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("callback", "library"), [("LightningPruner", "lightning"), ("TrainerPruner", "transformers")]
)
def test_a_missing_library_is_named_with_its_extra(callback, library, monkeypatch):
    import infcop_lite.integrations as ours

    monkeypatch.delitem(sys.modules, f"infcop_lite.integrations.{library}")
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setitem(sys.modules, f"{library}.pytorch", None)
    with pytest.raises(ImportError, match=rf"pip install infcop-lite\[{library}\]"):
        getattr(ours, callback)


def test_the_package_is_imported_without_any_of_the_libraries():
    import subprocess

    code = (
        "import sys, infcop_lite, infcop_lite.integrations; print(set(sys.modules)"
        " & {'lightning', 'transformers', 'accelerate'})"
    )
    root = Path(__file__).parent.parent
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"
