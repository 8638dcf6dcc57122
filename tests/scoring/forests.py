"""Forests drawn at random, and how LightGBM would write them down."""

from __future__ import annotations

import numpy as np

from rowcast.scoring.forest import (
    NAN_LEFT,
    NAN_RIGHT,
    NEAR_ZERO,
    SET_NAN_LEFT,
    SET_NAN_RIGHT,
    ZERO_LEFT,
    ZERO_RIGHT,
    Forest,
    make_forest,
)

DECISIONS = {NAN_LEFT: 10, NAN_RIGHT: 8, ZERO_LEFT: 6, ZERO_RIGHT: 4}
_NEAR = (0.0, 1e-36, 5e-324, NEAR_ZERO, float(np.nextafter(NEAR_ZERO, 1)), 1.0, 1e300)
BY_NODE = ("columns", "thresholds", "missing", "left", "right")
EDGES = np.array([*_NEAR, *(-edge for edge in _NEAR)])
"""Numbers that rules of their own, or none, apply to."""


def draw_forest(
    rng: np.random.Generator,
    *,
    trees: int = 5,
    outputs: int = 1,
    leaves: tuple[int, int] = (1, 40),
    columns: int = 4,
    distinct: int = 30,
    kinds: tuple[int, ...] = (NAN_LEFT, NAN_RIGHT, ZERO_LEFT, ZERO_RIGHT),
    deep: bool = False,
    sets: int = 0,
    edges: bool = True,
) -> Forest:
    """Split leaves at random, or always the last one, as LightGBM numbers them.

    With ``sets``, half of the nodes ask for one of so many sets. Without ``edges``, thresholds lie
    close together.
    """
    sizes = rng.integers(leaves[0], leaves[1] + 1, trees * outputs)
    left, right = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for size in sizes:
        tree = np.empty((size - 1, 2), np.int32)
        parents: list[tuple[int, int] | None] = [None]
        for node in range(size - 1):
            leaf = node if deep else int(rng.integers(node + 1))
            if (parent := parents[leaf]) is not None:
                tree[parent] = node
            tree[node] = ~leaf, ~(node + 1)
            parents[leaf] = (node, 0)
            parents.append((node, 1))
        left.append(tree[:, 0])
        right.append(tree[:, 1])
    n_nodes = int((sizes - 1).sum())
    pool = rng.normal(size=distinct)
    if edges:
        pool = np.concatenate([EDGES, [np.inf], pool])
    thresholds, missing = rng.choice(pool, n_nodes), rng.choice(np.array(kinds), n_nodes)
    numbers = pool[np.isfinite(pool)]
    own_sets = [np.unique(rng.choice(numbers, rng.integers(9))) for _ in range(sets)]
    if sets:
        in_set = rng.random(n_nodes) < 0.5
        thresholds = np.where(in_set, rng.integers(sets, size=n_nodes), thresholds)
        set_kinds = rng.choice([SET_NAN_LEFT, SET_NAN_RIGHT], n_nodes)
        missing = np.where(in_set, set_kinds, missing)
    return make_forest(
        n_columns=columns,
        outputs=outputs,
        node_starts=np.cumsum(sizes - 1) - (sizes - 1),
        leaves=sizes,
        columns=rng.integers(0, columns, n_nodes),
        thresholds=thresholds,
        missing=missing,
        left=np.concatenate(left),
        right=np.concatenate(right),
        values=rng.normal(size=int(sizes.sum())) * 10.0 ** rng.integers(-6, 6),
        base=rng.normal(size=outputs) * rng.integers(0, 2),
        set_starts=np.cumsum([0, *map(len, own_sets)]),
        set_edges=np.concatenate([np.zeros(0), *own_sets]),
    )


def draw_matrix(rng: np.random.Generator, forest: Forest, rows: int) -> np.ndarray:
    """Values around the thresholds, on them, and beyond all of them."""
    edges = np.concatenate([EDGES, [np.nan, np.nan, np.inf, -np.inf], forest.thresholds])
    edges = np.concatenate([edges, forest.set_edges])
    beside = np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)])
    anything = rng.normal(size=(rows, forest.n_columns))
    return np.where(rng.random(anything.shape) < 0.5, anything, rng.choice(beside, anything.shape))


def draw_oblivious(
    rng: np.random.Generator,
    *,
    trees: int = 5,
    outputs: int = 1,
    depth: tuple[int, int] = (0, 9),
    columns: int = 4,
) -> Forest:
    """Ask one question on each level of a tree, in the order that CatBoost's reader has."""
    depths = rng.integers(depth[0], depth[1] + 1, trees)
    parts: dict[str, list[np.ndarray]] = {name: [np.zeros(0, np.int64)] for name in BY_NODE}
    for levels in depths.tolist():
        asked = draw_forest(rng, trees=1, leaves=(levels + 1, levels + 1), columns=columns)
        level = np.repeat(np.arange(levels), 1 << np.arange(levels))
        for name in ("columns", "thresholds", "missing"):
            parts[name].append(getattr(asked, name)[level])
        child = 2 * np.arange(len(level)) + 1
        for name, at in (("left", child), ("right", child + 1)):
            parts[name].append(np.where(at < len(level), at, ~(at - len(level))))
    leaves = 1 << depths
    forest = make_forest(
        n_columns=columns,
        outputs=1,
        node_starts=np.cumsum(leaves - 1) - (leaves - 1),
        leaves=leaves,
        **{name: np.concatenate(arrays) for name, arrays in parts.items()},
        values=rng.normal(size=leaves.sum()),
        base=rng.normal(size=1),
    )
    return forest if outputs == 1 else share_nodes(rng, forest, outputs)


def share_nodes(rng: np.random.Generator, forest: Forest, outputs: int) -> Forest:
    """Let each tree of a forest with one output become ``outputs`` trees that share its nodes."""
    leaves = np.repeat(np.diff(forest.leaf_starts), outputs)
    return make_forest(
        n_columns=forest.n_columns,
        outputs=outputs,
        node_starts=np.repeat(forest.node_starts, outputs),
        leaves=leaves,
        **{name: getattr(forest, name) for name in BY_NODE},
        values=rng.normal(size=leaves.sum()),
        base=rng.normal(size=outputs),
        set_starts=forest.set_starts,
        set_edges=forest.set_edges,
    )


def lightgbm_text(forest: Forest, flags: np.ndarray | None = None) -> bytes:
    """Write the lines that matter.

    Parameters
    ----------
    flags
        Decision types instead of the forest's own; odd ones ask for sets of their own.
    """
    names = " ".join(f"c{i}" for i in range(forest.n_columns))
    head = [
        "tree",
        "version=v4",
        f"num_class={forest.outputs}",
        f"num_tree_per_iteration={forest.outputs}",
        "label_index=0",
        f"max_feature_idx={forest.n_columns - 1}",
        "objective=regression",
        f"feature_names={names}",
        f"feature_infos={' '.join(['[0:1]'] * forest.n_columns)}",
    ]
    trees = [_tree_text(forest, tree, flags) for tree in range(forest.n_trees)]
    sizes = "tree_sizes=" + " ".join(str(len(text)) for text in trees)
    return ("\n".join([*head, sizes]) + "\n\n" + "".join(trees) + "end of trees\n").encode()


def _tree_text(forest: Forest, tree: int, flags: np.ndarray | None) -> str:
    leaves = slice(*forest.leaf_starts[tree : tree + 2].tolist())
    first = int(forest.node_starts[tree])
    nodes = slice(first, first + leaves.stop - leaves.start - 1)
    decisions = [DECISIONS[kind] for kind in forest.missing[nodes].tolist()]
    if flags is not None:
        decisions = flags[nodes].tolist()
    thresholds = forest.thresholds[nodes].tolist()
    asking = [node for node, flag in enumerate(decisions) if flag % 2]
    dice = np.random.default_rng(len(asking))
    bounds = np.cumsum([0, *dice.integers(0, 3, len(asking))]).tolist()
    for number, node in enumerate(asking):
        thresholds[node] = number
    sets: dict[str, object] = {
        "cat_boundaries": bounds,
        "cat_threshold": dice.integers(1 << 32, size=bounds[-1]).tolist(),
    }
    entries: dict[str, object] = {
        "num_leaves": leaves.stop - leaves.start,
        "num_cat": len(asking),
        **(sets if asking else {}),
        "split_feature": forest.columns[nodes].tolist(),
        "split_gain": [1] * len(decisions),
        "threshold": thresholds,
        "decision_type": decisions,
        "left_child": forest.left[nodes].tolist(),
        "right_child": forest.right[nodes].tolist(),
        "leaf_value": forest.values[leaves].tolist(),
        "is_linear": 0,
        "shrinkage": 1,
    }
    lines = [
        f"{key}={' '.join(map(repr, value)) if isinstance(value, list) else value}"
        for key, value in entries.items()
    ]
    return "\n".join([f"Tree={tree}", *lines]) + "\n\n\n"
