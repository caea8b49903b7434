import pytest

from model.datasets.captions import pack_captions
from model.errors import DataError


def test_packing_captions_asks_for_flickr8k(tmp_path):
    with pytest.raises(DataError, match=r"has no Flickr8k.token.txt. Give the folder of Flickr8k"):
        pack_captions(tmp_path, tmp_path / "packed")
