"""Families of timm's vision transformers by the name that people know, each with a small representative.

`experiments.families` tries maps on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# 4 x 6 patches: not square, so that rows and columns cannot be mistaken for each other.
TINY = {"img_size": (32, 48), "patch_size": 8, "depth": 2, "num_heads": 2, "embed_dim": 24}
STEM = {"img_size": (64, 96), "depth": 2}  # a convolutional stem fixes width and patches
USUAL: Mapping[str, Any] = {}  # what timm builds by default


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
    Family("ViT on a ResNet stem (hybrid)", "vit_tiny_r_s16_p8_224", {**STEM, "img_size": (96, 160)}),
    Family("ViT on a convolutional stem (MobileCLIP)", "vit_base_mci_224", STEM),
    Family("ViTamin", "vitamin_small_224", STEM),
    Family("SAM", "samvit_base_patch16"),
)
# Everything else in timm that attends: a small model of each module, and of each kind that goes by a name of its own.
OTHERS = (
    Family("BoTNet", "eca_botnext26ts_256", USUAL),
    Family("HaloNet", "halonet26t", USUAL),
    Family("LambdaNet", "lambda_resnet26t", USUAL),
    Family("CLIP ResNet, attention pooling", "resnet50_clip", USUAL),
    Family("CaiT", "cait_xxs24_224", USUAL),
    Family("CAFormer", "caformer_s18", USUAL),
    Family("CoAtNet", "coatnet_nano_rw_224", USUAL),
    Family("CoaT", "coat_tiny", USUAL),
    Family("ConViT", "convit_tiny", USUAL),
    Family("CPUBone", "cpubone_nano", USUAL),
    Family("CrossViT", "crossvit_tiny_240", USUAL),
    Family("CSATv2", "csatv2", USUAL),
    Family("DaViT", "davit_tiny", USUAL),
    Family("EdgeNeXt", "edgenext_xx_small", USUAL),
    Family("EfficientFormer", "efficientformer_l1", USUAL),
    Family("EfficientFormerV2", "efficientformerv2_s0", USUAL),
    Family("EfficientViT (MIT)", "efficientvit_b0", USUAL),
    Family("EfficientViT (MSRA)", "efficientvit_m0", USUAL),
    Family("FastViT", "fastvit_sa12", USUAL),
    Family("GC ViT", "gcvit_xxtiny", USUAL),
    Family("Hiera", "hiera_tiny_224", USUAL),
    Family("Hiera of SAM 2", "sam2_hiera_tiny", USUAL),
    Family("iFormer", "iformer_t", USUAL),
    Family("LeViT", "levit_128s", USUAL),
    Family("LowFormer", "lowformer_b0", USUAL),
    Family("MaxViT", "maxvit_rmlp_pico_rw_256", USUAL),
    Family("MobileNetV5", "mobilenetv5_base", USUAL),
    Family("MobileViT", "mobilevit_xxs", USUAL),
    Family("MobileViTv2", "mobilevitv2_050", USUAL),
    Family("MViTv2", "mvitv2_tiny", USUAL),
    Family("NesT", "nest_tiny", USUAL),
    Family("Next-ViT", "nextvit_small", USUAL),
    Family("PiT", "pit_ti_224", USUAL),
    Family("PVTv2", "pvt_v2_b0", USUAL),
    Family("SHViT", "shvit_s1", USUAL),
    Family("SwiftFormer", "swiftformer_xs", USUAL),
    Family("Swin", "swin_tiny_patch4_window7_224", USUAL),
    Family("Swin v2", "swinv2_tiny_window8_256", USUAL),
    Family("Swin v2 (CR)", "swinv2_cr_tiny_224", USUAL),
    Family("TinyViT", "tiny_vit_5m_224", USUAL),
    Family("TNT", "tnt_s_legacy_patch16_224", USUAL),
    Family("Twins, SVT", "twins_svt_small", USUAL),
    Family("Twins, PCPVT", "twins_pcpvt_small", USUAL),
    Family("Visformer", "visformer_tiny", USUAL),
    Family("VOLO", "volo_d1_224", USUAL),
    Family("XCiT", "xcit_nano_12_p8_224", USUAL),
    Family("DeepSeek ViT", "deepseek_vit_412m"),
    Family("DeepSeek ViT, encoder", "deepseek_vit_412m_enc"),
    Family("Gemma 4 ViT", "gemma4_vit_167m"),
    Family("Gemma 4 ViT, encoder", "gemma4_vit_167m_enc"),
    Family("Qwen3 ViT", "qwen3_vit_88m"),
    Family("Qwen3 ViT, encoder", "qwen3_vit_88m_enc"),
)
