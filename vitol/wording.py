"""Words that go with numbers."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless there is one.

    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(value: float | None) -> str:
    """A percentage; a dash where there is none.

    >>> percent(12.345), percent(None)
    ('12.3%', '-')
    """
    return "-" if value is None else f"{value:.1f}%"


def images_a_second(rate: float) -> str:
    """A rate; slow ones with a decimal.

    >>> images_a_second(1234.5), images_a_second(0.31)
    ('1,234 images/s', '0.3 images/s')
    """
    return f"{rate:,.{0 if rate >= 10 else 1}f} images/s"
