"""The compiled walk: the same bits as the reference, whatever the shape of forest and batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.scoring import program
from rowcast.scoring.forest import NAN_LEFT, NAN_RIGHT, merge_forests, reference_margins
from rowcast.scoring.kernels.quantise import quantise
from rowcast.scoring.kernels.walk import MOST_SLOTS, lay_out, walk, walk_rows
from rowcast.scoring.program import (
    MOST_LEVELS,
    Program,
    block_shape,
    oblivious_levels,
    rank_thresholds,
    steps_of,
)
from tests.scoring.forests import draw_forest, draw_matrix, draw_oblivious, share_nodes

SIZES = (0, 1, 2, 63, 64, 65, 255, 256, 257)


def assert_same(forest, matrix):
    expected = reference_margins(forest, matrix)
    scorer = Program(forest)
    assert scorer.margins(matrix).tobytes() == expected.tobytes()
    for size in (1, 5):
        found = [scorer.margins(matrix[at : at + size]) for at in range(0, len(matrix), size)]
        assert np.concatenate(found).tobytes() == expected.tobytes()


@given(
    seed=st.integers(0, 2**32),
    trees=st.integers(1, 8),
    outputs=st.integers(1, 3),
    most=st.integers(1, 80),
    columns=st.integers(1, 6),
    deep=st.booleans(),
    sets=st.integers(0, 20),
    edges=st.booleans(),
)
def test_blocks_and_single_rows_equal_the_reference(
    seed, trees, outputs, most, columns, deep, sets, edges
):
    rng = np.random.default_rng(seed)
    forest = draw_forest(
        rng,
        trees=trees,
        outputs=outputs,
        leaves=(1, most),
        columns=columns,
        deep=deep,
        sets=sets,
        edges=edges,
    )
    assert_same(forest, draw_matrix(rng, forest, 130))


@pytest.mark.parametrize(
    "shape",
    [
        {"trees": 2000, "leaves": (2, 8)},
        {"trees": 20, "leaves": (255, 255)},
        {"trees": 20, "leaves": (256, 256), "deep": True},
        {"trees": 3, "leaves": (257, 257)},
        {"trees": 3, "leaves": (1500, 1500)},
        {"trees": 3, "leaves": (1500, 1500), "deep": True},
        {"trees": 40, "leaves": (31, 31), "columns": 1000},
        {"trees": 2, "outputs": 500, "leaves": (1, 6)},
        {"trees": 30, "leaves": (1, 1)},
        {"trees": 0},
        {"trees": 60, "leaves": (60, 64), "columns": 1, "distinct": 254, "kinds": (NAN_LEFT,)},
        {"trees": 60, "leaves": (60, 64), "columns": 1, "distinct": 255, "kinds": (NAN_LEFT,)},
        {"trees": 60, "leaves": (60, 64), "columns": 1, "distinct": 2000},
        {"trees": 60, "leaves": (60, 64), "columns": 2, "distinct": 600},
        {"trees": 1, "leaves": (2, 2), "columns": 300},
        {"trees": 20, "leaves": (60, 64), "columns": 1, "sets": 500, "distinct": 2000},
        {"trees": 20, "leaves": (60, 64), "columns": 2, "sets": 9},
        {"trees": 60, "leaves": (60, 64), "columns": 2, "distinct": 600, "edges": False},
        {"trees": 60, "leaves": (60, 64), "columns": 1, "distinct": 2, "edges": False},
    ],
    ids=str,
)
def test_forests_of_every_shape_equal_the_reference(shape):
    rng = np.random.default_rng(5)
    forest = draw_forest(rng, **shape)
    assert_same(forest, draw_matrix(rng, forest, 300))


@given(seed=st.integers(0, 2**32), outputs=st.integers(1, 5), most=st.integers(1, 40))
def test_trees_that_share_nodes_equal_the_reference(seed, outputs, most):
    rng = np.random.default_rng(seed)
    forest = share_nodes(rng, draw_forest(rng, leaves=(1, most)), outputs)
    assert_same(forest, draw_matrix(rng, forest, 130))


@given(
    seed=st.integers(0, 2**32),
    trees=st.integers(1, 8),
    outputs=st.integers(1, 4),
    deepest=st.integers(0, 9),
    columns=st.integers(1, 6),
)
def test_oblivious_trees_equal_the_reference(seed, trees, outputs, deepest, columns):
    rng = np.random.default_rng(seed)
    forest = draw_oblivious(rng, trees=trees, outputs=outputs, depth=(0, deepest), columns=columns)
    assert_same(forest, draw_matrix(rng, forest, 130))


def test_trees_that_share_nodes_are_added_up_in_order():
    rng = np.random.default_rng(1)
    drawn = share_nodes(rng, draw_forest(rng, trees=7, leaves=(1, 9)), 3)
    forest = replace(drawn, outputs=1, base=np.zeros(1))
    assert_same(forest, draw_matrix(rng, forest, 300))


@pytest.mark.parametrize(
    "thresholds",
    [
        [0.0],
        [5e-324, 1e-323],
        [0.0, 5e-324],
        [-1.7e308, 1.7e308],
        [-1.7e308, 0.0, 1.7e308],
        [1.0, np.nextafter(1.0, 2.0), np.nextafter(1.0, 0.0)],
        [-np.inf, np.inf],
        [-np.inf, 0.1, 0.2, 0.3, np.inf],
        [1e300, 1.0, 2.0, 3.0],
        np.linspace(-1.0, 1.0, 1000).tolist(),
        np.geomspace(1e-30, 1e30, 1000).tolist(),
        (16_777_216.0 + np.arange(300.0)).tolist(),
    ],
    ids=lambda thresholds: str(thresholds[:3]),
)
def test_ranks_are_found_however_thresholds_are_spread(thresholds):
    rng = np.random.default_rng(1)
    n_nodes = len(thresholds)
    forest = draw_forest(rng, trees=1, leaves=(n_nodes + 1, n_nodes + 1), columns=1)
    forest = replace(forest, thresholds=rng.permutation(np.array(thresholds)))
    assert_same(forest, draw_matrix(rng, forest, 4000))


def levels_of(forest):
    return oblivious_levels(forest, rank_thresholds(forest)[1])


@pytest.mark.parametrize("outputs", [1, 3])
def test_oblivious_trees_are_recognised_up_to_a_depth(outputs):
    rng = np.random.default_rng(1)
    forests = [draw_oblivious(rng, trees=1, outputs=outputs, depth=(d, d)) for d in range(10)]
    forest = merge_forests(forests, [1.0] * 10)
    depths = [*range(MOST_LEVELS + 1), 0]
    assert levels_of(forest).tolist() == np.repeat(depths, outputs).tolist()


@pytest.mark.parametrize("name", ["columns", "thresholds", "missing", "left"])
@pytest.mark.parametrize("node", range(1, 7))
def test_a_tree_is_not_oblivious_if_one_node_differs(name, node):
    forest = draw_oblivious(np.random.default_rng(3), trees=1, depth=(3, 3))
    array = getattr(forest, name).copy()
    forest = replace(forest, **{name: array})
    if name == "left":
        right = forest.right.copy()
        array[node], right[node] = right[node], array[node]
        forest = replace(forest, right=right)
    elif name == "thresholds":
        array[node] += 1
    else:
        array[node] = (array[node] + 1) % (4 if name == "columns" else 2)
    assert levels_of(forest).tolist() == [0]
    assert_same(forest, draw_matrix(np.random.default_rng(4), forest, 200))


def test_trees_of_all_kinds_are_walked_together():
    rng = np.random.default_rng(1)
    forests = [
        draw_oblivious(rng, trees=6, outputs=3),
        draw_forest(rng, outputs=3, leaves=(1, 300)),
        draw_oblivious(rng, outputs=3, depth=(8, 8)),
        share_nodes(rng, draw_forest(rng, sets=5), 3),
        draw_forest(rng, outputs=3, sets=30),
    ]
    forest = merge_forests(forests, [0.5, 0.1, -1.0, 2.0, 0.3])
    assert_same(forest, draw_matrix(rng, forest, 500))


@pytest.mark.parametrize("sets", [20, 70, 300])
def test_many_sets_of_a_column_are_looked_up_together(sets):
    rng = np.random.default_rng(sets)
    forest = draw_forest(rng, trees=80, leaves=(20, 40), columns=2, sets=sets)
    together = (rank_thresholds(forest)[0].word_starts >= 0).sum()
    assert (together > 0) == (sets > 20)
    assert_same(forest, draw_matrix(rng, forest, 3_000))


def test_nan_needs_no_place_of_its_own_where_its_side_follows_from_the_threshold():
    drawn = draw_forest(np.random.default_rng(1), leaves=(20, 20), columns=1)
    sides = np.where(drawn.thresholds >= 0.5, NAN_LEFT, NAN_RIGHT).astype(np.uint8)
    forest = replace(drawn, missing=sides)
    assert len(rank_thresholds(forest)[0].lowest) == 1
    assert_same(forest, draw_matrix(np.random.default_rng(2), forest, 300))


@pytest.mark.parametrize("size", SIZES)
def test_the_size_of_the_batch_does_not_matter(size):
    rng = np.random.default_rng(size)
    forest = draw_forest(rng, trees=30, outputs=2, leaves=(1, 63), columns=12)
    matrix = draw_matrix(rng, forest, 10_000)
    scorer = Program(forest)
    whole = scorer.margins(matrix)
    assert whole.shape == (10_000, 2)
    for start in (0, 1, 4321):
        found = scorer.margins(matrix[start : start + size])
        assert found.shape == (size, 2)
        assert found.tobytes() == whole[start : start + size].tobytes()


def test_the_budget_of_bytes_does_not_matter(monkeypatch):
    rng = np.random.default_rng(2)
    forest = draw_forest(rng, trees=30, columns=12)
    matrix = draw_matrix(rng, forest, 3000)
    whole = Program(forest).margins(matrix).tobytes()
    for budget in (1, 10_000, 100_000):
        monkeypatch.setattr(program, "CODES_BYTES", budget)
        assert Program(forest).margins(matrix).tobytes() == whole


@given(rows=st.integers(1, 5_000_000), places=st.integers(1, 100_000))
def test_blocks_are_whole_lanes_and_bounded(rows, places):
    width, blocks = block_shape(rows, places)
    assert width % program.LANES == 0
    assert program.LANES <= width <= program.BLOCK
    assert blocks == 1 or width * blocks * places <= program.CODES_BYTES
    assert width * (blocks - 1) < rows


def test_a_matrix_of_any_layout_and_width_of_number_is_taken():
    rng = np.random.default_rng(2)
    forest = draw_forest(rng)
    matrix = rng.normal(size=(200, 4)).astype(np.float32)
    whole = Program(forest).margins(matrix.astype(np.float64)).tobytes()
    assert Program(forest).margins(matrix).tobytes() == whole
    assert Program(forest).margins(np.asfortranarray(matrix)).tobytes() == whole


def test_threads_share_a_program():
    rng = np.random.default_rng(2)
    forest = draw_forest(rng, trees=40, leaves=(31, 31))
    matrix = draw_matrix(rng, forest, 4000)
    scorer = Program(forest)
    whole = scorer.margins(matrix).tobytes()
    with ThreadPoolExecutor(4) as pool:
        assert {m.tobytes() for m in pool.map(scorer.margins, [matrix] * 20)} == {whole}


def test_few_masks_wait_at_a_time():
    rng = np.random.default_rng(2)
    for deep in (False, True):
        forest = draw_forest(rng, trees=1, leaves=(4000, 4000), deep=deep)
        steps = steps_of(forest, rank_thresholds(forest)[1])
        assert max(steps.slots.max(), steps.sides.max()) < (3 if deep else MOST_SLOTS)


def test_kernels_answer_the_same_uncompiled(monkeypatch):
    rng = np.random.default_rng(2)
    forest = draw_forest(rng, trees=6, leaves=(1, 12), sets=10)
    forest = merge_forests([forest, draw_oblivious(rng, depth=(2, 3))], [1.0, 1.0])
    matrix = draw_matrix(rng, forest, 70)
    compiled = Program(forest).margins(matrix), Program(forest).margins(matrix[:1])
    for kernel in (lay_out, quantise, walk, walk_rows):
        monkeypatch.setattr(program, kernel.__name__, kernel.py_func)
    plain = Program(forest).margins(matrix), Program(forest).margins(matrix[:1])
    assert [m.tobytes() for m in plain] == [m.tobytes() for m in compiled]
