import numpy as np
import pytest
import reference
import timm
import torch
from torch import nn

from vitol.padl import PatchAttentionDropout, drop_mask, importance_map, insert_padl


def tokens(batch: int = 3, count: int = 7, width: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(
        batch, count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def layer(alpha: float, lam: float = 0.9, **options: int) -> PatchAttentionDropout:
    return PatchAttentionDropout(alpha, lam, **options).train()


@pytest.mark.parametrize("lam", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_both_branches_equal_the_equations(alpha, lam, shift):
    given = tokens() + shift
    out = layer(alpha, lam)(given)
    for image, result in zip(given, out, strict=True):
        expected = reference.padl(image.numpy(), draw=0.5, alpha=alpha, lam=lam)
        np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1e-14)


def test_alpha_0_never_drops_and_alpha_1_always_drops():
    given = tokens()
    for _ in range(20):
        torch.testing.assert_close(layer(0.0)(given), given * importance_map(given))
        torch.testing.assert_close(layer(1.0)(given), given * drop_mask(given, 0.9))


def test_a_negative_maximum_drops_nothing_below_lambda_1():
    given = -tokens().abs() - 0.1
    assert drop_mask(given, 0.9).all()
    dropped = drop_mask(given, 1.0).squeeze(-1) == 0
    assert dropped.sum(dim=1).tolist() == [1, 1, 1]
    assert torch.equal(dropped.int().argmax(dim=1), given.mean(dim=-1).argmax(dim=1))


def test_lambda_0_drops_every_token_that_is_not_negative_where_the_maximum_is_positive():
    given = tokens()
    assert torch.equal(drop_mask(given, 0.0).squeeze(-1) == 0, given.mean(dim=-1) >= 0)


def test_half_precision_is_compared_in_single():
    given = torch.tensor([[[1.0, 1.0], [0.9023, 0.8984], [0.9, 0.9]]]).bfloat16()
    # In bfloat16 the limit, 0.9, and both smaller means would be 0.8984, and the last token dropped, too.
    assert drop_mask(given, 0.9).flatten().tolist() == [0, 0, 1]
    assert drop_mask(given, 0.9).dtype == importance_map(given).dtype == torch.bfloat16


def test_the_class_token_counts_like_any_other():
    given = tokens(batch=1).abs()
    given[0, 0] = 100
    kept = drop_mask(given, 0.9).flatten()
    assert kept[0] == 0 and kept[1:].all()


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("per_image", [False, True])
def test_spared_tokens_pass_as_they_are_and_the_rest_follows_the_equations_without_them(alpha, per_image):
    given = tokens() + 1
    given[:, :2] = 100
    out = layer(alpha, spared=2, per_image=per_image)(given)
    assert torch.equal(out[:, :2], given[:, :2])
    for image, result in zip(given, out, strict=True):
        expected = reference.padl(image[2:].numpy(), draw=0.5, alpha=alpha, lam=0.9)
        np.testing.assert_allclose(result[2:].numpy(), expected, rtol=0, atol=1e-14)


def test_draws_come_from_one_number_for_the_batch_or_one_an_image():
    given = tokens(batch=64)
    dropped, weighted = given * drop_mask(given, 0.9), given * importance_map(given)

    def choices(out: torch.Tensor) -> list[bool]:
        assert all(
            torch.equal(o, d) or torch.equal(o, w) for o, d, w in zip(out, dropped, weighted, strict=True)
        )
        return [torch.equal(o, d) for o, d in zip(out, dropped, strict=True)]

    torch.manual_seed(0)
    assert len(set(choices(layer(0.5)(given)))) == 1
    assert len(set(choices(layer(0.5, per_image=True)(given)))) == 2


def test_the_drop_mask_is_taken_with_probability_alpha():
    given = tokens(batch=4000, count=3, width=2)
    torch.manual_seed(0)
    out = layer(0.75, per_image=True)(given)
    taken = (out == given * drop_mask(given, 0.9)).flatten(1).all(dim=1).double().mean()
    assert abs(taken - 0.75) < 4 * (0.75 * 0.25 / 4000) ** 0.5


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_gradients_flow_through_the_importance_map_and_not_through_the_mask(alpha):
    given = tokens(batch=1, count=4, width=3).requires_grad_()
    torch.autograd.gradcheck(layer(alpha), (given,))
    if alpha == 1.0:
        (gradient,) = torch.autograd.grad(layer(alpha)(given).sum(), given)
        torch.testing.assert_close(gradient, drop_mask(given, 0.9).expand_as(given))


def test_it_is_the_identity_in_eval_mode_and_has_no_parameters():
    module = PatchAttentionDropout().eval()
    given = tokens()
    assert module(given) is given
    assert not list(module.parameters()) and not module.state_dict()


@pytest.mark.parametrize("setting", ["drop_rate", "drop_threshold"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_setting_outside_0_to_1_is_refused_by_name(setting, value):
    with pytest.raises(ValueError, match=rf"{setting} = .* lies outside \[0, 1\]"):
        PatchAttentionDropout(**{setting: value})


def test_fewer_spared_tokens_than_none_are_refused():
    with pytest.raises(ValueError, match="spared = -1 tokens is negative; none is 0"):
        PatchAttentionDropout(spared=-1)


def block_by_hand(block: nn.Module, x: torch.Tensor, position: str, padl: nn.Module) -> torch.Tensor:
    x = x + block.attn(block.norm1(x))
    if position == "MpM":
        x = padl(x)
    x = x + block.mlp(block.norm2(x))
    return padl(x) if position == "MMp" else x


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("position", ["MMp", "MpM"])
def test_inserted_layers_act_at_the_position_of_table_4(vit, images, position, class_token):
    vit.train()
    torch.manual_seed(5)
    x = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))
    for block in vit.blocks:
        x = block_by_hand(block, x, position, layer(0.5, spared=0 if class_token else 1))
    expected = vit.forward_head(vit.norm(x))
    with insert_padl(vit, position, drop_rate=0.5, class_token=class_token):
        torch.manual_seed(5)
        torch.testing.assert_close(vit(images), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("position", ["MMp", "MpM"])
@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "deit3_small_patch16_224", "eva02_tiny_patch14_224"]
)
def test_insertion_changes_training_and_leaves_no_trace_after_removal(name, position):
    torch.manual_seed(0)
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 3}
    model = timm.create_model(name, **options)
    given = torch.randn(2, 3, 32, 32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modules, outputs = str(model), model.eval()(given)

    inserted = insert_padl(model, position)
    assert list(model.state_dict()) == list(before)
    assert sum(isinstance(module, PatchAttentionDropout) for module in model.modules()) == 2
    assert torch.equal(model(given), outputs)
    torch.manual_seed(0)
    assert not torch.allclose(model.train()(given), outputs, rtol=0.1, atol=0)

    inserted.remove()
    inserted.remove()
    assert str(model.eval()) == modules
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(model(given), outputs)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_exception_inside_the_with_takes_the_layers_out(vit):
    with pytest.raises(RuntimeError, match="inside"), insert_padl(vit):
        raise RuntimeError("inside")
    assert not any(hasattr(block, "padl") for block in vit.blocks)


def test_layers_follow_train_and_eval_of_the_model(vit):
    with insert_padl(vit):
        assert not vit.blocks[0].padl.training
        assert vit.train().blocks[0].padl.training


def test_wrong_insertions_are_refused_with_the_reason(vit):
    with pytest.raises(ValueError, match="position 'MLP' is unknown; p-ADL goes to one of MMp, MpM"):
        insert_padl(vit, "MLP")
    with pytest.raises(ValueError, match="ResNet has no `blocks`"):
        insert_padl(timm.create_model("resnet18"))
    parallel = timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=2)
    parallel.blocks[0] = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"blocks\[0\] is a Linear without `drop_path1`"):
        insert_padl(parallel)
    with insert_padl(vit), pytest.raises(ValueError, match=r"blocks\[0\] has p-ADL already; call remove"):
        insert_padl(vit)
