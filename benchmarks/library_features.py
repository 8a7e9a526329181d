"""What four libraries do and do not: each answer is tried out on a network of two layers."""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch_pruning
from library_runs import trainer
from lightning.pytorch.callbacks import ModelPruning
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune as torch_prune
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models.resnet import BasicBlock, ResNet

from infcop_lite import Pruner, masks
from infcop_lite.coupling import find_groups
from infcop_lite.units import shrink, unit_masks

LIBRARIES = ("infcop_lite", "torch.nn.utils.prune", "Lightning ModelPruning", "Torch-Pruning")
X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def network() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


def trained(model: Any, after: Callable[[], object] = lambda: None) -> Any:
    sgd = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(3):
        sgd.zero_grad()
        cross_entropy(model(X), Y).backward()
        sgd.step()
        after()
    return model


class Lightning:
    """Lightning with its callback, which prunes half of each layer, once unless it rewinds."""

    def __init__(self, permanent: bool = True, rewinds: int = 0, name: str = "weight") -> None:
        import lightning

        net = network()
        self.net, self.begun = net, copy.deepcopy(net.state_dict())

        class Module(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = net

            def training_step(self, batch: list[Tensor], index: int) -> Tensor:
                return cross_entropy(self.net(batch[0]), batch[1])

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

        layers = [(net[0], name), (net[2], name)]
        pruning = ModelPruning(
            *("l1_unstructured", layers),
            amount=0.5,
            use_global_unstructured=False,
            make_pruning_permanent=permanent,
            apply_pruning=lambda epoch: epoch < max(rewinds, 1),
            use_lottery_ticket_hypothesis=rewinds > 0,
        )
        trainer(rewinds or 2, pruning).fit(Module(), DataLoader(TensorDataset(X, Y), 32))


def by_torch(name: str = "weight") -> Any:
    model = network()
    for layer in (model[0], model[2]):
        torch_prune.l1_unstructured(layer, name, amount=0.5)
    return model


def by_torch_pruning(model: Any, example: Tensor, last: nn.Module) -> Any:
    importance = torch_pruning.importance.GroupMagnitudeImportance()
    torch_pruning.pruner.BasePruner(
        *(model, example), importance=importance, pruning_ratio=0.5, ignored_layers=[last]
    ).step()
    return model


def fewer() -> Any:
    model = network()
    return by_torch_pruning(model, X, model[2])


def by_pruner() -> tuple[Any, Pruner]:
    model = network()
    pruner = Pruner(model, fraction=0.5)
    pruner.snapshot()
    trained(model)
    pruner.next_level()
    return model, pruner


def rewinds() -> list[bool]:
    """After the first pruning, the weights that are kept are the first ones again."""
    model, pruner = by_pruner()
    return [_is_begun(model, pruner), False, _is_rewound(1), False]


def rewinds_again() -> list[bool]:
    """After the second pruning, too."""
    model, pruner = by_pruner()
    trained(model, pruner.step)
    pruner.next_level()
    return [_is_begun(model, pruner), False, _is_rewound(2), False]


def _is_begun(model: Any, pruner: Pruner) -> bool:
    kept = pruner.masks["0.weight"]
    return torch.equal(model[0].weight[kept], network()[0].weight[kept])


def _is_rewound(times: int) -> bool:
    found = Lightning(permanent=False, rewinds=times)
    weight: Tensor = found.net[0].weight_orig
    return torch.equal(weight, found.begun["0.weight"])


def zeros_in_parameters() -> list[bool]:
    """What is removed is zero in the parameters, while one trains."""
    model, pruner = by_pruner()
    trained(model, pruner.step)
    ours = not model[0].weight[~pruner.masks["0.weight"]].any()
    others = [trained(by_torch()), Lightning(permanent=False).net]
    found = [not net[0].weight_orig[net[0].weight_mask == 0].any() for net in others]
    return [ours, *found, True]


def can_be_copied() -> list[bool]:
    """copy.deepcopy works right after a training step."""
    model, pruner = by_pruner()
    nets = [trained(model, pruner.step), trained(by_torch()), Lightning(permanent=False).net]
    return [_copies(net) for net in (*nets, trained(fewer()))]


def _copies(net: Any) -> bool:
    net(X).sum()
    try:
        copy.deepcopy(net)
    except RuntimeError:
        return False
    return True


def keeps_zeros_alone() -> list[bool]:
    """Its result, trained on in any loop, keeps what was removed away, and nothing is called."""
    model, _ = by_pruner()
    count = [int((net[0].weight == 0).sum()) for net in (model, by_torch(), Lightning().net)]
    nets = [trained(model), trained(by_torch()), trained(Lightning().net)]
    after = [int((net[0].weight == 0).sum()) for net in nets]
    same = [a >= b for a, b in zip(after, count, strict=True)]
    return [*same, trained(fewer())[0].out_features == 4]


def biases() -> list[bool]:
    """The biases alone can be pruned."""
    ours = "0.bias" in masks.full_masks(network())
    found: list[Any] = [by_torch("bias"), Lightning(name="bias").net]
    return [ours, *(bool((net[0].bias == 0).sum() == 4) for net in found), False]


def goes_on_pruning() -> list[bool]:
    """Pruned twice by half, a quarter is left: the second time counts what is left."""
    model, pruner = by_pruner()
    pruner.next_level()
    torch_pruned = by_torch()
    torch_prune.l1_unstructured(torch_pruned[0], "weight", amount=0.5)
    counts = [int((net[0].weight != 0).sum()) for net in (model, torch_pruned)]
    return [*(count == 12 for count in counts), counts[1] == 12, True]


def smaller_through_skips() -> list[bool]:
    """A residual network comes out smaller, its skip connections too, and runs."""
    torch.manual_seed(0)
    net, image = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=2), torch.randn(1, 3, 16, 16)
    groups = find_groups(net, image)
    kept = unit_masks(groups, masks.full_masks(net), net.state_dict(), 0.5)
    small: Any = shrink(net, kept, image)
    other: Any = by_torch_pruning(net, image, net.fc)
    return [small.conv1.out_channels == 32, False, False, other.conv1.out_channels == 32]


CHECKS = (
    rewinds,
    rewinds_again,
    zeros_in_parameters,
    can_be_copied,
    keeps_zeros_alone,
    biases,
    goes_on_pruning,
    smaller_through_skips,
)
