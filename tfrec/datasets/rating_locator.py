"""Finds the file and line of a rating, for errors."""

from collections.abc import Callable, Iterable

from tfrec.datasets import files
from tfrec.datasets.raw_dataset import rating_number


def locator(
    ratings: Iterable[files.TextFile],
    header: bool = False,
    is_rating: Callable[[bytes], bool] = bool,
) -> Callable[[int], str]:
    """Makes the `locate` of a `RawDataset`.

    Args:
        ratings: The files of ratings, in the order in which they are read.
        header: Each file's first line is a header.
        is_rating: Whether a line (without its ending) is a rating; by default, if it is not
            empty.

    Returns:
        A function from the number of a rating, counted from 0 over all files, to file and line,
        such as "ml-1m.zip/ml-1m/ratings.dat, line 17". It reads the files again.
    """
    ratings = list(ratings)

    def locate(number: int) -> str:
        left = number
        for file in ratings:
            for first_line, block in file.blocks():
                lines = enumerate(block.splitlines(), first_line)
                numbers = [n for n, line in lines if n > header and is_rating(line)]
                if left < len(numbers):
                    return f"{file.where}, line {numbers[left]}"
                left -= len(numbers)
        return rating_number(number)  # the files have changed meanwhile

    return locate
