from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from vitol.drop_masks import block_drop_masks
from vitol.padl import POSITIONS, insert_padl


def dropped_by_hand(model: nn.Module, images: torch.Tensor, threshold: float) -> list[torch.Tensor]:
    """Eq. 5 after every block, the dropped tokens set to zero before the next, in plain steps."""
    tokens = model.patch_embed(images)
    tokens = model._pos_embed(tokens)
    found = []
    for block in model.blocks:
        tokens = block(tokens)
        masks = []
        for image in tokens:
            means = [token.mean().item() for token in image]
            masks.append([mean < threshold * max(means) for mean in means])
        found.append(torch.tensor(masks))
        tokens = tokens * found[-1].unsqueeze(-1)
    return found


def test_masks_are_those_of_dropping_block_by_block(vit, images):
    with torch.no_grad():
        expected = dropped_by_hand(vit, images, 0.6)
    masks = block_drop_masks(vit, images, drop_threshold=0.6)
    assert torch.equal(masks.kept, torch.stack(expected, dim=1))
    assert torch.equal(masks.patches, masks.kept[:, :, 1:].reshape(4, 3, 4, 4))
    assert 0 < (~masks.patches).sum() < masks.patches.numel() / 2


@pytest.mark.parametrize("position", POSITIONS)
def test_dropped_tokens_are_those_that_come_near_the_maximum(position, vit, images):
    masks = block_drop_masks(vit, images, position, drop_threshold=0.8)
    limits = 0.8 * masks.means.amax(dim=-1, keepdim=True)
    assert torch.equal(masks.kept, masks.means < limits)


def test_without_the_class_token_it_is_never_dropped_nor_counted(vit, images):
    masks = block_drop_masks(vit, images, drop_threshold=0.7, class_token=False)
    assert masks.kept[:, :, 0].all()
    patches = masks.means[:, :, 1:]
    assert torch.equal(masks.kept[:, :, 1:], patches < 0.7 * patches.amax(dim=-1, keepdim=True))


def test_masks_of_a_batch_are_those_of_its_images(vit, images):
    whole = block_drop_masks(vit, images)
    for at in range(len(images)):
        assert torch.equal(block_drop_masks(vit, images[at : at + 1]).kept[0], whole.kept[at])


def test_model_and_random_numbers_are_left_as_they_were_found(vit, images):
    before, logits = deepcopy(vit.state_dict()), vit(images)
    torch.manual_seed(3)
    drawn = torch.rand(2)
    torch.manual_seed(3)
    block_drop_masks(vit, images)
    assert torch.equal(torch.rand(2), drawn)
    assert torch.equal(vit(images), logits) and not vit.training
    assert vit.state_dict().keys() == before.keys() and not any(hasattr(b, "padl") for b in vit.blocks)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in vit.modules())


def test_a_model_in_training_mode_is_refused(vit, images):
    with pytest.raises(ValueError, match="VisionTransformer is in training mode, .*call eval"):
        block_drop_masks(vit.train(), images)


def test_a_model_with_padl_in_it_is_refused_and_keeps_it(vit, images):
    with insert_padl(vit), pytest.raises(ValueError, match=r"blocks\[0\] has p-ADL already"):
        block_drop_masks(vit, images)
