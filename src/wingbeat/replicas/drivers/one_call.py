"""Run what replays a recording in one call of torch's interpreter, without Python in between.

Of a small step, going through Python from one operation to the next takes a third of the time.
torch's own interpreter of operations (that of TorchScript, with its optimizations off) calls the
same kernels on the same memory, hence the same bits. Where a torch does not offer it, or where the
list of operations that it was given is not the recording's, Python goes on calling them.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import GraphModule

from wingbeat.generators import GeneratorStates
from wingbeat.replicas.drivers.marks import equal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Program = Callable[..., list[Tensor]]


def in_one_call(program: Program, leaves: Sequence[Tensor]) -> Program:
    """Return a function that does what a program of `replay` does.

    The program is run on the way; random generators are left as they were.

    Args:
        program: what `replay` returned; anything but a list of operations is returned as it is.
        leaves: what it takes.

    >>> from wingbeat.replicas.drivers.replay import replay
    >>> from wingbeat.tracing import trace
    >>> leaf = torch.ones(2)
    >>> program = replay(trace(lambda x: [x + torch.ones(2)], leaf), [leaf])
    >>> in_one_call(program, [leaf])(torch.tensor([1.0, 2.0]))
    [tensor([2., 3.])]
    """
    module = getattr(program, "__self__", None)
    if not isinstance(module, GraphModule) or any(leaf.device.type != "cpu" for leaf in leaves):
        return program
    rng = GeneratorStates.now()
    try:
        return _interpreted(program, module, leaves)
    except (AttributeError, RuntimeError, SystemError, TypeError, ValueError) as error:
        logging.getLogger("wingbeat").info("called from Python: %s", error)
        return program
    finally:
        rng.put_back()


def _interpreted(program: Program, module: GraphModule, leaves: Sequence[Tensor]) -> Program:
    inside: Any = torch._C
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a list is returned, and what may be written into
        traced, _ = inside._create_graph_by_tracing(
            lambda *given: tuple(program(*given)),
            tuple(leaves),
            lambda _: "",
            True,
            False,
            None,
            [],
        )
    _check(traced, module)
    function = inside._create_function_from_graph("step", traced)

    def called(*given: Tensor) -> list[Tensor]:
        """Return what the program returns."""
        usual = inside._get_graph_executor_optimize()
        inside._set_graph_executor_optimize(False)
        try:
            return list(function(*given))
        except RuntimeError:
            program(*given)  # it says what is wrong in fewer words
            raise
        finally:
            inside._set_graph_executor_optimize(usual)

    _compare(program, called, leaves)
    return called


def _compare(program: Program, called: Program, leaves: Sequence[Tensor]) -> None:
    """Refuse a function that does not return just what the program does.

    Raises:
        ValueError: it does not.
    """
    rng = GeneratorStates.now()
    expected = program(*leaves)
    rng.put_back()
    found = called(*leaves)
    pairs = zip(found, expected, strict=True)
    if not equal(found, expected) or any(_form(a) != _form(b) for a, b in pairs):
        msg = "the interpreter returns something else"
        raise ValueError(msg)


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.shape, tensor.stride(), tensor.layout


def _check(traced: Any, module: GraphModule) -> None:
    """Refuse a list in which an operation of the module's was not seen: what it made is a constant.

    What is made for nothing is not in the list.

    Raises:
        ValueError: one may not have been seen.
    """
    own = {t.data_ptr() for t in vars(module).values() if isinstance(t, torch.Tensor)}
    asked = [node for node in module.graph.nodes if node.op in {"call_function", "call_method"}]
    numbers = {number for node in asked for number in _numbers((node.args, node.kwargs))}
    if strange := [node.target for node in asked if not _is_torchs(node.target)]:
        msg = f"{strange[0]} is no operation of torch's"
        raise ValueError(msg)
    for node in traced.nodes():
        if node.kind() == "prim::Constant" and node.output().type().kind() == "TensorType":
            value = node.t("value")
            given = not value.dim() and value.item() in numbers  # traced as a tensor
            if value.data_ptr() not in own and not given:
                msg = "a tensor is held that is none of the recording's"
                raise ValueError(msg)


def _is_torchs(target: Any) -> bool:
    return getattr(target, "namespace", "aten") == "aten"


def _numbers(found: Any) -> list[float]:
    """Return all numbers among arguments."""
    if isinstance(found, dict):
        return _numbers(tuple(found.values()))
    if isinstance(found, (list, tuple)):
        return [number for one in found for number in _numbers(one)]
    return [found] if isinstance(found, (bool, int, float)) else []
