"""Building an ONNX graph in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.errors import FailedPrecondition, Unimplemented
from rowcast.scoring.forest import NAN_LEFT, NAN_RIGHT, SET_NAN_LEFT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

    from rowcast.scoring.forest import Forest
    from rowcast.scoring.linear import Linear

OPSETS = {"": 21, "ai.onnx.ml": 5}
"""The first in which trees compare doubles."""
IR_VERSION = 10
ML = "ai.onnx.ml"
NULL_TEXTS = (
    "",
    *(
        sign + "".join(letters)
        for word in ("nan", "inf")
        for sign in ("", "+", "-")
        for letters in (
            (a, b, c)
            for a in (word[0], word[0].upper())
            for b in (word[1], word[1].upper())
            for c in (word[2], word[2].upper())
        )
    ),
)
"""Every text that stands for null; see ``rowcast.scoring.kernels.numbers.null_text``."""
DAY_US = 86_400_000_000
_LEQ, _SUM, _NO_LINK = 0, 1, 0


def import_onnx() -> ModuleType:
    """Import it. Raises FailedPrecondition if it is not installed."""
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise FailedPrecondition(
            "ONNX needs onnx and ONNX Runtime: pip install 'rowcast[onnx]'."
        ) from error
    module: ModuleType = onnx
    return module


class Graph:
    """Nodes and constants of a graph that is being built; values go by their names."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._onnx = import_onnx()
        self._names = set(taken)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def free(self, name: str) -> str:
        """Find a name that no value has yet."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def input(self, name: str, kind: str) -> str:
        """Add an input with a value for each row: ``DOUBLE`` or ``STRING``."""
        self.inputs.append(self._value(name, kind, 1))
        return name

    def output(self, name: str, value: str, kind: str, width: int) -> str:
        """Put a value out under a name, or one like it; ``width`` 0 is a value without columns."""
        named = self.free(name)
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [named]))
        self.outputs.append(self._value(named, kind, width))
        return named

    def constant(self, array: Any) -> str:
        """Add a constant; strings as a list."""
        name = self.free(f"constant{len(self._constants)}")
        helper = self._onnx.helper
        if isinstance(array, list):
            texts = [text.encode() for text in array]
            kind = self._onnx.TensorProto.STRING
            tensor = helper.make_tensor(name, kind, [len(texts)], texts)
        else:
            tensor = self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._constants.append(tensor)
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node, and name its result."""
        result = self.free(f"value{len(self._nodes)}")
        self._nodes.append(
            self._onnx.helper.make_node(
                operator, list(inputs), [result], domain=domain, **attributes
            )
        )
        return result

    def model(self, **facts: str) -> bytes:
        """Serialise the graph as a model, with ``facts`` as its metadata."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, "rowcast", self.inputs, self.outputs, self._constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, n) for domain, n in OPSETS.items()],
            ir_version=IR_VERSION,
            producer_name="rowcast",
        )
        helper.set_model_props(model, facts)
        self._onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def tensor(self, array: np.ndarray) -> Any:
        """An attribute that holds an array."""
        return self._onnx.numpy_helper.from_array(array, "a")

    def _value(self, name: str, kind: str, width: int) -> Any:
        shape = ["rows", width] if width else ["rows"]
        number = getattr(self._onnx.TensorProto, kind)
        return self._onnx.helper.make_tensor_value_info(name, number, shape)


def doubles(*numbers: float) -> np.ndarray:
    """A constant of one row."""
    return np.array([numbers], np.float64)


def looked_up(graph: Graph, column: str, texts: Sequence[str], table: np.ndarray) -> str:
    """Replace each text by a row of a table, whose last two are for unknown texts and for null."""
    n = len(texts)
    nulls = [text for text in NULL_TEXTS if text not in texts]
    keys = [*texts, *nulls]
    codes = graph.add(
        "LabelEncoder",
        column,
        domain=ML,
        keys_strings=keys,
        values_int64s=[*range(n), *[n + 1] * len(nulls)],
        default_int64=n,
    )
    rows = graph.add("Gather", graph.constant(table), codes, axis=0)
    return graph.add("Reshape", rows, graph.constant(np.array([-1, table.shape[1]])))


def calendar(graph: Graph, us: str) -> str:
    """What ``TimestampEncoder`` makes of microseconds since 1970, NaN if they are.

    The civil date follows from the days since the first of March of the year 0, in eras of 400
    years, in whole numbers alone.
    """

    def whole(number: int) -> str:
        return graph.constant(np.array([[number]], np.int64))

    def plus(a: str, number: int) -> str:
        return graph.add("Add", a, whole(number))

    def over(a: str, number: int) -> str:
        return graph.add("Div", a, whole(number))

    def times(a: str, number: int) -> str:
        return graph.add("Mul", a, whole(number))

    def minus(a: str, b: str) -> str:
        return graph.add("Sub", a, b)

    def modulo(a: str, number: int) -> tuple[str, str]:
        rest = graph.add("Mod", a, whole(number))
        return over(minus(a, rest), number), rest

    null = graph.add("IsNaN", us)
    known = graph.add("Where", null, graph.constant(doubles(0.0)), us)
    days, of_day = modulo(graph.add("Cast", known, to=7), DAY_US)
    era, of_era = modulo(plus(days, 719_468), 146_097)
    leaps = graph.add(
        "Sub", graph.add("Add", over(of_era, 1460), over(of_era, 146_096)), over(of_era, 36_524)
    )
    year_of_era = over(minus(of_era, leaps), 365)
    before = minus(
        graph.add("Add", times(year_of_era, 365), over(year_of_era, 4)), over(year_of_era, 100)
    )
    of_year = minus(of_era, before)
    shifted = over(plus(times(of_year, 5), 2), 153)
    day = plus(minus(of_year, over(plus(times(shifted, 153), 2), 5)), 1)
    early = graph.add("Less", shifted, whole(10))
    month = graph.add("Where", early, plus(shifted, 3), plus(shifted, -9))
    march_year = graph.add("Add", year_of_era, times(era, 400))
    year = graph.add("Where", early, march_year, plus(march_year, 1))
    past, last = modulo(plus(year, -1), 400)
    until = minus(graph.add("Add", times(last, 365), over(last, 4)), over(last, 100))
    first = plus(graph.add("Add", times(past, 146_097), until), 306 - 719_468)
    weekday = graph.add("Mod", plus(days, 3), whole(7))
    day_of_year = plus(minus(days, first), 1)
    hour = over(of_day, 3_600_000_000)
    part = graph.add("Div", graph.add("Cast", of_day, to=11), graph.constant(doubles(DAY_US)))
    moment = graph.add("Add", graph.add("Cast", days, to=11), part)
    others = [
        graph.add("Cast", item, to=11) for item in (year, month, day, weekday, day_of_year, hour)
    ]
    columns = graph.add("Concat", moment, *others, axis=1)
    return graph.add("Where", null, graph.constant(doubles(np.nan)), columns)


def trees(graph: Graph, forest: Forest, matrix: str) -> str:
    """Add up the leaves of every row: shape (rows, outputs).

    Raises
    ------
    Unimplemented
        If nodes ask for sets of categories, or have a side of its own for zero.
    """
    asked = set(np.unique(forest.missing).tolist())
    if not asked <= {NAN_LEFT, NAN_RIGHT}:
        what = "categorical splits" if max(asked) >= SET_NAN_LEFT else "a side of its own for zero"
        raise Unimplemented(f"The model's trees have {what}, which ONNX's have not.")
    leaves = np.diff(forest.leaf_starts)
    base = forest.base.copy()
    lone = np.flatnonzero(leaves == 1)
    np.add.at(base, lone % forest.outputs, forest.values[forest.leaf_starts[lone]])
    grown = np.flatnonzero(leaves > 1)
    start = graph.constant(base[None, :])
    if not len(grown):
        return filled(graph, matrix, start)
    sizes = leaves[grown] - 1
    firsts = np.cumsum(sizes) - sizes
    nodes = np.concatenate([np.arange(n) + forest.node_starts[t] for t, n in _pairs(grown, sizes)])
    at = np.concatenate([np.arange(n + 1) + forest.leaf_starts[t] for t, n in _pairs(grown, sizes)])
    first_leaf = np.cumsum(sizes + 1) - (sizes + 1)
    owner = np.repeat(np.arange(len(grown)), sizes)

    def children(side: np.ndarray) -> tuple[list[int], list[int]]:
        child = side[nodes].astype(np.int64)
        is_leaf = child < 0
        ids = np.where(is_leaf, first_leaf[owner] + ~child, firsts[owner] + child)
        return ids.tolist(), is_leaf.astype(np.int64).tolist()

    true_ids, true_leaves = children(forest.left)
    false_ids, false_leaves = children(forest.right)
    sums = graph.add(
        "TreeEnsemble",
        matrix,
        domain=ML,
        aggregate_function=_SUM,
        post_transform=_NO_LINK,
        n_targets=forest.outputs,
        tree_roots=firsts.tolist(),
        nodes_modes=graph.tensor(np.full(len(nodes), _LEQ, np.uint8)),
        nodes_featureids=forest.columns[nodes].astype(np.int64).tolist(),
        nodes_splits=graph.tensor(forest.thresholds[nodes]),
        nodes_truenodeids=true_ids,
        nodes_trueleafs=true_leaves,
        nodes_falsenodeids=false_ids,
        nodes_falseleafs=false_leaves,
        nodes_missing_value_tracks_true=(forest.missing[nodes] == NAN_LEFT).astype(int).tolist(),
        leaf_targetids=np.repeat(grown % forest.outputs, sizes + 1).tolist(),
        leaf_weights=graph.tensor(forest.values[at]),
    )
    return graph.add("Add", sums, start)


def _pairs(trees: np.ndarray, sizes: np.ndarray) -> zip[tuple[int, int]]:
    return zip(trees.tolist(), sizes.tolist(), strict=True)


def filled(graph: Graph, matrix: str, row: str) -> str:
    """Repeat a row as often as the matrix has rows."""
    one, two = graph.constant(np.array([0])), graph.constant(np.array([1]))
    count = graph.add("Slice", graph.add("Shape", matrix), one, two)
    shape = graph.add("Concat", count, graph.constant(np.array([1])), axis=0)
    return graph.add("Expand", row, shape)


def linear(graph: Graph, member: Linear, matrix: str, limit: float) -> str:
    """Add up a linear member: shape (rows, outputs)."""
    null = graph.add("IsNaN", matrix)
    moved = graph.add("Sub", matrix, graph.constant(member.centers[None, :]))
    standard = graph.add("Div", moved, graph.constant(member.scales[None, :]))
    low, high = graph.constant(np.array(-limit)), graph.constant(np.array(limit))
    clipped = graph.add("Clip", standard, low, high)
    known = graph.add("Where", null, graph.constant(doubles(0.0)), clipped)
    told = graph.add("MatMul", known, graph.constant(member.weights))
    missing = graph.add("MatMul", graph.add("Cast", null, to=11), graph.constant(member.missing))
    both = graph.add("Add", told, missing)
    return graph.add("Add", both, graph.constant(member.base[None, :]))
