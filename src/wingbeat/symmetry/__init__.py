"""Permutation symmetries of any model, and aligning one model with another.

>>> import torch
>>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
>>> spec = permutation_spec(net, torch.zeros(1, 2))
>>> moved = spec.random(0).apply(net.state_dict())
>>> align(net, moved, spec) == spec.random(0).inverse()
True
"""

from wingbeat.symmetry.activation_matching import activation_matching
from wingbeat.symmetry.align import align, aligned_distance
from wingbeat.symmetry.find import permutation_spec
from wingbeat.symmetry.groups import Blocked, Group
from wingbeat.symmetry.repair import ChannelStatistics, channel_statistics, repair
from wingbeat.symmetry.sinkhorn import sinkhorn, sinkhorn_refine
from wingbeat.symmetry.spec import Permutation, PermutationSpec
from wingbeat.symmetry.weight_matching import weight_matching

__all__ = [
    "Blocked",
    "ChannelStatistics",
    "Group",
    "Permutation",
    "PermutationSpec",
    "activation_matching",
    "align",
    "aligned_distance",
    "channel_statistics",
    "permutation_spec",
    "repair",
    "sinkhorn",
    "sinkhorn_refine",
    "weight_matching",
]
