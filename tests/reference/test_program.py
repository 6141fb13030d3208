"""Capture, the check of programs, the memory plan and its verification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impls.reference.capture import capture
from impls.reference.plan import ALIGNMENT, fit, plan, verify
from impls.reference.program import Instruction, Program, ProgramError, Slot, check
from impls.reference.replay import Replay

X = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])


def program_of(function, **inputs) -> Program:
    return capture(function, inputs)


def some() -> Program:
    return program_of(lambda xp, x, w: {"y": xp.tanh(x @ w + 1.0), "w": w * 2.0}, x=X, w=X.T.copy())


# Capture.


def test_a_program_is_a_flat_list():
    program = some()
    assert [it.operation for it in program.instructions] == ["matmul", "add", "tanh", "multiply"]
    assert program.state.keys() == {"w"}
    assert program.fixed == {program.inputs["x"], *program.constants}


def test_what_depends_on_constants_alone_is_computed_once():
    program = program_of(lambda xp, x: {"y": x * (xp.ones(3, x.dtype) * 2.0 + 1.0)}, x=X)
    assert [it.operation for it in program.instructions] == ["multiply"]


def test_numbers_take_the_dtype_of_the_arrays_beside_them():
    program = program_of(lambda xp, x: {"y": x * 0.1}, x=X.astype(np.float32))
    assert {slot.dtype for slot in program.slots} == {np.dtype(np.float32)}


def test_a_branch_on_a_value_is_refused():
    with pytest.raises(ProgramError, match="branch"):
        program_of(lambda xp, x: {"y": x if xp.sum(x) > 0 else -x}, x=X)


def test_an_output_from_outside_is_refused():
    with pytest.raises(ProgramError, match="output"):
        program_of(lambda xp, x: {"y": X}, x=X)


def test_an_unknown_instruction_is_refused():
    with pytest.raises(AttributeError, match="fft"):
        program_of(lambda xp, x: {"y": xp.fft(x)}, x=X)


def test_mixed_dtypes_are_refused():
    with pytest.raises(ProgramError, match="mixed"):
        program_of(lambda xp, x, y: {"z": x + y}, x=X, y=X.astype(np.float32))


def test_state_that_changes_its_shape_is_refused():
    with pytest.raises(ProgramError, match="state 'x' turns from 2×3 float64 into 3×2 float64"):
        program_of(lambda xp, x: {"x": xp.copy(x.T)}, x=X)


# The check.


def broken(program: Program, number: int, **changes) -> Program:
    instructions = list(program.instructions)
    instructions[number] = replace(instructions[number], **changes)
    return replace(program, instructions=tuple(instructions))


def test_a_read_before_the_write_is_seen():
    program = some()
    late = program.instructions[2].output
    with pytest.raises(ProgramError, match="before they are written"):
        check(broken(program, 1, inputs=(late, late)))


def test_a_second_write_is_seen():
    program = some()
    with pytest.raises(ProgramError, match="a second time"):
        check(broken(program, 1, output=program.instructions[0].output))


def test_an_output_that_is_never_written_is_seen():
    program = some()
    with pytest.raises(ProgramError, match="never written"):
        check(replace(program, instructions=program.instructions[:2]))


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_a_wrong_shape_is_seen(slot):
    program = some()
    out = program.instructions[slot].output
    slots = list(program.slots)
    slots[out] = Slot((2, 5), slots[out].dtype, (0, 1))
    with pytest.raises(ProgramError, match=r"instruction \d"):
        check(replace(program, slots=tuple(slots)))


def test_a_wrong_dtype_is_seen():
    program = some()
    out = program.instructions[0].output
    slots = list(program.slots)
    slots[out] = replace(slots[out], dtype=np.dtype(np.float32))
    with pytest.raises(ProgramError, match="instruction 0"):
        check(replace(program, slots=tuple(slots)))


def test_operands_that_do_not_fit_are_seen():
    program = some()
    x = program.inputs["x"]
    with pytest.raises(ProgramError, match="matrix product"):
        check(broken(program, 0, inputs=(x, x)))


# The plan.

ITEMS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 30), st.integers(0, 10)), max_size=25
)


@given(ITEMS)
def test_what_lives_together_lies_apart(items):
    sizes = {i: size for i, (size, _, _) in enumerate(items)}
    lives = {i: (born, born + length) for i, (_, born, length) in enumerate(items)}
    offsets, total = fit(sizes, lives)
    assert offsets.keys() == sizes.keys()
    for i in sizes:
        assert offsets[i] % ALIGNMENT == 0
        assert offsets[i] + sizes[i] <= total
        for j in sizes:
            together = i != j and lives[i][0] <= lives[j][1] and lives[j][0] <= lives[i][1]
            if together and sizes[i] and sizes[j]:
                assert offsets[i] + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]


def test_dead_memory_is_used_again():
    def chain(xp, x):
        for _ in range(10):  # a product cannot be computed in place
            x = x @ x
        return {"y": x}

    x = np.zeros((8, 8))
    assert plan(program_of(chain, x=x)).arena_bytes == 2 * x.nbytes


def test_elementwise_results_overwrite_what_is_dead():
    program = program_of(
        lambda xp, x: {"y": xp.exp(xp.tanh((x @ x) * 2.0)) + 1.0}, x=np.ones((8, 8))
    )
    assert plan(program).arena_bytes == 8 * 8 * 8
    assert len(plan(program).in_place) == 4


def test_inputs_and_constants_are_never_overwritten():
    x = X.copy()
    replay = Replay(program_of(lambda xp, x: {"y": xp.exp(x * 2.0)}, x=x))
    replay.run(x=x)
    replay.run()
    np.testing.assert_array_equal(x, X)
    assert not replay.plan.in_place.keys() & replay.program.fixed


def test_an_operand_is_not_overwritten_while_another_view_of_it_is_read():
    def function(xp, x):
        y = x @ x
        return {"z": y + y.T}

    x = np.arange(9.0).reshape(3, 3)
    replay = Replay(program_of(function, x=x))
    np.testing.assert_array_equal(replay.run(x=x)["z"], x @ x + (x @ x).T)


def test_packed_parts_are_computed_in_their_place():
    def function(xp, x):
        return {"all": xp.pack(x @ x, xp.sum(x @ x, axis=0)) * 2.0}

    x = np.arange(9.0).reshape(3, 3)
    replay = Replay(program_of(function, x=x))
    assert len(replay.plan.packed) == 1
    expected = np.concatenate([(x @ x).ravel(), (x @ x).sum(0)]) * 2
    np.testing.assert_array_equal(replay.run(x=x)["all"], expected)


@pytest.mark.parametrize(
    "parts",
    [
        lambda xp, x, y: (y, y),
        lambda xp, x, y: (x, y),
        lambda xp, x, y: (y.T, y * 2.0),
        lambda xp, x, y: (y[::-1], y * 2.0),
        lambda xp, x, y: (xp.broadcast_to(y[:1], shape=(3, 3)), y * 2.0),
        lambda xp, x, y: (xp.ones((3, 3), x.dtype), y),
    ],
)
def test_parts_that_cannot_lie_in_the_vector_are_copied(parts):
    def function(xp, x):
        y = x @ x
        return {"all": xp.pack(*parts(xp, x, y)), "y": y + 0.0}

    x = np.arange(9.0).reshape(3, 3)
    from impls.reference.instructions import NUMPY

    eager = function(NUMPY, x)
    replay = Replay(program_of(function, x=x))
    for _ in range(2):
        for name, value in replay.run(x=x).items():
            np.testing.assert_array_equal(value, eager[name])


def test_state_may_change_places():
    program = program_of(lambda xp, a, b: {"a": b * 1.0, "b": a * 1.0}, a=X, b=X)
    replay = Replay(program)
    replay.state["a"][...], replay.state["b"][...] = 1.0, 2.0
    replay.run()
    assert (replay.state["a"] == 2).all()
    assert (replay.state["b"] == 1).all()


# Verification: plans broken on purpose.


def test_two_living_values_in_one_place_are_seen():
    program = program_of(lambda xp, x: {"y": (x @ x) @ (x @ x.T)}, x=np.ones((3, 3)))
    good = plan(program)
    first, second = (program.instructions[i].output for i in (0, 2))
    address = list(good.address)
    address[second] = address[first]
    with pytest.raises(ProgramError, match="written over"):
        verify(program, replace(good, address=address))


def test_a_product_over_its_own_operand_is_seen():
    program = program_of(lambda xp, x: {"y": (x @ x) @ x}, x=np.ones((3, 3)))
    good = plan(program)
    address = [0] * len(good.address)
    with pytest.raises(ProgramError, match="may not touch"):
        verify(program, replace(good, address=address))


def test_a_write_to_an_input_is_seen():
    program = program_of(lambda xp, x: {"y": x * 2.0}, x=X)
    good = plan(program)
    out = program.outputs["y"]
    home = list(good.home)
    home[out] = program.inputs["x"]
    with pytest.raises(ProgramError, match="may not touch"):
        verify(program, replace(good, home=home))


def test_old_state_read_after_the_new_is_written_is_seen():
    program = program_of(lambda xp, w, x: {"w": w + x, "y": w * x}, w=X, x=X)
    good = plan(program)
    before, after = program.state["w"]
    home, address = list(good.home), list(good.address)
    home[after], address[after] = before, address[before]
    with pytest.raises(ProgramError, match="written over"):
        verify(program, replace(good, home=home, address=address, in_place={after: before}))


def test_slots_print_as_a_reader_says_them():
    assert str(Slot((3, 4), np.dtype(np.float32), (0, 1))) == "3×4 float32"
    assert str(Slot((), np.dtype(np.float32), ())) == "scalar float32"
    assert Instruction("add", (0, 1), 2, {}).output == 2
