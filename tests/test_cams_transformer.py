"""TS-CAM, SCM and the few-shot localizer."""

from __future__ import annotations

import cams_reference_transformer as reference
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from toy import RECIPE

from vitol.attention import CaptureError, capture_attention
from vitol.cams.few_shot import BoxImages, FewShot
from vitol.cams.scm import SCM, Diffusion, class_token_rows, grid_laplacian, inverse
from vitol.cams.skeleton import rescaled
from vitol.cams.transformer import TransformerFeatures
from vitol.cams.tscam import TSCAM
from vitol.datasets.splits import make_split
from vitol.logits import read_logits
from vitol.models import create_model, unfused_attention
from vitol.other_maps import class_attention
from vitol.recipe import Recipe
from vitol.tokens import readout_row
from vitol.training import create_optimizer, own_objective, train

NAME, DISTILLED = "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"
# A grid of 2 x 3 patches, so that rows and columns cannot be mistaken for each other.
OPTIONS = {"img_size": (16, 24), "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
CONVOLUTIONAL = {"architecture": "resnet10t", "options": {"channels": (4, 6, 8, 10), "stem_width": 4}}
IMAGES = torch.randn(3, 3, 16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([1, 0, 4])
CLASSES = torch.tensor([[0, 4], [1, 1], [3, 2]])


def build(method, architecture=NAME, options=OPTIONS, **settings):
    torch.manual_seed(0)
    model = method.on(architecture, 5, options=options, **settings).double()
    with torch.no_grad():  # The tokens that timm starts at nearly nothing would all attend alike.
        for block in model.features.body.blocks:
            block.attn.qkv.weight.normal_(std=0.5)
    return model


@pytest.fixture
def tscam():
    return build(TSCAM).eval()


@pytest.fixture
def scm():
    return build(SCM, iterations=(3, 2), flow=0.8, threshold=0.3)


def matrices(model, images):
    """The attention of every block, (B, H, N, N) each."""
    body = model.features.body
    tokens = body.num_prefix_tokens + 6
    with torch.no_grad(), capture_attention(body) as capture:
        body(images)
    return capture.matrices(len(images), tokens)


def state_of(model):
    """What a pass that looks inside must leave as it was."""
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    fused = [m.fused_attn for m in model.modules() if hasattr(m, "fused_attn")]
    return hooks, fused, [p.requires_grad for p in model.parameters()]


# TS-CAM


@pytest.mark.parametrize(
    ("architecture", "extra"),
    [(NAME, {}), (NAME, {"reg_tokens": 2}), (DISTILLED, {}), (NAME, {"global_pool": "avg"})],
)
def test_features_are_the_normed_patch_tokens_row_by_row(architecture, extra):
    model = build(TSCAM, architecture, {**OPTIONS, **extra}).eval()
    body, seen = model.features.body, []
    body.blocks[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    features = model.features(IMAGES)
    assert features.shape == (3, 16, 2, 3) and model.features.channels == 16
    for y in range(2):
        for x in range(3):
            token = seen[0][:, body.num_prefix_tokens + 3 * y + x]
            normed = F.layer_norm(token, (16,), eps=1e-6)
            torch.testing.assert_close(features[:, :, y, x], normed)


def test_semantic_maps_are_a_three_by_three_convolution_and_scores_their_means(tscam):
    features = tscam.features(IMAGES).detach()
    logits = tscam(IMAGES)
    for image in range(3):
        expected = reference.convolution(
            features[image].numpy(), tscam.head.weight.detach().numpy(), tscam.head.bias.detach().numpy()
        )
        np.testing.assert_allclose(tscam.class_maps(IMAGES)[image].detach().numpy(), expected)
        np.testing.assert_allclose(logits[image].detach().numpy(), expected.mean(axis=(1, 2)))


@pytest.mark.parametrize(("architecture", "extra"), [(NAME, {}), (NAME, {"reg_tokens": 2}), (DISTILLED, {})])
def test_the_map_is_the_semantic_map_times_the_attention_of_all_blocks(architecture, extra):
    model = build(TSCAM, architecture, {**OPTIONS, **extra}).eval()
    attention, semantic = matrices(model, IMAGES), model.class_maps(IMAGES).detach().numpy()
    logits, maps = model.localize(IMAGES, CLASSES)
    for image, row in enumerate(CLASSES.tolist()):
        foreground = reference.attention(
            [block[image].numpy() for block in attention], model.features.body.num_prefix_tokens, 2, 3
        )
        for place, label in enumerate(row):
            np.testing.assert_allclose(maps[image, place].numpy(), foreground * semantic[image, label])
    torch.testing.assert_close(logits, model(IMAGES).detach())


def test_attention_is_that_of_the_raw_attention_method_summed_over_blocks(tscam):
    blocks = matrices(tscam, IMAGES)
    row = readout_row(tscam.features.body, 7)
    expected = sum(class_attention(block, row) for block in blocks)[:, 1:].reshape(3, 1, 2, 3)
    maps = tscam.localize(IMAGES, CLASSES)[1]
    semantic = tscam.class_maps(IMAGES).detach()
    torch.testing.assert_close(maps[:, :1], expected * semantic[torch.arange(3), CLASSES[:, 0]][:, None])
    assert (expected.std(dim=(2, 3)) > 0.01).all(), "attention that is the same everywhere would show nothing"


def test_nothing_is_clamped_so_a_map_has_the_signs_of_its_semantic_map(tscam):
    maps = tscam.localize(IMAGES, torch.arange(5).expand(3, 5))[1]
    semantic = tscam.class_maps(IMAGES)
    assert torch.equal(maps.sign(), semantic.sign()) and (maps < 0).any() and (maps > 0).any()


@pytest.mark.parametrize("method", [TSCAM, SCM, FewShot])
def test_maps_of_a_batch_are_those_of_its_images(method):
    model = build(method).eval()
    _, together = model.localize(IMAGES, CLASSES)
    for image in range(3):
        _, alone = model.localize(IMAGES[image : image + 1], CLASSES[image : image + 1])
        torch.testing.assert_close(together[image], alone[0])


@pytest.mark.parametrize("method", [TSCAM, SCM])
def test_another_order_of_images_or_classes_orders_maps_and_scores_alike(method):
    model, images, classes = build(method).eval(), torch.tensor([2, 0, 1]), torch.tensor([3, 1, 4, 0, 2])
    logits, maps = model.localize(IMAGES, torch.arange(5).expand(3, 5))
    moved = model.localize(IMAGES[images], torch.arange(5).expand(3, 5))
    torch.testing.assert_close(moved, (logits[images], maps[images]))
    with torch.no_grad():
        model.head.weight.copy_(model.head.weight[classes].clone())
        model.head.bias.copy_(model.head.bias[classes].clone())
    moved = model.localize(IMAGES, torch.arange(5).expand(3, 5))
    torch.testing.assert_close(moved, (logits[:, classes], maps[:, classes]))


@pytest.mark.parametrize("method", [TSCAM, SCM])
def test_fused_and_eager_attention_train_alike(method):
    gradients = []
    for eager in (False, True):
        model = build(method)
        assert all(block.attn.fused_attn for block in model.features.body.blocks)
        if eager:
            with unfused_attention(model):
                loss, _ = model(IMAGES, LABELS, 0.1)
        else:
            loss, _ = model(IMAGES, LABELS, 0.1)
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("method", [TSCAM, SCM])
def test_localizing_and_training_leave_hooks_flags_and_gradients_as_they_were(method):
    model = build(method)
    before = state_of(model)
    logits, maps = model.localize(IMAGES, CLASSES)
    assert not logits.requires_grad and not maps.requires_grad
    assert state_of(model) == before
    model(IMAGES, LABELS, 0.0)
    assert state_of(model) == before
    with pytest.raises(RuntimeError):
        model(IMAGES[:, :2], LABELS, 0.0)
    assert state_of(model) == before


@pytest.mark.parametrize("method", [TSCAM, SCM])
def test_a_few_steps_lower_the_loss_of_the_same_weights_that_localize(method):
    model = (build(SCM, iterations=(2, 2)) if method is SCM else build(method)).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss, _ = model(IMAGES.float(), LABELS, 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    logits, _ = model.eval().localize(IMAGES.float(), CLASSES)
    assert torch.equal(logits.argmax(dim=1), LABELS)


@pytest.mark.parametrize("method", [TSCAM, SCM, FewShot])
def test_maps_and_losses_are_float32_under_bfloat16(method):
    model = build(method).float()
    labels = torch.ones(3, 16, 24) if method is FewShot else LABELS
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = model(IMAGES.float(), labels, 0.0)
        _, maps = model.localize(IMAGES.float(), CLASSES)
    assert loss.dtype == maps.dtype == torch.float32 and loss.isfinite() and maps.isfinite().all()


def test_a_transformer_s_own_weights_are_taken_and_those_of_its_head_left_out(tmp_path):
    plain = create_model(NAME, 7, options=OPTIONS)
    save_file(plain.state_dict(), tmp_path / "plain.safetensors")
    model = TSCAM.on(NAME, 5, weights=tmp_path / "plain.safetensors", options=OPTIONS)
    for name, tensor in model.features.body.state_dict().items():
        assert torch.equal(tensor, plain.state_dict()[name])
    assert model.head.weight.shape == (5, 16, 3, 3)


def test_weight_decay_leaves_out_what_it_leaves_out_of_the_plain_transformer():
    recipe = Recipe(**{**RECIPE, "weight_decay": 0.1})

    def undecayed(model):
        groups = create_optimizer(model, recipe, torch.device("cpu")).param_groups
        spared = {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}
        return {
            name.removeprefix("features.body.") for name, p in model.named_parameters() if id(p) in spared
        }

    own = undecayed(build(TSCAM))
    assert own == undecayed(create_model(NAME, 5, options=OPTIONS)) and {"cls_token", "pos_embed"} <= own


def test_a_transformer_without_a_class_token_is_refused():
    options = {**OPTIONS, "class_token": False, "global_pool": "avg"}
    with pytest.raises(
        ValueError, match="this VisionTransformer has no class token.* of TSCAM's map; take a"
    ):
        TSCAM.on(NAME, 5, options=options)


def test_a_stage_of_a_transformer_is_refused():
    with pytest.raises(ValueError, match=f"stage 1 of {NAME}: a transformer is taken whole; leave the stage"):
        TSCAM.on(NAME, 5, options=OPTIONS, stage=1)


def test_a_network_that_does_not_attend_is_refused():
    with pytest.raises(CaptureError, match="ResNet has no `blocks` with attention to capture"):
        TSCAM.on(num_classes=5, **CONVOLUTIONAL)


def test_a_transformer_that_drops_patches_is_refused_when_it_trains():
    features = TransformerFeatures(NAME, options={**OPTIONS, "patch_drop_rate": 0.5})
    with pytest.raises(
        ValueError, match="gives 3 patch tokens for a grid of 2 x 3; leave out an option that"
    ):
        features(IMAGES.float())


# SCM


@pytest.mark.parametrize(("height", "width"), [(2, 3), (1, 4), (3, 3)])
def test_the_laplacian_joins_each_place_to_the_four_beside_it(height, width):
    found = grid_laplacian(height, width)
    assert found.tolist() == reference.laplacian(height, width)
    assert not found.sum(dim=0).any()


def test_newton_s_steps_are_those_of_the_twin_and_come_to_the_inverse():
    generator = torch.Generator().manual_seed(0)
    matrix = 3 * torch.eye(4, dtype=torch.float64) + torch.randn(
        4, 4, dtype=torch.float64, generator=generator
    )
    for steps in (1, 3):
        np.testing.assert_allclose(
            inverse(matrix[None], steps)[0].numpy(), reference.inverse(matrix.tolist(), steps, 0.002)
        )
    torch.testing.assert_close(inverse(matrix[None], 30)[0], matrix.inverse())


def test_gradients_pass_the_steps_to_an_inverse_and_not_their_start():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(1, 3, 3, dtype=torch.float64, generator=generator).requires_grad_()
    inverse(matrix, 1).sum().backward()
    # Of Y (2 I - X Y) with Y held still.
    start = 0.002 * matrix.detach().transpose(1, 2)
    expected = -start.sum(dim=1)[:, :, None] * start.sum(dim=2)[:, None]
    torch.testing.assert_close(matrix.grad, expected)


def test_a_diffusion_block_is_its_twin():
    generator = torch.Generator().manual_seed(0)
    semantic = torch.randn(2, 5, 2, 3, dtype=torch.float64, generator=generator)
    foreground = torch.rand(2, 2, 3, dtype=torch.float64, generator=generator)
    stronger, wider = Diffusion(3, 0.7, 0.4).double()(semantic, foreground)
    for image in range(2):
        expected = reference.diffusion(semantic[image].numpy(), foreground[image].numpy(), 3, 0.7, 0.4)
        np.testing.assert_allclose(stronger[image].detach().numpy(), expected[0], rtol=1e-6)
        np.testing.assert_allclose(wider[image].detach().numpy(), expected[1], rtol=1e-6)


def test_a_step_of_scm_is_cross_entropy_behind_its_blocks(scm):
    attention, semantic = matrices(scm, IMAGES), scm.class_maps(IMAGES).detach().numpy()
    loss, logits = scm(IMAGES, LABELS, 0.1)
    expected = []
    for image in range(3):
        foreground = reference.stretched(
            reference.attention([block[image].numpy() for block in attention], 1, 2, 3)
        )
        maps = semantic[image]
        for steps in (3, 2):
            maps, foreground = reference.diffusion(maps, foreground, steps, 0.8, 0.3)
        expected.append(maps.mean(axis=(1, 2)))
    np.testing.assert_allclose(logits.detach().numpy(), np.stack(expected), rtol=1e-6)
    assert loss.item() == pytest.approx(reference.cross_entropy(expected, LABELS.tolist(), 0.1))


def test_scm_trains_the_class_token_s_last_attention_and_ts_cam_does_not():
    for method, reaches in ((TSCAM, False), (SCM, True)):
        model, seen = build(method), []
        drop = model.features.body.blocks[-1].attn.attn_drop

        def keep(_, arguments, seen=seen):
            arguments[0].retain_grad()
            seen.append(arguments[0])

        drop.register_forward_pre_hook(keep)
        with unfused_attention(model):
            model(IMAGES, LABELS, 0.0)[0].backward()
        gradient = seen[0].grad
        assert gradient[:, :, 1:].abs().max() > 0, "patch tokens are what scores are made of"
        assert (gradient[:, :, 0].abs().max() > 0) == reaches


def test_flow_and_threshold_of_every_block_learn(scm):
    scm(IMAGES, LABELS, 0.0)[0].backward()
    for block in scm.diffusion:
        assert block.flow.grad.abs() > 0 and block.threshold.grad.abs() > 0


def test_without_labels_the_diffusion_blocks_take_no_part(scm):
    before = scm(IMAGES), *scm.localize(IMAGES, CLASSES)
    step = scm(IMAGES, LABELS, 0.0)[1]
    with torch.no_grad():
        for block in scm.diffusion:
            block.flow += 1
            block.threshold += 1
    torch.testing.assert_close((scm(IMAGES), *scm.localize(IMAGES, CLASSES)), before)
    assert not torch.allclose(scm(IMAGES, LABELS, 0.0)[1], step)


def test_the_map_of_scm_is_that_of_ts_cam_with_its_attention_stretched(scm, tscam):
    tscam.load_state_dict({k: v for k, v in scm.state_dict().items() if not k.startswith("diffusion")})
    logits, maps = scm.localize(IMAGES, CLASSES)
    plain_logits, plain = tscam.localize(IMAGES, CLASSES)
    semantic = tscam.class_maps(IMAGES).detach()
    attention = plain[:, :1] / semantic[torch.arange(3), CLASSES[:, 0]][:, None]
    expected = rescaled(attention) * (plain / attention)
    torch.testing.assert_close((logits, maps), (plain_logits, expected))


def test_the_class_token_s_rows_are_seen_before_dropout_with_their_graph():
    model = build(SCM, options={**OPTIONS, "attn_drop_rate": 0.5}).train()
    with class_token_rows(model.features.body) as rows:
        model.class_maps(IMAGES)
    assert len(rows) == 2 and all(row.requires_grad and row.shape == (3, 7) for row in rows)
    torch.testing.assert_close(torch.stack(rows).sum(dim=2), torch.ones(2, 3, dtype=torch.float64))


def test_a_block_without_a_step_to_the_inverse_is_refused():
    with pytest.raises(ValueError, match="0 iterations come to no inverse; give 1 at least for every block"):
        SCM.on(NAME, 5, options=OPTIONS, iterations=(4, 0))


# The few-shot localizer


def boxed(root, sides=((40, 20), (24, 36)), boxes=(((10, 4, 25, 17),), ((2, 3, 9, 20), (12, 18, 24, 36)))):
    """Black images with white boxes, of the sides (width, height) given."""
    for index, (size, drawn) in enumerate(zip(sides, boxes, strict=True)):
        pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
        for x0, y0, x1, y1 in drawn:
            pixels[y0:y1, x0:x1] = 255
        Image.fromarray(pixels).save(root / f"{index}.png")
    ids = [f"{index}.png" for index in range(len(sides))]
    return make_split(ids, [0] * len(sides), sides, boxes)


def test_masks_follow_their_boxes_through_crops_and_flips(tmp_path):
    images = BoxImages(boxed(tmp_path), tmp_path, 16, 24, seed=0)
    crops = set()
    for images.epoch in range(6):
        for index in range(2):
            image, mask = images[index]
            crops.add(images.draw(index))
            assert mask.dtype == torch.uint8 and mask.shape == (16, 16)
            expected = reference.box_mask(
                images.split.boxes[index].tolist(),
                tuple(images.split.sizes[index].tolist()),
                24,
                images.draw(index),
                16,
            )
            assert mask.tolist() == expected.tolist()
            # White is inside, black outside, and grey where the resized image is neither.
            assert mask[image[0] > 200].all() and not mask[image[0] < 55].any()
    assert {flip for _, _, flip in crops} == {True, False} and len(crops) > 6


def test_the_few_shot_loss_is_the_binary_cross_entropy_of_every_pixel():
    torch.manual_seed(0)
    model = FewShot.on(num_classes=5, **CONVOLUTIONAL).double().eval()
    images = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    masks = (torch.rand(2, 12, 12) < 0.4).to(torch.uint8)
    maps = model.head(model.features(images)).detach()
    assert maps.shape == (2, 1, 3, 3)
    scores = [reference.scaled_up(each[0].numpy(), 12) for each in maps]
    loss, logits = model(images, masks, 0.5)
    losses = [reference.binary_cross_entropy(s, m.numpy()) for s, m in zip(scores, masks, strict=True)]
    assert loss.item() == pytest.approx(np.mean(losses))
    assert torch.equal(logits.argmax(dim=1), torch.tensor(np.stack(scores) > 0).long())


@pytest.mark.parametrize("network", [CONVOLUTIONAL, {"architecture": NAME, "options": OPTIONS}])
def test_the_few_shot_map_is_one_probability_for_every_class(network):
    model = FewShot.on(num_classes=5, **network).eval()
    _, maps = model.localize(IMAGES.float(), CLASSES)
    assert torch.equal(maps[:, 0], maps[:, 1]) and maps.shape[:2] == (3, 2)
    expected = 1 / (1 + (-model.head(model.features(IMAGES.float()))[:, 0]).exp())
    torch.testing.assert_close(maps[:, 0], expected.detach())


def test_the_few_shot_localizer_has_logits_that_no_accuracy_can_be_told_from(tmp_path):
    logits, _ = FewShot.on(num_classes=5, **CONVOLUTIONAL).localize(IMAGES.float(), CLASSES)
    assert logits.shape == (3, 5) and logits.isnan().all()
    np.save(tmp_path / "logits.npy", logits.numpy())
    with pytest.raises(ValueError, match=r"logits.npy\[0, 0\] is nan; logits are numbers"):
        read_logits(tmp_path / "logits.npy", LABELS.numpy())


def test_class_scores_of_the_few_shot_localizer_are_an_error():
    with pytest.raises(
        ValueError, match="has a foreground map and no class scores; train it with vitol.train"
    ):
        FewShot.on(num_classes=5, **CONVOLUTIONAL)(IMAGES.float())


def test_images_without_boxes_are_nothing_to_learn_from(tmp_path):
    split = boxed(tmp_path, boxes=(((10, 4, 25, 17),), ()))
    with pytest.raises(
        ValueError, match=r"1 of 2 images have no box to learn from, such as 1.png; take a split"
    ):
        BoxImages(split, tmp_path, 16, 24, seed=0)


def test_the_few_shot_localizer_learns_where_boxes_are(tmp_path):
    generator = np.random.default_rng(0)
    corners = generator.integers(0, 12, (16, 2))
    split = boxed(tmp_path, [(32, 32)] * 16, [((x, y, x + 20, y + 16),) for x, y in corners.tolist()])
    images = BoxImages(split, tmp_path, 32, 36, seed=0)
    torch.manual_seed(0)
    options = {"img_size": 32, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}
    model = FewShot.on(NAME, 2, options=options)
    recipe = Recipe(**{**RECIPE, "epochs": 10, "lr": 1e-2, "decay_every": 10})
    log = list(train(model, images, recipe, objective=own_objective))
    assert log[-1].train_loss < 0.6 * log[0].train_loss
    shares = []
    with torch.no_grad():
        for index in range(16):
            image, mask = images[index]
            scaled = (image / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
                [0.229, 0.224, 0.225]
            )[:, None, None]
            score = F.interpolate(model.class_maps(scaled[None]), 32, mode="bilinear")[0, 0]
            shares.append(((score > 0) == mask.bool()).float().mean().item())
    # What is called accuracy is the share of pixels, met on the way to these weights.
    assert 80 < log[-1].train_top1 <= 100 and np.mean(shares) > 0.85


def test_a_neck_stands_before_the_few_shot_map():
    model = FewShot.on(num_classes=5, neck=7, **CONVOLUTIONAL)
    shapes = [tuple(layer.weight.shape) for layer in model.head if isinstance(layer, nn.Conv2d)]
    assert shapes == [(7, 10, 3, 3), (7, 7, 3, 3), (1, 7, 1, 1)]
