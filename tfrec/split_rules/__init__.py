"""How interactions are divided into training, validation and test: a class for each rule.

A rule holds its own settings, splits arrays of ratings and describes itself. All are seeded and
see users as positions in sorted order of their ids and ratings in file order, so they do not
depend on how the source was divided into chunks.
"""

from tfrec.split_rules.rating_rules import GivenFiles, LastOut, RandomRatings
from tfrec.split_rules.rule import DROPPED, HISTORY, TEST, VALIDATION, Facts, Split, SplitRule
from tfrec.split_rules.time_rules import ByMonth, ByTime
from tfrec.split_rules.user_rules import HeldOutUsers

RULES: dict[str, type[SplitRule]] = {
    rule.name: rule for rule in (RandomRatings, GivenFiles, ByTime, ByMonth, HeldOutUsers, LastOut)
}
"""The rules by the names that `--split` takes."""

__all__ = [
    "DROPPED",
    "HISTORY",
    "RULES",
    "TEST",
    "VALIDATION",
    "ByMonth",
    "ByTime",
    "Facts",
    "GivenFiles",
    "HeldOutUsers",
    "LastOut",
    "RandomRatings",
    "Split",
    "SplitRule",
]
