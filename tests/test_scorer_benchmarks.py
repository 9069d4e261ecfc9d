"""The scorer's benchmarks: the rival finds what the reference finds, and shards what the whole does."""

from pathlib import Path

import numpy as np
import pytest
import reference
from test_boxes import KINDS, picture

from experiments.benchmarks import scorer, shards
from experiments.benchmarks.threshold_loop import threshold_loop
from vitol.accuracy import Localizations, measure
from vitol.boxes import best_ious_of_maps
from vitol.datasets.splits import read_split


@pytest.mark.parametrize("kind", KINDS)
def test_the_loop_finds_the_best_iou_at_every_threshold(kind: str) -> None:
    score, truth = picture(kind, 20, 17, seed=3), [(2, 3, 9, 12), (0, 0, 4, 4)]
    assert threshold_loop(score, np.array(truth)).tolist() == reference.best_ious(score, truth, largest=False)


def test_the_scorers_benchmark_tells_times_ratios_and_parts() -> None:
    maps = list(scorer.noise(2, 7))
    found = scorer.compare(maps, rounds=2)
    assert list(found) == ["from the score map", "from the map", "from the map, V1 too"]
    assert all(0 < ratio.least <= ratio.median for ratio in found.values())
    assert all(ratio.loop > ratio.ours > 0 for ratio in found.values())
    assert all(spent > 0 for spent in scorer.parts(maps, rounds=1).values())


def test_a_map_that_is_not_there_stops_the_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        scorer.main(["--maps", str(tmp_path / "none.npy")])
    assert "none.npy is not there; run `make repro` first" in capsys.readouterr().err


def test_shards_written_and_merged_are_the_whole(tmp_path: Path) -> None:
    shards.write_data(tmp_path, 13)
    for shard in range(3):
        shards.score_shard(tmp_path, shard, 3)
    together = shards.merged(tmp_path, 3)
    split = read_split(tmp_path / "metadata" / "test")
    maps = [np.load(tmp_path / "maps" / f"{image}.npy") for image in split.ids]
    order = np.argsort(-np.load(tmp_path / "logits.npy"), axis=1)
    found = Localizations(
        best_ious_of_maps(maps, split.sizes, split.boxes).all,
        top1=order[:, 0] == split.labels,
        top5=(order[:, :5] == split.labels[:, None]).any(axis=1),
    )
    values = {entry.metric: entry.value for entry in measure(found, replicates=1)}
    assert together.pop("MaxBoxAcc") == pytest.approx(values["MaxBoxAccV2"])
    assert together == {
        name: values[name] for name in ("IoU30", "IoU50", "IoU70", "GTKnownLoc", "Top1Loc", "Top5Loc")
    }
