from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from score_files import small_split, write_logits, write_maps, write_masks, write_metadata

import vitol.mask_folder
import vitol.scored_maps
from vitol.accuracy import POLICIES, Localizations, measure, paired_difference
from vitol.boxes import best_ious_of_maps, score_map
from vitol.cli.score_table import trap_lines
from vitol.datasets.faults import DatasetFaults
from vitol.datasets.splits import Split, cut_by_hash
from vitol.floors import centred_gaussian, full_image_ious, gaussian_ious
from vitol.logits import label_ranks, read_logits
from vitol.mask_folder import read_mask
from vitol.pxap import BINS, pixel_counts, pxap, scale_mask
from vitol.score_report import save_report
from vitol.scored_maps import Files
from vitol.scoring import MapFaults, Method, read_scored_split, score_methods

N = 12
FEW = {"replicates": 50}


@pytest.fixture
def split() -> Split:
    return small_split(N)


@pytest.fixture
def methods(tmp_path: Path, split: Split) -> list[Method]:
    """Two methods, the first of which is better."""
    good = write_maps(tmp_path / "good", split)
    poor = write_maps(tmp_path / "poor", split, noise=3, seed=1)
    return [Method("good", Files(good)), Method("poor", Files(poor))]


def arrays(folder: Path, split: Split) -> list[np.ndarray]:
    return [np.load(folder / f"{image}.npy") for image in split.ids]


def test_scores_are_those_of_the_functions_beneath(methods: list[Method], split: Split) -> None:
    scores = score_methods(methods, split, floors=False, policies=["oracle-per-iou", "oracle-single"], **FEW)
    for method in methods:
        curves = best_ious_of_maps(arrays(method.files.maps, split), split.sizes, split.boxes)
        found = Localizations(curves.all, curves.largest)
        assert list(scores[method.name].measurements) == measure(
            found, ["oracle-per-iou", "oracle-single"], **FEW
        )
        np.testing.assert_array_equal(scores[method.name].found.largest, curves.largest)
    assert [method.name for method in scores.methods] == ["good", "poor"]
    assert scores["good"].measurement("MaxBoxAccV2").value > scores["poor"].measurement("MaxBoxAccV2").value
    assert scores.split == split
    assert (scores.left_out, scores.validation) == ((), 0)


def test_every_pair_is_compared_on_the_same_resamples(methods: list[Method], split: Split) -> None:
    scores = score_methods(methods, split, **FEW)
    pairs = [(c.a, c.b) for c in scores.comparisons if c.metric == "MaxBoxAccV2"]
    assert pairs == [
        ("good", "poor"),
        ("good", "Gaussian"),
        ("good", "Full image"),
        ("poor", "Gaussian"),
        ("poor", "Full image"),
        ("Gaussian", "Full image"),
    ]
    for compared in scores.comparisons:
        a, b = (
            scores[name].measurement(compared.metric, compared.policy) for name in (compared.a, compared.b)
        )
        assert compared.difference == paired_difference(a, b)
        assert compared.difference.value == pytest.approx(a.value - b.value)


def test_a_method_compared_with_itself_differs_by_nothing(methods: list[Method], split: Split) -> None:
    twin = replace(methods[0], name="twin")
    scores = score_methods([methods[0], twin], split, floors=False, **FEW)
    for compared in scores.comparisons:
        found = compared.difference
        assert (found.value, found.ci_low, found.ci_high) == (0, 0, 0)


def test_floors_are_those_of_the_floors_module(methods: list[Method], split: Split) -> None:
    scores = score_methods(methods[:1], split, **FEW)
    for name, floor in (("Gaussian", gaussian_ious), ("Full image", full_image_ious)):
        np.testing.assert_array_equal(scores[name].found.ious, floor(split.sizes, split.boxes).all)
        assert scores[name].files is None
        assert scores[name].traps == {}


def test_logits_give_top_1_and_top_5_and_floors_borrow_them_if_all_methods_share_them(
    tmp_path: Path, methods: list[Method], split: Split
) -> None:
    logits = write_logits(tmp_path / "logits.npy", split)
    own = write_logits(tmp_path / "own.npy", split, seed=1)
    ranks = (-np.load(logits)).argsort(axis=1, kind="stable") == split.labels[:, None]
    with_logits = [replace(method, files=replace(method.files, logits=logits)) for method in methods]
    scores = score_methods(with_logits, split, **FEW)
    for name in ("good", "poor", "Gaussian", "Full image"):
        found = scores[name].found
        np.testing.assert_array_equal(found.top1, ranks[:, 0])
        np.testing.assert_array_equal(found.top5, ranks[:, :5].any(axis=1))
        assert scores[name].measurement("Top1Cls").value == pytest.approx(100 * ranks[:, 0].mean())
    different = [with_logits[0], replace(methods[1], files=replace(methods[1].files, logits=own))]
    scores = score_methods(different, split, **FEW)
    assert scores["poor"].measurement("Top5Loc").value >= scores["poor"].measurement("Top1Loc").value
    assert scores["Gaussian"].found.top1 is None
    one_of_two = score_methods([with_logits[0], methods[1]], split, **FEW)
    assert one_of_two["poor"].found.top1 is None
    assert one_of_two["Gaussian"].found.top1 is None


def test_maps_of_the_predicted_class_give_predicted_loc(
    tmp_path: Path, methods: list[Method], split: Split
) -> None:
    method = replace(methods[0], files=replace(methods[0].files, predicted=methods[1].files.maps))
    scores = score_methods([method], split, **FEW)
    other = score_methods(methods[1:], split, **FEW)
    assert scores["good"].measurement("PredictedLoc").value == other["poor"].measurement("GTKnownLoc").value
    assert list(scores["good"].traps) == ["maps", "predicted maps"]


def test_masks_give_pxap(tmp_path: Path, methods: list[Method], split: Split) -> None:
    masks = write_masks(tmp_path / "masks", split)
    scores = score_methods(methods, split, masks=masks, **FEW)

    def by_hand(score_maps: list[np.ndarray]) -> float:
        total = np.zeros((2, BINS), np.int64)
        for score, image, size in zip(score_maps, split.ids, split.sizes, strict=True):
            total += pixel_counts(score, scale_mask(read_mask(masks, image, size), score.shape))
        return pxap(total)

    for method in methods:
        expected = by_hand([score_map(values) for values in arrays(method.files.maps, split)])
        assert scores[method.name].measurement("PxAP").value == expected
    gaussian = score_map(centred_gaussian(224, 224))
    assert scores["Gaussian"].measurement("PxAP").value == by_hand([gaussian] * N)
    assert scores["Full image"].measurement("PxAP").value == by_hand([np.ones((224, 224), np.float32)] * N)
    assert any((c.metric, c.a, c.b) == ("PxAP", "good", "poor") for c in scores.comparisons)
    assert scores["good"].measurement("PxAP").value > scores["poor"].measurement("PxAP").value


def test_thresholds_can_be_chosen_on_a_validation_split(
    tmp_path: Path, methods: list[Method], split: Split
) -> None:
    other = small_split(8, "val", seed=5)
    folder = write_maps(tmp_path / "val", other, seed=7)
    method = replace(methods[0], validation=Files(folder))
    scores = score_methods([method], split, other, policies=["validation"], **FEW)
    test, val = (
        best_ious_of_maps(arrays(maps, of), of.sizes, of.boxes)
        for maps, of in ((method.files.maps, split), (folder, other))
    )
    assert list(scores["good"].measurements) == measure(
        Localizations(*test), ["validation"], Localizations(*val), **FEW
    )
    assert scores.validation == 8
    assert list(scores["good"].traps) == ["maps", "maps (validation)"]
    assert scores["Gaussian"].measurement("MaxBoxAccV2").policy == "validation"


def test_thresholds_are_not_chosen_on_images_that_are_scored(methods: list[Method], split: Split) -> None:
    some = split.select(np.arange(N) % 6 == 1)
    for other, text in (
        (split, "12 images of the 12 to choose thresholds on would be scored, too, the first test/00.jpg"),
        (some, "2 images of the 2 to choose thresholds on would be scored, too, the first test/01.jpg"),
    ):
        same = [replace(method, validation=method.files) for method in methods]
        with pytest.raises(ValueError) as caught:
            score_methods(same, split, other, policies=["validation"], **FEW)
        assert str(caught.value) == (
            f"{text}; give other images (--val-maps, --val-metadata), or hold a third of the images out (--val-cut)"
        )


def test_images_that_are_held_out_are_counted_though_no_threshold_is_chosen_on_them(
    methods: list[Method], split: Split
) -> None:
    scores = score_methods(methods, split, val_cut=True, **FEW)
    assert (len(scores.split), scores.validation, scores.val_cut) == (N - N // 3, N // 3, True)
    said = "validation: no thresholds chosen on 4 images cut from the same split, and not scored"
    assert said in trap_lines(scores)


def test_pxap_is_measured_though_few_resamples_hold_an_object(
    tmp_path: Path, methods: list[Method], split: Split
) -> None:
    masks = write_masks(tmp_path / "masks", split)
    for path in sorted(masks.rglob("*.png"))[1:]:
        with Image.open(path) as picture:
            empty = Image.new("L", picture.size)
        empty.save(path)
    scores = score_methods(methods, split, masks=masks, **FEW)
    found = scores["good"].measurement("PxAP")
    assert np.isnan(found.replicates).any()
    assert 0 < found.ci_low <= found.value <= found.ci_high <= 100
    save_report(scores, tmp_path / "scores.json")
    assert "NaN" not in (tmp_path / "scores.json").read_text()


def test_masks_are_read_once_and_the_gaussian_is_made_once(
    tmp_path: Path, methods: list[Method], split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks, calls = write_masks(tmp_path / "masks", split), Counter()

    def counting(module: ModuleType, name: str) -> None:
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *of: (calls.update([name]), function(*of))[1])

    counting(vitol.mask_folder, "read_mask")
    counting(vitol.scored_maps, "centred_gaussian")
    vitol.scored_maps._floor_score.cache_clear()
    score_methods(methods, split, masks=masks, workers=1, **FEW)
    assert calls == {"read_mask": N, "centred_gaussian": 1}


def test_maps_of_both_splits_may_lie_in_one_folder(tmp_path: Path, split: Split) -> None:
    other = small_split(8, "val", seed=5)
    folder = write_maps(write_maps(tmp_path / "both", split), other)
    method = Method("both", Files(folder), Files(folder))
    scores = score_methods([method], split, other, policies=["validation"], **FEW)
    assert len(scores.split) == N
    assert scores["both"].traps["maps"].extra == ()


def test_a_third_of_the_images_can_be_cut_off_for_choosing_thresholds(
    methods: list[Method], split: Split
) -> None:
    scores = score_methods(methods, split, val_cut=True, policies=POLICIES, fixed=0.2, **FEW)
    cut = cut_by_hash(split.ids, N // 3)
    curves = best_ious_of_maps(arrays(methods[0].files.maps, split), split.sizes, split.boxes)
    whole = Localizations(*curves)
    expected = measure(whole.select(~cut), POLICIES, whole.select(cut), 0.2, **FEW)
    assert list(scores["good"].measurements) == expected
    assert (scores.split, scores.validation, scores.val_cut) == (split.select(~cut), N // 3, True)


def test_maps_may_be_named_without_the_images_extension(methods: list[Method], split: Split) -> None:
    before = score_methods(methods[:1], split, **FEW)
    for path in sorted(methods[0].files.maps.rglob("*.npy")):
        path.rename(path.with_name(path.name.replace(".jpg", "")))
    after = score_methods(methods[:1], split, **FEW)
    assert after["good"].measurements == before["good"].measurements
    assert (before["good"].naming, after["good"].naming) == (
        "<image id>.npy",
        "<image id without extension>.npy",
    )


def test_any_number_of_workers_gives_the_same_scores(methods: list[Method], split: Split) -> None:
    one, three = (score_methods(methods, split, workers=workers, **FEW) for workers in (1, 3))
    for name in ("good", "poor"):
        assert one[name].measurements == three[name].measurements
        assert one[name].views.equals(three[name].views)


def test_views_are_read_at_the_threshold_of_iou50_under_the_first_policy(
    methods: list[Method], split: Split
) -> None:
    scores = score_methods(methods, split, policies=["fixed", "oracle-per-iou"], fixed=0.4, **FEW)
    for method in scores.methods:
        views = method.views.set_index(["view", "group"])
        assert views.loc[("iou at least", "0.5"), "value"] == pytest.approx(
            method.measurement("IoU50", "fixed").value
        )
        failed = method.views[method.views["view"] == "failure"]
        assert failed["value"].sum() == pytest.approx(100)
        assert views.loc[("failure", "right"), "value"] == pytest.approx(
            method.measurement("GTKnownLocV1", "fixed").value
        )


def test_progress_names_what_is_done_and_ends_at_the_total(methods: list[Method], split: Split) -> None:
    told: dict[str, tuple[int, int]] = {}
    score_methods(
        methods, split, progress=lambda what, done, total: told.update({what: (done, total)}), **FEW
    )
    assert told["Scoring good"] == told["Scoring poor"] == (N, N)
    assert all(done == total for done, total in told.values())


def test_missing_and_extra_maps_stop_the_scoring_unless_allowed(methods: list[Method], split: Split) -> None:
    (methods[0].files.maps / f"{split.ids[1]}.npy").unlink()
    (methods[1].files.maps / f"{split.ids[4]}.npy").rename(methods[1].files.maps / "other.npy")
    with pytest.raises(MapFaults) as caught:
        score_methods(methods, split, **FEW)
    assert str(caught.value).splitlines() == [
        "nothing was scored (faults: 3)",
        "  good/test/01.jpg.npy: no map of test/01.jpg; make it, or score the other images (--allow-missing)",
        "  poor/test/04.jpg.npy: no map of test/04.jpg; make it, or score the other images (--allow-missing)",
        "  poor/other.npy: no image has this name; move it elsewhere, or leave it out (--allow-missing)",
    ]
    scores = score_methods(methods, split, allow_missing=True, **FEW)
    kept = np.array([row not in (1, 4) for row in range(N)])
    assert scores.split == split.select(kept)
    assert scores.left_out == ("test/01.jpg", "test/04.jpg")
    assert scores["good"].traps["maps"].missing == ("test/01.jpg",)
    assert scores["poor"].traps["maps"].extra == ("other.npy",)
    for method in scores.methods:
        assert {entry.n_images for entry in method.measurements} == {N - 2}
    curves = best_ious_of_maps(
        arrays(methods[0].files.maps, scores.split), scores.split.sizes, scores.split.boxes
    )
    np.testing.assert_array_equal(scores["good"].found.ious, curves.all)


def test_the_cut_does_not_depend_on_which_maps_are_missing(methods: list[Method], split: Split) -> None:
    cut = cut_by_hash(split.ids, N // 3)
    gone = np.flatnonzero(cut)[0]
    (methods[0].files.maps / f"{split.ids[gone]}.npy").unlink()
    scores = score_methods(methods, split, val_cut=True, policies=["validation"], allow_missing=True, **FEW)
    assert scores.split == split.select(~cut)
    assert scores.validation == N // 3 - 1


def test_every_fault_of_maps_and_masks_is_in_one_report(
    tmp_path: Path, methods: list[Method], split: Split
) -> None:
    other = small_split(8, "val", seed=5)
    masks = write_masks(tmp_path / "masks", split)
    val = write_maps(tmp_path / "val", other)
    good, poor = (method.files.maps for method in methods)
    np.save(good / f"{split.ids[0]}.npy", np.full((3, 3), np.nan))
    np.save(good / f"{split.ids[2]}.npy", np.array([[{}]]), allow_pickle=True)
    (poor / f"{split.ids[1]}.npy").write_bytes(b"")
    np.save(val / f"{other.ids[0]}.npy", np.zeros((2, 2, 2)))
    Image.new("L", (40, 31)).save(masks / "test/00.png")
    (masks / "test/01.png").unlink()
    (masks / "test/02.png").write_text("no picture")
    both = [replace(method, validation=Files(val)) for method in methods]
    with pytest.raises(MapFaults) as caught:
        score_methods(both, split, other, policies=["validation"], masks=masks, **FEW)
    assert [fault.where for fault in caught.value.faults] == [
        "good/test/00.jpg.npy",
        "good/test/02.jpg.npy",
        "poor/test/01.jpg.npy",
        "good (validation)/val/00.jpg.npy",
        "poor (validation)/val/00.jpg.npy",
        "masks/test/00.png",
        "masks/test/01.jpg",
        "masks/test/02.png",
    ]
    lines = str(caught.value).splitlines()
    assert lines[0] == "nothing was scored (faults: 8)"
    assert lines[6:] == [
        "  masks/test/00.png: is 40x31, its image 40x30; a mask is as large as its image",
        "  masks/test/01.jpg: no mask; looked for test/01.png and test/01.jpg.png",
        "  masks/test/02.png: cannot be decoded; write it again as PNG",
    ]


def test_mask_faults_alone_stop_the_scoring(tmp_path: Path, methods: list[Method], split: Split) -> None:
    masks = write_masks(tmp_path / "masks", split)
    (masks / "test/03.png").unlink()
    with pytest.raises(MapFaults, match="no mask; looked for test/03.png"):
        score_methods(methods, split, masks=masks, **FEW)


def test_long_lists_of_faults_are_cut_and_counted(methods: list[Method], split: Split) -> None:
    for method in methods:
        for image in split.ids:
            np.save(method.files.maps / f"{image}.npy", np.zeros(3))
    with pytest.raises(MapFaults) as caught:
        score_methods(methods, split, **FEW)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1]) == (22, "  ... and 4 more")
    assert len(caught.value.faults) == 2 * N


def test_maps_with_nan_are_scored_as_zeros_if_asked_for(methods: list[Method], split: Split) -> None:
    path = methods[0].files.maps / f"{split.ids[3]}.npy"
    values = np.load(path)
    values[2, 3] = np.nan
    np.save(path, values)
    with pytest.raises(
        MapFaults, match=r"good/test/03.jpg.npy: 1 of 196 values are NaN.*\(--reference-nan\)"
    ):
        score_methods(methods, split, **FEW)
    scores = score_methods(methods, split, reference_nan=True, **FEW)
    assert scores["good"].traps["maps"].not_finite == 1
    np.save(path, np.zeros((14, 14)))
    zeros = score_methods(methods, split, **FEW)
    assert scores["good"].measurements == zeros["good"].measurements
    assert zeros["good"].traps["maps"].constant == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"policies": ["oracle"]},
            "policy 'oracle' is unknown; choose from oracle-per-iou, oracle-single, val",
        ),
        ({"policies": []}, "policies are []; give at least one, and each once"),
        (
            {"policies": ["fixed", "fixed"], "fixed": 0.2},
            "policies are ['fixed', 'fixed']; give at least one",
        ),
        ({"policies": ["fixed"]}, "policy fixed is asked for without a threshold; add one, such as --thresh"),
        ({"fixed": 0.2}, "a threshold is given, but not the policy that reads at it; add --policy fixed, or"),
        ({"policies": ["fixed"], "fixed": 1.2}, "threshold 1.2 is outside [0, 1); thresholds are"),
        ({"replicates": 0}, "replicates is 0; intervals need at least 1, and 2000 are usual (--replicates)"),
        ({"workers": 0}, "workers is 0; give at least 1, or leave it out for one a core (--workers)"),
        ({"seed": -1}, "seed is -1; give a whole number from 0 (--seed)"),
        (
            {"policies": ["validation"]},
            "policy validation needs other images to choose thresholds on: give their maps and metadata "
            "(--val-maps, --val-metadata), or hold a third of the images out for that (--val-cut)",
        ),
        (
            {"policies": ["validation"], "validation": small_split(4, "val")},
            "good has no maps of the validation split (--val-maps good=FOLDER)",
        ),
        (
            {"policies": ["validation"], "validation": small_split(4, "val"), "val_cut": True},
            "thresholds can be chosen on a validation split or on a cut, not on both",
        ),
        ({"masks": Path("nowhere")}, "nowhere is not a folder; give the one that holds the masks"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(
    methods: list[Method], split: Split, options: dict, text: str
) -> None:
    with pytest.raises(ValueError) as caught:
        score_methods(methods, split, **{**FEW, **options})
    assert text in str(caught.value)


def test_methods_need_names_of_their_own(methods: list[Method], split: Split) -> None:
    with pytest.raises(ValueError, match="no method was given"):
        score_methods([], split)
    with pytest.raises(ValueError, match="two methods are called 'good'; give each a name of its own"):
        score_methods([methods[0], methods[0]], split)
    with pytest.raises(ValueError, match="two methods are called 'Gaussian'"):
        score_methods([replace(methods[0], name="Gaussian")], split)
    score_methods([replace(methods[0], name="Gaussian")], split, floors=False, **FEW)


def test_methods_without_a_common_image_cannot_be_compared(methods: list[Method], split: Split) -> None:
    for number, image in enumerate(split.ids):
        (methods[number % 2].files.maps / f"{image}.npy").unlink()
    with pytest.raises(ValueError, match="no image has maps in all of good, poor"):
        score_methods(methods, split, allow_missing=True)


def test_too_few_images_are_not_cut(tmp_path: Path) -> None:
    split = small_split(2)
    method = Method("few", Files(write_maps(tmp_path, split)))
    with pytest.raises(ValueError, match="2 images with maps: too few to cut a third off; give a validation"):
        score_methods([method], split, val_cut=True, policies=["validation"])


def test_names_that_were_not_scored_are_said(methods: list[Method], split: Split) -> None:
    scores = score_methods(methods, split, **FEW)
    with pytest.raises(
        KeyError, match="no method is called 'best'; there are good, poor, Gaussian, Full image"
    ):
        scores["best"]
    with pytest.raises(KeyError, match="good has no PxAP"):
        scores["good"].measurement("PxAP")
    with pytest.raises(KeyError, match="good has no IoU50 under fixed"):
        scores["good"].measurement("IoU50", "fixed")


@pytest.mark.parametrize("name", ["test", "train"])
def test_every_image_that_is_scored_needs_a_box_whatever_the_split_is_called(
    tmp_path: Path, split: Split, name: str
) -> None:
    folder = write_metadata(tmp_path / name, split)
    assert read_scored_split(folder) == split
    lines = (folder / "localization.txt").read_text().splitlines()
    (folder / "localization.txt").write_text("\n".join(line for line in lines if "/03.jpg" not in line))
    with pytest.raises(DatasetFaults, match="cannot be scored against") as caught:
        read_scored_split(folder)
    assert [str(fault) for fault in caught.value.faults] == [
        "test/03.jpg: no box; images that are scored need at least one"
    ]


def test_metadata_files_that_disagree_are_reported_whole(tmp_path: Path, split: Split) -> None:
    folder = write_metadata(tmp_path / "test", split)
    for name, line in (
        ("localization.txt", "test/00.jpg,20,20,10,25"),
        ("image_sizes.txt", "test/99.jpg,5,5"),
        ("class_labels.txt", "test/00.jpg,2"),
    ):
        with (folder / name).open("a") as file:
            file.write(f"{line}\n")
    with pytest.raises(DatasetFaults) as caught:
        read_scored_split(folder)
    assert str(caught.value).startswith(f"{folder} cannot be scored against (faults: ")
    for text in ("second line of test/00.jpg", "unknown image test/99.jpg"):
        assert text in str(caught.value)
    (folder / "class_labels.txt").write_text("".join(f"{i},0\n" for i in split.ids))
    (folder / "image_sizes.txt").write_text("".join(f"{i},64,64\n" for i in split.ids))
    with pytest.raises(
        DatasetFaults, match=r"test/00\.jpg: boxes\[1\] = \(20, 20, 10, 25\) ends before it starts"
    ):
        read_scored_split(folder)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            None,
            r"logits\.npy cannot be read \(no such file or directory\); logits are a \.npy array \(12, classes\)",
        ),
        (
            np.zeros((11, 6)),
            r"logits\.npy has shape \(11, 6\); logits are a \.npy array \(12, classes\), a row an",
        ),
        (np.zeros(12), r"logits\.npy: has shape \(12,\); logits are"),
        (np.array([[{}]]), r"logits\.npy: holds pickled Python objects; logits are"),
        (np.zeros((12, 3)), r"logits\.npy has 3 classes, but the labels go up to 3; labels count from 0"),
        (np.full((12, 4), np.nan), r"logits\.npy\[0, 0\] is nan; logits are numbers, or -inf for a class"),
        (np.diag(np.full(12, np.inf)), r"logits\.npy\[0, 0\] is inf; logits are numbers"),
    ],
)
def test_logits_that_do_not_fit_are_refused(
    tmp_path: Path, methods: list[Method], split: Split, content: np.ndarray | None, text: str
) -> None:
    path = tmp_path / "logits.npy"
    if content is not None:
        np.save(path, content, allow_pickle=True)
    method = replace(methods[0], files=replace(methods[0].files, logits=path))
    with pytest.raises(ValueError, match=text):
        score_methods([method], split)


def test_logits_of_classes_that_were_masked_out_are_ranked(tmp_path: Path) -> None:
    labels = np.array([2, 0, 1])
    np.save(tmp_path / "a.npy", [[0.1, -np.inf, 0.2], [-np.inf, 3, -np.inf], [1, -np.inf, -np.inf]])
    logits = read_logits(tmp_path / "a.npy", labels)
    assert label_ranks(logits, labels).tolist() == [0, 1, 1]


def test_ignored_regions_and_masks_named_with_the_extension_are_read(tmp_path: Path) -> None:
    object_, ignored = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
    object_[1, 1:3] = 1
    ignored[:2] = 200
    (tmp_path / "test").mkdir()
    Image.fromarray(object_).save(tmp_path / "test/a.jpg.png")
    Image.fromarray(ignored).save(tmp_path / "test/a.jpg_ignore.png")
    expected = np.zeros((4, 6), np.uint8)
    expected[:2] = 255
    expected[1, 1:3] = 1
    np.testing.assert_array_equal(read_mask(tmp_path, "test/a.jpg", (6, 4)), expected)


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "RGB", "P", "RGBA", "LA"])
def test_masks_of_any_kind_of_picture_are_read(tmp_path: Path, mode: str) -> None:
    expected = np.zeros((4, 6), np.uint8)
    expected[1:3, 2:] = 1
    plain = Image.fromarray(expected * 255)
    picture = Image.fromarray(expected.astype(np.uint16)) if mode == "I;16" else plain.convert(mode)
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path, "a.jpg", (6, 4)), expected)
