"""Folders that are there whole or not at all."""

from pathlib import Path

import pytest

from vitol.atomic import atomic_folder
from vitol.datasets.splits import make_split, read_split, write_split


def write(folder: Path, text: str) -> None:
    with atomic_folder(folder) as new:
        assert list(new.iterdir()) == []
        (new / text).write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def unlucky(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The new folder cannot take its place while there are errors here; each is raised once."""
    errors: list[BaseException] = []
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "new" and errors:
            raise errors.pop()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    return errors


def test_a_folder_takes_the_place_of_an_older_one_and_leaves_nothing_beside(tmp_path: Path) -> None:
    for text in ("first", "second"):
        write(tmp_path / "deep" / "er", text)
        assert names(tmp_path / "deep" / "er") == [text]
        assert names(tmp_path / "deep") == ["er"]


@pytest.mark.parametrize("there", [True, False])
def test_an_error_leaves_what_was_there_and_nothing_beside(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "maps"
    if there:
        write(folder, "first")
    with pytest.raises(KeyboardInterrupt), atomic_folder(folder) as new:
        (new / "second").write_text("half")
        assert not there or names(folder) == ["first"]
        raise KeyboardInterrupt
    assert names(tmp_path) == (["maps"] if there else [])
    assert not there or names(folder) == ["first"]


@pytest.mark.parametrize("error", [OSError("no such luck"), KeyboardInterrupt()])
def test_a_folder_that_cannot_take_its_place_gives_it_back(
    tmp_path: Path, unlucky: list[BaseException], error: BaseException
) -> None:
    folder = tmp_path / "maps"
    write(folder, "first")
    unlucky.append(error)
    with pytest.raises(type(error)):
        write(folder, "second")
    assert names(tmp_path) == ["maps"] and names(folder) == ["first"]


def test_a_split_that_cannot_be_replaced_is_not_lost(tmp_path: Path, unlucky: list[BaseException]) -> None:
    split = make_split(ids=["a.jpg"], labels=[0], sizes=[(9, 9)], boxes=[[(0, 0, 5, 5)]])
    write_split(split, tmp_path / "test")
    unlucky.append(OSError("no such luck"))
    with pytest.raises(OSError, match="no such luck"):
        write_split(split, tmp_path / "test")
    assert read_split(tmp_path / "test") == split and names(tmp_path) == ["test"]


def test_what_a_killed_process_left_is_put_back_or_removed_by_the_next(tmp_path: Path) -> None:
    folder, left = tmp_path / "maps", tmp_path / ".maps.partial"
    for part in ("new", "old"):
        (left / part).mkdir(parents=True)
        (left / part / part).write_text(part)
    with pytest.raises(ValueError, match="half-way"), atomic_folder(folder):
        raise ValueError("half-way")
    assert names(tmp_path) == ["maps"] and names(folder) == ["old"]


def test_the_current_folder_can_be_named_by_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(Path(), "first")
    assert names(tmp_path / "here") == ["first"] and names(tmp_path) == ["here"]
