"""Names of a model's classes, and the way from what somebody types to a class index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import nn

NEAREST = 8  # names that an error suggests at most
SIMILAR = 0.65  # how alike (difflib's ratio, in [0, 1]) a suggested name is: "tye" suggests "tie"


class ClassNames:
    """The classes of a model by index, by name and by synonym.

    A name may list synonyms, separated by commas, as ImageNet's do ("bow tie, bow-tie, bowtie"). Case,
    hyphens, underscores and a leading number ("004.Groove_billed_Ani") do not count when a class is looked up.

    Args:
        count: The number of classes.
        names: One name a class, in label order; None for a model whose classes have no names.

    Raises:
        ValueError: If there is no class, there are more or fewer names, or a name is empty or no text.

    >>> names = ClassNames(3, ["tench, Tinca tinca", "bow tie, bow-tie, bowtie", "Windsor tie"])
    >>> names.find("bow tie"), names.find("windsor"), names.find("2"), names.short(0)
    (1, 2, 2, 'tench')
    """

    def __init__(self, count: int, names: Sequence[str] | None = None) -> None:
        if count < 1:
            raise ValueError("the model has no classes (its head is left out); choose one with a classifier")
        if isinstance(names, str) or not isinstance(names, Sequence | None):
            raise ValueError(f"the class names are {names!r:.80}; give a list, one name a class")
        if names is not None and len(names) != count:
            raise ValueError(f"there are {len(names)} class names, but the model has {count} classes")
        for index, name in enumerate(names or ()):
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"class {index} has the name {name!r}; give every class a name that is text")
        self.count = count
        self._names = None if names is None else tuple(names)
        self._synonyms = [[part.strip() for part in name.split(",") if part.strip()] for name in names or ()]
        self._keys = [[_key(synonym) for synonym in synonyms] for synonyms in self._synonyms]

    def full(self, index: int) -> str:
        """A class's name with its synonyms; "class 7" where it has none."""
        return f"class {index}" if self._names is None else self._names[index]

    def short(self, index: int) -> str:
        """The first synonym of a class's name."""
        return next(iter(self._synonyms[index]), self.full(index)) if self._names else self.full(index)

    def find(self, query: str | int) -> int:
        """The class somebody means.

        A whole number is an index, always. Anything else is a name: equal to one class's synonym, or, if there
        is no such class, words that stand in the name of exactly one class.

        Raises:
            ValueError: If the index is out of range, or the name is that of no class or of several; the text
                lists the nearest.
        """
        text = str(query).strip()
        if re.fullmatch(r"[+-]?\d+", text):
            index = int(text)
            if not 0 <= index < self.count:
                raise ValueError(
                    f"class {index} is out of range: the model's classes are 0..{self.count - 1}"
                )
            return index
        if self._names is None:
            raise ValueError(
                f"class {text!r} cannot be looked up: the model's {self.count} classes have no names here; give "
                f"an index in 0..{self.count - 1}, or a file with one name a line (--classes)"
            )
        key = _key(text)
        found = [index for index, keys in enumerate(self._keys) if key in keys]
        if not found and key:
            found = self._containing(key)
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(
                f"class {text!r} could be {self._listed(found)}; give the full name of one, or its index"
            )
        near = self._nearest(key)
        hint = f"; near it: {self._listed(near)}" if near else ""
        raise ValueError(
            f"no class is called {text!r}{hint}; give a name, or an index in 0..{self.count - 1}"
        )

    def _containing(self, key: str) -> list[int]:
        """Classes with a synonym that has these words, one after another."""
        return [
            index for index, keys in enumerate(self._keys) if any(f" {key} " in f" {own} " for own in keys)
        ]

    def _nearest(self, key: str) -> list[int]:
        """Classes with a synonym, or a word, that looks like the key; then those that share a word with it."""
        owners: dict[str, list[int]] = {}
        for index, keys in enumerate(self._keys):
            for text in {*keys, *(word for own in keys for word in own.split())}:
                owners.setdefault(text, []).append(index)
        near = [index for text in get_close_matches(key, owners, NEAREST, SIMILAR) for index in owners[text]]
        for word in key.split():
            near += owners.get(word, ())
        return list(dict.fromkeys(near))

    def _listed(self, indices: Sequence[int]) -> str:
        more = f" and {len(indices) - NEAREST} more" if len(indices) > NEAREST else ""
        return ", ".join(f"{self.full(index)!r} ({index})" for index in indices[:NEAREST]) + more


def imagenet_names(model: nn.Module) -> list[str] | None:
    """WordNet names of a pretrained timm model's classes, synonyms joined by commas.

    timm ships the names and tells ImageNet's editions (1K, 12K, 21K, ...) apart by their number of classes.

    Returns:
        One name a class; None if the model has another number of classes.
    """
    edition = infer_imagenet_subset(model)
    return None if edition is None else list(ImageNetInfo(edition).label_descriptions())


def read_class_names(path: Path) -> list[str]:
    """Names from a UTF-8 text file, one a line in label order.

    Raises:
        ValueError: If the file cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as class names ({error}); give a UTF-8 text file with one name a line"
        ) from error


def _key(name: str) -> str:
    """What counts of a name when it is looked up."""
    return " ".join(re.sub(r"^\d+\.|[-_]", " ", name.casefold()).split())
