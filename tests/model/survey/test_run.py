"""The command, from pictures to results."""

import errno
import json
import math
import shutil
import socket
from types import SimpleNamespace

import pandas
import pytest
import torch
from torch import nn

from model import zoo
from model.bundle import Bundle
from model.errors import NothingRecorded, SurveyError
from model.preprocessing import Resize
from model.survey import blocks, ray_cluster, run
from model.survey.__main__ import main
from model.survey.block_measure import BlockMeasure
from model.survey.picture_measures import SURVEYED
from model.survey.state import SurveyState
from model.tokens import TokenLayout
from tests.model.survey.conftest import MODEL

SETTINGS = {"workers": 0, "block": 6, "batch": 4, "sample": 4}


@pytest.fixture(autouse=True)
def _threads():
    """A survey sets the threads of its process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    run.survey_data(MODEL, folder, out, **SETTINGS)
    return out


def state_in(out):
    return (out / run.STATE).read_bytes()


def test_shards_merge_into_the_state_of_one_pass(folder, whole, tmp_path):
    parts = [tmp_path / str(part) for part in (3, 1, 2)]
    for part in parts:
        run.survey_data(MODEL, folder, part, shard=(int(part.name), 3), **SETTINGS)
    run.merge_surveys(parts, tmp_path / "all")
    for name in (run.STATE, "survey.json", "heads.parquet", "top.parquet", "classes.parquet"):
        assert (tmp_path / "all" / name).read_bytes() == (whole / name).read_bytes()


def test_processes_give_the_state_of_one_pass(folder, whole, tmp_path):
    run.survey_data(MODEL, folder, tmp_path, **(SETTINGS | {"workers": 2}))
    assert state_in(tmp_path) == state_in(whole)


def test_a_survey_goes_on_where_an_error_stopped_it(folder, whole, tmp_path, monkeypatch):
    measured = []

    def fail_at_the_third(self, bundle, prepared, measure=blocks.Survey.measure):
        if len(measured) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        measured.append(prepared.block)
        return measure(self, bundle, prepared)

    monkeypatch.setattr(blocks.Survey, "measure", fail_at_the_third)
    with pytest.raises(SurveyError, match="The disk is full"):
        run.survey_data(MODEL, folder, tmp_path, **SETTINGS)
    monkeypatch.undo()
    assert SurveyState.load(tmp_path / run.STATE).blocks == {0, 1}
    run.survey_data(MODEL, folder, tmp_path, **SETTINGS)
    assert state_in(tmp_path) == state_in(whole)


def test_a_full_disk_while_saving_keeps_what_was_saved(folder, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "copy")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("model.survey.state.os.fsync", full)
    with pytest.raises(SurveyError, match=r"The disk is full\. .* kept: make room"):
        run.survey_data(MODEL, folder, tmp_path / "copy", **SETTINGS)
    assert state_in(tmp_path / "copy") == state_in(whole)


def test_other_settings_do_not_continue_a_survey(folder, whole):
    with pytest.raises(SurveyError, match=r"the pictures in a batch .* 4 there and 5 here"):
        run.survey_data(MODEL, folder, whole, **(SETTINGS | {"batch": 5}))


def test_a_worker_of_another_version_is_told(folder, tmp_path, monkeypatch):
    plan = blocks.plan_survey
    versions = iter([("torch 1.0",)])

    def plan_and_change(*arguments, **settings):
        survey = plan(*arguments, **settings)
        now = blocks.take_fingerprint.__globals__["library_versions"]()
        changed = "model.survey.fingerprint.library_versions"
        monkeypatch.setattr(changed, lambda: next(versions, now))
        return survey

    monkeypatch.setattr(run, "plan_survey", plan_and_change)
    with pytest.raises(SurveyError, match=r"worker process .* versions .* torch 1\.0 there"):
        run.survey_data(MODEL, folder, tmp_path, **SETTINGS)


def test_damaged_pictures_are_counted_and_listed(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "some")
    (tmp_path / "some" / "cats" / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "some" / "dogs" / "b.jpg").write_text("no picture")
    file = run.survey_data(MODEL, tmp_path / "some", tmp_path / "out", **SETTINGS)
    results = json.loads(file.read_text())
    assert (results["pictures"], results["damaged"]) == (40, 2)
    assert [text.split(":")[0] for text in results["damaged_pictures"]] == [
        "cats/a.png",
        "dogs/b.jpg",
    ]


def test_only_damaged_pictures_are_no_error(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(b"")
    file = run.survey_data(MODEL, tmp_path, tmp_path / "out", **SETTINGS)
    results = json.loads(file.read_text())
    assert (results["pictures"], results["damaged"]) == (0, 20)
    assert results["mean"]["entropy"][0][0] is None


def test_tables_hold_what_the_json_holds(whole):
    results = json.loads((whole / "survey.json").read_text())
    heads = pandas.read_parquet(whole / "heads.parquet")
    layers, count = len(results["layers"]), max(results["heads"])
    assert len(heads) == layers * count
    for name in SURVEYED:
        for row in heads.itertuples():
            expected = results["mean"][name][results["numbers"].index(row.layer)][row.head]
            found = getattr(row, name)
            if expected is None:
                assert found is None or math.isnan(found)
            else:
                assert found == pytest.approx(expected, rel=1e-5)
    classes = pandas.read_parquet(whole / "classes.parquet")
    assert sorted(set(classes["class"])) == ["cats", "dogs"]
    top = pandas.read_parquet(whole / "top.parquet")
    first = top[(top.ranking == "narrow") & (top.layer == 0) & (top["head"] == 0)].iloc[0]
    assert [first.picture, first["query"]] == results["top"]["narrow"][0][0][:2]
    similarity = pandas.read_parquet(whole / "similarity.parquet")
    assert len(similarity) == layers * count * (layers * count - 1) // 2
    assert similarity.similarity.between(0, 1).all()


def test_heads_are_switched_off_on_the_sample(whole):
    effects = json.loads((whole / "survey.json").read_text())["effects"]
    assert effects["pictures"] == 4
    assert all(value is not None for row in effects["log_odds"]["mean"] for value in row)


def test_a_model_that_does_not_attend_is_told(folder, tmp_path, monkeypatch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    half = (0.5,) * 3
    bundle = Bundle("deaf", net, TokenLayout((4, 4), (), (8, 8)), half, half, Resize((32, 32)))
    monkeypatch.setattr(zoo, "load", lambda name: bundle)
    with pytest.raises(NothingRecorded):
        run.survey_data("deaf", folder, tmp_path, **SETTINGS)


def test_merging_tells_what_is_missing_or_twice(whole, tmp_path):
    with pytest.raises(SurveyError, match="holds no survey"):
        run.merge_surveys([tmp_path], tmp_path / "out")
    with pytest.raises(SurveyError, match="added already"):
        run.merge_surveys([whole, whole], tmp_path / "out")


def test_the_command_tells_bad_input_in_a_line(tmp_path, capsys):
    assert main([MODEL, "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "There are no pictures in it" in capsys.readouterr().err
    assert main(["nobody", "--data", str(tmp_path / "x"), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err
    for shard in ("0/2", "3/2", "x"):
        with pytest.raises(SystemExit):
            main([MODEL, "--data", "x", "--out", "y", "--shard", shard])


def test_the_command_says_where_the_results_are(folder, tmp_path, capsys):
    given = ["--data", str(folder), "--out", str(tmp_path), "--workers", "0", "--effects", "0"]
    assert main([MODEL, *given]) == 0
    assert str(tmp_path / "survey.json") in capsys.readouterr().out
    assert main(["merge", str(tmp_path), "--out", str(tmp_path / "all")]) == 0


@pytest.mark.slow
def test_a_ray_address_that_does_not_answer_is_told(folder, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(SurveyError, match=r"Nobody answers at 127\.0\.0\.1:1 "):
        run.survey_data(MODEL, folder, tmp_path, ray="127.0.0.1:1", **SETTINGS)


@pytest.mark.slow
def test_what_listens_and_is_no_ray_gets_a_deadline(folder, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_cluster, "ANSWERING", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SurveyError, match=f"{address} does not answer within"):
            run.survey_data(MODEL, folder, tmp_path, ray=address, **SETTINGS)


def test_a_cluster_whose_cores_all_went_to_actors_is_told():
    """Ray would wait for ever: nothing would read the pictures."""
    ray_cluster.check_cores(9, workers=4, threads=2)
    with pytest.raises(SurveyError, match="room for 4 workers and not for 5"):
        ray_cluster.check_cores(9, workers=5, threads=2)
    with pytest.raises(SurveyError, match="room for 0 workers"):
        ray_cluster.check_cores(1, workers=1, threads=1)


@pytest.mark.slow
def test_a_ray_worker_of_another_version_is_told():
    pytest.importorskip("ray")

    class Outdated(BlockMeasure):
        fingerprint = SimpleNamespace(threads=1)
        device = "cpu"

        def start_preparing(self):
            return int

        def start_measuring(self):
            raise SurveyError("A worker process does not belong to this survey.")

    with pytest.raises(SurveyError, match=r"^A worker process does not belong to this survey\.$"):
        list(ray_cluster.run_on_ray(Outdated(), int, range(9), 2, ""))
