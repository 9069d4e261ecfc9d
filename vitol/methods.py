"""The map methods: their names, settings, presets and sources."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

MethodName = Literal["ar", "gar", "lrp", "relevance", "full-lrp", "attention", "gradcam", "legrad", "attnlrp"]
Preset = Literal["release", "paper"]
Precision = Literal["model", "mixed", "double"]
Clamp = Literal["heads", "mean"]
HeadFusion = Literal["mean", "min", "max"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
PRESETS: tuple[Preset, ...] = get_args(Preset)


class About(NamedTuple):
    """What to know of a method.

    Attributes:
        title: Its name for people.
        source: Where it comes from.
        of_class: Whether its map depends on the class.
        by_relevance: Whether relevance is propagated for it.
    """

    title: str
    source: str
    of_class: bool = True
    by_relevance: bool = False


ABOUT: dict[MethodName, About] = {
    "ar": About("AR", "attention rollout, Abnar and Zuidema, ACL 2020", of_class=False),
    "gar": About("GAR", "gradient attention rollout, Eqs. 7-8 of ViTOL"),
    "lrp": About(
        "LRP",
        "layer relevance propagation, Eqs. 9-10 of ViTOL, after Chefer et al., CVPR 2021",
        by_relevance=True,
    ),
    "relevance": About(
        "Relevance rollout",
        "rollout of LRP's relevance without the gradient: Eq. 9 less its first factor",
        by_relevance=True,
    ),
    "full-lrp": About(
        "Full LRP",
        "LRP's relevance of the tokens that enter the first block, its positive part, Chefer et al., CVPR 2021",
        by_relevance=True,
    ),
    "attention": About("Attention", "the last block's attention of the class token", of_class=False),
    "gradcam": About("Grad-CAM", "Selvaraju et al., ICCV 2017, on the last block's tokens"),
    "legrad": About("LeGrad", "Bousselham et al., ICCV 2025"),
    "attnlrp": About(
        "AttnLRP",
        "Achtibat et al., ICML 2024, of the tokens that enter the first block, its positive part",
        by_relevance=True,
    ),
}
# Settings that only some methods have; giving them to another is an error.
_SETTINGS_OF = {
    "normalize_rows": ("ar", "gar", "lrp", "relevance"),
    "start_block": ("ar", "gar", "lrp", "relevance"),
    "heads": ("ar",),
    "clamp": ("gar",),
    "precision": ("lrp", "relevance", "full-lrp", "attnlrp"),
    "gamma": ("attnlrp",),
}


@dataclass(frozen=True)
class Method:
    """How a map is made.

    Attributes:
        name: One of `METHODS`; `ABOUT` says what each is.
        normalize_rows: Rollouts: whether rows of I + T are divided by their sum; by default as the released code
            does, in AR and GAR but not in LRP.
        start_block: Rollouts: the first block that takes part.
        heads: AR: how heads are fused.
        clamp: GAR: order of clamping and head averaging.
        precision: Relevance: "mixed" is float64 but for the matrix products in the backward passes of linear
            layers, which are in the model's float type, at least float32; "double" is all float64, "model" all
            the model's type. Relevance divides by sums that may be close to zero: all in float32, LRP maps of
            DeiT-Tiny are off by 5% of their maximum in the median image and by up to 99%; in "mixed" by less
            than 1e-5 (`experiments/benchmarks/precision.py`).
        gamma: AttnLRP: weight of contributions of the output's own sign in linear layers.
    """

    name: MethodName
    normalize_rows: bool | None = None
    start_block: int = 0
    heads: HeadFusion = "mean"
    clamp: Clamp = "heads"
    precision: Precision = "mixed"
    gamma: float = 0.05

    def __post_init__(self) -> None:
        """Refuse unknown names, values out of range and settings of other methods; resolve the default."""
        for kind, value, known in (
            ("map method", self.name, METHODS),
            ("heads", self.heads, get_args(HeadFusion)),
            ("clamp", self.clamp, get_args(Clamp)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in known:
                raise ValueError(f"{kind} {value!r} is unknown; choose one of {', '.join(known)}")
        if self.start_block < 0:
            raise ValueError(f"start_block = {self.start_block} is negative; the first block is 0")
        if not self.gamma >= 0:
            raise ValueError(f"gamma = {self.gamma} is not 0 or more")
        for field in fields(self)[1:]:
            if getattr(self, field.name) != field.default:
                self._check_has(self.name, field.name)
        if self.normalize_rows is None and self.name in _SETTINGS_OF["normalize_rows"]:
            object.__setattr__(self, "normalize_rows", self.name in ("ar", "gar"))

    @classmethod
    def of(cls, name: MethodName, preset: Preset = "release", **options: Any) -> Method:
        """Make a method with a preset's settings, single settings overridden.

        Preset "release" normalises rows in AR and GAR but not in LRP, as the code that made the paper's numbers
        does; preset "paper" follows Eqs. 7 and 9, which do not, for GAR too (Abnar and Zuidema's AR always does).

        Raises:
            ValueError: If a name is unknown, a value out of range, or the method has no such setting.
        """
        if preset not in PRESETS:
            raise ValueError(f"preset {preset!r} is unknown; choose one of {', '.join(PRESETS)}")
        for option in options if name in METHODS else ():
            cls._check_has(name, option)
        return cls(
            name, **({"normalize_rows": False} if (name, preset) == ("gar", "paper") else {}) | options
        )

    @staticmethod
    def _check_has(name: MethodName, setting: str) -> None:
        """Refuse a setting that the method does not have."""
        if name not in _SETTINGS_OF.get(setting, ()):
            mine = ", ".join(key for key, names in _SETTINGS_OF.items() if name in names) or "none"
            raise ValueError(f"{name} has no setting {setting!r}; it has: {mine}")
