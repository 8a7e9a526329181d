"""One pruning run, as four libraries have it written: `compare_libraries` counts and times them.

Levels of `EPOCHS`, after each but the last a fifth of every layer goes. The next level begins with
the weights that came in, or goes on from those it has, as `rewinds` says.
"""

import copy
import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning
import torch
import torch_pruning
from lightning.pytorch.callbacks import ModelPruning
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune as torch_prune
from torch.utils.data import DataLoader, TensorDataset

import infcop_lite
from infcop_lite.data import Split

# at 0.05 the loss first rises, and some networks never learn again, whoever prunes them
LEVELS, EPOCHS, FRACTION, BATCH, LR = 3, 2, 0.2, 128, 0.01


def network(seed: int = 0) -> nn.Sequential:
    """Return the small convolutional network that all of them prune."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 49, 10)),
    )


def with_infcop_lite(model: nn.Module, train: Split, validation: Split, rewinds: bool) -> nn.Module:
    options: dict[str, Any] = {"levels": LEVELS, "epochs": EPOCHS, "warmup_epochs": 0, "lr": LR}
    options |= {"fraction": FRACTION, "rewind": "weights" if rewinds else "none"}
    return infcop_lite.prune(model, train, validation, **options).model


def with_torch(model: nn.Module, train: Split, validation: Split, rewinds: bool) -> nn.Module:
    loader = DataLoader(TensorDataset(train.inputs, train.targets), BATCH, shuffle=True)
    layers = [part for part in model.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]

    def epochs(number: int) -> None:
        sgd = torch.optim.SGD(model.parameters(), LR, momentum=0.9, weight_decay=5e-4)
        model.train()
        for _ in range(number):
            for inputs, targets in loader:
                sgd.zero_grad()
                cross_entropy(model(inputs), targets).backward()
                sgd.step()

    start = copy.deepcopy(model.state_dict())
    for level in range(LEVELS + 1):
        epochs(EPOCHS)
        if level < LEVELS:
            for layer in layers:
                torch_prune.l1_unstructured(layer, "weight", amount=FRACTION)
            for name, value in model.state_dict().items() if rewinds else ():
                if not name.endswith("_mask"):
                    value.copy_(start[name.removesuffix("_orig")])
    for layer in layers:
        torch_prune.remove(layer, "weight")
    return model


def with_lightning(
    model: nn.Sequential, train: Split, validation: Split, rewinds: bool
) -> nn.Module:
    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            return cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), LR, momentum=0.9, weight_decay=5e-4)

    ends = [EPOCHS * level for level in range(1, LEVELS + 1)]
    layers = [(part, "weight") for part in model if isinstance(part, (nn.Conv2d, nn.Linear))]
    pruning = ModelPruning(
        *("l1_unstructured", layers),
        amount=FRACTION,
        use_global_unstructured=False,
        apply_pruning=lambda epoch: epoch + 1 in ends,
        use_lottery_ticket_hypothesis=rewinds,
    )
    loader = DataLoader(TensorDataset(train.inputs, train.targets), BATCH, shuffle=True)
    trainer(EPOCHS * (LEVELS + 1), pruning).fit(Module(), loader)
    return model


def with_torch_pruning(model: nn.Sequential, train: Split, validation: Split) -> nn.Module:
    loader = DataLoader(TensorDataset(train.inputs, train.targets), BATCH, shuffle=True)

    def epochs(number: int) -> None:
        sgd = torch.optim.SGD(model.parameters(), LR, momentum=0.9, weight_decay=5e-4)
        model.train()
        for _ in range(number):
            for inputs, targets in loader:
                sgd.zero_grad()
                cross_entropy(model(inputs), targets).backward()
                sgd.step()

    epochs(EPOCHS)
    pruner = torch_pruning.pruner.BasePruner(
        *(model, train.inputs[:2]),
        importance=torch_pruning.importance.GroupMagnitudeImportance(),
        pruning_ratio=1 - (1 - FRACTION) ** LEVELS,
        iterative_steps=LEVELS,
        ignored_layers=[model[-1]],
    )
    for _ in range(LEVELS):
        pruner.step()
        epochs(EPOCHS)
    return model


def with_units(model: nn.Module, train: Split, validation: Split) -> nn.Module:
    from infcop_lite.units import prune_units

    options: dict[str, Any] = {"levels": LEVELS, "epochs": EPOCHS, "warmup_epochs": 0, "lr": LR}
    options |= {"example": train.inputs[:2], "fraction": FRACTION, "rewind": "none"}
    return prune_units(model, train, validation, **options).model


def trainer(epochs: int, *callbacks: Any) -> lightning.Trainer:
    """Return a trainer that trains and says nothing."""
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(names, False)
    return lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), **quiet
    )


Run = Callable[[nn.Sequential, Split, Split], nn.Module]
GOES_ON: dict[str, Run] = {
    "infcop_lite": partial(with_infcop_lite, rewinds=False),
    "torch.nn.utils.prune": partial(with_torch, rewinds=False),
    "Lightning ModelPruning": partial(with_lightning, rewinds=False),
    "infcop_lite units": with_units,
    "Torch-Pruning": with_torch_pruning,
}
REWINDS: dict[str, Run] = {
    "infcop_lite": partial(with_infcop_lite, rewinds=True),
    "torch.nn.utils.prune": partial(with_torch, rewinds=True),
    "Lightning ModelPruning": partial(with_lightning, rewinds=True),
}
