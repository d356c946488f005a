"""Tasks: the differences between models of ratings, rankings and clicks, one file a task."""

from tfrec.tasks.base import Task
from tfrec.tasks.registry import TASKS, get

__all__ = ["TASKS", "Task", "get"]
