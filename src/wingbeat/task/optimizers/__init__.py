"""The optimizers of ``torch.optim`` as pure functions on one flat vector.

:func:`pure_optimizer` turns an ordinary optimizer object into its pure form, which
runs unchanged on one replica, under ``torch.func.vmap`` on many, under ``make_fx`` and
under ``torch.func.jvp``. What has no pure form is refused with
:class:`wingbeat.errors.DriverError`, and the caller steps the object itself.
"""

from wingbeat.task.optimizers.adagrad import Adagrad
from wingbeat.task.optimizers.adam import Adam
from wingbeat.task.optimizers.grouped import Grouped, ParameterGroup
from wingbeat.task.optimizers.lookup import pure_optimizer
from wingbeat.task.optimizers.nadam import NAdam
from wingbeat.task.optimizers.pure import PureOptimizer, root
from wingbeat.task.optimizers.radam import RAdam
from wingbeat.task.optimizers.registry import OPTIMIZERS, pure_form
from wingbeat.task.optimizers.resumed import resumed_state
from wingbeat.task.optimizers.rmsprop import RmsProp
from wingbeat.task.optimizers.sgd import Sgd
from wingbeat.task.optimizers.stability import Threshold

__all__ = [
    "OPTIMIZERS",
    "Adagrad",
    "Adam",
    "Grouped",
    "NAdam",
    "ParameterGroup",
    "PureOptimizer",
    "RAdam",
    "RmsProp",
    "Sgd",
    "Threshold",
    "pure_form",
    "pure_optimizer",
    "resumed_state",
    "root",
]
