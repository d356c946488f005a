"""The tasks by name, as in a model's `task`."""

from tfrec.config import known_names
from tfrec.tasks.base import Task
from tfrec.tasks.ctr import CTR
from tfrec.tasks.ranking import RANKING
from tfrec.tasks.rating import RATING

TASKS: dict[str, Task] = {"rating": RATING, "ranking": RANKING, "ctr": CTR}


def get(task: str | Task) -> Task:
    """The task of that name; a `Task` object is returned as it is.

    Raises:
        ValueError: unknown name.
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}; {known_names(task, TASKS)}; or a Task object")
    return TASKS[task]
