"""What adapters write to files: messages, and the sockets that one leaves behind that is killed."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from tests.dap_adapter import PATIENCE, InProcess, command, environment, stdio
from tests.test_dap_adapter import written
from tests.test_dap_adapter_ends import WAIT, running


def logs(folder: Path) -> dict[str, str]:
    """The files of messages by what they are of."""
    return {path.name.split("-")[0]: path.read_text() for path in folder.glob("*.log")}


class TestLogs:
    def test_each_process_has_its_own(self, tmp_path):
        folder = tmp_path / "some" / "logs"
        program = written(tmp_path, "x = 1\nprint(x)\n")
        with stdio("--log-dir", str(folder)) as adapter:
            adapter.launch(program)
            adapter.set_breakpoints(program, 2)
            adapter.request("configurationDone")
            stop = adapter.stopped("breakpoint")
            adapter.request("continue", {"threadId": stop["threadId"]})
            assert adapter.ended() == 0
            adapter.leave()
        found = logs(folder)
        assert sorted(found) == ["dapper.adapter", "dapper.server"]
        for text in found.values():
            lines = text.splitlines()
            assert all(line.startswith(("--> {", "<-- {")) for line in lines)
            assert any("--> " in line and '"setBreakpoints"' in line for line in lines)
            assert any("<-- " in line and '"stopped"' in line for line in lines)
        assert '"disconnect"' in found["dapper.adapter"]

    def test_one_process_has_one(self, tmp_path):
        with stdio("--log-dir", str(tmp_path), kind=InProcess) as adapter:
            adapter.launch(written(tmp_path, "print(1)"))
            adapter.request("configurationDone")
            assert adapter.ended() == 0
            adapter.leave()
        assert sorted(logs(tmp_path)) == ["dapper.adapter"]

    def test_children_have_theirs(self, tmp_path):
        source = """
            import subprocess, sys
            subprocess.run([sys.executable, "-c", "pass"])
        """
        with stdio("--log-dir", str(tmp_path)) as adapter:
            adapter.initialize(supportsStartDebuggingRequest=True)
            adapter.send("launch", {"program": str(written(tmp_path, source))})
            adapter.event("initialized")
            adapter.request("configurationDone")
            request = adapter.reverse_request("startDebugging")
            adapter.answer(request, success=False)
            assert adapter.ended() == 0
            adapter.leave()
        assert len(list(tmp_path.glob("dapper.server-*.log"))) == 2

    def test_a_folder_that_cannot_be_written_is_refused(self, tmp_path):
        file = tmp_path / "file"
        file.touch()
        done = subprocess.run(
            command("--log-dir", file / "logs"),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment(),
            timeout=PATIENCE,
        )
        assert done.returncode == 1
        assert f"cannot write messages to {file}/logs: " in done.stderr
        assert "give another --log-dir" in done.stderr


class TestRemains:
    @pytest.fixture
    def place(self, tmp_path):
        return {"TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}

    def folders(self, place: dict[str, str]) -> list[Path]:
        return list(Path(place["TMPDIR"]).glob("dapper-*"))

    def age(self, folder: Path) -> None:
        then = time.time() - 3600
        os.utime(folder, (then, then))

    def test_what_a_killed_adapter_left_goes_with_the_next(self, tmp_path, place):
        program = written(tmp_path, WAIT)
        with stdio(**place) as adapter:
            running(adapter, program)
            (left,) = self.folders(place)
            adapter.process.kill()
            adapter.process.wait()
        # Too young, and not alone.
        with stdio(**place) as living:
            running(living, program)
            other = next(folder for folder in self.folders(place) if folder != left)
            strange = tmp_path / "dapper-strange"
            strange.mkdir(mode=0o700)
            (strange / "notes").touch()
            for folder in (left, other, strange):
                assert folder.exists()
                self.age(folder)
            with stdio(**place) as following:
                following.initialize()
                until = time.monotonic() + PATIENCE
                while left.exists() and time.monotonic() < until:
                    time.sleep(0.01)
                assert not left.exists()
                following.leave()
            assert other.exists()
            assert strange.exists()
            living.leave()
        assert not other.exists()
