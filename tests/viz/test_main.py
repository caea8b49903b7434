"""`python -m viz`: attention as files."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import zoo
from model.datasets import samples, scenes
from model.intervention import intervene
from model.recorded_image import record_image
from model.recording.rollout import FUSIONS
from model.zoo import checkpoints
from viz.__main__ import main

NAME = zoo.names()[-1]


def test_one_picture_writes_sheet_layers_rollout_and_numbers(tmp_path):
    picture = tmp_path / "cup.png"
    samples.load("coffee").save(picture)
    out = tmp_path / "out"
    assert main([str(picture), "--model", NAME, "--out", str(out), "--query", "1,2"]) == 0
    bundle = zoo.load(NAME)
    seen = record_image(bundle, samples.load("coffee"))
    names = {path.name for path in out.iterdir()}
    layers = {f"layer-{i + 1:02d}-mean.png" for i in range(len(seen.records))}
    assert names == layers | {"heads.png", "rollout.png", "attention.npz"}
    numbers = np.load(out / "attention.npz")
    query = bundle.tokens.index_of(0, 1)
    assert numbers["query"] == query
    np.testing.assert_array_equal(numbers["weights"], seen.rows(query))
    np.testing.assert_allclose(numbers["rollout"].sum(), 1, atol=1e-5)
    assert Image.open(out / "rollout.png").size == seen.frame.size


def test_every_fusion_can_be_chosen(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert f"--fusion {{{','.join(FUSIONS)}}}" in capsys.readouterr().out


def test_without_a_name_it_is_the_model_that_the_app_opens_with(tmp_path, monkeypatch):
    picture, asked, load = tmp_path / "cup.png", [], zoo.load
    samples.load("coffee").save(picture)
    monkeypatch.setattr(zoo, "load", lambda name, **how: asked.append(name) or load(name, **how))
    assert main([str(picture), "--out", str(tmp_path / "out")]) == 0
    assert asked == [zoo.names()[0]]


def test_without_any_model_a_sentence_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoints, "DIRECTORY", tmp_path)
    assert main([str(tmp_path / "cup.png"), "--out", str(tmp_path / "out")]) == 1
    assert "There is no model" in capsys.readouterr().err


def test_a_folder_goes_on_where_it_was_stopped(tmp_path, capsys):
    for name in ("coffee", "rocket"):
        samples.load(name).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    command = [str(tmp_path), "--model", NAME, "--out", str(out)]
    assert main(command) == 1, "one of them is no picture"
    assert "broken.jpg" in capsys.readouterr().err
    done = (out / "coffee" / "attention.npz").stat().st_mtime_ns
    (out / "rocket" / "attention.npz").unlink()
    main(command)
    assert (out / "coffee" / "attention.npz").stat().st_mtime_ns == done
    assert (out / "rocket" / "attention.npz").exists()


@pytest.mark.slow
def test_a_folder_is_drawn_again_by_another_model_and_with_other_colors(tmp_path):
    samples.load("coffee").save(tmp_path / "coffee.png")
    out, other = tmp_path / "out", zoo.names()[1]
    command = [str(tmp_path), "--out", str(out), "--model"]
    drawn = set()
    for options in ([NAME], [NAME, "--colors", "magma"], [NAME, "--query", "1,1"], [other]):
        assert main([*command, *options]) == 0
        drawn.add((out / "coffee" / "heads.png").read_bytes())
    assert len(drawn) == 4
    layers = [path.name for path in (out / "coffee").glob("layer-*")]
    assert len(layers) == len(record_image(zoo.load(other), samples.load("coffee")).records)
    (out / "coffee" / "attention.npz").write_bytes(b"damaged")
    assert main([*command, other]) == 0
    assert np.load(out / "coffee" / "attention.npz")["maps"].size


def test_two_pictures_of_one_name_are_both_drawn(tmp_path):
    for kind in ("png", "jpg"):
        samples.load("coffee").save(tmp_path / f"cup.{kind}")
    out = tmp_path / "out"
    assert main([str(tmp_path), "--model", NAME, "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"cup.png", "cup.jpg"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "nothing"], "There is no model"),
        (["--model", "scenes-one-vector"], "as one vector: words have no map"),
        (["--model", NAME, "--query", "99,1"], "give .*ROW,COLUMN from 1,1"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(tmp_path, capsys, arguments, sentence):
    picture = tmp_path / "cup.png"
    samples.load("coffee").save(picture)
    assert main([str(picture), "--out", str(tmp_path / "out"), *arguments]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert re.search(sentence, error)


def test_a_file_in_the_place_of_the_folder_is_a_sentence(tmp_path, capsys):
    picture = tmp_path / "cup.png"
    samples.load("coffee").save(picture)
    assert main([str(picture), "--model", NAME, "--out", str(picture)]) == 1
    assert re.search("cup.png: .*exists", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("option", "value"),
    [*(("--opacity", value) for value in ("5", "-1", "nan", "much")), ("--every", "0")]
    + [("--width", value) for value in ("0", "100000", "wide")],
)
def test_numbers_are_bounded_before_anything_is_made(tmp_path, capsys, option, value):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--out", str(tmp_path), f"{option}={value}"])
    assert option in capsys.readouterr().err


def test_html_named_like_a_folder_is_a_sentence(tmp_path, capsys):
    picture = tmp_path / "cup.png"
    samples.load("coffee").save(picture)
    assert main([str(picture), "--model", NAME, "--html", str(tmp_path)]) == 1
    assert "is a folder. Name a file in it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["cup.png"]


def test_an_empty_folder_says_so(tmp_path, capsys):
    assert main([str(tmp_path), "--model", NAME, "--out", str(tmp_path / "out")]) == 1
    assert "no picture" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.jfif", "b.JPE", "c.mpo", "no_ending"])
def test_a_folder_s_pictures_are_those_that_the_app_takes(tmp_path, name, capsys):
    samples.load("coffee").save(tmp_path / name, "JPEG")
    (tmp_path / f"._{name}").write_bytes(b"what macOS leaves on foreign disks")
    (tmp_path / "notes").write_text("no picture, and no ending")
    out = tmp_path / "out"
    assert main([str(tmp_path), "--model", NAME, "--out", str(out)]) == 0
    assert [path.name for path in out.iterdir()] == [Path(name).stem]


def test_what_was_chosen_to_show_a_picture_is_said(tmp_path, capsys):
    grey = np.asarray(samples.load("coffee").convert("L")).astype(np.uint16) * 16
    Image.fromarray(grey).save(tmp_path / "cells.tif")
    command = [str(tmp_path / "cells.tif"), "--model", NAME, "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "cells.tif: The values use 12 of 16 bits" in capsys.readouterr().err


def test_before_and_after_heads_off_and_patches_hidden(tmp_path):
    picture, out = tmp_path / "cup.png", tmp_path / "out"
    samples.load("coffee").save(picture)
    given = [str(picture), "--model", NAME, "--out", str(out)]
    assert main([*given, "--without-heads", "0.1,1.0", "--hide", "3,4"]) == 0
    bundle = zoo.load(NAME)
    images = bundle.prepare(samples.load("coffee"))
    changes = {"heads_off": {0: [1], 1: [0]}, "hide_patches": [3, 4]}
    with torch.no_grad(), intervene(bundle.net, **changes):
        logits = bundle.net(images)[0]
    answers = json.loads((out / "answers.json").read_text())
    assert next(iter(answers["after"])) == bundle.classes[logits.argmax()]
    assert max(answers["after"].values()) == pytest.approx(logits.softmax(0).max().item())
    before, after = (np.load(out / part / "attention.npz")["maps"] for part in ("before", "after"))
    assert before.shape == after.shape and not np.allclose(before[-1], after[-1])


@pytest.mark.parametrize("given", [("--without-heads", "0.99"), ("--hide", "99999")])
def test_heads_and_patches_that_do_not_exist_are_a_sentence(tmp_path, capsys, given):
    picture = tmp_path / "cup.png"
    samples.load("coffee").save(picture)
    assert main([str(picture), "--model", NAME, "--out", str(tmp_path / "out"), *given]) == 1
    assert "There is no" in capsys.readouterr().err


def test_one_picture_becomes_one_html_file(tmp_path, capsys):
    picture, page = tmp_path / "cup.png", tmp_path / "cup.html"
    samples.load("coffee").save(picture)
    assert main([str(picture), "--model", NAME, "--html", str(page), "--layers", "0,1"]) == 0
    said = capsys.readouterr()
    assert f"{page.stat().st_size / 1e6:.1f} MB" in said.out
    told = float(re.search(r"at most ([\d.]+) MB", said.err)[1])
    assert page.stat().st_size / 1e6 <= told + 0.05
    assert page.read_text().startswith("<!doctype html>")


def test_a_captioner_writes_its_caption_as_html(tmp_path):
    picture, page = tmp_path / "cup.png", tmp_path / "cup.html"
    samples.load("coffee").save(picture)
    assert main([str(picture), "--model", "scenes-captioner", "--html", str(page)]) == 0
    caption = zoo.load("scenes-captioner").caption(samples.load("coffee")).text
    assert f"<title>“{caption}”</title>" in page.read_text()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([], "give --out DIR"),
        (["--out", "out", "--html", "cup.html"], "give --out DIR"),
        (["--html", "cup.html", "--layers", "first"], "is not NUMBER"),
    ],
)
def test_what_is_asked_of_the_html_file_is_checked(more, sentence, capsys):
    with pytest.raises(SystemExit):
        main(["cup.png", *more])
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("image", "more", "sentence"),
    [
        (".", [], "takes one picture"),
        ("missing.png", [], "missing.png"),
        ("cup.png", ["--layers", "0,99"], "99"),
        ("cup.png", ["--query", "99,99"], "--query 99,99"),
        ("cup.png", ["--hide", "99999"], "There is no"),
        ("cup.png", ["--hide", "1", "--model", "scenes-captioner"], "on the page What if"),
    ],
)
def test_an_html_file_that_cannot_be_made_is_a_sentence(tmp_path, capsys, image, more, sentence):
    samples.load("coffee").save(tmp_path / "cup.png")
    page = tmp_path / "cup.html"
    picture = str(tmp_path / image)
    assert main(["--model", NAME, picture, "--html", str(page), *more]) == 1
    assert sentence in capsys.readouterr().err
    assert not page.exists()


def remade_by(program: Path) -> dict[str, object]:
    """What a program that was written beside the pictures makes."""
    made: dict[str, object] = {}
    exec(compile(program.read_text(), str(program), "exec"), made)
    return made


def test_everything_is_written_of_a_folder_and_goes_on_where_it_was_stopped(tmp_path, capsys):
    samples.load("coffee").save(tmp_path / "cup.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    out = tmp_path / "out"
    command = [str(tmp_path), "--model", NAME, "--out", str(out), "--all", "--width", "400"]
    assert main([*command, "--colors", "magma"]) == 1
    assert "broken.png" in capsys.readouterr().err
    cup, kinds = out / "cup", ("png", "svg", "csv", "md", "tex", "py")
    written = {path.name for path in cup.iterdir()}
    assert written >= {f"{name}.{kind}" for name in ("map", "heads", "rollout") for kind in kinds}
    assert written >= {"map-layers.webp", "map-layers.gif", "figure.html", "attention.npz"}
    assert not list(cup.glob(".*")), "nothing is left unfinished"
    assert "![Attention of every head in every layer](heads.svg)" in (cup / "heads.md").read_text()
    made, saved = remade_by(cup / "heads.py"), np.load(cup / "attention.npz")
    np.testing.assert_allclose(made["maps"], saved["maps"], rtol=1e-5)
    assert Image.open(cup / "map.png").width == 400
    before = (cup / "map.svg").stat().st_mtime_ns
    assert main([*command, "--colors", "magma"]) == 1
    assert (cup / "map.svg").stat().st_mtime_ns == before


def test_an_experiment_is_written_with_everything_and_as_html(tmp_path):
    picture, out, page = tmp_path / "cup.png", tmp_path / "out", tmp_path / "cup.html"
    samples.load("coffee").save(picture)
    given = [str(picture), "--model", NAME, "--without-heads", "0.1,0.2", "--hide", "3"]
    assert main([*given, "--out", str(out), "--all"]) == 0
    assert {"before", "after"} < {path.name for path in out.iterdir()}
    made = remade_by(out / "the-answer.py")
    saved = np.load(out / "attention.npz")
    np.testing.assert_allclose(made["after_logits"], saved["after_logits"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        made["after_maps"], np.load(out / "after" / "attention.npz")["maps"], rtol=1e-4, atol=1e-6
    )
    style = ["--colors", "magma", "--opacity", "0.5"]
    assert main([*given, *style, "--html", str(page)]) == 0
    assert "<title>What if?" in page.read_text()


def test_a_captioner_writes_the_map_of_every_word(tmp_path):
    picture, out = tmp_path / "scene.png", tmp_path / "out"
    scenes.draw_scene(5).image.save(picture)
    assert main([str(picture), "--model", "scenes-captioner", "--out", str(out), "--all"]) == 0
    caption = zoo.load("scenes-captioner").caption(scenes.draw_scene(5).image)
    saved = np.load(out / "attention.npz")
    assert str(saved["text"]) == caption.text and len(saved["maps"]) == len(caption.words)
    np.testing.assert_allclose(remade_by(out / "caption.py")["maps"], saved["maps"], rtol=1e-4)
    assert {"caption.svg", "caption-words.gif", "figure.html"} < {
        path.name for path in out.iterdir()
    }
