import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from viz.components.payload import pack, photo_bytes, unpack

ARRAYS = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.uint8, np.uint32]),
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=7),
)


@given(st.dictionaries(st.sampled_from("abcd"), ARRAYS), st.text(max_size=20))
def test_unpack_returns_what_was_packed(arrays, text):
    header, back = unpack(pack({"text": text}, **arrays))
    assert header == {"text": text}
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_arrays_begin_where_the_browser_can_view_them():
    blob = pack({}, a=np.zeros(3, np.uint8), b=np.arange(2, dtype=np.float32))
    start = 4 + int.from_bytes(blob[:4], "little")
    assert start % 4 == 0
    assert blob[start + 4 : start + 12] == np.arange(2, dtype=np.float32).tobytes()


def test_other_types_are_refused_by_name():
    with pytest.raises(TypeError, match="'weights' is float64"):
        pack({}, weights=np.zeros(3))


def test_photo_bytes_bounds_the_longer_side():
    photo = Image.new("RGB", (2000, 1000), "red")
    small = Image.open(io.BytesIO(photo_bytes(photo, max_side=300)))
    assert small.size == (300, 150)
    assert photo.size == (2000, 1000)
