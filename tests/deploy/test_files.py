"""The files of `deploy/`, and the lock file: well formed, and as strict as they say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from benchmarks.classroom_server import HAPROXY, localised
from viz.server.class_mode import MODES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
sys.path.insert(0, str(DEPLOY))

from without_torch import entries, torch_versions, without_torch  # noqa: E402


def ranges() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip()]


# -- the lock file ------------------------------------------------------------------------------


def test_every_range_has_a_locked_version_within_it():
    for wanted in ranges():
        version = re.match(rf"{wanted.name}==([\w.]+)", entries(LOCK)[wanted.name])[1]
        assert wanted.specifier.contains(version), wanted


def test_every_locked_version_has_its_hashes_and_no_registry_is_named():
    assert len(entries(LOCK)) > 50
    for name, entry in entries(LOCK).items():
        assert re.match(r"[\w.-]+==[\w.]+", entry) and "--hash=sha256:" in entry, name
    assert "://" not in LOCK and "index" not in LOCK


def test_without_torch_nothing_else_is_missing():
    rest = entries(without_torch(LOCK)).keys()
    gone = entries(LOCK).keys() - rest
    assert {"torch", "torchvision"} < gone
    assert not {wanted.name for wanted in ranges()} - rest - {"torch", "torchvision"}
    assert all(name.startswith(("torch", "nvidia", "cuda", "triton")) for name in gone)
    assert [each.partition("==")[0] for each in torch_versions(LOCK)] == ["torch", "torchvision"]


# -- the image ----------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_image_is_pinned_has_no_root_and_says_whether_it_is_well():
    found = instructions()
    names = [name for name, _ in found]
    known = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert set(names) <= known, "no ADD, which fetches; no ENTRYPOINT that hides the command"
    bases = [rest.split()[0] for name, rest in found if name == "FROM"]
    assert all(re.fullmatch(r"[\w/-]+:[\w.-]*\d[\w.-]*", base) for base in bases), bases
    users = [rest for name, rest in found if name == "USER"]
    assert users == ["10001"] and names.index("USER") < names.index("CMD")
    (check,) = [rest for name, rest in found if name == "HEALTHCHECK"]
    assert "/_stcore/health" in check
    assert all(rest.startswith("[") for name, rest in found if name == "CMD"), "signals arrive"


def test_what_the_image_copies_is_there_and_let_into_the_build():
    let_in = {
        line.removeprefix("!").strip("/")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source.split("/")[0] in let_in, source


def test_the_steps_of_the_image_are_a_script_that_a_shell_can_read():
    assert os.access(DEPLOY / "install.sh", os.X_OK)
    subprocess.run(["sh", "-n", str(DEPLOY / "install.sh")], check=True)
    assert any("deploy/install.sh" in rest for name, rest in instructions() if name == "RUN")


# -- compose and Kubernetes -----------------------------------------------------------------------


def test_compose_runs_replicas_that_can_write_nothing():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["deploy"]["resources"]["limits"].keys() >= {"cpus", "memory"}, name
    assert services["app"]["deploy"]["replicas"] == 3
    assert "ports" not in services["app"], "nobody passes the proxy by"


def manifests() -> dict[str, dict]:
    folder = DEPLOY / "kubernetes"
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in folder.iterdir()} == {*names, "kustomization.yaml"}
    found = [yaml.safe_load((folder / name).read_text()) for name in names]
    return {each["kind"]: each for each in found}


def test_kubernetes_keeps_a_visitor_at_a_pod_and_pods_without_rights():
    found = manifests()
    pod = found["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"].keys() == {"requests", "limits"}
    assert container.keys() >= {"startupProbe", "readinessProbe", "livenessProbe"}
    notes = found["Ingress"]["metadata"]["annotations"]
    assert notes["nginx.ingress.kubernetes.io/affinity"] == "cookie"
    labels = pod["metadata"]["labels"].items()
    assert found["Service"]["spec"]["selector"].items() <= labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels


PATHS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
STYLE = "{extends: default, rules: {line-length: disable, document-start: disable}}"
MANIFESTS = sorted(
    path for path in (DEPLOY / "kubernetes").iterdir() if path.stem != "kustomization"
)
LINTERS = {
    "hadolint": [DEPLOY / "Dockerfile"],
    "shellcheck": [DEPLOY / "install.sh"],
    "yamllint": ["--strict", "-d", STYLE, DEPLOY],
    "kubernetes-validate": ["--strict", *MANIFESTS],
}


@pytest.mark.parametrize("name", LINTERS)
def test_the_linter_finds_nothing(name):
    path = shutil.which(name, path=PATHS)
    if path is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([path, *LINTERS[name]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# -- the proxy ----------------------------------------------------------------------------------


@pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed")
@pytest.mark.parametrize("local", [False, True])
def test_haproxy_takes_its_file(tmp_path, local):
    text = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    path = tmp_path / "haproxy.cfg"
    path.write_text(
        localised(text, 8080, ["http://127.0.0.1:1", "http://127.0.0.1:2"]) if local else text
    )
    done = subprocess.run(
        [HAPROXY, "-c", "-f", path], env={"COOKIE_KEY": "x"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_proxies_take_the_largest_photo_of_a_class_and_no_more():
    bytes_ = MODES["class"].photo_megabytes * 2**20
    text = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    most = int(re.search(r"req\.body_size gt (\d+)", text)[1])
    assert bytes_ < most < 1.05 * bytes_
    notes = manifests()["Ingress"]["metadata"]["annotations"]
    assert notes["nginx.ingress.kubernetes.io/proxy-body-size"] == "21m"
