"""The threshold policies side by side: what a number owes to how its threshold was chosen.

One row a (data set, backbone, images, model, map, metric), one column a policy: the value with its 95% interval, in
percent; over several seeds the mean of both, and the standard deviation of the seeds' values.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from vitol.accuracy import POLICIES
from vitol.cams.about import RIVALS
from vitol.datasets.splits import TEST_CUT
from vitol.figures import PLAIN, RIVALS_NOTE, STYLE, line_name, map_order, save_png
from vitol.measurements import (
    FLOORS,
    FULL_IMAGE,
    GAUSSIAN,
    beside_transformers,
    floors_of_any_model,
    mean_over_seeds,
)

METRICS = ("MaxBoxAccV2", "GTKnownLoc", "GTKnownLocV1", "Top1Loc", "Top5Loc", "PredictedLoc")
PLOTTED = ("MaxBoxAccV2", "GTKnownLoc", "Top1Loc")
MARKS = {  # by policy: colour and mark
    "oracle-per-iou": ("#0072B2", "o"),
    "oracle-single": ("#56B4E9", "s"),
    "validation": ("#D55E00", "D"),
    "fixed": ("#999999", "^"),
}
PARTS = ["value", "ci_low", "ci_high", "seed_sd"]
ROW = ["dataset", "backbone", "subset", "n_images", "variant", "position", "map", "metric"]


def policy_table(measurements: pd.DataFrame) -> pd.DataFrame:
    """Put the policies side by side, for all images and for those on which every policy can be read.

    Args:
        measurements: Rows of `vitol.measurements.COLUMNS`.

    Returns:
        ROW, then for each policy its `value`, `ci_low`, `ci_high` and `seed_sd`, NaN where it was not measured.
    """
    shown = measurements[
        measurements["metric"].isin(METRICS)
        & measurements["subset"].isin(["all", TEST_CUT])
        & measurements["preset"].isin(["", "release"])
        & measurements["policy"].isin(POLICIES)
    ]
    scores = mean_over_seeds(shown, [*ROW, "policy"]).rename(columns={"ours": "value"})
    table = shown[ROW].drop_duplicates()
    for policy in POLICIES:
        of_policy = scores[scores["policy"] == policy].set_index(ROW)[PARTS].add_prefix(f"{policy} ")
        table = table.merge(of_policy, how="left", left_on=ROW, right_index=True)
    return table.reset_index(drop=True)


def policy_figure(measurements: pd.DataFrame, dataset: str, backbone: str, path: Path) -> None:
    """Plot a run under every policy: a panel a metric, a line a map and model, a mark a policy with its interval.

    Rivals stand beside the backbone as in the tables, see `vitol.measurements.beside_transformers`. A map that sees no
    image has the Top1Loc that p-ADL gives it, as in Table 2, or none where p-ADL was not run.

    Args:
        measurements: Rows of `vitol.measurements.COLUMNS`.
        dataset: Of the run.
        backbone: Of the run.
        path: The PNG to write.

    Raises:
        ValueError: Nothing was measured there.
    """
    table = policy_table(beside_transformers(measurements))
    table = table[
        (table["dataset"] == dataset) & (table["backbone"] == backbone) & (table["map"] != FULL_IMAGE)
    ]
    # The images that every policy was read on.
    subset = TEST_CUT if TEST_CUT in set(table["subset"]) else "all"
    table = table[(table["subset"] == subset) & table["metric"].isin(PLOTTED)]
    if table.empty:
        there = (measurements["dataset"] + " " + measurements["backbone"]).unique()
        raise ValueError(f"no policies of {dataset} {backbone}; measured: {', '.join(there) or 'nothing'}")
    table = floors_of_any_model(table)
    of_padl = (table["variant"] == "padl") & (table["position"] == "MMp")
    table = table[(table["map"] != GAUSSIAN) | of_padl]
    floors = table["map"] == GAUSSIAN
    table = table.assign(**{key: table[key].mask(floors, "") for key in ("variant", "position")})
    table = table.sort_values("map", key=lambda of: of.map(map_order(of).index), kind="stable")
    table = table.assign(name=[line_name(*of) for of in table[["map", "variant", "position"]].to_numpy()])
    names = list(table["name"].unique())
    held = ", those on which no threshold was chosen for validation" if subset == TEST_CUT else ""
    notes = [f"{table['n_images'].iloc[0]} test images{held}; 95% intervals of a bootstrap over images."]
    if (table["metric"][floors] == "Top1Loc").any():
        notes.append(
            f"{FLOORS[GAUSSIAN]} sees no image; its Top1Loc takes the predictions of the model with p-ADL MMp."
        )
    if table["variant"].isin(list(RIVALS)).any():
        notes.append(RIVALS_NOTE)
    foot = 0.15 * len(notes)
    height = 1.15 + 0.34 * len(names) + foot
    with sns.axes_style(STYLE), mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.5, height), dpi=150)
        panels = figure.subplots(1, len(PLOTTED), sharey=True, squeeze=False)[0]
        for panel, metric in zip(panels, PLOTTED, strict=True):
            rows = table[table["metric"] == metric].set_index("name").reindex(names)
            for place, (policy, (colour, mark)) in enumerate(MARKS.items()):
                value = rows[f"{policy} value"].to_numpy()
                low, high = (rows[f"{policy} ci_{end}"].to_numpy() for end in ("low", "high"))
                at = np.arange(len(names)) + 0.18 * (place - 1.5)
                panel.errorbar(
                    value,
                    at,
                    xerr=[value - low, high - value],
                    fmt=mark,
                    color=colour,
                    markersize=3.5,
                    lw=0.8,
                    label=policy,
                )
            panel.set_title(metric, fontsize=8)
            panel.set_xlabel("percent")
            panel.set_yticks(range(len(names)), names)
            panel.grid(axis="y", visible=False)
            for line in range(1, len(names)):
                panel.axhline(line - 0.5, color="#EEEEEE", lw=0.6, zorder=0)
        panels[0].set_ylim(len(names) - 0.5, -0.5)
        title = f"{dataset}, {backbone}: the same maps under four threshold policies"
        figure.suptitle(title, fontsize=9, x=0.02, ha="left")
        figure.text(0.02, 0.06 / height, "\n".join(notes), fontsize=7, color=PLAIN, va="bottom")
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="upper right", ncols=len(MARKS), frameon=False, fontsize=7)
        figure.tight_layout(rect=(0, (foot + 0.1) / height, 1, 0.99))
        save_png(figure, path)
