"""What a network can learn: the depth of a patch, or the heads in it."""

from fgaf.model.networks.settings import TaskName
from fgaf.model.training.tasks.depth import DepthTask
from fgaf.model.training.tasks.heads import HeadsTask
from fgaf.model.training.tasks.task import Task

TASKS: dict[TaskName, type[Task]] = {"depth": DepthTask, "heads": HeadsTask}
