"""The rivals' names and sources; what implements them is in `vitol.cams.registry`."""

from __future__ import annotations

from typing import NamedTuple


class Rival(NamedTuple):
    """What to know of a method.

    Attributes:
        title: Its name in the paper's tables and in measurements.
        source: Where it comes from.
        transformer: Whether it needs a vision transformer, not a convolutional network.
        with_boxes: Whether it is trained on boxes: a ceiling, not weakly supervised, and without class scores.
    """

    title: str
    source: str
    transformer: bool = False
    with_boxes: bool = False


# In the order of Table 1, then of Table 2, then what neither has.
RIVALS: dict[str, Rival] = {
    "cam": Rival("CAM", "class activation mapping, Zhou et al., CVPR 2016"),
    "has": Rival("HaS", "Hide-and-Seek, Singh and Lee, ICCV 2017"),
    "acol": Rival("ACoL", "adversarial complementary learning, Zhang et al., CVPR 2018"),
    "spg": Rival("SPG", "self-produced guidance, Zhang et al., ECCV 2018"),
    "adl": Rival("ADL", "attention-based dropout layer, Choe and Shim, CVPR 2019"),
    "cutmix": Rival("CutMix", "Yun et al., ICCV 2019"),
    "meil": Rival("MEIL", "erasing integrated learning, Mai et al., CVPR 2020"),
    "i2c": Rival("I2C", "inter-image communication, Zhang et al., ECCV 2020"),
    "ts-cam": Rival(
        "TS-CAM", "token semantic coupled attention map, Gao et al., ICCV 2021", transformer=True
    ),
    "scm": Rival("SCM", "spatial calibration module, Bai et al., ECCV 2022", transformer=True),
    "few-shot": Rival(
        "Few-shot",
        "the fully supervised few-shot localizer of Choe et al., CVPR 2020 (reference [8])",
        with_boxes=True,
    ),
}
