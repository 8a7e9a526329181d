"""Models: the networks everyone counts on, down to the number of their parameters."""

from types import SimpleNamespace

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models._api import WeightsEnum

from infcop_lite import data, models, prune

PUBLISHED = ["vgg16", "resnet18"]
FITTED = ["airnet", "airnet-32", "airnet-64"]  # to training images
SMALL = [name for name in models.NAMES if name not in PUBLISHED + FITTED]


def pretend(*shape, num_classes=10):
    """A data set of one image, as far as `build` looks."""
    train = SimpleNamespace(inputs=torch.zeros(1, *shape))
    return SimpleNamespace(train=train, classes=tuple(map(str, range(num_classes))))


def on_meta(name, dataset=None, **options):
    """Build without memory or time: shapes only."""
    with torch.device("meta"):
        return models.build(name, dataset, **options)


def count(model):
    return sum(weight.numel() for weight in model.parameters())


def executed(model, inputs):
    """Names of the leaf modules in the order in which they ran."""
    order, handles = [], []
    for name, module in model.named_modules():
        if not list(module.children()):
            note = lambda *_, name=name: order.append(name)  # noqa: E731
            handles.append(module.register_forward_hook(note))
    with torch.no_grad():
        model(inputs)
    for handle in handles:
        handle.remove()
    return order


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


# Shapes and sizes


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mlp", 266_610),
        ("lenet5", 61_706),
        # convolutions, BatchNorm and the last layer, each summed by hand
        ("convnet", 97_200 + 480 + 1290),
        ("resnet20", 269_722),
        ("vgg16", 134_301_514),
        ("resnet18", 11_181_642),
    ],
)
def test_every_network_has_its_known_number_of_parameters(name, parameters):
    assert count(on_meta(name)) == parameters


@pytest.mark.parametrize("name", SMALL + PUBLISHED)
@pytest.mark.parametrize(("shape", "num_classes"), [((1, 32, 32), 10), ((3, 35, 33), 7)])
def test_logits_have_one_column_per_class_of_the_data_set(name, shape, num_classes):
    model = on_meta(name, pretend(*shape, num_classes=num_classes))
    assert model(torch.empty(2, *shape, device="meta")).shape == (2, num_classes)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(0, 28),
    width=st.integers(0, 28),
    channels=st.integers(1, 4),
    name=st.sampled_from(SMALL),
)
def test_the_small_networks_take_any_image_from_their_smallest_up(name, channels, height, width):
    least = models.NETWORKS[name].smallest
    shape = (channels, least + height, least + width)
    assert on_meta(name, pretend(*shape))(torch.empty(2, *shape, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("name", ["mlp", "convnet", "resnet20", "resnet18"])
def test_the_embedded_digits_fit(name):
    digits = data.load("digits")
    model = models.build(name, digits).eval()
    with torch.no_grad():
        logits = model(digits.test.inputs[:3])
    assert logits.shape == (3, 10)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(("name", "least"), [("lenet5", 12), ("convnet", 8), ("vgg16", 32)])
def test_images_too_small_are_refused_and_the_smallest_allowed_works(name, least):
    model = on_meta(name, pretend(1, least, least))
    assert model(torch.empty(2, 1, least, least, device="meta")).shape == (2, 10)
    for shape in [(1, least - 1, least), (1, least, least - 1)]:
        with pytest.raises(
            ValueError, match=f"{name} needs images of at least {least}×{least}"
        ) as e:
            models.build(name, pretend(*shape))
        assert f"{shape[1]}×{shape[2]}" in one_line(e)


def test_the_mlp_has_the_widths_that_are_asked_for():
    model = models.build("mlp", pretend(1, 2, 3, num_classes=2), widths=[5, 4])
    shapes = [tuple(weight.shape) for name, weight in model.named_parameters() if "weight" in name]
    assert shapes == [(5, 6), (4, 5), (2, 4)]
    assert count(models.build("mlp", widths=())) == 784 * 10 + 10


def test_the_convnet_grows_with_its_width():
    narrow = models.build("convnet", width=2)
    channels = [m.out_channels for m in narrow.modules() if isinstance(m, nn.Conv2d)]
    assert channels == [2, 4, 8, 16]
    assert all(m.bias is None for m in narrow.modules() if isinstance(m, nn.Conv2d))


# What they compute


@pytest.mark.parametrize("name", SMALL)
def test_the_gradient_reaches_every_parameter(name):
    torch.manual_seed(0)
    model = models.build(name)
    shape = models.NETWORKS[name].shape
    loss = nn.functional.cross_entropy(model(torch.randn(8, *shape)), torch.arange(8))
    loss.backward()
    for key, weight in model.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", SMALL + PUBLISHED)
def test_modules_run_in_the_order_in_which_they_are_defined(name):
    model = on_meta(name, pretend(3, 32, 32))
    order = executed(model, torch.empty(2, 3, 32, 32, device="meta"))
    layers = [
        key
        for key, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    ]
    assert [key for key in order if key in layers] == layers
    if name in SMALL:
        leaves = [key for key, module in model.named_modules() if not list(module.children())]
        assert order == leaves


def test_a_perceptron_is_what_its_formula_says():
    model = models.build("mlp", pretend(1, 1, 2, num_classes=1), widths=[2])
    with torch.no_grad():
        model.fc1.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.0]]))
        model.fc1.bias.copy_(torch.tensor([0.5, 0.0]))
        model.fc2.weight.copy_(torch.tensor([[2.0, 3.0]]))
        model.fc2.bias.fill_(1.0)
    image = torch.tensor([1.0, -0.5]).reshape(1, 1, 1, 2)
    # hidden: relu(1 - 1 + 0.5), relu(-1); output: 2 · 0.5 + 3 · 0 + 1
    assert model(image).item() == 2.0


def test_the_shortcut_subsamples_and_pads_with_zero_channels():
    """With its convolutions silent, a widening block is relu(shortcut)."""
    block = models.build("resnet20").stage2.block1.eval()
    nn.init.zeros_(block.conv2.weight)
    image = torch.randn(1, 16, 5, 4, generator=torch.Generator().manual_seed(0))
    out = block(image)
    assert out.shape == (1, 32, 3, 2)
    assert torch.equal(out[:, :16], image[:, :, ::2, ::2].relu())
    assert torch.equal(out[:, 16:], torch.zeros(1, 16, 3, 2))


def test_a_shortcut_has_no_parameters():
    assert not [key for key, _ in models.build("resnet20").named_parameters() if "shortcut" in key]


def test_resnet20_starts_with_activations_of_the_order_of_its_input():
    torch.manual_seed(0)
    conv = models.build("resnet20").stage1.block1.conv1
    assert conv.weight.std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.1)


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_the_weights(name):
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(models.build(name).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert any(not torch.equal(value, states[2][key]) for key, value in states[0].items())


@pytest.mark.parametrize("name", SMALL + PUBLISHED)
def test_no_module_overwrites_what_a_hook_has_kept(name):
    model = on_meta(name)
    assert not [key for key, m in model.named_modules() if getattr(m, "inplace", False)]


# torchvision's networks


def test_resnet18_is_torchvisions_weight_for_weight():
    torch.manual_seed(0)
    ours = models.build("resnet18").state_dict()
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=10).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_vgg16_has_torchvisions_names_and_shapes():
    with torch.device("meta"):
        theirs = torchvision.models.vgg16(num_classes=10).state_dict()
    ours = on_meta("vgg16").state_dict()
    assert {key: v.shape for key, v in ours.items()} == {key: v.shape for key, v in theirs.items()}


@pytest.mark.parametrize(("name", "first"), [("vgg16", "features.0"), ("resnet18", "conv1")])
def test_the_first_convolution_takes_the_channels_of_the_data_set(name, first):
    ours, theirs = on_meta(name, pretend(1, 32, 32)), on_meta(name)
    mine, original = ours.get_submodule(first), theirs.get_submodule(first)
    assert mine.in_channels == 1
    for field in ("out_channels", "kernel_size", "stride", "padding"):
        assert getattr(mine, field) == getattr(original, field)
    assert (mine.bias is None) == (original.bias is None)
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.fixture
def published(monkeypatch):
    """Stands in for the download of pretrained weights; notes how it was asked."""
    asked = []
    state = torchvision.models.resnet18().state_dict()

    def serve(self, **kwargs):
        asked.append((self.name, kwargs))
        return dict(state)

    monkeypatch.setattr(WeightsEnum, "get_state_dict", serve)
    return SimpleNamespace(state=state, asked=asked)


def test_pretrained_weights_are_fetched_only_on_request(published):
    models.build("resnet18")
    assert published.asked == []


def test_pretrained_weights_fill_all_but_the_head(published):
    model = models.build("resnet18", weights="IMAGENET1K_V1")
    ours = model.state_dict()
    assert ours["fc.weight"].shape == (10, 512)
    assert all(torch.equal(ours[k], v) for k, v in published.state.items() if k[:3] != "fc.")
    # verified, and read without unpickling
    assert published.asked == [("IMAGENET1K_V1", {"check_hash": True, "weights_only": True})]


def test_pretrained_weights_see_a_grey_image_as_its_three_equal_colours(published):
    grey = models.build("resnet18", pretend(1, 32, 32), weights="DEFAULT").conv1
    colour = models.build("resnet18", weights="DEFAULT").conv1
    image = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(grey(image), colour(image.expand(-1, 3, -1, -1)))


def test_unreachable_weights_are_one_clear_line(monkeypatch):
    def fail(self, **kwargs):
        raise OSError("network\nis unreachable")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(OSError, match="cannot fetch weights IMAGENET1K_V1: network is") as error:
        models.build("resnet18", weights="IMAGENET1K_V1")
    one_line(error)


# Bad input


@pytest.mark.parametrize("name", ["resnet", "MLP", "", None, 3, ["mlp"]])
def test_an_unknown_model_lists_the_known_ones(name):
    with pytest.raises(ValueError, match="mlp, lenet5, convnet, resnet20, vgg16, resnet18") as e:
        models.build(name)
    one_line(e)


@pytest.mark.parametrize(
    ("name", "option", "known"),
    [
        ("mlp", "width", "widths"),
        ("convnet", "widths", "width"),
        ("lenet5", "width", "none"),
        ("resnet18", "pretrained", "weights"),
        ("mlp", "num_classes", "widths"),
    ],
)
def test_an_unknown_option_lists_the_known_ones(name, option, known):
    with pytest.raises(ValueError, match=f"{name} has no option '{option}', only {known}") as error:
        models.build(name, **{option: 3})
    one_line(error)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlp", {"widths": 300}),
        ("mlp", {"widths": "300,100"}),
        ("mlp", {"widths": [300, 0]}),
        ("mlp", {"widths": [300.0]}),
        ("mlp", {"widths": None}),
        ("convnet", {"width": 0}),
        ("convnet", {"width": -4}),
        ("convnet", {"width": 8.0}),
        ("convnet", {"width": True}),
        ("resnet18", {"weights": "imagenet"}),
        ("resnet18", {"weights": True}),
        # torchvision publishes these without a trained classifier: NaN in two of its layers
        ("vgg16", {"weights": "IMAGENET1K_FEATURES"}),
    ],
)
def test_a_bad_option_is_named(name, options):
    with pytest.raises(ValueError, match=next(iter(options))) as error:
        on_meta(name, **options)
    one_line(error)


# airnet: a first layer that is fitted to the images, and frozen


def images(num_images=60, channels=3, size=12, seed=0):
    """A data set of random images whose channels and neighbours are correlated."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(num_images, channels, size + 2, size + 2, generator=generator)
    smooth = nn.functional.avg_pool2d(noise, 3, stride=1)
    smooth = smooth + noise.mean(1, keepdim=True)[..., 1:-1, 1:-1]
    train = SimpleNamespace(inputs=smooth)
    return SimpleNamespace(train=train, classes=tuple("abcd"))


def test_the_first_layer_of_airnet_gives_uncorrelated_outputs_and_their_negatives():
    dataset = images(400)
    layer = models.build("airnet", dataset).whiten
    assert layer.weight.shape == (24, 3, 2, 2)
    assert not layer.weight.requires_grad
    with torch.no_grad():
        outputs = layer(dataset.train.inputs).transpose(0, 1).flatten(1)
    assert torch.equal(outputs[:12], -outputs[12:])
    covariance = outputs[:12].double().cov()
    variances = torch.diagonal(covariance)
    assert (covariance - torch.diag(variances)).abs().max() < 1e-3
    assert 0.5 < variances.min() <= variances.max() < 1.001  # less what keeps small ones small


def test_airnet_is_the_same_for_the_same_images_and_another_for_others():
    first, again, other = (
        models.build("airnet", images(seed=seed)).whiten.weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # by hand: whitening; 9 (24·16 + 16² + 16·64 + 3·64²); BatchNorm; the last layer
        ("airnet", 288 + 9 * (384 + 256 + 1024 + 3 * 4096) + 4 * 144 + 650),
        ("airnet-32", 288 + 9 * (768 + 1024 + 4096 + 3 * 16384) + 4 * 288 + 1290),
        ("airnet-64", 288 + 9 * (1536 + 4096 + 16384 + 3 * 65536) + 4 * 576 + 2570),
    ],
)
def test_every_airnet_has_its_number_of_parameters(name, parameters):
    dataset = images(size=32)
    dataset.classes = tuple("0123456789")
    model = models.build(name, dataset)
    assert count(model) == parameters
    with torch.no_grad():
        assert model(dataset.train.inputs[:2]).shape == (2, 10)


def test_airnet_takes_images_from_nine_pixels_up_and_asks_for_them():
    model = models.build("airnet", images(channels=1, size=9), widths=[4, 6, 8])
    assert model(torch.zeros(2, 1, 9, 9)).shape == (2, 4)
    with pytest.raises(ValueError, match="airnet needs images of at least 9×9"):
        models.build("airnet", images(size=8))
    with pytest.raises(ValueError, match="airnet is fitted to training images: build it with a"):
        models.build("airnet")
    with pytest.raises(ValueError, match="widths must be a list of whole numbers"):
        models.build("airnet", images(), widths=[0, 1, 2])
    with pytest.raises(ValueError, match="airnet has no option 'images', only widths"):
        models.build("airnet", images(), images=torch.zeros(1))


def test_airnet_can_be_pruned_all_but_its_first_layer():
    dataset = images(60, size=16)
    x, y = dataset.train.inputs, torch.arange(60) % 4
    torch.manual_seed(0)
    net = models.build("airnet", dataset, widths=[4, 6, 8])
    found = prune(net, (x, y), (x, y), levels=1, epochs=1, warmup_epochs=1, augment="flip-shift")
    assert found.masks["whiten.weight"].all()
    assert torch.equal(found.model.whiten.weight, net.whiten.weight)
    assert "not pruned: whiten (frozen)" in found.summary()
