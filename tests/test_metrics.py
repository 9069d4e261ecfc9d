import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from vitol.accuracy import DELTAS, Localizations, max_box_acc, max_box_acc_v2, measure
from vitol.metrics import GTKnownLoc, MaxBoxAcc, PxAP, Top1Loc, Top5Loc
from vitol.pxap import pixel_counts, pxap

LENGTH = 255
BATCHES = (slice(0, 7), slice(7, 8), slice(8, 25), slice(25, 40))  # of 40 images, as different as they come


def some_inputs(n: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    """Everything that any of the metrics takes, by its keyword."""
    rng = np.random.default_rng(seed)
    ious = rng.random((n, 1)) * 1.4 - np.abs(np.linspace(0, 1, LENGTH) - rng.random((n, 1)))
    ious = np.clip(ious, 0, 1)
    correct = rng.random(n) < 0.5
    return {
        "ious": ious,
        "largest": ious * rng.random((n, 1)),
        "correct": correct,
        "correct5": correct | (rng.random(n) < 0.5),
        "score_maps": rng.random((n, 8, 8)).astype(np.float32),
        "masks": rng.choice([0, 1, 255], (n, 8, 8)),
    }


def all_metrics() -> MetricCollection:
    return MetricCollection(
        {
            "V2": MaxBoxAcc(),
            "V1": MaxBoxAcc(deltas=(0.5,), contours="largest"),
            "GTKnownLoc": GTKnownLoc(),
            "Top1Loc": Top1Loc(),
            "Top5Loc": Top5Loc(),
            "PxAP": PxAP(),
        }
    )


def functional(inputs: dict[str, np.ndarray]) -> dict[str, float]:
    """What `all_metrics` give, from the functional forms."""
    found = Localizations(inputs["ious"], inputs["largest"], top1=inputs["correct"], top5=inputs["correct5"])
    values = {m.metric: m.value for m in measure(found, replicates=1)}
    pixels = zip(inputs["score_maps"], inputs["masks"], strict=True)
    return {
        "V2_MaxBoxAcc": max_box_acc_v2(found.ious),
        **{f"V2_{part}": values[part] for part in ("IoU30", "IoU50", "IoU70")},
        "V1_MaxBoxAcc": values["GTKnownLocV1"],
        "V1_IoU50": max_box_acc(found.largest),
        **{name: values[name] for name in ("GTKnownLoc", "Top1Loc", "Top5Loc")},
        "PxAP": pxap(sum(pixel_counts(score, mask) for score, mask in pixels)),
    }


def numbers(computed: dict[str, Tensor]) -> dict[str, float]:
    assert all(value.ndim == 0 and value.dtype == torch.float64 for value in computed.values())
    return {name: value.item() for name, value in computed.items()}


def part(inputs: dict[str, np.ndarray], images: slice) -> dict[str, np.ndarray]:
    return {name: array[images] for name, array in inputs.items()}


def test_batches_of_a_collection_give_what_the_functional_forms_give_for_all_images() -> None:
    metrics, inputs = all_metrics(), some_inputs()
    for images in BATCHES:
        metrics.update(**part(inputs, images))
    assert numbers(metrics.compute()) == functional(inputs)


def test_tensors_and_arrays_are_counted_alike() -> None:
    metrics, inputs = all_metrics(), some_inputs()
    metrics.update(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    assert numbers(metrics.compute()) == functional(inputs)


def test_an_iou_equal_to_delta_is_right_as_in_the_functional_form() -> None:
    ious = np.repeat(np.array([[0.3], [0.5], [0.7]]), LENGTH, axis=1)
    metric = MaxBoxAcc()
    metric.update(ious=torch.from_numpy(ious))
    values = metric.compute()
    assert [values[f"IoU{round(100 * d)}"].item() for d in DELTAS] == [max_box_acc(ious, d) for d in DELTAS]
    with pytest.raises(
        ValueError, match="ious is float32, in which an IoU of 0.7 lies below 0.7; pass float64"
    ):
        metric.update(ious=torch.from_numpy(ious).float())


def test_forward_gives_the_batch_and_keeps_counting() -> None:
    metric, inputs = Top1Loc(), some_inputs()
    for images in BATCHES:
        batch = part(inputs, images)
        of_batch = metric(ious=batch["ious"], correct=batch["correct"])
        assert of_batch.item() == functional(batch)["Top1Loc"]
    assert metric.compute().item() == functional(inputs)["Top1Loc"]


def test_four_shards_merged_are_the_whole() -> None:
    inputs, whole = some_inputs(), functional(some_inputs())
    shards = []
    for images in BATCHES:
        metrics = all_metrics()
        metrics.update(**part(inputs, images))
        shards.append(metrics)
    first, *others = shards
    for other in others:
        for name, metric in first.items(keep_base=True):
            metric.merge_state(other[name])
    assert numbers(first.compute()) == whole


def test_merging_needs_no_update_before_and_forgets_what_was_computed(
    recwarn: pytest.WarningsRecorder,
) -> None:
    inputs = some_inputs()
    whole, parts = MaxBoxAcc(), []
    for images in BATCHES:
        parts.append(MaxBoxAcc())
        parts[-1].update(ious=inputs["ious"][images])
    for metric in parts:
        whole.merge_state(dict(metric.metric_state))
        seen = int(whole.n_images)
        assert whole.compute()["IoU50"].item() == max_box_acc(inputs["ious"][:seen], 0.5)
    assert seen == len(inputs["ious"])
    assert not [warning for warning in recwarn if "compute" in str(warning.message)]


def test_a_state_that_was_saved_goes_on_where_it_was() -> None:
    inputs = some_inputs()
    metrics, resumed = all_metrics(), all_metrics()
    metrics.persistent(True)
    metrics.update(**part(inputs, slice(0, 20)))
    state = metrics.state_dict()
    resumed.load_state_dict(state)
    resumed.update(**part(inputs, slice(20, 40)))
    assert numbers(resumed.compute()) == functional(inputs)
    resumed.reset()
    resumed.update(**inputs)
    assert numbers(resumed.compute()) == functional(inputs)


def synced(rank: int, port: int, folder: str) -> None:
    """One of two processes, with its half of the images; both write what they see."""
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    metrics, inputs = all_metrics(), some_inputs()
    for images in BATCHES[2 * rank : 2 * rank + 2]:
        metrics.update(**part(inputs, images))
    (Path(folder) / f"{rank}.json").write_text(json.dumps(numbers(metrics.compute())))
    dist.destroy_process_group()


def test_two_processes_see_the_whole(tmp_path: Path) -> None:
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("torch.distributed has no gloo here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(synced, (port, str(tmp_path)), nprocs=2)
    whole = functional(some_inputs())
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == whole


def test_metrics_that_agree_at_first_do_not_share_their_state_for_good() -> None:
    """A collection has metrics share states that are equal after the first update."""
    inputs = some_inputs()
    first, rest = part(inputs, slice(0, 10)), part(inputs, slice(10, 40))
    first["correct"] = first["correct5"] = np.ones(10, bool)
    first["ious"] = first["largest"] = np.where(first["ious"] > 0.4, 1.0, 0.0)  # the deltas agree, too
    metrics = MetricCollection(
        {
            **{name: metric for name, metric in all_metrics().items(keep_base=True)},
            "at 30": MaxBoxAcc(deltas=(0.3,)),
            "at 70": MaxBoxAcc(deltas=(0.7,)),
            "largest": MaxBoxAcc(contours="largest"),
        }
    )
    metrics.update(**first)
    metrics.update(**rest)
    both = {name: np.concatenate([first[name], rest[name]]) for name in inputs}
    found = numbers(metrics.compute())
    assert {name: found[name] for name in functional(both)} == functional(both)
    assert found["at 30_IoU30"] == max_box_acc(both["ious"], 0.3)
    assert found["at 70_IoU70"] == max_box_acc(both["ious"], 0.7)
    assert found["largest_MaxBoxAcc"] == max_box_acc_v2(both["largest"])


def test_a_state_is_as_large_for_many_images_as_for_one() -> None:
    def size(metrics: MetricCollection) -> int:
        return sum(state.nbytes for metric in metrics.values() for state in metric.metric_state.values())

    one, many = all_metrics(), all_metrics()
    one.update(**some_inputs(1))
    for seed in range(3):
        many.update(**some_inputs(50, seed))
    assert size(one) == size(many)
    assert size(one) < 50_000


@pytest.mark.parametrize("metric", [MaxBoxAcc(), GTKnownLoc(), Top1Loc(), Top5Loc(), PxAP()])
def test_flags_say_that_higher_is_better_and_nothing_has_a_gradient(metric: Metric) -> None:
    assert metric.higher_is_better
    assert metric.is_differentiable is False
    assert metric.full_state_update is False
    assert (metric.plot_lower_bound, metric.plot_upper_bound) == (0, 100)


def test_results_are_called_after_their_iou() -> None:
    metric = MaxBoxAcc(deltas=(0.5, 0.95, 0.123), n_thresholds=3)
    metric.update(ious=np.full((1, 3), 0.96))
    assert set(metric.compute()) == {"MaxBoxAcc", "IoU50", "IoU95", "IoU12.3"}


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("metric", [MaxBoxAcc(), GTKnownLoc(), Top1Loc(), Top5Loc()])
def test_no_image_has_no_accuracy(metric: Metric) -> None:
    with pytest.raises(
        ValueError, match=f"{type(metric).__name__} has seen no image; update it before compute"
    ):
        metric.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_pixel_and_no_object_have_no_pxap() -> None:
    with pytest.raises(ValueError, match="PxAP has seen no pixel; update it before compute"):
        PxAP().compute()
    metric = PxAP()
    metric.update(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="no pixel of any mask is an object"):
        metric.compute()


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (MaxBoxAcc(), "ious"),
        (MaxBoxAcc(contours="largest"), "largest"),
        (GTKnownLoc(), "ious"),
        (Top1Loc(), "ious"),
        (Top5Loc(), "ious"),
    ],
)
def test_curves_that_are_none_are_refused_and_not_counted(metric: Metric, name: str) -> None:
    keywords = {"Top1Loc": {"correct": [True]}, "Top5Loc": {"correct5": [True]}}
    others = keywords.get(type(metric).__name__, {})
    for curves, message in (
        (np.full((1, LENGTH), np.nan), rf"{name}\[0, 0\] = nan is no IoU in \[0, 1\]"),
        (np.full((1, LENGTH), 50), rf"{name}\[0, 0\] = 50 is no IoU.* pass fractions, not percent"),
        (
            np.zeros((0, LENGTH)),
            rf"{name} has shape \(0, 255\); pass \(n, L\), an IoU curve for at least one",
        ),
        (np.zeros(LENGTH), rf"{name} has shape \(255,\)"),
        (np.zeros((1, 1000)), rf"{name} has 1000 thresholds, {type(metric).__name__} was made for 255; pass"),
    ):
        with pytest.raises(ValueError, match=message):
            metric.update(**{name: curves}, **others)
    assert metric.n_images == 0


def test_the_curves_that_a_metric_counts_have_to_be_given() -> None:
    curves = np.zeros((1, LENGTH))
    with pytest.raises(ValueError, match=r"MaxBoxAcc needs largest: pass update\(largest=...\), IoU curves"):
        MaxBoxAcc(contours="largest").update(curves)
    with pytest.raises(
        ValueError, match=r"MaxBoxAcc needs ious: pass update\(ious=...\), IoU curves \(b, L\)"
    ):
        MaxBoxAcc().update(largest=curves)


@pytest.mark.parametrize("flags", [np.ones(3, int), np.ones(2, bool), torch.ones(3, 1, dtype=torch.bool)])
def test_classes_are_one_bool_an_image(flags: np.ndarray | Tensor) -> None:
    for metric, name in ((Top1Loc(), "correct"), (Top5Loc(), "correct5")):
        with pytest.raises(ValueError, match=f"{name} has shape .* pass one bool for each of the 3 images"):
            metric.update(ious=np.zeros((3, LENGTH)), **{name: flags})
        assert metric.n_images == 0


def test_settings_that_make_no_metric_are_refused() -> None:
    with pytest.raises(ValueError, match="contours is 'best'; choose 'all' .MaxBoxAccV2. or 'largest'"):
        MaxBoxAcc(contours="best")  # type: ignore[arg-type]
    for deltas in ((), (0.5, 0.5)):
        with pytest.raises(ValueError, match=r"deltas are \(.*\); give at least one, and each once"):
            MaxBoxAcc(deltas=deltas)
    with pytest.raises(ValueError, match="delta is 50; the IoU to ask for is a fraction"):
        MaxBoxAcc(deltas=(50,))


def test_score_maps_and_masks_that_do_not_fit_are_refused_and_not_counted() -> None:
    metric = PxAP()
    for scores, masks in (((2, 2), (2, 2)), ((3, 2, 2), (2, 2, 2)), ((0, 2, 2), (0, 2, 2))):
        with pytest.raises(
            ValueError, match=r"score_maps have shape .*, masks .*; pass \(b, H, W\), as many of"
        ):
            metric.update(np.zeros(scores), np.zeros(masks))
    with pytest.raises(
        ValueError, match=r"the mask has shape \(4, 2\), its score map \(2, 2\); scale the mask"
    ):
        metric.update(np.zeros((1, 2, 2)), np.zeros((1, 4, 2)))
    with pytest.raises(ValueError, match=r"scores are not in \[0, 1\], the first at \[0, 0\]"):
        metric.update(np.full((1, 2, 2), np.nan), np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match=r"mask\[0, 0\] = 128; masks hold 1"):
        metric.update(np.zeros((1, 2, 2)), np.full((1, 2, 2), 128))
    assert not metric.pixels.any()
