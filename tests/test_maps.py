import weakref
from contextlib import nullcontext

import numpy as np
import pytest
import relevance_reference as reference
import timm
import torch
from torch import nn

from vitol import maps as maps_module
from vitol.attention import AttentionCapture, CaptureError, capture_attention
from vitol.maps import METHODS, Method, explain, localization_maps
from vitol.methods import ABOUT
from vitol.rollout import attention_rollout
from vitol.tokens import patch_grid, readout_row

ALL = [*(Method.of(name) for name in METHODS), Method.of("gar", "paper"), Method.of("gar", clamp="mean")]
BY_RELEVANCE = [name for name in METHODS if ABOUT[name].by_relevance]
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
    lrp = localization_maps(model, images, targets, "lrp")
    assert relative(lrp.numpy(), golden_maps["map_lrp"]) < 2e-5


def test_captured_attention_and_gradient_equal_the_original_implementations(golden_maps):
    model = golden_model(golden_maps)
    images, targets = torch.tensor(golden_maps["images"]), torch.tensor(golden_maps["targets"])
    gradients: dict[int, torch.Tensor] = {}
    with capture_attention(model) as capture:
        logits = model(images)
        attention = capture.matrices(5, 17)
        one_hot = torch.nn.functional.one_hot(targets, logits.shape[1]).to(logits)
        capture.pull_back(logits, one_hot, gradients.__setitem__)
    assert list(gradients) == sorted(gradients, reverse=True), "last block first"
    in_order = torch.stack([gradients[block] for block in sorted(gradients)], 1)
    assert relative(torch.stack(attention, 1).detach().numpy(), golden_maps["attention"]) < 1e-10
    assert relative(in_order.numpy(), golden_maps["attention_gradient"]) < 1e-10


def test_an_explanation_says_of_which_classes_its_maps_are(vit, images):
    methods = [Method.of("gar"), Method.of("lrp")]
    free = explain(vit, images, None, methods)
    assert torch.equal(free.classes, free.logits.argmax(dim=1))
    for targets in (free.classes, free.classes[:, None], torch.tensor([[0, 1]] * len(images))):
        asked = explain(vit, images, targets, methods)
        assert torch.equal(asked.classes, targets)
    for freely, alike in zip(free.maps, explain(vit, images, free.classes, methods).maps, strict=True):
        assert torch.equal(freely, alike)


@pytest.mark.parametrize("precision", ["mixed", "double"])
def test_relevance_in_float64_is_refused_on_a_device_that_has_none(precision):
    device = torch.device("mps")
    text = rf"is computed in float64 \(precision='{precision}'\), which mps does not have; give precision='model'"
    with pytest.raises(ValueError, match=text):
        maps_module._check_precision([Method.of("gar"), Method.of("lrp", precision=precision)], device)
    maps_module._check_precision([Method.of("gar"), Method.of("lrp", precision="model")], device)
    maps_module._check_precision([Method.of("lrp", precision=precision)], torch.device("cpu"))


def tolerance(method: Method) -> float:
    return 1e-9 if ABOUT[method.name].by_relevance else 1e-12


def test_maps_of_a_batch_equal_maps_of_its_images(vit, images):
    targets = torch.tensor([0, 1, 2, 3])
    singles = [explain(vit, images[i : i + 1], targets[i : i + 1], ALL).maps for i in range(4)]
    for k, batched in enumerate(explain(vit, images, targets, ALL).maps):
        together = torch.cat([single[k] for single in singles])
        assert relative(batched.numpy(), together.numpy()) < tolerance(ALL[k]), ALL[k]


def test_permuting_a_batch_permutes_its_maps(vit, images):
    order, targets = torch.tensor([2, 0, 3, 1]), torch.tensor([0, 1, 2, 3])
    straight = explain(vit, images, targets, ALL).maps
    permuted = explain(vit, images[order], targets[order], ALL).maps
    for method, one, other in zip(ALL, straight, permuted, strict=True):
        assert relative(other.numpy(), one[order].numpy()) < tolerance(method), method


def test_duplicating_an_image_changes_nothing_for_the_rest(vit, images):
    targets, doubled = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 3, 2, 2])
    once, again = (explain(vit, images[i], targets[i], ALL).maps for i in (torch.arange(4), doubled))
    for method, one, other in zip(ALL, once, again, strict=True):
        assert relative(other[:4].numpy(), one.numpy()) < tolerance(method), method
        assert relative(other[4:].numpy(), one[[2, 2]].numpy()) < tolerance(method), method


def test_methods_together_equal_methods_alone(vit, images):
    targets = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4]])
    for method, together in zip(ALL, explain(vit, images, targets, ALL).maps, strict=True):
        (alone,) = explain(vit, images, targets, [method]).maps
        assert relative(together.numpy(), alone.numpy()) < 1e-12, method
    assert explain(vit, images).maps == ()


def test_maps_beside_the_paper_s_equal_their_twins(golden_maps):
    model = golden_model(golden_maps)
    images, targets = torch.tensor(golden_maps["images"]), torch.tensor(golden_maps["targets"])
    names = ("attention", "gradcam", "legrad", "relevance")
    made = dict(zip(names, explain(model, images, targets, [Method.of(n) for n in names]).maps, strict=True))
    blocks, normed = list(model.blocks), []
    model.blocks[-1].norm1.register_forward_hook(lambda *call: normed.append(call[2]))
    with capture_attention(model, activations=True) as capture:
        logits = model(images)
        one_hot = torch.nn.functional.one_hot(targets, logits.shape[1]).to(logits)
        (of_tokens,) = torch.autograd.grad(logits, normed, one_hot, retain_graph=True)
        of_blocks = []
        for matrix, output in zip(capture.matrices(5, 17), capture.outputs.values(), strict=True):
            own = model.head(model.norm(output)[:, 0])
            of_blocks.append(torch.autograd.grad(own, matrix, one_hot, retain_graph=True)[0])
    assert len(of_blocks) == len(blocks)
    for i in range(5):
        twin = {
            "attention": reference.class_attention(golden_maps["attention"][i, -1]),
            "gradcam": reference.grad_cam(normed[0][i].detach().numpy(), of_tokens[i].numpy()),
            "legrad": np.mean([reference.legrad_layer(block[i].numpy()) for block in of_blocks], axis=0),
            "relevance": reference.lrp_map(
                golden_maps["relevance"][i], np.ones_like(golden_maps["relevance"][i])
            ),
        }
        for name, maps in made.items():
            bound = 1e-4 if name == "relevance" else 1e-10
            assert relative(maps[i].numpy(), twin[name]) < bound, name


@pytest.mark.parametrize("gamma", [0.0, 0.05])
def test_maps_of_token_relevance_are_the_positive_part_of_its_sums(golden_maps, gamma):
    model = golden_model(golden_maps)
    weights = {k.removeprefix("weights/"): v for k, v in golden_maps.items() if k.startswith("weights/")}
    config = {k.removeprefix("config/"): int(v) for k, v in golden_maps.items() if k.startswith("config/")}
    image, target = golden_maps["images"][0], int(golden_maps["targets"][0])
    batch = torch.tensor(image)[None]
    full = localization_maps(model, batch, torch.tensor([target]), "full-lrp")
    attnlrp = localization_maps(model, batch, torch.tensor([target]), "attnlrp", gamma=gamma)
    for maps, rules, seed in (
        (full, reference.CHEFER, 1.0),
        (attnlrp, reference.attn_lrp(gamma), golden_maps["logits"][0, target]),
    ):
        tokens = seed * reference.propagate(weights, config, image, target, rules).tokens
        assert relative(maps[0].numpy(), tokens.sum(axis=1).clip(min=0)[1:]) < 1e-5


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


@pytest.mark.parametrize("method", METHODS)
def test_maps_follow_the_class_if_they_say_so(vit, images, method):
    maps = localization_maps(vit, images, torch.tensor([[0, 1]] * 4), method)
    if ABOUT[method].of_class:
        assert not torch.allclose(maps[:, 0], maps[:, 1], rtol=1e-3)
    else:
        assert torch.equal(maps[:, 0], maps[:, 1])


def test_presets_differ_in_row_normalisation_of_gar_alone():
    assert Method.of("gar", "release").normalize_rows and not Method.of("gar", "paper").normalize_rows
    assert Method.of("ar", "paper").normalize_rows and Method.of("ar", "release").normalize_rows
    assert not Method.of("lrp", "paper").normalize_rows and not Method.of("lrp", "release").normalize_rows
    assert Method.of("gar", "paper", normalize_rows=True) == Method.of("gar", "release")


def test_a_late_start_block_leaves_the_early_blocks_out(vit, images):
    for method in ("ar", "gar", "lrp", "relevance"):
        late, all_of_them = (localization_maps(vit, images, method=method, start_block=b) for b in (1, 0))
        assert not torch.allclose(late, all_of_them)
        with pytest.raises(ValueError, match=r"start_block = 3, but the model's blocks are 0\.\.2"):
            localization_maps(vit, images, method=method, start_block=3)
    with capture_attention(vit) as capture, torch.no_grad():
        vit(images)
        matrices = capture.matrices(4, 17)
    expected = attention_rollout(matrices[1:], readout_row(vit, 17))[:, 1:].reshape(4, 4, 4)
    torch.testing.assert_close(localization_maps(vit, images, method="ar", start_block=1), expected)


def test_attention_rollout_alone_keeps_fused_matrices_only(vit, images, monkeypatch):
    kept_shapes = []
    plain = AttentionCapture.matrices

    def matrices(self, *arguments):
        found = plain(self, *arguments)
        kept_shapes.append({tuple(matrix.shape) for matrix in found})
        return found

    monkeypatch.setattr(AttentionCapture, "matrices", matrices)
    kept = {
        heads: localization_maps(vit, images, method="ar", heads=heads) for heads in ("mean", "min", "max")
    }
    for heads, maps in kept.items():
        both = explain(vit, images, None, [Method.of("ar", heads=heads), Method.of("attention")]).maps[0]
        torch.testing.assert_close(maps, both)
    assert kept_shapes == [{(4, 17, 17)}] * 3 + [{(4, 3, 17, 17)}] * 3
    assert not torch.allclose(kept["min"], kept["max"])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_maps_leave_the_model_as_they_found_it(vit, images, frozen, fails, method):
    vit.requires_grad_(not frozen)
    vit.blocks[1].attn.fused_attn = False
    flags = [block.attn.fused_attn for block in vit.blocks]
    marker = torch.ones_like(vit.head.weight)
    vit.head.weight.grad = marker
    before = vit(images)
    if fails:
        with pytest.raises(ValueError, match="is no class of this model"):
            localization_maps(vit, images, torch.tensor([0, 1, 2, 9]), method)
    else:
        localization_maps(vit, images, method=method)
    assert [block.attn.fused_attn for block in vit.blocks] == flags
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in vit.modules())
    assert all(parameter.dtype == torch.float64 for parameter in vit.parameters())
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


def small(name: str = "vit_tiny_patch16_224", **options) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, **(SMALL | {"img_size": 32, "patch_size": 8} | options)).eval()


def test_windowed_attention_is_refused_by_its_shape():
    model = small("samvit_base_patch16", img_size=64, patch_size=16)
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


@pytest.mark.parametrize("method", METHODS)
def test_gradients_that_are_ruled_out_are_refused_where_needed(vit, images, method):
    title = ABOUT[method].title
    with torch.inference_mode():
        inside = images.clone()
        if not ABOUT[method].of_class:
            assert localization_maps(vit, images, method=method).shape == (4, 4, 4)
        else:
            with pytest.raises(
                ValueError,
                match=rf"{title} needs gradients, which torch.inference_mode\(\) rules out; leave it",
            ):
                localization_maps(vit, images, method=method)
    if ABOUT[method].of_class:
        with pytest.raises(ValueError, match=f"{title} needs gradients, but the images were made under"):
            localization_maps(vit, inside, method=method)


def test_a_model_made_under_inference_mode_is_refused(images):
    with torch.inference_mode():
        model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=1).double().eval()
    with pytest.raises(ValueError, match="GAR needs gradients, but the model's weights were made under"):
        localization_maps(model, images)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_disabled_globally_change_nothing(vit, images, method):
    expected = localization_maps(vit, images, method=method)
    torch.set_grad_enabled(False)
    try:
        assert torch.equal(localization_maps(vit, images, method=method), expected)
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_gives_maps_in_single(vit, images, method):
    model = vit.bfloat16()
    maps = localization_maps(model, images.bfloat16(), torch.tensor([0, 1, 2, 3]), method)
    wide = localization_maps(vit.double(), images.bfloat16().double(), torch.tensor([0, 1, 2, 3]), method)
    assert maps.dtype == torch.float32
    # Relevance is computed wide whatever the model's type; the rest carries bfloat16's two digits.
    assert relative(maps.double().numpy(), wide.numpy()) < (1e-3 if ABOUT[method].by_relevance else 0.2)


@pytest.mark.parametrize("compiled", ["wrapped", "in place", "a block"])
@pytest.mark.parametrize("method", ["ar", "gar", "lrp"])
def test_compiled_models_run_eagerly(vit, images, method, compiled):
    expected = localization_maps(vit, images, method=method)
    model = vit
    if compiled == "wrapped":
        model = torch.compile(vit, backend="eager")
    elif compiled == "in place":
        vit.compile(backend="eager")
    else:
        vit.blocks[1].compile(backend="eager")
    with torch.no_grad():
        model(images)
    torch.testing.assert_close(localization_maps(model, images, method=method), expected)


@pytest.mark.parametrize("autocast", [True, False])
def test_relevance_takes_no_part_in_autocast(vit, images, autocast):
    model = vit.float()
    expected = localization_maps(model, images.float(), method="lrp")
    with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
        assert torch.equal(localization_maps(model, images.float(), method="lrp"), expected)


def test_a_pass_back_keeps_nothing_of_what_it_shows(vit, images):
    shown: list[weakref.ref] = []
    with capture_attention(vit) as capture:
        logits = vit(images)
        capture.pull_back(
            logits, torch.ones_like(logits), lambda _, arrived: shown.append(weakref.ref(arrived))
        )
        assert len(shown) == 3 and not any(reference() is not None for reference in shown)
        assert capture.outputs == {} and capture.last_input is None and capture.entering is None


def test_a_block_without_a_say_in_the_outputs_is_an_error(vit, images):
    with capture_attention(vit) as capture:
        logits = vit(images)
        early = capture.matrices(4, 17)[1]
        with pytest.raises(CaptureError, match=r"do not depend on the attention of blocks\.2\.attn"):
            capture.pull_back(early.sum(dim=(1, 2, 3)), torch.ones(4).double())
        assert logits.shape == (4, 5)


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
    with pytest.raises(ValueError, match="method 'cam' is unknown; choose one of ar, gar, lrp"):
        localization_maps(vit, images, method="cam")
    with pytest.raises(ValueError, match="preset 'mine' is unknown; choose one of release, paper"):
        localization_maps(vit, images, preset="mine")
    with pytest.raises(ValueError, match="clamp 'last' is unknown; choose one of heads, mean"):
        localization_maps(vit, images, clamp="last")
    with pytest.raises(ValueError, match="heads 'sum' is unknown; choose one of mean, min, max"):
        localization_maps(vit, images, method="ar", heads="sum")
    with pytest.raises(ValueError, match="precision 'half' is unknown; choose one of model, mixed, double"):
        localization_maps(vit, images, method="lrp", precision="half")
    with pytest.raises(ValueError, match="start_block = -1 is negative; the first block is 0"):
        localization_maps(vit, images, start_block=-1)
    with pytest.raises(ValueError, match="gamma = -1 is not 0 or more"):
        localization_maps(vit, images, method="attnlrp", gamma=-1)
    with pytest.raises(
        ValueError, match="gar has no setting 'heads'; it has: normalize_rows, start_block, clamp"
    ):
        localization_maps(vit, images, heads="max")
    with pytest.raises(ValueError, match="legrad has no setting 'depth'; it has: none"):
        localization_maps(vit, images, method="legrad", depth=1)
    with pytest.raises(ValueError, match=r"images have shape \(3, 32, 32\), not \(B, 3, H, W\)"):
        localization_maps(vit, images[0])
    with pytest.raises(ValueError, match=r"images have shape \(0, 3, 32, 32\)"):
        localization_maps(vit, images[:0])
    with pytest.raises(ValueError, match=r"targets have shape \(3,\).*of shape \(4,\) or \(4, K\)"):
        localization_maps(vit, images, torch.tensor([0, 1, 2]))
    for wrong in (
        torch.zeros(4),
        torch.zeros(4).bool(),
        torch.zeros(4).to(torch.uint8),
        torch.zeros(4).int(),
    ):
        with pytest.raises(
            ValueError, match=f"targets have shape .* {wrong.dtype}; give int64 class indices"
        ):
            localization_maps(vit, images, wrong)
    with pytest.raises(ValueError, match=r"targets have shape \(4, 0\)"):
        localization_maps(vit, images, torch.zeros(4, 0).long())
    with pytest.raises(ValueError, match="targets are a list, not a tensor; give int64"):
        localization_maps(vit, images, [0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"targets\[1\] = -1 is no class of this model \(0..4\)"):
        localization_maps(vit, images, torch.tensor([0, -1, 2, 3]))
    with pytest.raises(ValueError, match=r"targets are on meta, the model on cpu; give targets.to\('cpu'\)"):
        localization_maps(vit, images, torch.tensor([0, 1, 2, 3], device="meta"))
    with pytest.raises(ValueError, match="images are on meta, the model on cpu; move one to the other"):
        localization_maps(vit, images.to("meta"))
    with pytest.raises(ValueError, match="wrapped in DataParallel; give the model inside it"):
        localization_maps(nn.DataParallel(vit), images)
    vit.blocks[1].train()
    with pytest.raises(ValueError, match=r"blocks\.1 is in training mode"):
        localization_maps(vit, images)
    with pytest.raises(ValueError, match="the model is in training mode"):
        localization_maps(vit.train(), images)


@pytest.mark.parametrize("method", METHODS)
def test_images_that_want_gradients_get_none(vit, images, method):
    expected = localization_maps(vit, images, method=method)
    wanting = images.clone().requires_grad_()
    assert torch.equal(localization_maps(vit, wanting, method=method), expected)
    assert wanting.grad is None


@pytest.mark.parametrize("method", METHODS)
def test_one_block_is_enough(method):
    maps = localization_maps(small(depth=1), torch.randn(2, 3, 32, 32), method=method)
    assert maps.shape == (2, 4, 4) and torch.isfinite(maps).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_model_without_class_scores_is_refused(method):
    with pytest.raises(CaptureError, match=r"VisionTransformer returns shape \(1, 17, 3\), not class scores"):
        localization_maps(small(global_pool=""), torch.zeros(1, 3, 32, 32), method=method)


@pytest.mark.parametrize("method", METHODS)
def test_features_are_not_taken_for_classes(method):
    model, images = small(num_classes=0), torch.randn(1, 3, 32, 32)
    if ABOUT[method].of_class:
        with pytest.raises(
            ValueError, match=f"{ABOUT[method].title} needs classes, but the model has no class"
        ):
            localization_maps(model, images, method=method)
    else:
        assert localization_maps(model, images, method=method).shape == (1, 4, 4)


@pytest.mark.parametrize("method", METHODS)
def test_gradient_checkpointing_changes_no_map_and_stays_on(method):
    model, images = small(), torch.randn(2, 3, 32, 32)
    plain = localization_maps(model, images, method=method)
    model.set_grad_checkpointing(True)
    assert torch.equal(localization_maps(model, images, method=method), plain)
    assert model.grad_checkpointing is True


def test_attention_beside_the_blocks_is_refused():
    model = timm.create_model("xcit_nano_12_p8_224", num_classes=3).eval()
    with pytest.raises(
        CaptureError, match=r"cls_attn_blocks\.0\.attn is a ClassAttn beside the `attn` of the"
    ):
        localization_maps(model, torch.zeros(1, 3, 32, 32))


def test_a_refusal_shows_where_the_model_attends():
    model = timm.create_model("swin_tiny_patch4_window7_224").eval()
    with pytest.raises(CaptureError, match=r"no `blocks` .*\(layers\.0\.blocks\.0\.attn: WindowAttention\)"):
        localization_maps(model, torch.zeros(1, 3, 224, 224))


def test_relevance_names_the_module_that_calls_what_it_has_no_rule_for():
    model = small("samvit_base_patch16", img_size=(32, 48))
    with pytest.raises(CaptureError, match=r"no rule for torch's pad as blocks\.0, a Block, calls it"):
        localization_maps(model, torch.zeros(1, 3, 32, 48), method="lrp")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_model_without_class_token_has_no_prefix():
    model = small("samvit_base_patch16", img_size=(32, 48))
    with pytest.raises(CaptureError, match=r"not \(1, heads, 24, 24\)"):
        localization_maps(model, torch.zeros(1, 3, 32, 48), method="ar")


def test_blocks_that_share_modules_are_refused():
    repeated, shared = small(), small()
    repeated.blocks = nn.Sequential(repeated.blocks[0], repeated.blocks[0]).eval()
    shared.blocks[1].attn.attn_drop = shared.blocks[0].attn.attn_drop
    for model in (repeated, shared):
        with pytest.raises(CaptureError, match="blocks share a module"):
            localization_maps(model, torch.zeros(1, 3, 32, 32))


def test_a_distilled_model_reads_both_its_tokens():
    row = readout_row(small("deit_tiny_distilled_patch16_224"), 18)
    assert row[:2].tolist() == [0.5, 0.5] and row[2:].sum() == 0


def test_a_pass_without_gradients_cannot_be_pulled_back(vit, images):
    with capture_attention(vit) as capture, torch.no_grad():
        logits = vit(images)
        with pytest.raises(CaptureError, match="ran without gradients; enable them around it"):
            capture.pull_back(logits, torch.ones_like(logits))
