import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from viz.components.payload import unpack
from viz.components.tiles_payload import MAX_TILES, shown_tiles, tiles_payload


@given(st.integers(1, 70), st.integers(1, 70))
def test_there_are_never_too_many_tiles_and_they_lie_on_a_grid(rows, columns):
    chosen, (down, across) = shown_tiles((rows, columns))
    assert len(chosen) == down * across <= MAX_TILES
    places = chosen.reshape(down, across)
    assert places[0, 0] == 0 and chosen.max() < rows * columns
    assert len(set(chosen.tolist())) == len(chosen)
    if rows * columns <= MAX_TILES:
        assert chosen.tolist() == list(range(rows * columns))


def test_the_payload_holds_every_value():
    values = np.linspace(-1, 1, 36, dtype=np.float32).reshape(6, 6)
    header, arrays = unpack(tiles_payload({"a": values, "b": 2 * values}, (2, 3), "cosine"))
    assert header["titles"] == ["a", "b"] and header["tiles"] == [2, 3]
    assert header["spans"] == [[-1, 1], [-2, 2]]
    np.testing.assert_allclose(arrays["values1"], 2 * values, atol=1e-3)
    header, _ = unpack(tiles_payload({"a": values, "b": values}, (2, 3), "cosine", (-1, 1)))
    assert header["spans"] == [[-1, 1], [-1, 1]]
