"""Tasks: all that differs between models of ratings, of rankings and of clicks; one file a task."""

from tfrec.tasks.base import Task
from tfrec.tasks.registry import TASKS, named

__all__ = ["TASKS", "Task", "named"]
