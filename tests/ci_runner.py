"""Runs the jobs of the examples in ci/ as a runner does: each in a fresh checkout, in order.

A checkout is a copy of a scratch project, the interpreters are those of the matrix, and an
artifact is a file that is copied. Everything that a job runs is run as it is written.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

Job = dict[str, Any]
EXPRESSION = re.compile(r"\$\{\{\s*([\w.]+)\s*\}\}")


def read(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds; a key that comes twice is an error."""
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return loaded


def combinations(matrix: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the variables of each job that a matrix stands for."""
    lists = [value if isinstance(value, list) else [value] for value in matrix.values()]
    for values in itertools.product(*lists):
        yield dict(zip(matrix, map(str, values), strict=True))


@dataclass
class Runner:
    """The machines that jobs run on."""

    project: Path
    scratch: Path
    # Environments by version, each with a `bin` that holds `python`, `dapper` and so on.
    environments: dict[str, Path]
    secrets: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, list[Path]] = field(default_factory=dict)
    # Where each job ran, with its variables.
    ran: list[tuple[str, dict[str, str], Path]] = field(default_factory=list)

    def checkout(self) -> Path:
        """Return a fresh copy of the project, where no other job ran."""
        place = self.scratch / f"job-{len(self.ran)}" / "project"
        shutil.copytree(self.project, place)
        return place

    def path(self, place: Path, versions: list[str]) -> str:
        """Return a PATH with these interpreters; the last one is `python`."""
        folder = place.parent / "bin"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for version in versions:
            self.program(folder / f"python{version}", self.environments[version] / "bin" / "python")
        main = self.environments[versions[-1]] / "bin"
        for name in ("python", "dapper", "dapper-instrument"):
            self.program(folder / name, main / name)
        return f"{folder}{os.pathsep}{os.environ['PATH']}"

    @staticmethod
    def program(path: Path, target: Path) -> None:
        """Write a program that is another one: a link would not be in its environment."""
        path.write_text(f'#!/bin/sh\nexec "{target}" "$@"\n')
        path.chmod(0o755)

    def run(self, command: str, place: Path, env: dict[str, str]) -> str:
        """Run a command as a step; return what it printed."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DAPPER", "PYTHON", "PIP", "CI_"))
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command],
            cwd=place,
            env=inherited | {"HOME": str(place.parent), "PIP_NO_INDEX": "1"} | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        return done.stdout


class GitHub(Runner):
    """Runs a workflow."""

    outputs: dict[str, dict[str, str]]

    def workflow(self, path: Path) -> None:
        """Run all jobs."""
        workflow = read(path)
        self.outputs = {}
        for name, job in workflow["jobs"].items():
            needs = job.get("needs", [])
            for needed in [needs] if isinstance(needs, str) else needs:
                assert needed in self.outputs, f"{name} runs before {needed}"
            for matrix in combinations(job.get("strategy", {}).get("matrix", {})):
                self.job(name, job, workflow.get("env", {}), matrix)

    def job(self, name: str, job: Job, env: dict[str, str], matrix: dict[str, str]) -> None:
        """Run the steps of a job."""
        place = self.checkout()
        self.ran.append((name, matrix, place))
        steps: dict[str, dict[str, str]] = {}
        known = {"github.workspace": str(place)}
        known |= {f"matrix.{key}": value for key, value in matrix.items()}
        for needed, outputs in getattr(self, "outputs", {}).items():
            known |= {f"needs.{needed}.outputs.{key}": value for key, value in outputs.items()}

        def filled(text: str) -> str:
            return EXPRESSION.sub(lambda match: known[match.group(1)], text)

        variables = {key: filled(value) for key, value in env.items()}
        for number, step in enumerate(job["steps"]):
            if "uses" in step:
                self.use(step["uses"], step.get("with", {}), place, variables, filled)
                continue
            said = place.parent / f"output-{number}"
            said.touch()
            variables["GITHUB_OUTPUT"] = str(said)
            self.run(filled(step["run"]), place, variables)
            lines = said.read_text().splitlines()
            steps[step.get("id", "")] = dict(line.split("=", 1) for line in lines)
        for step_id, outputs in steps.items():
            known |= {f"steps.{step_id}.outputs.{key}": value for key, value in outputs.items()}
        self.outputs[name] = {key: filled(value) for key, value in job.get("outputs", {}).items()}

    def use(
        self, action: str, given: dict[str, str], place: Path, env: dict[str, str], filled: Any
    ) -> None:
        """Do what an action does."""
        action, version = action.split("@")
        assert version, f"{action} is not pinned"
        match action:
            case "actions/checkout":
                assert (place / "src").is_dir()
            case "actions/setup-python":
                env["PATH"] = self.path(place, filled(str(given["python-version"])).split())
            case "actions/upload-artifact":
                self.artifacts[given["name"]] = [place / file for file in given["path"].split()]
            case "actions/download-artifact":
                for file in self.artifacts[given["name"]]:
                    shutil.copy(file, place)
            case _:
                raise AssertionError(f"what does {action} do?")


class GitLab(Runner):
    """Runs a pipeline."""

    def pipeline(self, path: Path) -> None:
        """Run all jobs."""
        pipeline = read(path)
        settings = ("stages", "variables")
        jobs = {
            name: self.extended(pipeline, job)
            for name, job in pipeline.items()
            if name not in settings and not name.startswith(".")
        }
        order = sorted(jobs, key=lambda name: pipeline["stages"].index(jobs[name]["stage"]))
        for name in order:
            job = jobs[name]
            (matrix,) = job.get("parallel", {}).get("matrix", [{}])
            for variables in combinations(matrix):
                self.job(name, job, pipeline["variables"], variables)

    def extended(self, pipeline: dict[str, Any], job: Job) -> Job:
        """Return a job with what it extends."""
        extends = job.get("extends", [])
        whole: Job = {}
        for name in [extends] if isinstance(extends, str) else extends:
            whole |= self.extended(pipeline, pipeline[name])
        return whole | job

    def job(self, name: str, job: Job, common: dict[str, str], matrix: dict[str, str]) -> None:
        """Run the script of a job."""
        place = self.checkout()
        self.ran.append((name, matrix, place))

        def filled(text: str) -> str:
            values = matrix | {"CI_PROJECT_DIR": str(place)}
            return re.sub(r"\$(\w+)", lambda match: values[match.group(1)], text)

        image, _, version = filled(job["image"]).partition(":")
        assert image == "python"
        env = {key: filled(value) for key, value in common.items()} | matrix | self.secrets
        env["PATH"] = self.path(place, [version])
        for needed in job.get("needs", []):
            for file in self.artifacts[needed]:
                shutil.copy(file, place)
        for command in [*job.get("before_script", []), *job["script"]]:
            self.run(command, place, env)
        kept = [place / filled(file) for file in job.get("artifacts", {}).get("paths", [])]
        self.artifacts.setdefault(name, []).extend(kept)
