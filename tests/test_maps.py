import numpy as np
import pytest
import timm
import torch
from torch import nn

from vitol.attention import CaptureError, capture_attention, patch_grid, readout_row
from vitol.maps import METHODS, Method, explain, localization_maps

ALL = [Method.of("ar"), Method.of("gar"), Method.of("gar", "paper"), Method.of("gar", clamp="mean")]
GOLDEN_METHODS = {
    "map_ar_normalized": Method.of("ar"),
    "map_gar_normalized": Method.of("gar", "release"),
    "map_gar_unnormalized": Method.of("gar", "paper"),
}


def golden_model(golden: dict[str, np.ndarray]) -> nn.Module:
    config = {key.split("/")[1]: int(value) for key, value in golden.items() if key.startswith("config/")}
    model = timm.create_model("vit_tiny_patch16_224", **config).double().eval()
    model.load_state_dict(
        {
            key.removeprefix("weights/"): torch.tensor(value)
            for key, value in golden.items()
            if key.startswith("weights/")
        }
    )
    return model


def relative(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(ours.reshape(reference.shape) - reference).max() / np.abs(reference).max())


def test_maps_equal_the_original_implementations(golden_maps):
    model = golden_model(golden_maps)
    images, targets = torch.tensor(golden_maps["images"]), torch.tensor(golden_maps["targets"])
    explanation = explain(model, images, targets, list(GOLDEN_METHODS.values()))
    assert relative(explanation.logits.numpy(), golden_maps["logits"]) < 1e-10
    for name, maps in zip(GOLDEN_METHODS, explanation.maps, strict=True):
        assert relative(maps.numpy(), golden_maps[name]) < 1e-10, name


def test_captured_attention_and_gradient_equal_the_original_implementations(golden_maps):
    model = golden_model(golden_maps)
    images, targets = torch.tensor(golden_maps["images"]), torch.tensor(golden_maps["targets"])
    with capture_attention(model) as capture:
        logits = model(images)
        attention = capture.matrices(5, 17)
        gradients = capture.gradients(logits.gather(1, targets[:, None]).sum(), attention)
    assert relative(torch.stack(attention, 1).detach().numpy(), golden_maps["attention"]) < 1e-10
    assert relative(torch.stack(gradients, 1).numpy(), golden_maps["attention_gradient"]) < 1e-10


def test_maps_of_a_batch_equal_maps_of_its_images(vit, images):
    targets = torch.tensor([0, 1, 2, 3])
    for k, batched in enumerate(explain(vit, images, targets, ALL).maps):
        for i in range(4):
            single = explain(vit, images[i : i + 1], targets[i : i + 1], ALL).maps[k]
            assert relative(batched[i : i + 1].numpy(), single.numpy()) < 1e-12


def test_permuting_a_batch_permutes_its_maps(vit, images):
    order, targets = torch.tensor([2, 0, 3, 1]), torch.tensor([0, 1, 2, 3])
    maps = localization_maps(vit, images, targets)
    torch.testing.assert_close(
        localization_maps(vit, images[order], targets[order]), maps[order], rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("method", METHODS)
def test_target_forms_agree(vit, images, method):
    with torch.no_grad():
        predicted = vit(images).argmax(dim=1)
    by_default = localization_maps(vit, images, None, method)
    assert by_default.shape == (4, 4, 4)
    torch.testing.assert_close(localization_maps(vit, images, predicted, method), by_default)
    other = (predicted + 1) % 5
    both = localization_maps(vit, images, torch.stack([predicted, other], 1), method)
    assert both.shape == (4, 2, 4, 4)
    torch.testing.assert_close(both[:, 0], by_default)
    torch.testing.assert_close(both[:, 1], localization_maps(vit, images, other, method))


def test_gar_follows_the_class_and_ar_does_not(vit, images):
    targets = torch.tensor([[0, 1]] * 4)
    gar, ar = (localization_maps(vit, images, targets, method) for method in ("gar", "ar"))
    assert not torch.allclose(gar[:, 0], gar[:, 1], rtol=1e-3)
    assert torch.equal(ar[:, 0], ar[:, 1])


def test_presets_differ_in_row_normalisation_of_gar_alone():
    assert Method.of("gar", "release").normalize_rows and not Method.of("gar", "paper").normalize_rows
    assert Method.of("ar", "paper").normalize_rows and Method.of("ar", "release").normalize_rows
    assert Method.of("gar", "paper", normalize_rows=True) == Method.of("gar", "release")


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_capture_leaves_the_model_as_it_found_it(vit, images, frozen, fails):
    vit.requires_grad_(not frozen)
    vit.blocks[1].attn.fused_attn = False
    flags = [block.attn.fused_attn for block in vit.blocks]
    marker = torch.ones_like(vit.head.weight)
    vit.head.weight.grad = marker
    before = vit(images)
    if fails:
        with pytest.raises(ValueError, match="is no class of this model"):
            localization_maps(vit, images, torch.tensor([0, 1, 2, 9]))
    else:
        localization_maps(vit, images)
    assert [block.attn.fused_attn for block in vit.blocks] == flags
    assert not any(module._forward_hooks for module in vit.modules())
    assert all(parameter.requires_grad == (not frozen) for parameter in vit.parameters())
    assert vit.head.weight.grad is marker and torch.equal(marker, torch.ones_like(marker))
    assert all(p.grad is None for name, p in vit.named_parameters() if name != "head.weight")
    torch.testing.assert_close(vit(images), before)


SMALL = {"depth": 2, "num_heads": 2, "embed_dim": 24, "num_classes": 3}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"img_size": (32, 48), "patch_size": 8, **SMALL}),
        ("deit_tiny_distilled_patch16_224", {"img_size": (32, 48), "patch_size": 8, **SMALL}),
        ("deit3_small_patch16_224", {"img_size": (32, 48), "patch_size": 8, **SMALL}),
        ("vit_small_patch14_reg4_dinov2", {"img_size": (32, 48), "patch_size": 8, **SMALL}),
        ("vit_tiny_patch16_224", {"img_size": (32, 48), "patch_size": 8, "global_pool": "avg", **SMALL}),
        ("eva02_tiny_patch14_224", {"img_size": (32, 48), "patch_size": 8, **SMALL}),
        ("beit_base_patch16_224", {"img_size": (32, 48), "patch_size": 8, **SMALL}),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_any_plain_transformer_of_timm_gives_maps_on_its_own_grid(name, options, method):
    torch.manual_seed(0)
    model = timm.create_model(name, **options).eval()
    maps = localization_maps(model, torch.randn(2, 3, 32, 48), method=method)
    assert maps.shape == (2, 4, 6)
    assert torch.isfinite(maps).all() and (maps >= 0).all()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet18", "ResNet has no `blocks` with attention to capture"),
        ("swin_tiny_patch4_window7_224", "SwinTransformer has no `blocks`"),
        ("cait_xxs24_224", r"blocks\.0\.attn is a TalkingHeadAttn that does not pass its softmax"),
    ],
)
def test_a_model_without_such_attention_is_refused_with_module_and_reason(name, reason):
    with pytest.raises(CaptureError, match=reason), capture_attention(timm.create_model(name)):
        pass


def test_windowed_attention_is_refused_by_its_shape():
    model = timm.create_model("samvit_base_patch16", img_size=64, depth=1, embed_dim=24, num_heads=2)
    with pytest.raises(CaptureError, match="blocks.0"):
        localization_maps(model.eval(), torch.randn(1, 3, 64, 64))


def test_attention_of_two_softmaxes_is_refused_by_its_heads():
    model = timm.create_model(
        "vit_dlittle_patch16_reg1_gap_256", img_size=64, depth=1, embed_dim=32, num_heads=2, num_classes=2
    )
    with pytest.raises(CaptureError, match=r"blocks\.0\.attn is a DiffAttention of"):
        localization_maps(model.eval(), torch.randn(1, 3, 64, 64))


def test_a_head_that_averages_prefix_tokens_too_reads_them(vit):
    vit.global_pool, vit.pool_include_prefix = "avg", True
    torch.testing.assert_close(readout_row(vit, 17), torch.full((17,), 1 / 17))
    vit.pool_include_prefix = False
    assert readout_row(vit, 17)[0] == 0


def test_inference_mode_is_refused_for_gar_and_fine_for_ar(vit, images):
    with torch.inference_mode():
        assert localization_maps(vit, images, method="ar").shape == (4, 4, 4)
        with pytest.raises(
            ValueError, match=r"GAR needs gradients, which torch.inference_mode\(\) rules out"
        ):
            localization_maps(vit, images)


def test_attention_of_an_earlier_pass_is_not_taken_for_this_one(vit):
    with capture_attention(vit) as capture, pytest.raises(CaptureError, match=r"blocks\.0\.attn computed no"):
        capture.matrices(1, 17)


def test_attention_of_another_token_count_is_refused(vit, images):
    with capture_attention(vit) as capture:
        vit(images)
        with pytest.raises(
            CaptureError, match=r"matrices of shape \(4, 3, 17, 17\), not \(4, heads, 18, 18\)"
        ):
            capture.matrices(4, 18)


def test_a_pooling_without_a_row_is_refused(vit):
    vit.global_pool = "map"
    with pytest.raises(CaptureError, match="pools its tokens by 'map'"):
        readout_row(vit, 17)


def test_a_model_without_a_patch_grid_is_refused(images):
    with pytest.raises(CaptureError, match="Linear has no timm `patch_embed`"):
        patch_grid(nn.Linear(1, 1), images)


def test_wrong_arguments_are_refused_with_what_was_seen(vit, images):
    with pytest.raises(ValueError, match="method 'cam' is unknown; choose one of ar, gar"):
        localization_maps(vit, images, method="cam")
    with pytest.raises(ValueError, match="preset 'mine' is unknown; choose one of release, paper"):
        localization_maps(vit, images, preset="mine")
    with pytest.raises(ValueError, match="clamp 'last' is unknown; choose one of heads, mean"):
        localization_maps(vit, images, clamp="last")
    with pytest.raises(ValueError, match=r"images have shape \(3, 32, 32\), not \(B, 3, H, W\)"):
        localization_maps(vit, images[0])
    with pytest.raises(ValueError, match=r"images have shape \(0, 3, 32, 32\)"):
        localization_maps(vit, images[:0])
    with pytest.raises(ValueError, match=r"targets have shape \(3,\).*of shape \(4,\) or \(4, K\)"):
        localization_maps(vit, images, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="targets have shape .* torch.float32"):
        localization_maps(vit, images, torch.zeros(4))
    with pytest.raises(ValueError, match=r"targets\[1\] = -1 is no class of this model \(0..4\)"):
        localization_maps(vit, images, torch.tensor([0, -1, 2, 3]))
    with pytest.raises(ValueError, match="training mode"):
        localization_maps(vit.train(), images)
