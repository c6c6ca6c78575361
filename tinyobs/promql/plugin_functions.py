"""Functions of plugins: what a plugin declares becomes something that the type checker and the evaluation know.

Declarations are checked when the daemon starts.  A fault of a plugin's function while a query runs is an error of that
query which names plugin and function; so is a result of the wrong shape.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import PluginError, QueryError, QueryExecutionError
from ..model.functions import Argument, PromqlFunction, Shape
from .blocks import Block, Floats, Indexes, Mask, Value, mapped, unified, vector_of
from .functions.registry import FunctionSet, Implementation, Kind
from .lexer import is_keyword
from .nodes import ValueType
from .signatures import FUNCTIONS, Signature
from .windows import Windows

if TYPE_CHECKING:
    from .evaluate import Evaluation
    from .plan import CallNode

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_TYPES: Final = {
    Argument.VECTOR: ValueType.VECTOR,
    Argument.RANGE: ValueType.MATRIX,
    Argument.SCALAR: ValueType.SCALAR,
    Argument.STRING: ValueType.STRING,
}


def function_set(declared: Iterable[tuple[str, Any]]) -> FunctionSet:
    """Return the functions of the language and those of plugins: (plugin, `PromqlFunction`).

    Raises `PluginError` that names plugin and function for a declaration that cannot be.
    """
    signatures = dict(FUNCTIONS)
    implementations: dict[str, Implementation] = {}
    owners: dict[str, str] = {}
    for plugin, given in declared:
        if not isinstance(given, PromqlFunction):
            raise PluginError(f"plugin {plugin!r} gave {given!r} as a PromQL function, which is no PromqlFunction")
        fault = _fault(given)
        if given.name in owners:
            fault = f"plugin {owners[given.name]!r} has one of this name"
        if fault:
            raise PluginError(f"plugin {plugin!r} cannot add the PromQL function {given.name!r}: {fault}")
        owners[given.name] = plugin
        signatures[given.name] = _signature(given)
        implementations[given.name] = Implementation(given.name, Kind.GENERAL, _Caller(plugin, given))
    return FunctionSet(signatures, implementations)


def _signature(given: PromqlFunction) -> Signature:
    types = tuple(_TYPES[a] for a in given.arguments)
    return Signature(given.name, types, -1 if given.repeated else 0, optional=given.optional)


def _fault(given: PromqlFunction) -> str:
    """Return what is wrong with a declaration."""
    if not _NAME.match(given.name):
        return "a name is letters, digits and underscores"
    if given.name in FUNCTIONS:
        return "Prometheus has a function of this name"
    if is_keyword(given.name):
        return "it is a word of the language"
    main = Argument.RANGE if given.shape is Shape.WINDOW else Argument.VECTOR
    mains = [i for i, a in enumerate(given.arguments) if a in (Argument.VECTOR, Argument.RANGE)]
    if len(mains) != 1 or given.arguments[mains[0]] is not main:
        return f"exactly one argument of a function of the shape {given.shape} is a {main}"
    left_out = given.optional or given.repeated
    if not 0 <= given.optional <= len(given.arguments) or mains[0] >= len(given.arguments) - left_out:
        return f"the {main} cannot be left out"
    if given.optional and given.repeated:
        return "arguments are either optional or repeated"
    if given.samples_min < 1:
        return "samples_min is at least 1"
    return _call_fault(given)


def _call_fault(given: PromqlFunction) -> str:
    """Return why `call` cannot take the arguments that a query may give it."""
    try:
        signature = inspect.signature(given.call)
    except ValueError:
        return ""  # a ufunc, or something else that was not written in Python
    except TypeError:
        return "its call is not callable"
    columns = {Shape.ELEMENTWISE: 1, Shape.WINDOW: 2, Shape.VECTOR: 3}[given.shape]
    most = columns + len(given.arguments) - 1
    for count in range(most - (given.optional or given.repeated), most + 1 + 2 * given.repeated):
        try:
            signature.bind(*[None] * count)
        except TypeError as e:
            return f"its call cannot take {count} arguments: {e}"
    return ""


class _Caller:
    """Calls the function of a plugin for a call in a query."""

    def __init__(self, plugin: str, given: PromqlFunction) -> None:
        self._plugin, self._given = plugin, given

    def __call__(self, evaluation: Evaluation, call: CallNode) -> Value:
        """Evaluate the arguments, and the function on them."""
        others = [
            evaluation.text(a) if a.type is ValueType.STRING else evaluation.scalar(a)
            for a in call.arguments
            if a.type in (ValueType.STRING, ValueType.SCALAR)
        ]
        return {Shape.ELEMENTWISE: self._elementwise, Shape.WINDOW: self._window, Shape.VECTOR: self._vector}[
            self._given.shape
        ](evaluation, call, others)

    def _elementwise(self, evaluation: Evaluation, call: CallNode, others: Sequence[Any]) -> Value:
        vector = evaluation.floats(next(a for a in call.arguments if a.type is ValueType.VECTOR))

        def change(block: Block) -> Block:
            found = self._run(block.values, *others)
            return Block(block.first, self._floats(found, block.values.shape), block.present)

        found = mapped(vector, vector.labels, change, vector.drop)
        return found if self._given.keeps_name else evaluation.dropped(found)

    def _window(self, evaluation: Evaluation, call: CallNode, others: Sequence[Any]) -> Value:
        def compute(windows: Windows) -> tuple[Floats, Mask]:
            shape = windows.low.shape
            values = np.zeros(shape)
            for cells, samples in windows.gathered(self._given.samples_min):
                at = [_of_cells(other, cells, shape) for other in others]
                found = self._run(windows.times[samples], windows.values[samples], *at)
                values.flat[cells] = self._floats(found, (len(cells),))
            return values, windows.counts >= self._given.samples_min

        found = evaluation.windowed(call, compute)
        return found if self._given.keeps_name else evaluation.dropped(found, merge=False)

    def _vector(self, evaluation: Evaluation, call: CallNode, others: Sequence[Any]) -> Value:
        vector = evaluation.floats(next(a for a in call.arguments if a.type is ValueType.VECTOR))
        block = vector.whole()
        evaluation.budget.hold(block.values.size)
        found = self._run(list(vector.labels), block.values, block.present, *others)
        if not isinstance(found, tuple) or len(found) != 3:
            raise self._error("it must return labels, values and present")
        labels = [tuple(sorted(pairs)) for pairs in found[0]]
        shape = len(labels), call.steps
        values = self._floats(found[1], shape)
        present = np.asarray(found[2])
        if present.dtype != np.bool_ or present.shape != shape:
            raise self._error(f"present must be bool of shape {shape}, not {present.dtype} of {present.shape}")
        result = unified(vector_of(labels, values, present))
        return result if self._given.keeps_name else evaluation.dropped(result)

    def _run(self, *arguments: Any) -> Any:
        try:
            with np.errstate(all="ignore"):
                return self._given.call(*arguments)
        except QueryError:
            raise
        except Exception as e:
            raise self._error(f"{type(e).__name__}: {e}") from e

    def _floats(self, found: Any, shape: tuple[int, ...]) -> Floats:
        """Return what the function returned as float64, if it has the shape that it must have."""
        values = np.asarray(found)
        if values.shape != shape or values.dtype.kind not in "fiub":
            raise self._error(f"values must be float64 of shape {shape}, not {values.dtype} of {values.shape}")
        return values.astype(np.float64, copy=False)

    def _error(self, what: str) -> QueryExecutionError:
        return QueryExecutionError(f"function {self._given.name} of plugin {self._plugin!r} failed: {what}")


def _of_cells(other: Any, cells: Indexes, shape: tuple[int, ...]) -> Any:
    """Return a scalar for each window, a string as it is."""
    return other if isinstance(other, str) else np.broadcast_to(other, shape).flat[cells]
