"""docs/models.md: every family of timm's vision transformers that maps were tried on, and what came of it.

    python -m experiments.families [--out docs/models.md]

Takes about a minute of one core and 2 GiB. Weights are random and models as small as their constructors allow: what
is tried is whether maps can be made at all, and whether they keep the laws that need no trained weights.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from torch import Tensor, nn

from experiments.stage import console, progress_bar
from experiments.summary import markdown
from experiments.timm_families import OTHERS, PLAIN, Family
from vitol.attention import CaptureError
from vitol.maps import METHODS, Method, explain
from vitol.methods import ABOUT, MethodName
from vitol.models import create_model

PAGE = Path("docs/models.md")
CLASSES, BATCH = 3, 2
HEADER = ("family", "timm model", "class", "input", "prefix tokens", "pooling", *METHODS)
REFUSED = ("family", "timm model", "class", "methods", "the error's text")
LAWS = (
    "the logits are the model's own",
    "values are finite and not negative",
    "values vary over the image",
    "images have maps of their own",
    "the maps of a batch are those of its images, to 1e-9",
    "classes have maps of their own, unless the method knows no class",
)
# Modules whose source speaks of attention, but whose models do not attend from place to place.
WITHOUT_ATTENTION = {"efficientnet", "efficientvim", "ghostnet", "mlp_mixer", "nfnet", "resnest", "resnet"}
_ATTENDS = re.compile(r"\.softmax\(|scaled_dot_product|\.vision_transformer import|Attention|Attn")
TEXT = """\
# Models

What maps can be made of: every family of vision transformers in timm {timm}, tried with every method. Written by
`python -m experiments.families` with torch {torch}; run it again rather than edit this page.

Of {tried} families of plain vision transformers, {complete} give maps by all methods and {partly} by some. All
{others} others that attend are refused: with an error that names the module and the reason, never with an empty map.
Models without attention, such as convolutional networks, are refused too and not listed.

## How to read the tables

One representative stands for a family. Its weights are random, and it is made as small as its constructor allows:
mostly two blocks of width 24 on 4 x 6 patches, so that the input is not square. A **yes** does not say that maps find
objects. It says that in float64

{laws}

Where one of these does not hold the script stops instead of writing a page.

*Prefix tokens* (class, distillation and register tokens) come before the patches and have no place on the map.
*Pooling* is what the head reads: `token` the class token, `avg` the mean of all patches, `map` a query that attends to
them once more. The methods are

{methods}

## Vision transformers

{plain}

What they refuse:

{refused_plain}

## Other models that attend

A small model of each of timm's modules that attend, at its usual size; the last six as small as those above.

{refused_others}

## What a refusal means

Every refusal is a `vitol.attention.CaptureError`.

- *has no `blocks` with attention*, *`blocks.0` ... without `attn`*: rollouts multiply one matrix a block, and rows and
  columns of all of them must be the same tokens. Models of several stages, with windows, or with tokens inside tokens
  have no such product. The text shows the first module that attends, as a place to look.
- *does not pass its softmax through an `attn_drop` module*: what the values are weighted with is made otherwise
  (heads that are mixed after the softmax, a gate between content and position, attention over pooled keys), or at a
  place where no hook can see it.
- *of 2 heads that makes 4 matrices*: differential attention weights values with a difference of two matrices, which
  is not non-negative and has no rollout.
- *attends with matrices of shape ...*: attention within windows, between channels, or to fewer tokens.
- *beside the `attn` of the blocks*: some attention, such as that of a class token that joins late, is in none of the
  blocks and would be missing from the product.
- *pools its tokens by 'map'*: a rollout starts from the row that the head reads, and the query of a pooling head has
  no row in the blocks' matrices. Methods that start from the class's score work.
- *returns shape ..., not class scores*: the model is an encoder without a classifier.
- *relevance has no rule for ...*: the model calls a function of torch that relevance cannot be sent through; methods
  that need attention and gradients alone may still work.

Rollouts of models that pool by `avg` start from all patches alike: their maps are an equal share for every patch plus
what attention adds to it, which is far less. Look at them stretched between their minimum and maximum, and in float64
when what is added comes near float32's resolution.
"""


class Trial(NamedTuple):
    """What came of a family.

    Attributes:
        facts: Of its model: class, input, prefix tokens and pooling, as the table shows them.
        errors: The text of every method's error, "" where there are maps.
    """

    facts: tuple[str, str, str, str]
    errors: dict[MethodName, str]


def attempt(family: Family) -> Trial:
    """Build a family's model and ask it for maps by every method.

    Raises:
        ArithmeticError: If a map breaks a law; then it is no map, whatever a table would say.
    """
    torch.manual_seed(0)
    model = create_model(family.model, CLASSES, options=family.options).double().eval()
    shake(model)
    height, width = family.options.get("img_size") or model.pretrained_cfg["input_size"][1:]  # type: ignore[index]
    images = torch.randn(BATCH, 3, height, width, dtype=torch.float64)
    errors: dict[MethodName, str] = {}
    for name in METHODS:
        try:
            kept = keeps(model, images, name)
        except CaptureError as error:
            errors[name] = str(error).removeprefix(f"{ABOUT[name].title} ")  # alike for all methods
            continue
        broken = [law for law, held in zip(LAWS, kept, strict=True) if not held]
        if broken:
            raise ArithmeticError(
                f"{family.model}, {name}: it does not hold that {' and that '.join(broken)}"
            )
        errors[name] = ""
    prefix, pooling = getattr(model, "num_prefix_tokens", 0), getattr(model, "global_pool", "")
    return Trial((type(model).__name__, f"{height}x{width}", str(prefix), str(pooling)), errors)


def shake(model: nn.Module) -> None:
    """Move weights from where constructors leave them: zeros would make gradients, and so maps, zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)


def keeps(model: nn.Module, images: Tensor, name: MethodName) -> tuple[bool, ...]:
    """Make the maps of two classes, and see which of LAWS they keep.

    Raises:
        CaptureError: If there are no maps, see `vitol.maps.explain`.
    """
    targets = torch.tensor([[0, 1]] * len(images))
    methods = [Method.of(name)]
    explanation = explain(model, images, targets, methods)
    maps = explanation.maps[0]  # (B, 2, h, w)
    singles = torch.cat(
        [explain(model, images[i : i + 1], targets[:1], methods).maps[0] for i in range(len(images))]
    )
    with torch.no_grad():
        own = model(images)
    return (
        torch.allclose(explanation.logits, own, rtol=1e-9, atol=1e-9),
        bool((maps.isfinite() & (maps >= 0)).all()),
        # Not map by map: what is clamped at zero may have nothing above it.
        bool((maps.amax((-2, -1)) > maps.amin((-2, -1))).any()),
        not torch.equal(maps[0], maps[1]),
        bool((maps - singles).abs().max() <= 1e-9 * maps.max()),
        torch.equal(maps[:, 0], maps[:, 1]) != ABOUT[name].of_class,
    )


def unlisted() -> list[str]:
    """Modules of timm that attend, judged by their source, of which no model is in the lists."""
    listed = {timm.model_entrypoint(family.model).__module__ for family in PLAIN + OTHERS}
    listed |= {f"timm.models.{name}" for name in WITHOUT_ATTENTION}
    modules = {f"timm.models.{name}" for name in timm.list_modules()} - listed
    return sorted(name for name in modules if _ATTENDS.search(inspect.getsource(sys.modules[name])))


def row(family: Family, trial: Trial) -> tuple[str, ...]:
    """A family's line in the table of vision transformers."""
    answers = ("no" if error else "yes" for error in trial.errors.values())
    return (family.title, f"`{family.model}`", *trial.facts, *answers)


def refusals(family: Family, trial: Trial) -> list[tuple[str, ...]]:
    """A family's lines in a table of refusals, one an error text."""
    lines: list[tuple[str, ...]] = []
    for text in dict.fromkeys(filter(None, trial.errors.values())):
        names = [name for name, error in trial.errors.items() if error == text]
        methods = "all" if len(names) == len(METHODS) else ", ".join(names)
        lines.append((family.title, f"`{family.model}`", trial.facts[0], methods, text))
    return lines


def table(header: Sequence[str], lines: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table, bars in cells escaped."""
    cells = [tuple(cell.replace("|", r"\|") for cell in line) for line in lines]
    return markdown([tuple(header), ("---",) * len(header), *cells])


def page(plain: Sequence[tuple[Family, Trial]], others: Sequence[tuple[Family, Trial]]) -> str:
    """The page of all trials, in Markdown.

    Raises:
        ValueError: If one of the others gives maps, which the page's text rules out.
    """
    accepted = [family.title for family, trial in others if not all(trial.errors.values())]
    if accepted:
        raise ValueError(
            f"{', '.join(accepted)} gives maps; move it to the list of plain vision transformers"
        )
    complete = sum(not any(trial.errors.values()) for _, trial in plain)
    partly = sum(not all(trial.errors.values()) for _, trial in plain) - complete
    about = [(name, about.title, about.source) for name, about in ABOUT.items()]
    return TEXT.format(
        timm=version("timm"),
        torch=version("torch").partition("+")[0],
        tried=len(plain),
        complete=complete,
        partly=partly,
        others=len(others),
        laws="\n".join(f"- {law};" for law in LAWS).removesuffix(";") + ".",
        methods=table(("method", "title", "source"), about),
        plain=table(HEADER, [row(*item) for item in plain]),
        refused_plain=table(REFUSED, [line for item in plain for line in refusals(*item)]),
        refused_others=table(REFUSED, [line for item in others for line in refusals(*item)]),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Try every family and write the page, whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=PAGE, help=f"by default {PAGE}")
    options = parser.parse_args(arguments)
    missing = unlisted()
    if missing:
        parser.error(
            f"{', '.join(missing)} attend, but no model of theirs is in experiments/timm_families.py"
        )

    with progress_bar() as bar:
        task = bar.add_task("families", total=len(PLAIN + OTHERS))

        def tried(families: Sequence[Family]) -> list[tuple[Family, Trial]]:
            trials = []
            for family in families:
                trials.append((family, attempt(family)))
                bar.advance(task)
            return trials

        text = page(tried(PLAIN), tried(OTHERS))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    partial = options.out.with_name(options.out.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(options.out)
    console.print(f"{options.out}: {len(PLAIN)} and {len(OTHERS)} models")


if __name__ == "__main__":
    main()
