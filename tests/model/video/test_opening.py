"""Clips open frame by frame, in a process that can be ended, or are refused with a sentence."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from model.errors import ClipRejected, ImageRejected
from model.video import decoder_process, looks_like_a_clip, open_clip, open_frames
from tests.model.video.clips import animated, moving_frames, video


def pixels(frames) -> np.ndarray:
    return np.stack([np.asarray(frame.convert("RGB"), int) for frame in frames])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_moving_pictures_are_what_pillow_decodes_here(kind):
    data = animated(moving_frames(), kind, milliseconds=120)
    with Image.open(io.BytesIO(data)) as image:
        expected = pixels(frame.copy() for frame in ImageSequence.Iterator(image))
    clip = open_clip(data)
    assert np.array_equal(pixels(clip.frames), expected)
    assert clip.seconds == pytest.approx([0.12 * number for number in range(6)])
    assert (clip.milliseconds, clip.numbers, clip.note) == (120, tuple(range(6)), "")


def test_a_video_has_its_frames_its_times_and_stands_upright():
    frames = moving_frames(12)
    clip = open_clip(video(frames, rate=10), every=3, max_side=64)
    assert clip.numbers == (0, 3, 6, 9)
    assert clip.seconds == pytest.approx([0, 0.3, 0.6, 0.9])
    assert np.abs(pixels(clip.frames) - pixels(frames[::3])).mean() < 6
    turned = open_clip(video(frames[:3], turned=90))
    assert turned.frames[0].size == (48, 64)
    expected = pixels([frames[0].transpose(Image.Transpose.ROTATE_90)])
    assert np.abs(pixels(turned.frames[:1]) - expected).mean() < 6
    small = open_clip(video(frames[:3]), max_side=32)
    assert small.frames[0].size == (32, 24)


@pytest.mark.slow
def test_a_clip_of_ten_minutes_is_refused_with_both_numbers_and_the_n_that_does():
    frames = moving_frames(40, (16, 16))
    data = video(frames * 150, rate=10, codec="mpeg4")
    with pytest.raises(ClipRejected) as refused:
        open_clip(data)
    for part in ("6,000 frames", "At most 240 frames and 100 MB", "every 25th frame"):
        assert part in str(refused.value)
    assert open_clip(data, every=25).numbers[-1] == 5975
    with pytest.raises(ClipRejected, match=r"40 frames.*At most 12 .* every 4th frame"):
        open_clip(animated(moving_frames(40)), most=12)
    with pytest.raises(ClipRejected, match=r"At most 240 frames and 0\.0001 MB"):
        open_clip(data, max_bytes=100)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"#EXTM3U\nhttp://127.0.0.1/a.ts\n", "no clip"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "no clip"),
        (b"\0\0\0\x18ftypisom" + bytes(400), "damaged|PyAV"),
        (b"\x1aE\xdf\xa3" + bytes(400), "damaged|PyAV"),
        (b"\xff\xd8\xff" + bytes(20), "one picture"),
        (b"GIF89a" + bytes(40), "damaged"),
    ],
)
def test_what_is_no_clip_is_refused(data, reason):
    with pytest.raises(ClipRejected, match=reason):
        open_clip(data)


def test_a_clip_that_is_cut_off_has_the_frames_before():
    gif = animated(moving_frames(8, (160, 120)))
    clip = open_clip(gif[: len(gif) * 3 // 4])
    assert "damaged after frame" in clip.note and 2 <= len(clip.frames) < 8
    with pytest.raises(ClipRejected, match="one picture"):
        open_clip(animated(moving_frames(1)))
    data = video(moving_frames(40, (160, 120)), codec="mpeg4", kind="matroska")
    cut = open_clip(data[: len(data) // 2])
    assert 2 <= len(cut.frames) < 32 and "damaged after frame" in cut.note


def test_the_process_ends_with_its_time_its_memory_and_its_asker(monkeypatch):
    data = animated(moving_frames(30, (400, 300)))

    def stop(done, total):
        assert (done, total) == (1, 30)
        raise KeyboardInterrupt

    begun = []
    popen = decoder_process.subprocess.Popen

    def begin(*given, **options):
        begun.append(popen(*given, **options))
        return begun[-1]

    monkeypatch.setattr(decoder_process.subprocess, "Popen", begin)
    with pytest.raises(KeyboardInterrupt):
        open_clip(data, report=stop)
    assert begun[0].poll() is not None, "nobody waits, so nothing runs on"
    monkeypatch.setattr(decoder_process, "MAX_CLIP_WAIT", 0.02)
    with pytest.raises(ClipRejected, match="takes longer than"):
        open_clip(data)
    monkeypatch.setattr(decoder_process, "MAX_CLIP_WAIT", 60.0)
    small = "import model.images.decoder_program as bounds\nbounds.MEMORY = 1_000_000\n"
    start = decoder_process.START.replace("from model.video", small + "from model.video")
    monkeypatch.setattr(decoder_process, "START", start)
    with pytest.raises(ClipRejected, match="damaged"):
        open_clip(data)


def test_the_process_opens_no_file_and_no_connection(monkeypatch):
    """Whatever a decoder is made to do, it reaches nothing."""
    after = """
import model.video.decoder_program as program
def read(data, kind, every, max_side):
    try:
        open("/etc/hostname")
    except OSError:
        import errno
        raise program._TooLarge
    return 2, iter(())
program._read_picture = read
from model.video"""
    start = decoder_process.START.replace("\nfrom model.video", after, 1)
    monkeypatch.setattr(decoder_process, "START", start)
    with pytest.raises(ClipRejected, match="too large"):
        open_clip(animated(moving_frames()))


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    frames = moving_frames(12)
    for number, frame in enumerate(frames):
        frame.save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    clip = open_frames(tmp_path, every=4)
    assert clip.numbers == (0, 4, 8) and clip.seconds is None
    assert np.array_equal(pixels(clip.frames), pixels(frames[::4]))
    with pytest.raises(ClipRejected, match=r"12 frames.*At most 5 frames.*every 3rd frame"):
        open_frames(tmp_path, most=5)
    (tmp_path / "frame3.png").write_bytes(b"broken")
    with pytest.raises(ImageRejected, match=r"Frame 4 frame3\.png"):
        open_frames(tmp_path)
    with pytest.raises(ClipRejected, match="two pictures"):
        open_frames(tmp_path, every=20)


def test_clips_are_told_from_pictures(tmp_path):
    (tmp_path / "moves.gif").write_bytes(animated(moving_frames()))
    moving_frames()[0].save(tmp_path / "stands.gif")
    assert looks_like_a_clip(tmp_path / "moves.gif")
    assert not looks_like_a_clip(tmp_path / "stands.gif")
    assert not looks_like_a_clip(tmp_path / "absent.gif")


def test_without_pyav_a_sentence_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "av.py").write_text("raise ImportError\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ClipRejected, match=r"saccade\[video\]"):
        open_clip(b"\0\0\0\x18ftypisom" + bytes(400))
