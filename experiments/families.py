"""docs/models.md: every family of timm's vision transformers that maps were tried on, and what came of it.

    python -m experiments.families [--out docs/models.md]

Takes about half a minute and 2 GiB on one core. Weights are random, and models as small as their constructors
allow: what is tried is whether maps can be made at all, and whether they keep the laws that need no trained weights.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from experiments.stage import console, progress_bar
from experiments.summary import markdown
from vitol.attention import CaptureError
from vitol.maps import METHODS, Method, explain
from vitol.methods import ABOUT, MethodName
from vitol.models import create_model

PAGE = Path("docs/models.md")
CLASSES, BATCH = 3, 2
# 4 x 6 patches: not square, so that rows and columns cannot be mistaken for each other.
TINY = {"img_size": (32, 48), "patch_size": 8, "depth": 2, "num_heads": 2, "embed_dim": 24}
STEM = {"img_size": (64, 96), "depth": 2}  # a convolutional stem fixes width and patches


class Family(NamedTuple):
    """A family by the name that people know, its representative in timm, and what that is built with."""

    title: str
    model: str
    options: Mapping[str, Any] = TINY


# Vision transformers in the narrow sense: one row of blocks that all attend to the same tokens.
PLAIN = (
    Family("ViT (AugReg)", "vit_tiny_patch16_224"),
    Family("DeiT", "deit_tiny_patch16_224"),
    Family("DeiT, distilled", "deit_tiny_distilled_patch16_224"),
    Family("DeiT-III", "deit3_small_patch16_224"),
    Family("CLIP", "vit_base_patch16_clip_224"),
    Family("SigLIP", "vit_base_patch16_siglip_224"),
    Family("SigLIP, average pooling", "vit_base_patch16_siglip_gap_224"),
    Family("FlexiViT", "flexivit_small"),
    Family("DINOv2", "vit_small_patch14_dinov2"),
    Family("DINOv2 with registers", "vit_small_patch14_reg4_dinov2"),
    Family("DINOv3", "vit_small_patch16_dinov3"),
    Family("TIPSv2", "vit_base_patch14_reg1_tipsv2"),
    Family("C-RADIO v3", "vit_base_patch16_radio_v3"),
    Family("AIMv2", "aimv2_large_patch14_224"),
    Family("InternViT", "vit_intern300m_patch14_448"),
    Family("BEiT-3", "beit3_base_patch16_224"),
    Family("BEiT", "beit_base_patch16_224"),
    Family("BEiT v2", "beitv2_base_patch16_224"),
    Family("EVA (giant)", "eva_giant_patch14_224"),
    Family("EVA-02", "eva02_tiny_patch14_224"),
    Family("EVA-02 CLIP", "eva02_base_patch16_clip_224"),
    Family("EVA-02 CLIP, post-norm", "eva02_enormous_patch14_clip_224"),
    Family("Perception Encoder, core", "vit_pe_core_tiny_patch16_384"),
    Family("Perception Encoder, spatial", "vit_pe_spatial_tiny_patch16_512"),
    Family("Perception Encoder, language", "vit_pe_lang_large_patch14_448"),
    Family("Sapiens2", "vit_base_patch16_sapiens2", {**TINY, "num_kv_heads": 1}),
    Family("LingBot", "vit_small_patch16_lingbot"),
    Family("RoPE ViT, axial", "vit_small_patch16_rope_224"),
    Family("RoPE ViT, mixed", "vit_small_patch16_rope_mixed_224"),
    Family("RoPE ViT, registers, average pooling", "vit_betwixt_patch16_rope_reg4_gap_256"),
    Family("ViT medium, average pooling", "vit_medium_patch16_gap_256"),
    Family("ViT little, registers, average pooling", "vit_little_patch16_reg4_gap_256"),
    Family("ViT SO150M, registers, average pooling", "vit_so150m_patch16_reg4_gap_256"),
    Family("ViT SO150M, registers, map pooling", "vit_so150m_patch16_reg4_map_256"),
    Family("ViT, residual post-norm", "vit_base_patch16_rpn_224"),
    Family("ViT, relative positions", "vit_relpos_small_patch16_224"),
    Family("ViT, relative positions, class token", "vit_relpos_medium_patch16_cls_224"),
    Family("ViT, shared relative positions", "vit_srelpos_small_patch16_224"),
    Family("ViT, relative positions, residual post-norm", "vit_relpos_medium_patch16_rpn_224"),
    Family("ViT, attention and MLP in parallel", "vit_base_patch16_xp_224"),
    Family("ViT, two blocks in parallel", "vit_small_patch16_18x2_224"),
    Family("ViT, differential attention", "vit_dlittle_patch16_reg1_gap_256"),
    Family("ViT, differential attention and MLP in parallel", "vit_dpwee_patch16_reg1_gap_256"),
    Family("NaFlexViT, average pooling", "naflexvit_base_patch16_gap"),
    Family("NaFlexViT, aspect ratio kept", "naflexvit_base_patch16_par_gap"),
    Family("NaFlexViT, factorized positions", "naflexvit_base_patch16_parfac_gap"),
    Family("NaFlexViT, map pooling", "naflexvit_base_patch16_map"),
    Family("ViT on a ResNet stem (hybrid)", "vit_tiny_r_s16_p8_224", STEM),
    Family("ViT on a convolutional stem (MobileCLIP)", "vit_base_mci_224", STEM),
    Family("ViTamin", "vitamin_small_224", STEM),
    Family("SAM", "samvit_base_patch16"),
)
# Everything else in timm that attends: the smallest model of each module that does, and of each kind of it.
OTHERS = tuple(
    Family(title, model, {})
    for title, model in (
        ("BoTNet", "eca_botnext26ts_256"),
        ("HaloNet", "halonet26t"),
        ("LambdaNet", "lambda_resnet26t"),
        ("CLIP ResNet, attention pooling", "resnet50_clip"),
        ("CaiT", "cait_xxs24_224"),
        ("CAFormer", "caformer_s18"),
        ("CoAtNet", "coatnet_nano_rw_224"),
        ("CoaT", "coat_tiny"),
        ("ConViT", "convit_tiny"),
        ("CPUBone", "cpubone_nano"),
        ("CrossViT", "crossvit_tiny_240"),
        ("CSATv2", "csatv2"),
        ("DaViT", "davit_tiny"),
        ("EdgeNeXt", "edgenext_xx_small"),
        ("EfficientFormer", "efficientformer_l1"),
        ("EfficientFormerV2", "efficientformerv2_s0"),
        ("EfficientViT (MIT)", "efficientvit_b0"),
        ("EfficientViT (MSRA)", "efficientvit_m0"),
        ("FastViT", "fastvit_sa12"),
        ("GC ViT", "gcvit_xxtiny"),
        ("Hiera", "hiera_tiny_224"),
        ("Hiera of SAM 2", "sam2_hiera_tiny"),
        ("iFormer", "iformer_t"),
        ("LeViT", "levit_128s"),
        ("LowFormer", "lowformer_b0"),
        ("MaxViT", "maxvit_rmlp_pico_rw_256"),
        ("MobileNetV5", "mobilenetv5_base"),
        ("MobileViT", "mobilevit_xxs"),
        ("MobileViTv2", "mobilevitv2_050"),
        ("MViTv2", "mvitv2_tiny"),
        ("NesT", "nest_tiny"),
        ("Next-ViT", "nextvit_small"),
        ("PiT", "pit_ti_224"),
        ("PVTv2", "pvt_v2_b0"),
        ("SHViT", "shvit_s1"),
        ("SwiftFormer", "swiftformer_xs"),
        ("Swin", "swin_tiny_patch4_window7_224"),
        ("Swin v2", "swinv2_tiny_window8_256"),
        ("Swin v2 (CR)", "swinv2_cr_tiny_224"),
        ("TinyViT", "tiny_vit_5m_224"),
        ("TNT", "tnt_s_legacy_patch16_224"),
        ("Twins, SVT", "twins_svt_small"),
        ("Twins, PCPVT", "twins_pcpvt_small"),
        ("Visformer", "visformer_tiny"),
        ("VOLO", "volo_d1_224"),
        ("XCiT", "xcit_nano_12_p8_224"),
    )
) + (
    Family("DeepSeek ViT", "deepseek_vit_412m", TINY),
    Family("DeepSeek ViT, encoder", "deepseek_vit_412m_enc", TINY),
    Family("Gemma 4 ViT", "gemma4_vit_167m", TINY),
    Family("Gemma 4 ViT, encoder", "gemma4_vit_167m_enc", TINY),
    Family("Qwen3 ViT", "qwen3_vit_88m", TINY),
    Family("Qwen3 ViT, encoder", "qwen3_vit_88m_enc", TINY),
)
# Modules whose source speaks of attention, but whose models do not attend from place to place.
WITHOUT_ATTENTION = {"efficientnet", "efficientvim", "ghostnet", "mlp_mixer", "nfnet", "resnest", "resnet"}
_ATTENDS = re.compile(r"\.softmax\(|scaled_dot_product|\.vision_transformer import|Attention|Attn")


class Trial(NamedTuple):
    """What came of a family: facts of its model, and the error of every method, "" where there is a map."""

    model: nn.Module
    input: tuple[int, int]
    errors: dict[MethodName, str]


def attempt(family: Family) -> Trial:
    """Build a family's model and ask it for maps by every method.

    Raises:
        ArithmeticError: If a map breaks a law; then it is no map, whatever the table would say.
    """
    torch.manual_seed(0)
    model = create_model(family.model, CLASSES, options=family.options).double().eval()
    shake(model)
    height, width = family.options.get("img_size") or model.pretrained_cfg["input_size"][1:]  # type: ignore[index,union-attr]
    images = torch.randn(BATCH, 3, height, width, dtype=torch.float64)
    errors: dict[MethodName, str] = {}
    for name in METHODS:
        try:
            check(family, model, images, name)
            errors[name] = ""
        except CaptureError as error:
            errors[name] = str(error)
    return Trial(model, (height, width), errors)


def shake(model: nn.Module) -> None:
    """Move weights from where constructors leave them: zeros would make gradients, and so maps, zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)


def check(family: Family, model: nn.Module, images: Tensor, name: MethodName) -> None:
    """Make the maps of two classes, and see that they are maps.

    Raises:
        CaptureError: If there are none, as `vitol.maps.explain` raises it.
        ArithmeticError: If they break a law.
    """
    targets = torch.tensor([[0, 1]] * len(images))
    explanation = explain(model, images, targets, [Method.of(name)])
    (maps,) = explanation.maps  # (B, 2, h, w)
    singles = [
        explain(model, images[i : i + 1], targets[i : i + 1], [Method.of(name)]).maps[0]
        for i in range(len(images))
    ]
    spread = (maps.amax((-2, -1)) - maps.amin((-2, -1)))[..., None, None]
    with torch.no_grad():
        logits = model(images)
    laws = {
        "the logits are the model's own": torch.allclose(explanation.logits, logits, rtol=1e-9, atol=1e-9),
        "values are finite and not negative": bool((maps.isfinite() & (maps >= 0)).all()),
        "no map is constant": bool((spread > 0).all()),
        "maps of a batch are the maps of its images": bool(
            ((maps - torch.cat(singles)).abs() < 1e-9 * maps.amax()).all()
        ),
        "images have maps of their own": not torch.equal(maps[0], maps[1]),
        "maps depend on the class if the method does": torch.equal(maps[:, 0], maps[:, 1])
        != ABOUT[name].of_class,
    }
    broken = [law for law, kept in laws.items() if not kept]
    if broken:
        raise ArithmeticError(f"{family.model}, method {name}: it does not hold that {'; '.join(broken)}")


def unlisted() -> list[str]:
    """Modules of timm that attend, judged by their source, and are in neither list."""
    listed = {timm.model_entrypoint(family.model).__module__ for family in PLAIN + OTHERS}
    modules = {f"timm.models.{name}": name for name in timm.list_modules()}
    return [
        name
        for module, name in modules.items()
        if module not in listed | {f"timm.models.{other}" for other in WITHOUT_ATTENTION}
        and _ATTENDS.search(inspect.getsource(sys.modules[module]))
    ]


def row(family: Family, trial: Trial) -> tuple[str, ...]:
    """A family's line in the table of vision transformers."""
    model = trial.model
    return (
        family.title,
        f"`{family.model}`",
        type(model).__name__,
        "x".join(map(str, trial.input)),
        str(getattr(model, "num_prefix_tokens", 0)),
        str(getattr(model, "global_pool", "")),
        *("no" if error else "yes" for error in trial.errors.values()),
    )


def refusals(family: Family, trial: Trial) -> list[tuple[str, ...]]:
    """A family's lines in a table of refusals, one an error text."""
    methods: dict[str, list[str]] = {}
    for name, error in trial.errors.items():
        methods.setdefault(error, []).append(name)
    return [
        (
            family.title,
            f"`{family.model}`",
            type(trial.model).__name__,
            "all" if len(names) == len(METHODS) else ", ".join(names),
            error.replace("|", r"\|"),
        )
        for error, names in methods.items()
        if error
    ]


HEADER = ("family", "timm model", "class", "input", "prefix tokens", "pooling", *METHODS)
REFUSED = ("family", "timm model", "class", "methods", "the error's text")


def page(plain: Mapping[Family, Trial], others: Mapping[Family, Trial]) -> str:
    """The page of all trials, in Markdown."""
    def table(header: Sequence[str], lines: Sequence[tuple[str, ...]]) -> str:
        return markdown([tuple(header), ("---",) * len(header), *lines])

    refused_plain = [line for family, trial in plain.items() for line in refusals(family, trial)]
    refused_others = [line for family, trial in others.items() for line in refusals(family, trial)]
    working = sum(not all(trial.errors.values()) for trial in plain.values())
    complete = sum(not any(trial.errors.values()) for trial in plain.values())
    return TEXT.format(
        timm=version("timm"),
        torch=version("torch").partition("+")[0],
        plain=table(HEADER, [row(*item) for item in plain.items()]),
        refused_plain=table(REFUSED, refused_plain),
        refused_others=table(REFUSED, refused_others),
        tried=len(plain),
        complete=complete,
        partly=working - complete,
        others=len(others),
    )
