import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter
from toy import OPTIONS, RECIPE, toy_split, train_toy, weights

from vitol.datasets.images import MEAN, STD, SplitImages, TrainImages, normalise
from vitol.models import create_model
from vitol.padl import insert_padl
from vitol.precision import precision_on
from vitol.recipe import Recipe
from vitol.training import top1, train


@pytest.fixture
def split(tmp_path):
    return toy_split(tmp_path)


def test_training_learns_what_is_there_to_learn(split, tmp_path):
    steps = []
    model, log = train_toy(split, tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert log[-1].train_loss < log[0].train_loss and log[-1].val_top1 == 100
    assert [record.epoch for record in log] == [1, 2, 3]
    assert steps[-1] == (96, 96) and len(steps) == 12
    assert not model.training
    assert top1(model, SplitImages(split, tmp_path, 16), Recipe(**RECIPE)) == 100


def test_equal_seeds_give_equal_weights_for_any_number_of_workers(split, tmp_path):
    first = weights(train_toy(split, tmp_path)[0])
    assert torch.equal(first, weights(train_toy(split, tmp_path)[0]))
    assert torch.equal(first, weights(train_toy(split, tmp_path, workers=2)[0]))
    assert not torch.equal(first, weights(train_toy(split, tmp_path, seed=1)[0]))


@pytest.mark.parametrize("position", ["MMp", "MpM"])
def test_padl_changes_training_reproducibly(split, tmp_path, position):
    plain = weights(train_toy(split, tmp_path)[0])
    one, two = (weights(train_toy(split, tmp_path, padl=position)[0]) for _ in range(2))
    assert torch.equal(one, two) and not torch.equal(one, plain)


def test_variants_see_the_same_images_in_the_same_order(split, tmp_path, monkeypatch):
    seen = []
    original = TrainImages.draw
    monkeypatch.setattr(
        TrainImages, "draw", lambda self, index: seen.append((self.epoch, index)) or original(self, index)
    )
    train_toy(split, tmp_path)
    control, seen[:] = list(seen), []
    train_toy(split, tmp_path, padl="MMp")
    assert seen == control and len(seen) == 96


def test_a_loss_that_is_not_finite_stops_with_epoch_and_step(split, tmp_path):
    with pytest.raises(ValueError, match=r"the loss is nan in epoch \d, step \d; lower the learning rate"):
        train_toy(split, tmp_path, recipe=Recipe(**{**RECIPE, "optimizer": "sgd", "lr": 1e30}))


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_is_used_where_it_is_computed_in_hardware_and_float32_elsewhere(
    split, tmp_path, monkeypatch, supported
):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    cpu = torch.device("cpu")
    assert precision_on(cpu, "bf16") == ("bf16" if supported else "fp32")
    assert precision_on(cpu, "fp32") == "fp32"
    recipe = {**RECIPE, "epochs": 1}
    wide, asked = (
        weights(train_toy(split, tmp_path, recipe=Recipe(**{**recipe, "precision": p}))[0])
        for p in ("fp32", "bf16")
    )
    assert torch.equal(wide, asked) != supported


def test_looking_at_validation_images_changes_no_weight(split, tmp_path):
    def trained(validation: SplitImages | None) -> torch.Tensor:
        torch.manual_seed(0)
        model = create_model("vit_tiny_patch16_224", 2, options=OPTIONS)
        with insert_padl(model, "MMp"):
            list(
                train(model, TrainImages(split, tmp_path, 16, 18, 0), Recipe(**RECIPE), validation=validation)
            )
        return weights(model)

    assert torch.equal(trained(None), trained(SplitImages(split, tmp_path, 16)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_without_onednn_a_cpu_computes_in_float32(monkeypatch, precision):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.delattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", raising=False)
    monkeypatch.setattr(type(torch.ops.mkldnn), "__getattr__", missing)
    assert precision_on(torch.device("cpu"), precision) == "fp32"


def missing(_: object, name: str) -> None:
    """What torch answers where an operator was not built in."""
    raise AttributeError(name)


@pytest.mark.parametrize(("images", "batch_size", "seen"), [(32, 8, 32), (32, 12, 24), (5, 8, 5)])
def test_an_epoch_s_images_are_counted_as_its_batches_have_them(split, tmp_path, images, batch_size, seen):
    recipe = Recipe(**{**RECIPE, "epochs": 2, "batch_size": batch_size})
    assert recipe.images_an_epoch(images) == seen
    told = []
    some = split.select(np.arange(32) < images)
    train_toy(some, tmp_path, recipe=recipe, progress=lambda *counts: told.append(counts))
    steps = len(told) // 2
    assert told == [(step * seen // steps, 2 * seen) for step in range(1, 2 * steps + 1)]


def test_without_validation_images_the_log_says_so(split, tmp_path):
    model = create_model("vit_tiny_patch16_224", 2, options=OPTIONS)
    (record,) = train(model, TrainImages(split, tmp_path, 16, 18, 0), Recipe(**{**RECIPE, "epochs": 1}))
    assert record.val_top1 is None


def test_the_rate_falls_in_the_papers_steps():
    recipe = Recipe(**{**RECIPE, "epochs": 50, "lr": 1e-4, "decay_every": 10})
    rates = [recipe.lr_at(epoch + 0.5) for epoch in range(50)]
    np.testing.assert_allclose(rates, np.repeat([1e-4, 1e-5, 1e-6, 1e-7, 1e-8], 10))


def test_the_rate_rises_linearly_during_warm_up():
    recipe = Recipe(**{**RECIPE, "warmup_epochs": 2.0, "decay_every": 10})
    np.testing.assert_allclose(
        [recipe.lr_at(x) for x in (0.5, 1.0, 2.0, 3.0)], np.array([0.25, 0.5, 1, 1]) * 3e-3
    )


@pytest.mark.parametrize("key", ["epochs", "lr", "decay_every", "batch_size"])
def test_a_recipe_value_that_must_be_positive_is_named(key):
    with pytest.raises(ValueError, match=f"{key} = 0 in a training recipe; it must be above 0"):
        Recipe(**{**RECIPE, key: 0})


def test_a_negative_weight_decay_and_an_unknown_precision_are_refused():
    with pytest.raises(ValueError, match="weight_decay = -1 in a training recipe"):
        Recipe(**{**RECIPE, "weight_decay": -1})
    with pytest.raises(ValueError, match="precision 'fp16' is unknown; choose bf16 or fp32"):
        Recipe(**{**RECIPE, "precision": "fp16"})
    with pytest.raises(ValueError, match="typo"):
        TypeAdapter(Recipe).validate_python({**RECIPE, "typo": 1})


def test_the_test_transform_resizes_straight_to_the_input_and_normalises(split, tmp_path):
    item, label = SplitImages(split, tmp_path, 16)[1]
    tensor = normalise(item)
    with Image.open(tmp_path / "1.png") as image:
        pixels = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)) / 255
    expected = (pixels - np.array(MEAN)) / np.array(STD)
    assert label == 1 and tensor.shape == (3, 16, 16) and item.dtype == torch.uint8
    np.testing.assert_allclose(tensor.permute(1, 2, 0), expected, atol=1e-6)


def test_a_grey_image_becomes_three_equal_channels(split, tmp_path):
    Image.new("L", (24, 20), 100).save(tmp_path / "0.png")
    item, _ = SplitImages(split, tmp_path, 16)[0]
    assert torch.equal(item, torch.full((3, 16, 16), 100, dtype=torch.uint8))


def test_a_batch_is_normalised_as_its_images_are(split, tmp_path):
    items = [SplitImages(split, tmp_path, 16)[index][0] for index in range(4)]
    assert torch.equal(normalise(torch.stack(items)), torch.stack([normalise(item) for item in items]))


def test_crops_cover_the_whole_image_and_half_of_them_are_flipped(split, tmp_path):
    images = TrainImages(split, tmp_path, 16, 18, seed=0)
    draws = []
    for epoch in range(40):
        images.epoch = epoch
        draws += [images.draw(index) for index in range(32)]
    assert {draw[:2] for draw in draws} == {(x, y) for x in range(3) for y in range(3)}
    flipped = sum(draw[2] for draw in draws) / len(draws)
    assert abs(flipped - 0.5) < 4 * 0.5 / len(draws) ** 0.5


def test_a_crop_larger_than_the_image_is_refused(split, tmp_path):
    with pytest.raises(ValueError, match="images resized to 8 have no crop of 16"):
        TrainImages(split, tmp_path, 16, 8, seed=0)


def test_an_image_that_does_not_open_is_named(split, tmp_path):
    (tmp_path / "3.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"3\.png cannot be read as an image .*vitol data register"):
        SplitImages(split, tmp_path, 16)[3]
