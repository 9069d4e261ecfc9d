"""What the ablations of p-ADL are, and what is kept of them: a table of differences to the control, and its record."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import TypeAdapter
from rich.table import Table

from experiments.differences import seeds_of
from experiments.params import Params
from experiments.publish import used
from experiments.replicates import REPLICATES, read_replicates
from experiments.run_facts import checkpoint_digests
from experiments.sections import Padl
from experiments.stage import RESULTS, console, scores_folder
from experiments.tabulate import COMMITTED
from vitol import padl
from vitol.ablation_figure import PANELS, RATES, THRESHOLDS
from vitol.accuracy import paired_difference
from vitol.atomic import atomic_file
from vitol.bootstrap import side_of_zero
from vitol.measurements import mean_over_seeds, read_scores
from vitol.resumption import digest
from vitol.tables import POLICY, PRESET

COPIES = RESULTS / "ablation"
TABLE, RECORD, FIGURE = "ablation.csv", "provenance.json", "ablation.png"
ENDS = ["difference", "difference_low", "difference_high"]
STAGES = ("finetune", "explain", "localize")  # what a setting runs
PADL_CODE = Path(padl.__file__)  # what settings depend on and the control does not
# What is measured of every setting: map, metric, policy.
MEASURED = [(name, metric, POLICY if name else "") for name, metric, _ in PANELS]


class Setting(NamedTuple):
    """One way to put p-ADL into the model, by the names of params.yaml; the paper's by default."""

    name: str
    position: Literal["MMp", "MpM"] = "MMp"
    drop_threshold: float = 0.9
    drop_rate: float = 0.75
    per_image: bool = False
    class_token: bool = True

    @property
    def model(self) -> str:
        """The model of the grid that has p-ADL at this position."""
        return self.position.lower()

    @property
    def padl(self) -> Padl:
        """Its section of params.yaml."""
        return Padl.model_validate({name: getattr(self, name) for name in Padl.model_fields})


SETTINGS = (
    Setting("alpha0", drop_rate=0.0),  # the importance map alone: lambda has no say
    *(
        Setting(f"lambda{threshold:g}-alpha{rate:g}", drop_threshold=threshold, drop_rate=rate)
        for threshold, rate in product(THRESHOLDS, RATES)
    ),
    Setting("mpm", position="MpM"),
    Setting("draw-per-image", per_image=True),
    Setting("class-token-spared", class_token=False),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}
COLUMNS = [
    *("setting", "position", "drop_threshold", "drop_rate", "per_image", "class_token", "map", "metric"),
    *("value", "ci_low", "ci_high", "difference", "difference_low", "difference_high", "seed_sd"),
    *("n_images", "seeds"),
]


class Cell(NamedTuple):
    """A data set and a backbone of the grid, and where the ablations of that model go."""

    dataset: str
    backbone: str

    @property
    def copy(self) -> Path:
        """The copy of the project that settings run in."""
        return COPIES / str(self) / "project"

    @property
    def kept(self) -> Path:
        """Where the results are kept."""
        return COMMITTED / f"ablation-{self}"

    def scores(self, model: str) -> Path:
        """Measurements of a model."""
        return scores_folder(self.dataset, self.backbone, model)

    def __str__(self) -> str:
        """Its name in those of stages and folders."""
        return f"{self.dataset}-{self.backbone}"


def rows_of(setting: Setting, seeds: list[int], scores: Path, control: Path) -> pd.DataFrame:
    """What was measured of a setting on all test images, and how far that is from the control, with COLUMNS.

    Values are means over seeds in percent, differences in points, with 95% intervals over images; `seed_sd` is the
    standard deviation of the seeds' differences, empty for one seed.

    Args:
        setting: The setting.
        seeds: Of the training, all of them.
        scores: What stage localize wrote of its model.
        control: What it wrote of the control.

    Raises:
        ValueError: If a measurement of a seed is missing.
    """
    frame = read_scores(scores / "measurements.csv")
    frame = frame[(frame["subset"] == "all") & frame["preset"].isin(["", PRESET]) & frame["seed"].isin(seeds)]
    means = mean_over_seeds(frame, ["map", "metric", "policy"]).set_index(["map", "metric", "policy"])
    kept = [(folder, read_replicates(folder)) for folder in (scores, control)]
    rows = []
    for key in MEASURED:
        sides = [seeds_of(of, seeds, ("all", *key)) for _, of in kept]
        for (folder, _), side in zip(kept, sides, strict=True):
            if not side:
                name, metric, policy = key
                raise ValueError(
                    f"{folder} lacks {' '.join(filter(None, (metric, name, policy)))} of all images for some of the "
                    f"seeds {seeds}; run stage localize again"
                )
        found = paired_difference(*sides)
        each = pd.Series([one.value - other.value for one, other in zip(*sides, strict=True)])
        value = means.loc[key, ["ours", "ci_low", "ci_high"]]
        numbers = (
            *value,
            found.value,
            found.ci_low,
            found.ci_high,
            each.std(),
            sides[0][0].n_images,
            len(each),
        )
        rows.append((*setting, *key[:2], *numbers))
    return pd.DataFrame(rows, columns=COLUMNS).round(2)


def records_in(folder: Path, cell: Cell, setting: Setting, params: Params) -> dict[str, Any]:
    """The records that the setting's stages left in a folder of results; none if they are another setting's."""
    records = {}
    for stage in STAGES:
        path = folder / "provenance" / f"{stage}-{cell}-{setting.model}.json"
        if path.is_file():
            records[stage] = json.loads(path.read_text(encoding="utf-8"))
    return records if is_of(records, cell, setting, params) else {}


def is_of(records: dict[str, Any], cell: Cell, setting: Setting, params: Params) -> bool:
    """Whether fine-tuning was recorded with the values of this setting and these params."""
    values = {
        "padl": setting.padl,
        "position": setting.position,
        "seeds": params.seeds,
        "recipe": params.datasets[cell.dataset].finetune,
        "backbone": params.backbones[cell.backbone],
    }
    wanted = TypeAdapter(dict[str, Any]).dump_python(values, mode="json")
    found = records.get("finetune", {}).get("config", {})
    return all(found.get(key) == value for key, value in wanted.items())


class Ablation:
    """The results of a cell's settings: those of earlier calls, and every new one as soon as it is there.

    Differences to another control, and those made by other code of p-ADL, cannot stand beside new ones: they are left
    out.
    """

    def __init__(self, cell: Cell, params: Params) -> None:
        self.cell, self.params = cell, params
        control = cell.scores("control")
        files = (control / "measurements.csv", control / REPLICATES)
        self._control = digest(*(path.read_bytes() for path in (*files, PADL_CODE)))
        self._checkpoints = checkpoint_digests(cell.dataset, cell.backbone, ["control"], params.seeds)
        self.frame = pd.DataFrame(columns=COLUMNS)
        self._records: dict[str, Any] = {}
        table, record = cell.kept / TABLE, cell.kept / RECORD
        if table.is_file() and record.is_file():
            kept = json.loads(record.read_text(encoding="utf-8"))
            if kept["control"] == self._control:
                self.frame, self._records = read_ablation(table), kept["settings"]
            else:
                console.print(f"{table} compares with another control; it is written anew")

    def keep(self, setting: Setting, rows: pd.DataFrame, results: Path) -> None:
        """Write what was measured of a setting, and what made it.

        Args:
            setting: The setting.
            rows: What `rows_of` made of it.
            results: The folder of results it ran in. Where DVC had the setting in its cache there is no record in it:
                then that of an earlier call holds, or that of the grid itself.
        """
        frames = {str(name): of for name, of in self.frame.groupby("setting")} | {setting.name: rows}
        ordered = [frames[name] for name in BY_NAME if name in frames]
        self.frame = pd.concat(ordered, ignore_index=True)
        earlier = self._records.get(setting.name, {}).get("stages", {})
        stages = (
            records_in(results, self.cell, setting, self.params)
            or (earlier if is_of(earlier, self.cell, setting, self.params) else {})
            or records_in(RESULTS, self.cell, setting, self.params)
        )
        seconds = round(sum(stage["wall_seconds"] for stage in stages.values()), 1) if stages else None
        self._records[setting.name] = {"stages": stages, "wall_seconds": seconds}
        made = {
            "control": self._control,
            "checkpoints": self._checkpoints,
            "params": used(self.params),
            "settings": self._records,
        }
        with atomic_file(self.cell.kept / TABLE) as partial:
            self.frame.to_csv(partial, index=False, lineterminator="\n")
        with atomic_file(self.cell.kept / RECORD) as partial:
            partial.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_ablation(path: Path) -> pd.DataFrame:
    """Read the table of `Ablation`; a classifier's map stays ""."""
    return pd.read_csv(path, keep_default_na=False, na_values={"seed_sd": [""]})


def render_ablation(frame: pd.DataFrame, cell: Cell) -> Table:
    """The differences for a terminal, a line a setting, bold where the interval leaves out zero."""
    titles = [" ".join(filter(None, (name, metric))) for name, metric, _ in MEASURED]
    table = Table("setting", *titles, title_justify="left")
    table.title = (
        f"{cell.dataset}, {cell.backbone}: points more than the control, paired 95% interval over images"
    )
    for setting, rows in frame.groupby("setting", sort=False):
        cells = []
        for value, low, high in rows[ENDS].itertuples(index=False):  # one each of MEASURED
            text = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
            cells.append(f"[bold]{text}[/bold]" if side_of_zero(low, high) else text)
        table.add_row(str(setting), *cells)
    return table
