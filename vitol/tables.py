"""Tables 1-4 of the paper: its numbers beside ours.

Two tidy frames go in: measurements, and the numbers one table prints. Out comes a `Table`: the paper's rows
in its order, then rows it lacks (baseline, control, maps that see no image). Its CSV has the columns

    method, architecture, position (Table 4)
    ImageNet MaxBoxAccV2 paper | ours | ci_low | ci_high | difference, ..., ImageNet seeds   (then CUB)
    mini small oracle-per-iou n=400 seeds=1 MaxBoxAccV2 ours | ci_low | ci_high, ...         (and so on)

The paper's groups of columns take only measurements of its own data set, size, backbone, map, preset and
policy: only there is a difference. Every other (data set, backbone, size) that was measured is a group of its
own. Numbers are percent with two decimals; over several seeds, values and interval ends are means, and a column
`seed_sd` holds the standard deviation of the seeds' values.
"""

from dataclasses import dataclass

import pandas as pd

from vitol.cams.about import RIVALS
from vitol.measurements import (
    BOX_METRICS,
    COLUMNS,
    ENDS,
    FLOORS,
    TOP1_METRICS,
    beside_transformers,
    floors_of_any_model,
    mean_over_seeds,
    need_columns,
    span,
    validate_measurements,
)

PUBLISHED_COLUMNS = [*COLUMNS, "method", "row", "source", "locator", "note"]
PRESET, POLICY = "release", "oracle-per-iou"  # what made the paper's numbers
NOT_RUN, NO_CLASS = "not run", "no class"  # why a number of ours is not there
PAPER_DATASETS = {"ilsvrc": ("ImageNet", 50_000), "cub": ("CUB", 5_794)}
PAPER_BACKBONES = {"DeiT-B": "deit_base", "DeiT-S": "deit_small"}
# The networks of its rivals, as Tables 1 and 2 call them.
PAPER_NETWORKS = {
    **{"ResNet": "resnet50", "ResNet50": "resnet50", "VGG": "vgg16", "VGG16": "vgg16"},
    **{"Inception": "inception_v3", "InceptionV3": "inception_v3"},
}
SHOWN_METRICS = {1: BOX_METRICS[:1], 2: TOP1_METRICS, 3: BOX_METRICS, 4: BOX_METRICS[:1]}
_OF_CLASSIFIER = ["Top1Loc", "PredictedLoc", "Top1Cls"]  # need a class that the model names
_CELL = ["dataset", "backbone", "n_images", "variant", "position", "map", "metric"]
# Rows the paper lacks: method, architecture, variant, position, map. In the paper's groups they are DeiT-B's.
_BASELINE = {name: (name, "DeiT-B", "baseline", "", name) for name in ("AR", "GAR", "LRP")}
_CONTROL = {name: (name, "DeiT-B control", "control", "", name) for name in ("AR", "GAR", "LRP")}
_FLOORS = [(name, "no model", "padl", "MMp", key) for key, name in FLOORS.items()]
_EXTRA_ROWS = {
    1: [*_BASELINE.values(), *_CONTROL.values(), *_FLOORS],
    2: [
        *_BASELINE.values(),
        *_CONTROL.values(),
        *((name, "DeiT-B+p-ADL", "padl", "MMp", key) for key, name in FLOORS.items()),
    ],
    3: [_CONTROL["AR"], _CONTROL["GAR"], *_FLOORS],
    4: [
        _CONTROL["LRP"],
        *(("GAR", "DeiT-B+p-ADL", "padl", position, "GAR") for position in ("MpM", "MMp")),
        _CONTROL["GAR"],
    ],
}
_TITLES = {
    1: "MaxBoxAccV2 against other methods",
    2: "Top-1 and GT-known localization against other methods",
    3: "Effect of p-ADL, and attention rollout (AR) against grad attention rollout (GAR)",
    4: "Position of p-ADL inside the block",
}
_FLOORS_NOTE = "Centred Gaussian and Full image see no image: what does not beat them is not localizing. "
_RIVALS_NOTE = (
    "On data sets that are not the paper's, rivals stand with the network that they were measured on, which "
    "measurements.csv names. "
)
_NOTES = {
    1: f"Of two architectures in a row the first is ImageNet's, the second CUB's. {_RIVALS_NOTE}{_FLOORS_NOTE}",
    2: "The paper does not state the threshold of its Top1Loc. GTKnownLoc is IoU50 of MaxBoxAccV2; "
    "GTKnownLocV1 takes the largest contour only. PredictedLoc is GTKnownLoc with the predicted class's map. "
    f"{_RIVALS_NOTE}{_FLOORS_NOTE}Their Top1Loc takes the p-ADL model's predictions. ",
    3: _FLOORS_NOTE,
    4: "The paper names no map here; its MMp numbers are those of LRP in its Table 1. ",
}
_NOTE = (
    f"Percent; threshold policy {POLICY}, preset {PRESET}. Ours with the 95% interval of a bootstrap over "
    "images; over several seeds, means of values and of interval ends, and ± the standard deviation of the seeds' "
    "values. On data sets and backbones that are "
    "not the paper's, rows that differ only in the paper's backbone share a value, and there is no "
    "difference to the paper. Control: trained on like p-ADL, without it."
)


@dataclass(frozen=True)
class Table:
    """A finished table.

    `cells` has one row an entry, in the table's order. Of its line: line (from 0), row (its number in the
    paper, or 0), method, architecture, variant, position, label (its map). Of its column: group (how the
    columns' names start), header (for people, three lines), of_paper, metric. Then paper, ours, ci_low,
    ci_high, difference in percent, NaN where there is none; dash (the paper prints "-"); seeds (0: not measured);
    absent (why not: `NOT_RUN`, or `NO_CLASS` where the method names none; else empty).
    """

    number: int
    title: str
    note: str
    cells: pd.DataFrame

    @property
    def frame(self) -> pd.DataFrame:
        """The table as text: a row a line, a column an entry."""
        labels = ["method", "architecture", *(["position"] if self.number == 4 else [])]
        columns = dict(self.cells.drop_duplicates("line").set_index("line")[labels].items())
        for group, entries in self.cells.set_index("line").groupby("group", sort=False):
            for metric, column in entries.groupby("metric", sort=False):
                shown = [*ENDS, "seed_sd"] if column["seed_sd"].notna().any() else ENDS
                for part in ["paper", *shown, "difference"] if column["paper"].notna().any() else shown:
                    form = "{:+.2f}" if part == "difference" else "{:.2f}"
                    text = column[part].map(form.format).mask(column[part].isna(), "")
                    none = {
                        "paper": (column["dash"], "-"),
                        "ours": (column["absent"] != "", column["absent"]),
                    }
                    columns[f"{group} {metric} {part}"] = text.mask(*none[part]) if part in none else text
            if entries["of_paper"].all():
                columns[f"{group} seeds"] = entries.groupby("line")["seeds"].agg(span)
        return pd.DataFrame(columns).reset_index(drop=True)

    def csv(self) -> str:
        """The frame as CSV, the same bytes for the same input."""
        return self.frame.to_csv(index=False, lineterminator="\n")


def build_table(number: int, measurements: pd.DataFrame, published: pd.DataFrame) -> Table:
    """Put one of the paper's tables together from published and measured numbers.

    Of the measurements, those on all images of the test split with the paper's preset and policy show.

    Args:
        number: The table, 1 to 4.
        measurements: One row a score, with `COLUMNS`; may have no rows.
        published: One row a number of this table, with `PUBLISHED_COLUMNS`.

    Raises:
        ValueError: No such table, numbers of another table, or what `validate_measurements` refuses.
    """
    if number not in _TITLES:
        raise ValueError(f"there is no table {number!r}; the paper has {', '.join(map(str, _TITLES))}")
    validate_measurements(measurements)
    _validate_published(number, published)
    shown = measurements[headline(measurements) & (measurements["split"] == "test")]
    scores = floors_of_any_model(mean_over_seeds(_beside_transformers(shown, published), _CELL))
    cells = _rows(number, published, shown).merge(_groups(published, scores), how="cross")
    cells = cells.merge(pd.DataFrame({"metric": SHOWN_METRICS[number]}), how="cross")
    # Table 1 gives a rival's best network on each data set.
    printed_backbone = published[["row", "dataset", "backbone"]].drop_duplicates(["row", "dataset"])
    cells = cells.merge(printed_backbone, how="left", on=["row", "dataset"])
    theirs = cells["backbone"].fillna(cells["paper_backbone"]).map(PAPER_BACKBONES | PAPER_NETWORKS)
    cells["backbone"] = cells["own_backbone"].where(~cells["of_paper"], theirs)
    cells["map"] = cells["label"].mask(cells["metric"] == "Top1Cls", "")
    cells = cells.merge(scores, how="left", on=_CELL)
    cells["seeds"] = cells["seeds"].fillna(0).astype(int)
    cells["absent"] = cells["seeds"].map(lambda count: "" if count else NOT_RUN)
    classless = cells["label"].isin([rival.title for rival in RIVALS.values() if rival.with_boxes])
    cells.loc[classless & cells["metric"].isin(_OF_CLASSIFIER), "absent"] = NO_CLASS
    same = published["preset"].eq(PRESET) & published["policy"].eq(POLICY) | published["metric"].eq("Top1Cls")
    gap, unexplained = published["value"].isna(), published["note"] == ""
    printed = published.assign(of_paper=True, paper=published["value"], dash=gap & unexplained, same=same)
    place = ["row", "dataset", "metric", "of_paper"]
    cells = cells.merge(printed[[*place, "paper", "dash", "same"]], how="left", on=place)
    cells["dash"] = cells["dash"].eq(True)
    cells["difference"] = (cells["ours"] - cells["paper"]).round(2).where(cells["same"].eq(True))
    gaps = "".join(f"{note}. " for note in published.loc[gap & ~unexplained, "note"].unique())
    return Table(number, f"Table {number}. {_TITLES[number]}", _NOTES[number] + gaps + _NOTE, _named(cells))


def headline(frame: pd.DataFrame) -> pd.Series:
    """Which rows are of all images, of the preset that made the paper's numbers and of [8]'s policy, or of none."""
    known = {"subset": ["all"], "preset": ["", PRESET], "policy": ["", POLICY]}
    return frame[list(known)].isin(known).all(axis=1)


def _rows(number: int, published: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """The paper's rows, then the ones it lacks; `label` is a row's map."""
    keys = {rival.title: key for key, rival in RIVALS.items()}
    rows: list[tuple] = []
    for row, entries in published[published["map"] != ""].groupby("row"):
        of = entries.iloc[0]
        architecture = "/".join(entries["backbone"].unique()) + "+p-ADL" * (of["variant"] == "padl")
        variant = of["variant"] or keys.get(of["map"], "")
        rows.append((row, of["method"], architecture, variant, *of[["position", "map", "backbone"]]))
    if number in (1, 2):
        there = {title for _, title, *_ in rows}
        for key, rival in RIVALS.items():
            networks = shown.loc[shown["variant"] == key, "backbone"]
            if rival.title not in there and len(networks):
                architecture = "/".join(sorted(set(networks))) + ", with boxes" * rival.with_boxes
                rows.append((0, rival.title, architecture, key, "", rival.title, ""))
    rows += [(0, *extra, "DeiT-B") for extra in _EXTRA_ROWS[number]]
    names = ["row", "method", "architecture", "variant", "position", "label", "paper_backbone"]
    return pd.DataFrame(rows, columns=names).assign(line=range(len(rows)))


def _groups(published: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The paper's data sets in its order, then every other (data set, backbone, size) by name."""
    theirs = published["backbone"].map(PAPER_BACKBONES).dropna().unique()
    networks = published["backbone"].map(PAPER_NETWORKS)
    printed = set(zip(published["dataset"], networks, published["map"], strict=True))
    sizes = _sizes(published)
    groups = [(name, "", size, True) for name, size in sizes.items()]
    found = scores[scores["map"] != ""].groupby(_CELL[:3])["map"].agg(set)
    for name, backbone, size in sorted(set(scores[_CELL[:3]].itertuples(index=False, name=None))):
        titles = found.get((name, backbone, size), set()) - set(FLOORS)
        of_rivals = bool(titles) and {(name, backbone, title) for title in titles} <= printed
        if sizes.get(name) != size or not (backbone in theirs or of_rivals):
            groups.append((name, backbone, size, False))
    return pd.DataFrame(groups, columns=["dataset", "own_backbone", "n_images", "of_paper"])


def _beside_transformers(measurements: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Rivals beside transformers, but on the paper's own images, where it prints them network by network."""
    of_paper = measurements["n_images"].eq(measurements["dataset"].map(_sizes(published)))
    beside = beside_transformers(measurements[~of_paper])
    return pd.concat([measurements[of_paper], beside], ignore_index=True)


def _sizes(published: pd.DataFrame) -> dict[str, int]:
    """How many test images the data sets of a table have, in its order."""
    return {name: PAPER_DATASETS[name][1] for name in published["dataset"].unique()}


def _named(cells: pd.DataFrame) -> pd.DataFrame:
    """Name the groups of columns, and leave out a group that measured nothing the table shows."""
    named = []
    for _, entries in cells.groupby(["dataset", "own_backbone", "n_images"], sort=False):
        dataset, backbone, size = entries[["dataset", "own_backbone", "n_images"]].iloc[0]
        seeds = span(entries["seeds"])
        count = f"n={size}, {seeds} seed{'s' * (seeds != '1')}" if seeds else f"n={size}, {NOT_RUN}"
        if not backbone:
            name = PAPER_DATASETS[dataset][0]
            named.append(entries.assign(group=name, header=f"{name}\npaper's backbone\n{count}"))
        elif seeds:
            group = f"{dataset} {backbone} {POLICY} n={size} seeds={seeds}"
            named.append(entries.assign(group=group, header=f"{dataset}\n{backbone}\n{count}"))
    return pd.concat(named).sort_values("line", kind="stable").reset_index(drop=True)


def _validate_published(number: int, frame: pd.DataFrame) -> None:
    need_columns(frame, PUBLISHED_COLUMNS, "published")
    known = frame["locator"].str.startswith(f"Table {number},")
    known &= frame["metric"].isin(SHOWN_METRICS[number]) & frame["dataset"].isin(list(PAPER_DATASETS))
    known &= ~frame.duplicated(["row", "dataset", "metric"])
    if frame.empty or not known.all():
        seen = frame.loc[~known, "locator"].iloc[0] if len(frame) else "no rows"
        raise ValueError(f"published: {seen!r} is not a number of Table {number}, or is there twice")
