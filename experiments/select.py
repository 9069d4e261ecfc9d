"""Point the grid of params.yaml to a data set and a backbone: what `make run` does before `dvc repro`.

    python -m experiments.select cub deit_base
    python -m experiments.select ilsvrc deit_small --variants mmp --processes 8
    python -m experiments.select mini small --rivals all   # what `make rivals` does
    python -m experiments.select mini small                # back to the embedded data set
    python -m experiments.select cub deit_base --rivals cam has --network vgg16

The lines of the grid, of the seeds and of the processes are written anew, whatever stood there, and that of the
networks beside backbones where one is asked for; the rest stays, comments as well. The result is checked before it
replaces the file. Prints what the paper has for this cell.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from rich.table import Table

from experiments.params import Params, ParamsError, check_params, read_params
from experiments.stage import console
from vitol.atomic import atomic_file
from vitol.cams.about import RIVALS
from vitol.datasets.registered import REGISTERED
from vitol.paper import read_all_published
from vitol.tables import PAPER_BACKBONES

PARAMS = Path("params.yaml")
VARIANTS = ("control", "mmp", "mpm")
ALL = "all"
EMBEDDED = {"mini": "data/mini"}


def with_values(text: str, values: dict[str, str]) -> str:
    """The text of params.yaml with other values for some keys; the comment behind a value stays.

    Args:
        text: Of the file.
        values: The new value by key, as YAML on one line; "grid.models" is the key `models` below `grid`.

    Raises:
        ParamsError: If a key has no line that holds its whole value.
    """
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        start = text.index(f"\n{section}:\n") if section else 0
        line = re.compile(rf"^{'  ' if section else ''}{name}: (\{{.*?\}}|\[.*?\]|\d+)", re.M)
        found = line.search(text, start)
        if found is None:
            raise ParamsError(f"params.yaml has no line with {key} and its whole value; write it on one line")
        text = text[: found.start(1)] + value + text[found.end(1) :]
    return text


def check_settings(params: Params) -> None:
    """Refuse settings that the grid's rivals do not have: they would be found in hours, when those are trained.

    Raises:
        ParamsError: If `rivals.settings` has one; the text lists those there are.
    """
    # Here, because torch comes with it, which whoever else imports this module does without.
    from vitol.cams.registry import all_settings

    for backbone in params.grid.backbones:
        for rival in params.grid.rivals:
            network = params.network(backbone, rival)
            try:
                all_settings(rival, params.rivals.settings.get(network, {}).get(rival, {}))
            except ValueError as error:
                raise ParamsError(f"{PARAMS}, rivals.settings.{network}.{rival}: {error}") from error


def expected(params: Params) -> Table:
    """The paper's numbers for the grid's data set and backbones."""
    table = Table("architecture", "map", "metric", "paper", "where", title_justify="left")
    table.title = f"The paper, {', '.join(params.grid.datasets)}"
    names = {title for title, backbone in PAPER_BACKBONES.items() if backbone in params.grid.backbones}
    rows = read_all_published()
    rows = rows[rows["dataset"].isin(params.grid.datasets) & rows["backbone"].isin(names)]
    for row in rows[rows["variant"] != ""].to_dict("records"):
        model = f"{row['backbone']} {row['variant']} {row['position']}"
        table.add_row(model, row["map"], row["metric"], f"{row['value']:.2f}", row["locator"])
    return table


def main(arguments: list[str] | None = None) -> None:
    """Rewrite the grid, and say what to expect."""
    known = read_params()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", choices=known.datasets)
    parser.add_argument("backbone", choices=known.backbones)
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, help="fine-tuned models; all if not given")
    parser.add_argument("--rivals", nargs="*", choices=(ALL, *RIVALS), default=[], help="none if not given")
    parser.add_argument(
        "--network", choices=known.backbones, help="beside the backbone, for convolutional rivals"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="0 if not given")
    parser.add_argument("--processes", type=int, default=1, help="one a GPU; 1 if not given")
    given = parser.parse_args(arguments)
    source = EMBEDDED.get(given.dataset, (REGISTERED / f"{given.dataset}.json").as_posix())
    trained = known.datasets[given.dataset].finetune is not None
    variants = list(VARIANTS if given.variants is None else given.variants) if trained else []
    rivals = list(RIVALS) if ALL in given.rivals else list(given.rivals)
    values = {
        "grid.datasets": f"{{{given.dataset}: {source}}}",
        "grid.backbones": f"[{given.backbone}]",
        "grid.variants": f"[{', '.join(variants)}]",
        "grid.models": f"[{', '.join(['baseline', *variants])}]",
        "grid.rivals": f"[{', '.join(rivals)}]",
        "grid.scored": f"[{', '.join(['baseline', *variants, *rivals])}]",
        "seeds": str(given.seeds),
        "processes": str(given.processes),
    }
    if given.network:
        networks = known.rivals.networks | {given.backbone: given.network}
        values["rivals.networks"] = f"{{{', '.join(': '.join(of) for of in networks.items())}}}"
    text = with_values(PARAMS.read_text(encoding="utf-8"), values)
    params = check_params(text, PARAMS)
    check_settings(params)
    with atomic_file(PARAMS) as partial:
        partial.write_text(text, encoding="utf-8")
    console.print(f"{PARAMS}: {given.dataset} with {given.backbone}; models {', '.join(params.grid.scored)}")
    if (table := expected(params)).row_count:
        console.print(table)


if __name__ == "__main__":
    main()
