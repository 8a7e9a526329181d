"""Data: the files of a user's own download become the same tensors, or one clear line.

The layouts are written in small here, with checksums to match; the real files are read where they
lie (INFCOP_DATA_DIR or ../shared/data).
"""

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import urllib.error
import urllib.request
from dataclasses import replace
from functools import partial
from http.client import IncompleteRead
from pathlib import Path

import mnist_subset
import numpy as np
import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchvision.datasets import CIFAR10, MNIST

from infcop_lite import data
from infcop_lite.datasets import MNIST_SUBSET, SOURCES

NUM_TRAIN, NUM_TEST = 60, 20
# The written files serve every example of a property: nothing in it changes them.
SHARED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def md5(content):
    return hashlib.md5(content).hexdigest()


def idx(array):
    return struct.pack(f">2B2B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder, contents):
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def accept(contents, name, patch):
    """Let the record of a data set know these files as the published ones."""
    files = {path: md5(content) for path, content in contents.items()}
    patch.setitem(SOURCES, name, replace(SOURCES[name], files=files))


def mnist_files(name="mnist"):
    """Four small IDX files; the first two pixels number the image, test images from 100 on."""
    contents = {}
    images_of_train, labels_of_train, images_of_test, labels_of_test = SOURCES[name].files
    for images_path, labels_path, first, count in (
        (images_of_train, labels_of_train, 0, 60),
        (images_of_test, labels_of_test, 100, 20),
    ):
        number = np.arange(first, first + count)
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, 0], images[:, -1, -1] = number, 255
        contents[images_path], contents[labels_path] = (
            idx(images),
            idx((number % 10).astype(np.uint8)),
        )
    return contents


def cifar10_batches():
    """Six small batches as pairs of pixels (12, 3072) and labels (12,)."""
    rng = np.random.default_rng(0)
    return [
        (rng.integers(0, 256, (12, 3072), np.uint8), rng.integers(0, 10, 12, np.uint8))
        for _ in BATCHES
    ]


def write_binary_cifar10(folder, patch):
    contents = {
        f"cifar-10-batches-bin/{name}.bin": np.column_stack([labels, pixels]).tobytes()
        for name, (pixels, labels) in zip(BATCHES, cifar10_batches(), strict=True)
    }
    write(folder, contents)
    accept(contents, "cifar10", patch)
    return contents


def cifar100_parts():
    """Training and test samples in bytes: coarse label 20 - i % 20, fine label i, pixels."""
    parts = []
    for count in (60, 20):
        labels = np.arange(count, dtype=np.uint8)
        pixels = np.arange(count * 3072).reshape(count, 3072) % 251
        parts.append(np.column_stack([20 - labels % 20, labels, pixels]).astype(np.uint8))
    return parts


def write_cifar100(folder, patch):
    files = SOURCES["cifar100"].files
    parts = zip(files, cifar100_parts(), strict=True)
    contents = {path: part.tobytes() for path, part in parts}
    write(folder, contents)
    sizes = {path: len(content) for path, content in contents.items()}
    patch.setitem(SOURCES, "cifar100", replace(SOURCES["cifar100"], files=sizes))
    return contents


def write_python_cifar10(folder, patch):
    contents = {
        name: pickle.dumps({"data": pixels, "labels": labels.tolist()}, protocol=2)
        for name, (pixels, labels) in zip(BATCHES, cifar10_batches(), strict=True)
    }
    contents["batches.meta"] = pickle.dumps({"label_names": list("abcdefghij")}, protocol=2)
    sums = [[name, md5(content)] for name, content in contents.items()]
    write(folder / "cifar-10-batches-py", contents)
    patch.setattr(CIFAR10, "train_list", sums[:5])
    patch.setattr(CIFAR10, "test_list", sums[5:6])
    patch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums[6][1]})


def write_mnist(folder, patch, name="mnist"):
    contents = mnist_files(name)
    write(folder, contents)
    accept(contents, name, patch)
    return contents


LIKE_MNIST = [name for name, record in SOURCES.items() if record.read is SOURCES["mnist"].read]
WRITERS = {
    **{name: partial(write_mnist, name=name) for name in LIKE_MNIST},
    "cifar10": write_binary_cifar10,
    "cifar10, python version": write_python_cifar10,
    "cifar100": write_cifar100,
}
FETCHED = [name for name, record in SOURCES.items() if record.fetch]


@pytest.fixture
def mnist_root(tmp_path, monkeypatch):
    root = tmp_path / "small"
    write_mnist(root, monkeypatch)
    return root


@pytest.fixture
def real_root():
    """A function: the folder of the real files, or a skip that says what is missing."""

    def find(name):
        beside = Path(__file__).parents[2] / "shared" / "data"
        root = Path(os.environ.get("INFCOP_DATA_DIR") or beside)
        if not data.available(name, root):
            pytest.skip(f"no real {name} in {root}; set INFCOP_DATA_DIR to read one")
        return root

    return find


def numbers(split):
    """The image numbers that `mnist_files` wrote, recovered from the normalised pixels."""
    pixels = split.inputs[:, 0, 0, 0] * 0.3081 + 0.1307
    return (pixels * 255).round().int().tolist()


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


# What a split holds


def test_a_pixel_is_scaled_to_one_then_standardised(mnist_root):
    image = data.load("mnist", mnist_root).test.inputs[3]
    assert image[0, 0, 0].item() == pytest.approx((103 / 255 - 0.1307) / 0.3081, rel=1e-6)
    assert image[0, -1, -1].item() == pytest.approx((1 - 0.1307) / 0.3081, rel=1e-6)
    assert image[0, 5, 5].item() == pytest.approx(-0.1307 / 0.3081, rel=1e-6)


def test_each_colour_has_its_own_mean_and_deviation(tmp_path, monkeypatch):
    write_binary_cifar10(tmp_path, monkeypatch)
    image = data.load("cifar10", tmp_path).test.inputs[0]
    pixels = torch.from_numpy(cifar10_batches()[-1][0][0]).reshape(3, 32, 32) / 255
    mean, deviation = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
    by_hand = [(pixels[c] - mean[c]) / deviation[c] for c in range(3)]
    torch.testing.assert_close(image, torch.stack(by_hand))


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_becomes_float_images_and_whole_number_classes(layout, tmp_path, monkeypatch):
    WRITERS[layout](tmp_path, monkeypatch)
    dataset = data.load(layout.split(",")[0], tmp_path)
    shape = (3, 32, 32) if "cifar" in layout else (1, 28, 28)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.inputs.dtype == torch.float32
        assert split.inputs.shape == (len(split), *shape)
        assert split.inputs.is_contiguous()
        assert split.targets.dtype == torch.int64
        assert split.targets.shape == (len(split),)
    assert [len(dataset.train), len(dataset.validation)] == [54, 6]
    assert len(dataset.classes) == len(SOURCES[layout.split(",")[0]].classes)


def test_every_data_set_that_is_fetched_is_written_in_small_here():
    assert {layout.split(",")[0] for layout in WRITERS} == set(FETCHED)


def test_labels_stay_with_their_images(mnist_root):
    dataset = data.load("mnist", mnist_root)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert [number % 10 for number in numbers(split)] == split.targets.tolist()


def test_both_layouts_of_cifar10_give_equal_tensors(tmp_path, monkeypatch):
    write_binary_cifar10(tmp_path / "a", monkeypatch)
    write_python_cifar10(tmp_path / "b", monkeypatch)
    binary, python = (data.load("cifar10", tmp_path / folder, seed=3) for folder in "ab")
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(binary, part).inputs, getattr(python, part).inputs)
        assert torch.equal(getattr(binary, part).targets, getattr(python, part).targets)


def test_the_binary_version_is_read_without_unpickling(tmp_path, monkeypatch):
    write_binary_cifar10(tmp_path, monkeypatch)
    write_python_cifar10(tmp_path, monkeypatch)
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("a pickle was opened"))
    assert len(data.load("cifar10", tmp_path).test) == 12


def test_cifar100_gives_fine_labels_and_pixels_by_channel_row_and_column(tmp_path, monkeypatch):
    write_cifar100(tmp_path, monkeypatch)
    record, test = SOURCES["cifar100"], data.load("cifar100", tmp_path).test
    assert test.targets.tolist() == list(range(20))
    for channel, row, column in ((0, 0, 0), (0, 0, 31), (0, 1, 0), (1, 0, 0), (2, 31, 31)):
        pixel = (7 * 3072 + channel * 1024 + row * 32 + column) % 251
        value = (pixel / 255 - record.mean[channel]) / record.deviation[channel]
        assert test.inputs[7, channel, row, column].item() == pytest.approx(value, abs=1e-5)


def test_the_files_of_cifar100_have_the_size_of_all_its_images():
    assert [*SOURCES["cifar100"].files.values()] == [50_000 * 3074, 10_000 * 3074]
    classes = SOURCES["cifar100"].classes
    assert list(classes) == sorted(set(classes))
    assert len(classes) == 100


def test_a_legacy_processed_file_is_never_opened(tmp_path, monkeypatch):
    """torchvision.datasets.MNIST would read processed/*.pt instead of the raw files."""
    write_mnist(tmp_path, monkeypatch)
    write(tmp_path / "MNIST/processed", {"training.pt": b"garbage", "test.pt": b"garbage"})
    assert len(data.load("mnist", tmp_path).test) == NUM_TEST


def test_a_split_and_a_data_set_move_to_a_device():
    dataset = data.load("digits").to("meta")
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.inputs.device.type == split.targets.device.type == "meta"
    assert len(dataset.test) == 360
    assert dataset.classes == tuple("0123456789")


# How it is split


@settings(SHARED, max_examples=30)
@given(subset=st.none() | st.integers(10, NUM_TRAIN), seed=st.integers(0, 2**70))
def test_training_and_validation_share_no_image(mnist_root, subset, seed):
    dataset = data.load("mnist", mnist_root, subset, seed)
    train, validation = set(numbers(dataset.train)), set(numbers(dataset.validation))
    size = subset or NUM_TRAIN
    assert not train & validation
    assert len(train) == size - size // 10
    assert len(validation) == size // 10
    assert train | validation <= set(range(NUM_TRAIN))


@settings(SHARED, max_examples=20)
@given(subset=st.none() | st.integers(10, NUM_TRAIN), seed=st.integers(0, 2**32))
def test_the_test_split_depends_on_neither_seed_nor_subset(mnist_root, subset, seed):
    test = data.load("mnist", mnist_root, subset, seed).test
    assert numbers(test) == list(range(100, 100 + NUM_TEST))


def test_the_digits_test_split_is_fixed_and_holds_every_class_alike():
    first, second = data.load("digits", seed=0), data.load("digits", seed=1, subset=100)
    assert torch.equal(first.test.inputs, second.test.inputs)
    assert torch.equal(first.test.targets, second.test.targets)
    counts = first.test.targets.bincount(minlength=10)
    assert counts.min() >= 35
    assert counts.max() <= 37


def test_no_digit_image_is_lost_or_doubled():
    from sklearn.datasets import load_digits

    dataset = data.load("digits")
    splits = (dataset.train, dataset.validation, dataset.test)
    pixels = torch.cat([s.inputs for s in splits]).flatten(1) * 0.3760 + 0.3053
    ours = sorted(map(tuple, (pixels * 16).round().int().tolist()))
    assert ours == sorted(map(tuple, load_digits().data.astype(int).tolist()))


def test_equal_seeds_give_equal_splits_and_other_seeds_others():
    splits = [data.load("digits", subset=200, seed=seed) for seed in (7, 7, 8)]
    assert torch.equal(splits[0].train.inputs, splits[1].train.inputs)
    assert torch.equal(splits[0].validation.targets, splits[1].validation.targets)
    assert not torch.equal(splits[0].train.inputs, splits[2].train.inputs)


def test_a_split_leaves_the_random_generators_alone():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (the global generator is what is watched)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    data.load("digits", seed=5)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


# Where the files are


def test_the_folder_comes_from_the_environment_unless_given(mnist_root, tmp_path, monkeypatch):
    monkeypatch.setenv("INFCOP_DATA_DIR", str(mnist_root))
    assert data.available("mnist")
    assert len(data.load("mnist").test) == NUM_TEST
    assert not data.available("mnist", tmp_path)


@pytest.mark.parametrize("value", [None, ""])
def test_the_default_folder_is_the_cache_of_the_user(value, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    if value is None:
        monkeypatch.delenv("INFCOP_DATA_DIR", raising=False)
    else:
        monkeypatch.setenv("INFCOP_DATA_DIR", value)
    assert not data.available("mnist")
    write_mnist(tmp_path / ".cache/infcop_lite", monkeypatch)
    assert data.available("mnist")


@pytest.mark.parametrize("layout", WRITERS)
def test_a_data_set_is_available_when_all_its_files_are_there(layout, tmp_path, monkeypatch):
    name = layout.split(",")[0]
    assert not data.available(name, tmp_path)
    WRITERS[layout](tmp_path, monkeypatch)
    assert data.available(name, tmp_path)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        path.unlink()
        assert not data.available(name, tmp_path)
        with pytest.raises(FileNotFoundError, match=path.name) as error:
            data.load(name, tmp_path)
        assert str(path) in one_line(error)
        path.write_bytes(content)


@pytest.mark.parametrize("name", ["digits", "mnist-small"])
def test_what_comes_with_a_package_is_always_available(name):
    assert data.available(name, "/nowhere")


# Bad input


@pytest.mark.parametrize("name", FETCHED)
def test_missing_files_say_where_it_looked_and_how_to_get_them(name, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        data.load(name, tmp_path)
    message = one_line(error)
    assert str(tmp_path) in message
    assert f"python -m infcop_lite download {name}" in message
    assert "INFCOP_DATA_DIR" in message
    assert ("cifar-10-batches-py" in message) == (name == "cifar10")


DAMAGES = {
    "cut off": lambda c: c[:-1],
    "too long": lambda c: c + b"\0",
    "altered": lambda c: b"\1" + c[1:],
}


@pytest.mark.parametrize(
    ("layout", "damage"),
    [
        pytest.param(layout, damage, id=f"{layout}, {word}")
        for layout in WRITERS
        for word, damage in DAMAGES.items()
        if (layout, word) != ("cifar100", "altered")  # no md5 of its files is published
    ],
)
def test_a_truncated_or_altered_file_is_named(layout, damage, tmp_path, monkeypatch):
    WRITERS[layout](tmp_path, monkeypatch)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        path.write_bytes(damage(content))
        with pytest.raises(ValueError, match="truncated or altered") as error:
            data.load(layout.split(",")[0], tmp_path)
        assert str(path) in one_line(error)
        path.write_bytes(content)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_foreign_pickle_is_refused_before_it_runs(tmp_path, monkeypatch):
    write_python_cifar10(tmp_path, monkeypatch)
    evil = pickle.dumps(Evil(tmp_path / "harm"))
    (tmp_path / "cifar-10-batches-py/data_batch_2").write_bytes(evil)
    with pytest.raises(ValueError, match="data_batch_2"):
        data.load("cifar10", tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("failure", [PermissionError, FileNotFoundError])
def test_a_file_that_cannot_be_read_is_named(failure, mnist_root, monkeypatch):
    """Forbidden, or gone between the look and the reading."""

    def refuse(path):
        raise failure(13, "no", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(failure, match="train-images-idx3-ubyte") as error:
        data.load("mnist", mnist_root)
    one_line(error)


@pytest.mark.parametrize("layout", FETCHED)
def test_a_label_out_of_range_is_refused(layout, tmp_path, monkeypatch):
    contents = WRITERS[layout](tmp_path, monkeypatch)
    path, offset = {
        "cifar10": ("cifar-10-batches-bin/test_batch.bin", 0),
        "cifar100": ("cifar-100-binary/test.bin", 1),
    }.get(layout) or (list(contents)[3], 8)
    num_classes = len(SOURCES[layout].classes)
    content = contents[path][:offset] + bytes([num_classes]) + contents[path][offset + 1 :]
    write(tmp_path, {path: content})
    accept(contents | {path: content}, layout, monkeypatch)
    with pytest.raises(
        ValueError, match=f"{layout} has labels outside 0 to {num_classes - 1}$"
    ) as error:
        data.load(layout, tmp_path)
    one_line(error)


@pytest.mark.parametrize("function", [data.load, data.available, data.download])
@pytest.mark.parametrize("name", ["imagenet", "MNIST", "", None, 3, ["mnist"]])
def test_an_unknown_name_lists_the_known_ones(function, name):
    with pytest.raises(ValueError, match="digits, mnist, fashion-mnist, cifar10") as error:
        function(name)
    one_line(error)


@pytest.mark.parametrize("subset", [9, 0, -20, 1438, 10**9, 100.0, "100", True])
def test_a_bad_subset_is_refused(subset):
    with pytest.raises(ValueError, match="subset") as error:
        data.load("digits", subset=subset)
    one_line(error)


@pytest.mark.parametrize("seed", [-1, 0.5, "0", None, False])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(ValueError, match="seed") as error:
        data.load("digits", seed=seed)
    one_line(error)


# Downloads, from a web that exists only here


class Web:
    """Stands in for urlopen: serves what it holds by file name, and fails for the rest."""

    def __init__(self, files):
        self.files, self.asked = files, []
        self.failure = urllib.error.URLError("network is unreachable")

    def __call__(self, request, *args, **kwargs):
        file = request.full_url.rpartition("/")[2]
        self.asked.append(file)
        if file not in self.files:
            raise self.failure
        response = io.BytesIO(self.files[file])
        response.url, response.length = request.full_url, len(self.files[file])
        return response


@pytest.fixture
def web(monkeypatch):
    """The three downloads, with checksums to match, served by a `Web`."""
    web = Web({})
    monkeypatch.setattr(urllib.request, "urlopen", web)
    return web


def publish(web, name, tmp_path, monkeypatch):
    """Put a data set on the web and return its files."""
    contents = WRITERS[name](tmp_path / "published", monkeypatch)
    if "url" in SOURCES[name].fetch.keywords:
        archive, folder = io.BytesIO(), Path(next(iter(contents))).parent
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.add(tmp_path / "published" / folder, folder)
        web.files[Path(SOURCES[name].fetch.keywords["url"]).name] = archive.getvalue()
        fetch = partial(SOURCES[name].fetch, md5=md5(archive.getvalue()))
        monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], fetch=fetch))
    else:
        for path, content in contents.items():
            web.files[Path(path).name + ".gz"] = gzip.compress(content)
        owner = getattr(torchvision.datasets, SOURCES[name].fetch.keywords["name"])
        sums = [(file, md5(web.files[file])) for file in web.files]
        monkeypatch.setattr(owner, "resources", sums)
    return contents


def held(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", FETCHED)
def test_a_download_can_be_loaded_and_leaves_nothing_else(name, web, tmp_path, monkeypatch):
    contents = publish(web, name, tmp_path, monkeypatch)
    root = tmp_path / "new" / "root"
    assert data.download(name, root) == root
    assert held(root) == contents
    assert not list(root.glob(".download-*"))
    assert data.available(name, root)
    assert len(data.load(name, root).train) == 54


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_what_is_whole_is_not_fetched_again(name, web, tmp_path, monkeypatch):
    publish(web, name, tmp_path, monkeypatch)
    data.download(name, tmp_path / "root")
    web.asked.clear()
    data.download(name, tmp_path / "root")
    assert web.asked == []


@pytest.mark.parametrize("name", FETCHED)
def test_a_damaged_copy_is_replaced(name, web, tmp_path, monkeypatch):
    contents = publish(web, name, tmp_path, monkeypatch)
    write(tmp_path / "root", {path: content[:-5] for path, content in contents.items()})
    data.download(name, tmp_path / "root")
    assert held(tmp_path / "root") == contents


@pytest.mark.parametrize("served", [0, 1, 3])
def test_an_interrupted_download_leaves_nothing_that_looks_good(served, web, tmp_path, monkeypatch):
    publish(web, "mnist", tmp_path, monkeypatch)
    web.files = dict(list(web.files.items())[:served])
    with pytest.raises(OSError, match="cannot download mnist") as error:
        data.download("mnist", tmp_path / "root")
    assert "network is unreachable" in one_line(error)
    assert not data.available("mnist", tmp_path / "root")
    assert held(tmp_path / "root") == {}


@pytest.mark.parametrize("failure", [IncompleteRead(b""), TimeoutError("timed out")])
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_connection_that_breaks_is_one_clear_line(name, failure, web, tmp_path):
    web.failure = failure
    with pytest.raises(OSError, match=f"cannot download {name} to {tmp_path}") as error:
        data.download(name, tmp_path)
    one_line(error)
    assert held(tmp_path) == {}


@pytest.mark.parametrize("name", FETCHED)
def test_a_download_with_a_wrong_checksum_is_refused(name, web, tmp_path, monkeypatch):
    publish(web, name, tmp_path, monkeypatch)
    web.files = {file: content + b"\0" for file, content in web.files.items()}
    with pytest.raises(OSError, match=f"cannot download {name}") as error:
        data.download(name, tmp_path / "root")
    one_line(error)
    assert held(tmp_path / "root") == {}


def test_a_download_into_a_file_is_refused(web, tmp_path):
    (tmp_path / "root").write_text("a file, not a folder")
    with pytest.raises(OSError, match="root") as error:
        data.download("mnist", tmp_path / "root")
    one_line(error)


@pytest.mark.parametrize("name", ["digits", "mnist-small"])
def test_what_comes_with_a_package_needs_no_download(name, web):
    with pytest.raises(ValueError, match=f"{name} needs no download: it comes with ") as error:
        data.download(name)
    one_line(error)
    assert web.asked == []


def test_loading_never_touches_the_network(web, tmp_path, monkeypatch):
    publish(web, "mnist", tmp_path, monkeypatch)
    with pytest.raises(FileNotFoundError):
        data.load("mnist", tmp_path / "root")
    data.available("mnist", tmp_path / "root")
    assert web.asked == []


# The subset of MNIST that comes with the package


def test_the_subset_of_mnist_has_every_class_and_the_scale_of_the_whole():
    dataset = data.load("mnist-small", "/nowhere")
    sizes = [len(split) for split in (dataset.train, dataset.validation, dataset.test)]
    assert sizes == [4500, 500, 1000]
    for split, count in ((dataset.train, 4500), (dataset.test, 1000)):
        assert split.inputs.shape == (count, 1, 28, 28)
        assert split.targets.bincount(minlength=10).min() >= 0.07 * count
        assert split.inputs.mean().item() == pytest.approx(0, abs=0.03)
        assert split.inputs.std().item() == pytest.approx(1, abs=0.03)


def test_a_part_of_the_subset_is_drawn_as_of_any_data_set():
    first, again = (data.load("mnist-small", subset=100, seed=3) for _ in range(2))
    assert [len(first.train), len(first.validation), len(first.test)] == [90, 10, 1000]
    assert torch.equal(first.train.inputs, again.train.inputs)
    with pytest.raises(ValueError, match="mnist-small has 5000 training images"):
        data.load("mnist-small", subset=5001)


def test_the_subset_is_normalised_as_mnist_is_small_and_names_its_licence():
    small, whole = SOURCES["mnist-small"], SOURCES["mnist"]
    assert (small.mean, small.deviation) == (whole.mean, whole.deviation)
    assert MNIST_SUBSET.stat().st_size < 2_000_000
    assert "ShareAlike 3.0" in MNIST_SUBSET.with_suffix(".txt").read_text("utf-8")


def test_the_script_draws_the_subset_that_is_shipped(real_root):
    drawn = mnist_subset.draw(real_root("mnist"))
    with np.load(MNIST_SUBSET) as shipped:
        assert set(shipped) == set(drawn)
        for name, array in drawn.items():
            assert shipped[name].dtype == np.uint8
            assert np.array_equal(shipped[name], array)


# The real files


def test_the_real_mnist_is_what_torchvision_reads(real_root):
    root = real_root("mnist")
    dataset, oracle = data.load("mnist", root), MNIST(root, train=False)
    pixels = ((dataset.test.inputs[:, 0] * 0.3081 + 0.1307) * 255).round().to(torch.uint8)
    assert torch.equal(pixels, oracle.data)
    assert torch.equal(dataset.test.targets, oracle.targets)
    assert [len(dataset.train), len(dataset.validation)] == [54_000, 6_000]
    assert dataset.train.inputs.mean().item() == pytest.approx(0, abs=2e-3)
    assert dataset.train.inputs.std().item() == pytest.approx(1, abs=2e-3)


def test_the_real_cifar10_is_standardised_and_its_first_test_images_are_known(real_root):
    dataset = data.load("cifar10", real_root("cifar10"), subset=20_000)
    assert [len(dataset.train), len(dataset.validation)] == [18_000, 2_000]
    names = [dataset.classes[target] for target in dataset.test.targets[:4]]
    assert names == ["cat", "ship", "ship", "airplane"]
    assert dataset.test.targets.bincount().tolist() == [1000] * 10
    torch.testing.assert_close(
        dataset.train.inputs.mean((0, 2, 3)), torch.zeros(3), atol=0.02, rtol=0
    )
    torch.testing.assert_close(
        dataset.train.inputs.std((0, 2, 3)), torch.ones(3), atol=0.02, rtol=0
    )
