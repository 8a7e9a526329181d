"""Two processes that train one network, each on its own share of the data, prune it alike."""

import os
import time
import warnings
from pathlib import Path

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from infcop_lite import Pruner, Start, masks, pruner, ranks
from infcop_lite.placement import check_whole

mse = nn.functional.mse_loss


def share(rank):
    """Return the data of a rank; those of the second are of another kind, so that scores differ."""
    x = torch.randn(48, 4, generator=torch.Generator().manual_seed(rank))
    return x, x[:, rank : rank + 1].sin() * (1 + rank)


def network(rank=0):
    with torch.random.fork_rng():
        torch.manual_seed(rank)  # the wrapper gives all that of rank 0
        return nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 1))


def shaken(level, snapshot, now, kept):
    """Begin with weights that every rank draws for itself."""
    return Start(level, kept, {k: v + torch.rand(()) if v.dim() else v for k, v in now.items()})


def loop(rank, model, optimizer, settings, backward, batches):
    """Train level by level; return all that has to be equal on every rank, and the loss."""
    found = Pruner(model, fraction=0.4, levels=2, **settings)
    x, y = share(rank)
    answers, more = [], True
    for inputs, _ in batches:  # statistics of a rank's own data, which no gradient carries over
        model(inputs)
    found.snapshot(probe=(x, y), loss=mse, train_loss=1 + rank)
    while more:
        for epoch in range(1, 5):
            for inputs, targets in batches:
                optimizer.zero_grad()
                part = mse(model(inputs), targets)
                backward(part)
                optimizer.step()
                found.step()
            answers.append(found.check(epoch, train_loss=part, f1=rank + 0.1 * epoch))
            if answers[-1]:
                break
        more = found.next_level(optimizer)
    weights = {k: v.clone() for k, v in found.model.named_parameters()}
    state = found.state_dict()
    return {"answers": answers, "state": state, "weights": weights, "loss": float(part.detach())}


def parallel(rank, **settings):
    torch.manual_seed(rank)
    model = DistributedDataParallel(network(rank))
    sgd = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    x, y = share(rank)
    return loop(rank, model, sgd, settings, torch.Tensor.backward, [(x[:24], y[:24]), (x, y)])


def each_for_itself(rank):
    """The same without the mechanism: the test has to notice."""
    pruner.agreed = lambda work: work()
    try:
        return parallel(rank, score="taylor", epochs=1)
    finally:
        pruner.agreed = ranks.agreed


def with_accelerate(rank):
    from accelerate import Accelerator
    from torch.utils.data import DataLoader, TensorDataset

    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    model, x = network(rank), torch.randn(96, 4, generator=torch.Generator().manual_seed(3))
    model, adam, batches = accelerator.prepare(
        model,
        torch.optim.Adam(model.parameters(), 0.01),
        DataLoader(TensorDataset(x, x[:, :1].sin()), 16),
    )
    assert len(batches) == 3  # its share
    settings = {"stop": "information+gradient", "epsilon": 0.1, "score": "taylor"}
    return loop(rank, model, adam, settings, accelerator.backward, batches)


def refusals(rank):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    said = {}
    model = DistributedDataParallel(network(rank))
    try:
        Pruner(model, stop="information").snapshot()
    except ValueError as error:
        said["no probe"] = str(error)
    sharded = network()
    found = Pruner(sharded, epochs=1)
    fully_shard(sharded, mesh=init_device_mesh("cpu", (2,)))
    for name, make in {
        "FSDP2": lambda: Pruner(sharded),
        "FSDP2 later": found.snapshot,
        "FSDP1": lambda: Pruner(
            FullyShardedDataParallel(network(), device_id=torch.device("cpu"), use_orig_params=True)
        ),
        "FSDP1 flat": lambda: check_whole(
            FullyShardedDataParallel(network(), device_id=torch.device("cpu"))
        ),
    }.items():
        try:
            make()
        except ValueError as error:
            said[name] = str(error)
    return said


CASES = {
    "rules": lambda rank: parallel(
        rank, stop="information+gradient+mask+loss", epsilon=0.3, score="taylor"
    ),
    "own start": lambda rank: parallel(rank, rewind=shaken, epochs=1, score="random"),
    "each for itself": each_for_itself,
    "accelerate": with_accelerate,
    "refusals": refusals,
}


def work(rank, folder):
    warnings.simplefilter("ignore")
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "ACCELERATE_USE_CPU": "true"}
    here |= {"MASTER_ADDR": "localhost", "MASTER_PORT": 0}  # asked for, and not used
    os.environ.update({name: str(value) for name, value in here.items()})
    # a file, not a port: no two runs of the tests meet
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {name: case(rank) for name, case in CASES.items()}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What two processes found, rank 0 first."""
    folder = tmp_path_factory.mktemp("ranks")
    processes = multiprocessing.spawn(work, (str(folder),), nprocs=2, join=False)
    deadline = time.monotonic() + 100
    try:
        while not processes.join(timeout=1):
            assert time.monotonic() < deadline, "the processes wait for each other"
    finally:
        for process in processes.processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def equal(one, other):
    """Whether two nests of dicts, lists and tensors are the same; NaN is NaN."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return str(one) == str(other)


@pytest.mark.parametrize("case", ["rules", "own start", "accelerate"])
def test_ranks_with_other_data_agree_on_masks_answers_and_state(both, case):
    first, second = (found[case] for found in both)
    assert first["loss"] != second["loss"]  # they did not train on the same data
    assert first["answers"] == second["answers"]
    assert first["state"]["level"] == 2
    assert equal(first["state"], second["state"])
    assert equal(first["weights"], second["weights"])
    kept = first["state"]["masks"]
    assert list(kept) == ["0.weight", "3.weight"]  # no "module." before them
    for name, mask in kept.items():
        assert torch.equal(first["weights"][name] != 0, mask)
    assert masks.density(kept) == pytest.approx(0.36, abs=0.02)


def test_without_the_word_of_rank_0_their_masks_differ(both):
    first, second = (found["each for itself"] for found in both)
    assert not equal(first["state"]["masks"], second["state"]["masks"])
    assert not equal(first["state"]["checks"], second["state"]["checks"])
    assert not equal(first["state"]["snapshot"], second["state"]["snapshot"])


def test_what_rank_0_refuses_is_refused_everywhere(both):
    assert both[0]["refusals"] == both[1]["refusals"]
    assert "give snapshot(probe=" in both[1]["refusals"]["no probe"]


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("FSDP2", "FSDP2 or tensor parallelism (DTensor)"),
        ("FSDP2 later", "FSDP2 or tensor parallelism (DTensor)"),
        ("FSDP1", "FSDP,"),
        ("FSDP1 flat", "FSDP,"),
    ],
)
def test_sharded_weights_are_refused_in_one_clear_line(both, name, by):
    said = both[0]["refusals"][name]
    assert f"is sharded over processes by {by}" in said
    assert "train with DistributedDataParallel" in said
    assert "\n" not in said
