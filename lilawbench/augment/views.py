"""Named views of a sample: what a method may ask for of the rows that it trains on.

plain   as it is
weak    through the options of train.augment, what training sees unless the method asks for something else
strong  as weak, and then through an AutoAugment policy (train.strong_policy); of rows that are no images, the weak one
"""

from collections.abc import Sequence

VIEWS = ("plain", "weak", "strong")


def view_names(views: Sequence[str]) -> list[str]:
    """Names under which a batch holds its views: a name that comes again gets its number, weak, weak2, strong.

    Raises:
        ValueError: no view, or one that is not there.
    """
    if not views or set(views) - set(VIEWS):
        raise ValueError(f"views are {list(views)}; a method wants at least one of {', '.join(VIEWS)}")
    counts = [list(views[: place + 1]).count(view) for place, view in enumerate(views)]
    return [view if count == 1 else f"{view}{count}" for view, count in zip(views, counts)]
