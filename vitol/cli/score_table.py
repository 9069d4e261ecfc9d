"""What `vitol score` prints: measurements, who beats whom, and what there is to know of the maps."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitol.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitol.scores import Comparison, MethodScores, Scores

# Characters of a table's columns, borders included; "100.0 [100.0, 100.0]" fits.
FIRST_COLUMN, COLUMN = 18, 23
SHOWN = 12  # differences said in words at most
LABELS = {
    "GTKnownLocV1": "GT-known V1",
    "PredictedLoc": "Predicted Loc",
    "Top1Loc": "Top-1 Loc",
    "Top5Loc": "Top-5 Loc",
    "Top1Cls": "Top-1 Cls",
    "Top5Cls": "Top-5 Cls",
}
HIDDEN = "GTKnownLoc"  # IoU50 under the paper's name: once is enough
LEGEND = (
    "IoU50 (GT-known Loc): share of images with a box that overlaps a true one by an IoU of 0.5; MaxBoxAccV2: mean of "
    "IoU30, IoU50 and IoU70; V1: largest contour only"
)
LEGEND_OF_MASKS = (
    "PxAP: area under the precision-recall curve of the pixels of all images, over all thresholds; the split's objects "
    "are masks, so there is no score of boxes"
)


def show_scores(scores: "Scores", metadata: Path, console: Console) -> None:
    """Print the measurements, who beats whom, and what there is to know of the maps."""
    title = f"{counted(len(scores.split), 'image')} of {metadata}: percent, 95% intervals over images"
    console.print(title, soft_wrap=True, highlight=False, markup=False)
    most = max(1, (console.width - FIRST_COLUMN) // COLUMN)
    tables = -(-len(scores.methods) // most)
    beside = -(-len(scores.methods) // tables)
    for start in range(0, len(scores.methods), beside):
        console.print(score_table(scores, scores.methods[start : start + beside]))
    legend = LEGEND if scores.policies else LEGEND_OF_MASKS
    console.print(legend, soft_wrap=True, highlight=False, markup=False)
    for line in (*comparison_lines(scores), *trap_lines(scores)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def score_table(scores: "Scores", methods: "Sequence[MethodScores]") -> Table:
    """Measurements with their intervals: a row a metric, a section a policy, a column a method."""
    table = Table()
    table.add_column("", no_wrap=True)
    for method in methods:
        table.add_column(Text(method.name), justify="right", overflow="fold", max_width=COLUMN - 3)
    rows = dict.fromkeys((entry.policy, entry.metric) for m in methods for entry in m.measurements)
    for policy in dict.fromkeys((*scores.policies, "")):
        metrics = [metric for of, metric in rows if of == policy and metric != HIDDEN]
        if metrics and policy:
            table.add_row(Text(policy, style="bold"))
        for metric in metrics:
            cells = []
            for method in methods:
                entry = next(
                    (e for e in method.measurements if (e.policy, e.metric) == (policy, metric)), None
                )
                cells.append("" if entry is None else interval(entry.value, entry.ci_low, entry.ci_high))
            table.add_row(LABELS.get(metric, metric), *(Text(cell) for cell in cells))
        table.add_section()
    return table


def comparison_lines(scores: "Scores") -> list[str]:
    """Who beats whom in the headline under the first policy; the floors are not compared with each other."""
    metric, policy = scores.headline
    floors = {method.name for method in scores.methods if method.files is None}
    pairs = [
        comparison
        for comparison in scores.comparisons
        if (comparison.metric, comparison.policy) == (metric, policy)
        and not {comparison.a, comparison.b} <= floors
    ]
    if not pairs:
        return []
    lines = [f"{', '.join(filter(None, (metric, policy)))}, paired over the same images:"]
    lines += [f"  {in_words(pair)}" for pair in pairs[:SHOWN]]
    return lines + ([f"  ... and {len(pairs) - SHOWN} more pairs"] if len(pairs) > SHOWN else [])


def in_words(pair: "Comparison") -> str:
    """Who beats whom by how much, as "GAR beats AR by 9.1 [7.8, 10.4]"."""
    value, low, high = pair.difference.value, pair.difference.ci_low, pair.difference.ci_high
    if low > 0:
        return f"{pair.a} beats {pair.b} by {interval(value, low, high)}"
    if high < 0:
        return f"{pair.b} beats {pair.a} by {interval(-value, -high, -low)}"
    return f"{pair.a} and {pair.b} cannot be told apart: {interval(value, low, high)}"


def trap_lines(scores: "Scores") -> list[str]:
    """How maps are named, what of the protocol's traps applied, and which images were left out."""
    lines = []
    if scores.validation:
        source = "cut from the same split, and not scored" if scores.val_cut else "of the validation split"
        chosen = "thresholds" if "validation" in scores.policies else "no thresholds"
        lines.append(f"validation: {chosen} chosen on {counted(scores.validation, 'image')} {source}")
    if scores.left_out:
        shown = ", ".join(scores.left_out[:3]) + (", ..." if len(scores.left_out) > 3 else "")
        lines.append(f"left out: {counted(len(scores.left_out), 'image')} without a map: {shown}")
    methods: dict[str, list[str]] = {}  # by what is said of them
    for method in scores.methods:
        if method.naming:
            methods.setdefault(f"maps named {method.naming}", []).append(method.name)
    for method in scores.methods:
        for kind, traps in method.traps.items():
            if said := traps.sentences():
                methods.setdefault(f"{kind}: {'; '.join(said)}", []).append(method.name)
    return lines + [f"{', '.join(names)}, {said}" for said, names in methods.items()]


def interval(value: float, low: float, high: float) -> str:
    """A percentage with its interval, if it has one.

    >>> interval(9.13, 7.84, 10.4), interval(44.0, float("nan"), float("nan"))
    ('9.1 [7.8, 10.4]', '44.0')
    """
    return f"{value:.1f}" if low != low else f"{value:.1f} [{low:.1f}, {high:.1f}]"
