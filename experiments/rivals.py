"""Write experiments/results/rivals.md: the rivals of Tables 1 and 2 as measured here, beside the borrowed numbers.

    python -m experiments.rivals

Every number on the page comes from a committed CSV of a run with rivals, or from the paper's tables. Beside it goes a
picture of each run, rivals-RUN.png.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from experiments.claims import PAPER_BACKBONE
from experiments.differences import PLAIN_RIVAL, Side
from experiments.names import MODELS, classifies, with_boxes
from experiments.params import read_params
from experiments.rival_run import (
    BLIND,
    CONVOLUTIONAL,
    HEADLINE,
    ON_BOXES,
    TRANSFORMER,
    Run,
    kind_of_ours,
    runs_with_rivals,
)
from experiments.stage import console
from experiments.summary import markdown, signed
from experiments.tabulate import COMMITTED
from experiments.verdicts import verdict_of
from vitol.atomic import atomic_file
from vitol.cams.about import RIVALS
from vitol.claims_figure import MODEL_COLOURS
from vitol.figures import QUIET
from vitol.measurements import ENDS, FLOORS, GAUSSIAN
from vitol.paper import read_published
from vitol.ranking_figure import ranking_figure
from vitol.readings import ORACLE_PER_IOU, VALIDATION
from vitol.tables import NOT_RUN, PAPER_DATASETS

PAGE = COMMITTED / "rivals.md"
# The paper's numbers of rivals: table and metric.
PRINTED = ((1, HEADLINE), (2, "GTKnownLoc"), (2, "Top1Loc"))
# In the picture, by kind of method; ours have their model's.
COLOURS = {kind_of_ours(model): colour for model, colour in MODEL_COLOURS.items()}
COLOURS |= {CONVOLUTIONAL: "#6A3D9A", TRANSFORMER: "#CC79A7", ON_BOXES: "#B58900", BLIND: QUIET}

INTRODUCTION = """\
# The rivals of Tables 1 and 2, measured

The paper borrows its rivals' numbers from other papers, with other networks and protocols. Here they are trained and
measured on the same images as AR, GAR and LRP, by the same code and under the same threshold policies (`make rivals`;
this page by `python -m experiments.rivals` from the committed CSVs). Convolutional rivals train the network that
stands beside the backbone in `params.yaml`. All have one recipe, of as many epochs as control and p-ADL have with those
of the baseline that they go on from; and, but for the widths of layers of their own, their authors' hyperparameters,
none of them tuned on these images. Reference [8] searches for each method's on validation images; so this compares
methods as they come, not the best that each can do. Most authors go on from weights of ImageNet: where there are none,
as on `mini`, a network gets a rival's losses from its first step on. ACoL and I2C have their authors' head, with two
convolutions more than CAM's ([what that is worth](../../docs/rivals.md)).

Percent, with 95% intervals over images; over several seeds means of values and of interval ends, ± the seeds' standard
deviation. Ranks are among methods that learn from image labels alone: Few-shot is trained on boxes, and the floors
are not trained at all.
"""
MEASURED = """\
MaxBoxAccV2 with thresholds chosen on these very images (`oracle-per-iou`, the field's definition), and on the images of
the validation split (`validation`), which is what a user can do. What is trained on the boxes of these images has no
number under `validation`: its thresholds would be chosen on its own training images.
"""
BORROWED = """\
Ranks of the methods that both the paper's table and this run have; of its own methods those of {backbone} with p-ADL.
The paper's numbers are of other networks on other images, so ranks can be compared, numbers cannot. Ours are by
`oracle-per-iou`; for most numbers of its Table 2 the paper does not say how thresholds were chosen.
"""
PAIRED = """\
Paired differences in MaxBoxAccV2, points: ours minus the rival, on the same images and resamples; over several seeds of
their mean, ± the standard deviation of the seeds' differences. **Bold** where both the interval over images, which is
printed, and that interval widened by the seeds' (Student's t of the mean over seeds) leave out 0. Ours and a rival are
two trainings: where there is one seed of each, *one training* stands behind an interval that leaves out 0. In the last
columns are the rival minus CAM, which all convolutional ones set out to better, where it was run, and the rival minus
the centred Gaussian, which sees no image.
"""
SUBSETS = "MaxBoxAccV2 (`oracle-per-iou`) on each subset of the test split.\n"


def picture(run: Run, path: Path) -> None:
    """Draw what `measured` lists: the headline under both policies, and the ranks."""
    ranks = {policy: run.ranks(policy) for policy in (ORACLE_PER_IOU, VALIDATION)}
    rows = []
    for title in run.best_first():
        entry = run.entries[title]
        for policy in (ORACLE_PER_IOU,) if with_boxes(entry.model) else ranks:
            row = run.score(entry, HEADLINE, policy)
            if row is not None:
                rank = ranks[policy].get(title, float("nan"))
                rows.append((title, run.kind(title), policy, *row[ENDS], rank))
    ranking_figure(
        pd.DataFrame(rows, columns=["line", "kind", "policy", "value", "ci_low", "ci_high", "rank"]),
        COLOURS,
        path,
        title=f"{run.name}: maps of ours and of rivals, {run.counts()}",
        axis=f"{HEADLINE}, percent",
        note="95% intervals of a bootstrap over images, means over seeds; thresholds chosen on the images that are "
        f"scored ({ORACLE_PER_IOU}) and on the validation split ({VALIDATION}). Ranks are among methods that learn "
        "from image labels alone.",
    )


def measured(run: Run) -> str:
    """A line a method, the best first: its numbers under two policies, and its ranks."""
    oracle, validation = run.ranks(ORACLE_PER_IOU), run.ranks(VALIDATION)
    header: tuple[str, ...] = ("method", "network", HEADLINE, "rank", f"{HEADLINE}, {VALIDATION}", "rank")
    header += ("GT-known Loc", "Top-1 Loc", "Top-1 Cls")
    lines: list[tuple[str, ...]] = [header, ("---",) * len(header)]
    for title, row in run.best_first().items():
        more = (("GTKnownLoc", ORACLE_PER_IOU), ("Top1Loc", ORACLE_PER_IOU), ("Top1Cls", ""))
        lines.append(
            (
                title,
                "" if title in FLOORS.values() else str(row["backbone"]),
                number(row),
                str(oracle.get(title, "")),
                cell(run, title, HEADLINE, VALIDATION),
                str(validation.get(title, "")),
                *(cell(run, title, metric, policy) for metric, policy in more),
            )
        )
    return markdown(lines)


def cell(run: Run, title: str, metric: str, policy: str) -> str:
    """A number of a line; empty where there can be none: no class scores, or no images to choose thresholds on."""
    entry = run.entries[title]
    unclassified = title in FLOORS.values() or not classifies(entry.model)
    if (unclassified and metric.startswith("Top1")) or (with_boxes(entry.model) and policy == VALIDATION):
        return ""
    return number(run.score(entry, metric, policy))


def borrowed(run: Run, table: int, metric: str) -> str:
    """A line a method of a table of the paper: what that prints of a metric, its rank there, and ours.

    Empty if no rival stands in both.
    """
    printed = read_published(table)
    own = (printed["variant"] != "") & (printed["backbone"] == PAPER_BACKBONE)
    of_rivals = printed["map"].isin([RIVALS[key].title for key in run.rivals])
    printed = printed[(printed["metric"] == metric) & printed["value"].notna() & (own | of_rivals)]
    keys = {rival.title: key for key, rival in RIVALS.items()}
    scores = {
        str(row["method"]): run.score(Side(keys.get(row["map"], "mmp"), row["map"]), metric, ORACLE_PER_IOU)
        for row in printed.to_dict("records")
    }
    ours = pd.Series({name: row["ours"] for name, row in scores.items() if row is not None}, dtype=float)
    if not set(ours.index) & set(keys):
        return ""
    header: tuple[str, ...] = ("method",)
    columns = []
    for dataset, (title, _) in PAPER_DATASETS.items():
        values = printed[printed["dataset"] == dataset].set_index("method")["value"].reindex(ours.index)
        if values.notna().any():
            columns.append((values, values.rank(ascending=False, method="min")))
            header += (f"paper, {title}", "rank")
    header += (f"ours, {run.dataset}", "rank")
    columns.append((ours, ours.rank(ascending=False, method="min")))
    lines: list[tuple[str, ...]] = [header, ("---",) * len(header)]
    for name in ours.sort_values(ascending=False).index:
        cells = [
            "" if pd.isna(values[name]) else text
            for values, ranks in columns
            for text in (f"{values[name]:.1f}", f"{ranks[name]:.0f}")
        ]
        lines.append((str(name), *cells))
    return markdown(lines)


def paired(run: Run) -> str:
    """A line a rival and policy: ours minus it, it minus CAM where that was run, and it minus the Gaussian."""
    plain = [Side(key, RIVALS[key].title) for key in run.rivals if key == PLAIN_RIVAL]
    titles = [f"{name}, {MODELS[model].title}" for model, name in run.challengers]
    titles += [f"rival - {name}" for name in (*(side.map for side in plain), GAUSSIAN)]
    lines: list[tuple[str, ...]] = [("rival", "thresholds", *titles), ("---",) * (2 + len(titles))]
    for key in run.rivals:
        own = Side(key, RIVALS[key].title)
        against = [(challenger, own) for challenger in run.challengers]
        against += [(own, other) for other in (*plain, Side(key, GAUSSIAN))]
        for policy in (ORACLE_PER_IOU,) if with_boxes(key) else (ORACLE_PER_IOU, VALIDATION):
            lines.append((own.map, policy, *(difference(run, a, b, policy) for a, b in against)))
    return markdown(lines)


def difference(run: Run, a: Side, b: Side, policy: str) -> str:
    """A - b in MaxBoxAccV2 on all images, bold where images and seeds tell it from 0; empty if they are one."""
    if a == b:
        return ""
    row = run.difference(a, b, policy)
    if row is None:
        return NOT_RUN
    value, low, high, seed_sd = map(float, row[["difference", "ci_low", "ci_high", "seed_sd"]])
    text, seeds = signed(value, low, high, seed_sd), int(row["seeds"])
    verdict = verdict_of(value, low, high, 1, seed_sd=seed_sd, seeds=seeds, trained=a.model != b.model)
    return {"open": text, "one training": f"{text} *one training*"}.get(verdict, f"**{text}**")


def by_subset(run: Run) -> str:
    """A line a method: MaxBoxAccV2 on every subset."""
    lines: list[tuple[str, ...]] = [("method", *run.subsets), ("---",) * (1 + len(run.subsets))]
    for title, entry in run.entries.items():
        found = [run.score(entry, HEADLINE, ORACLE_PER_IOU, subset) for subset in run.subsets]
        if found[0] is not None:
            lines.append((title, *map(number, found)))
    return markdown(lines)


def section(run: Run) -> str:
    """All of the run."""
    shown = f"![{run.name}: maps by {HEADLINE}, the best first](rivals-{run.name}.png)"
    parts = [f"## {run.name}: {run.counts()}", MEASURED, measured(run), shown]
    blocks = [(f"Table {table}, {metric}:", borrowed(run, table, metric)) for table, metric in PRINTED]
    if blocks := [block for block in blocks if block[1]]:
        parts += ["### Against the borrowed numbers", BORROWED.format(backbone=PAPER_BACKBONE)]
        parts += [part for block in blocks for part in block]
    parts += ["### Who beats whom", PAIRED, paired(run)]
    if len(run.subsets) > 1:
        parts += ["### By subset", SUBSETS, by_subset(run)]
    return "\n\n".join(part.rstrip("\n") for part in parts)


def number(row: pd.Series | None) -> str:
    """A measurement with its interval, and the seeds' spread where there are several."""
    if row is None:
        return NOT_RUN
    value, low, high = row[ENDS]
    spread = "" if pd.isna(row["seed_sd"]) else f" ±{row['seed_sd']:.1f}"
    return f"{value:.1f} [{low:.1f}, {high:.1f}]{spread}"


def page(runs: list[Run]) -> str:
    """The page of these runs."""
    return "\n\n".join([INTRODUCTION.rstrip("\n"), *(section(run) for run in runs)]) + "\n"


def main() -> None:
    """Write the page and its pictures."""
    runs = runs_with_rivals(COMMITTED, read_params().committed)
    for run in runs:
        picture(run, COMMITTED / f"rivals-{run.name}.png")
    with atomic_file(PAGE) as partial:
        partial.write_text(page(runs), encoding="utf-8")
    console.print(f"{PAGE}, with a picture of each run beside it")


if __name__ == "__main__":
    main()
