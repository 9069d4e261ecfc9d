from pathlib import Path

import pytest
import timm

from vitol.class_names import NEAREST, ClassNames, imagenet_names, read_class_names

NAMES = [
    "tench, Tinca tinca",
    "bow tie, bow-tie, bowtie",
    "Windsor tie",
    "crane",
    "space shuttle",
    "crane",
    "004.Groove_billed_Ani",
    "tie dye",
]


@pytest.fixture(scope="module")
def names() -> ClassNames:
    return ClassNames(len(NAMES), NAMES)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("tench", 0),
        ("Tinca tinca", 0),
        ("  BOWTIE ", 1),
        ("bow_tie", 1),
        ("windsor", 2),
        ("Space-Shuttle", 4),
        ("shuttle", 4),
        ("groove billed ani", 6),
        ("billed ani", 6),
        (3, 3),
        ("5", 5),
    ],
)
def test_a_class_is_found_by_index_name_synonym_or_a_word_of_its_own(names, query, index):
    assert names.find(query) == index


def test_every_name_finds_its_own_class_unless_it_is_that_of_several(names):
    for index, name in enumerate(NAMES):
        if NAMES.count(name) == 1:
            assert names.find(name.partition(",")[0]) == index


def test_a_whole_name_comes_before_names_that_contain_it():
    assert ClassNames(3, ["bow tie", "tie", "tie dye"]).find("tie") == 1


def test_part_of_a_word_is_no_word_of_a_name(names):
    with pytest.raises(ValueError, match="no class is called 'shut'"):
        names.find("shut")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (
            "tie",
            "class 'tie' could be 'bow tie, bow-tie, bowtie' (1), 'Windsor tie' (2), 'tie dye' (7); give the",
        ),
        ("crane", "class 'crane' could be 'crane' (3), 'crane' (5); give the full name of one, or its index"),
        (
            "spaceshuttle",
            "no class is called 'spaceshuttle'; near it: 'space shuttle' (4); give a name, or an",
        ),
        ("tensh", "near it: 'tench, Tinca tinca' (0)"),
        ("windsor knot", "near it: 'Windsor tie' (2)"),
        ("zebra", "no class is called 'zebra'; give a name, or an index in 0..7"),
        ("", "no class is called ''"),
        ("--", "no class is called '--'"),
        ("8", "class 8 is out of range: the model's classes are 0..7"),
        (-1, "class -1 is out of range: the model's classes are 0..7"),
    ],
)
def test_what_names_no_single_class_is_an_error_that_says_what_is_near(names, query, text):
    with pytest.raises(ValueError) as error:
        names.find(query)
    assert text in str(error.value)


def test_long_lists_of_names_are_cut():
    with pytest.raises(ValueError, match=r"'kind 7 of dog' \(7\) and 12 more; give"):
        ClassNames(20, [f"kind {index} of dog" for index in range(20)]).find("dog")
    assert NEAREST == 8


def test_a_class_is_called_by_its_first_synonym(names):
    assert [names.short(1), names.full(1)] == ["bow tie", NAMES[1]]


def test_classes_without_names_are_asked_for_by_index():
    plain = ClassNames(5)
    assert plain.find("4") == 4
    assert plain.short(4) == plain.full(4) == "class 4"
    with pytest.raises(
        ValueError, match=r"the model's 5 classes have no names here; give an index in 0\.\.4"
    ):
        plain.find("tench")


@pytest.mark.parametrize(
    ("count", "given", "text"),
    [
        (0, None, "the model has no classes"),
        (3, ["a", "b"], "there are 2 class names, but the model has 3 classes"),
        (2, ["a", " "], "class 1 has the name ' '; give every class a name that is text"),
        (2, [3, "b"], "class 0 has the name 3; give every class a name that is text"),
        (2, "ab", "the class names are 'ab'; give a list, one name a class"),
        (2, {"a": 0, "b": 1}, "give a list, one name a class"),
    ],
)
def test_names_that_do_not_fit_the_model_are_refused(count, given, text):
    with pytest.raises(ValueError, match=text):
        ClassNames(count, given)


def test_a_pretrained_model_of_1000_classes_has_imagenet_s_names():
    model = timm.create_model("test_vit", num_classes=1000)
    names = ClassNames(1000, imagenet_names(model))
    assert [names.short(0), names.find("great white shark"), names.find("bow tie")] == ["tench", 2, 457]
    with pytest.raises(ValueError, match=r"'bow tie, bow-tie, bowtie' \(457\), 'Windsor tie' \(906\)"):
        names.find("tie")


def test_a_model_with_another_number_of_classes_has_no_names():
    assert imagenet_names(timm.create_model("test_vit", num_classes=7)) is None


def test_names_are_read_from_a_text_file(tmp_path: Path):
    file = tmp_path / "names.txt"
    file.write_text("Häher\nbow tie, bowtie\n", encoding="utf-8")
    assert read_class_names(file) == ["Häher", "bow tie, bowtie"]
    assert ClassNames(2, read_class_names(file)).find("häher") == 0


def test_a_file_that_is_no_text_is_an_error_that_names_it(tmp_path: Path):
    file = tmp_path / "names.txt"
    with pytest.raises(ValueError, match="names.txt cannot be read as class names .*one name a line"):
        read_class_names(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="names.txt cannot be read as class names"):
        read_class_names(file)
