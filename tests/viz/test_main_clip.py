"""`python -m viz` on a clip: files of every frame, the animation, numbers; resumable."""

import csv

import numpy as np
import pytest
from PIL import Image

from model import zoo
from model.recorded_image import record_image
from model.video import open_clip
from model.video.recording import spread_of_map
from tests.model.video.clips import animated, moving_frames
from viz.__main__ import main
from viz.files import clip as clip_files

NAME = "cs231n-cifar10"


def test_a_clip_becomes_maps_an_animation_and_numbers_and_goes_on(tmp_path, monkeypatch, capsys):
    file, out = tmp_path / "moves.gif", tmp_path / "out"
    file.write_bytes(animated(moving_frames(8), milliseconds=120))
    command = [str(file), "--model", NAME, "--out", str(out), "--every", "2", "--map", "3.1"]
    record = clip_files.record_image
    calls = []

    def stop(*given):
        if len(calls) == 3:  # the first frame twice, once to know the layers
            raise KeyboardInterrupt
        calls.append(given)
        return record(*given)

    monkeypatch.setattr(clip_files, "record_image", stop)
    with pytest.raises(KeyboardInterrupt):
        main(command)
    done = sorted(path.name for path in (out / "frames").glob("*.npz"))
    assert done == ["frame-0001.npz", "frame-0002.npz"] and not (out / "attention.npz").exists()
    calls.clear()
    monkeypatch.setattr(
        clip_files, "record_image", lambda *given: calls.append(1) or record(*given)
    )
    assert main(command) == 0
    assert len(calls) == 3, "one to know the layers, and the two frames that were missing"
    bundle, clip = zoo.load(NAME), open_clip(file, every=2)
    with np.load(out / "attention.npz") as numbers:
        assert numbers["numbers"].tolist() == [0, 2, 4, 6]
        for place, image in enumerate(clip.frames):
            seen = record_image(bundle, image)
            query = bundle.tokens.index_of(2, 2)
            assert np.array_equal(numbers["layer3"][place], seen.layer_maps(3, query))
        chosen = numbers["layer3"][:, 1]
    with Image.open(out / "attention.webp") as moving:
        assert (moving.n_frames, moving.size) == (4, (448, 448))
    with Image.open(out / "attention.gif") as moving:
        assert moving.n_frames == 4
    lines = list(csv.DictReader((out / "frames.csv").open()))
    assert [line["frame"] for line in lines] == ["1", "3", "5", "7"]
    assert [float(line["seconds"]) for line in lines] == pytest.approx([0, 0.24, 0.48, 0.72])
    spreads = [spread_of_map(each) for each in chosen]
    assert [float(line["spread_nats"]) for line in lines] == pytest.approx(spreads, abs=1e-5)
    assert len(list((out / "frames").glob("*.png"))) == 4
    assert not [path for path in out.rglob("*") if path.suffix == ".part"]
    assert main([*command[:-1], "9.9"]) == 1 and "layers 0 to 5" in capsys.readouterr().err


def test_a_clip_that_is_too_long_writes_nothing(tmp_path, capsys):
    folder, out = tmp_path / "frames", tmp_path / "out"
    folder.mkdir()
    for number in range(250):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    command = [str(folder), "--clip", "--model", NAME, "--out", str(out)]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "250 frames" in said and "At most 240 frames and 100 MB" in said
    assert "every 2nd frame" in said and not out.exists()


def test_everything_of_a_clip_and_its_html_file(tmp_path, capsys):
    file, out = tmp_path / "moves.gif", tmp_path / "out"
    file.write_bytes(animated(moving_frames(3)))
    command = [str(file), "--model", NAME, "--map", "3.1", "--query", "1,2"]
    assert main([*command, "--out", str(out), "--all"]) == 0
    kinds = {path.name for path in out.iterdir() if path.is_file()}
    endings = ("png", "svg", "csv", "md", "tex", "py")
    assert kinds >= {f"{name}.{kind}" for name in ("map", "rollout") for kind in endings}
    numbers = np.load(out / "attention.npz")
    for name, expected in (("map", numbers["layer3"][:, 1]), ("rollout", numbers["rollout"])):
        made: dict[str, np.ndarray] = {}
        exec((out / f"{name}.py").read_text(), made)
        np.testing.assert_allclose(made["maps"], expected, atol=1e-6)
    assert main([*command, "--html", str(tmp_path / "clip.html")]) == 0
    assert (tmp_path / "clip.html").read_bytes() == (out / "figure.html").read_bytes()
    assert main([*command, "--html", str(tmp_path / "no.html"), "--hide", "3"]) == 1
    assert "a frame's picture" in capsys.readouterr().err and not (tmp_path / "no.html").exists()
