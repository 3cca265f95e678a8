"""Jobs: each is done once, whoever does it; a failed one stops no other."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fusionkit.bench.jobs import Job, Progress, run_jobs, shared
from fusionkit.plugins.guard import PluginCallFailed
from fusionkit.runtime.processes import Processes

DONE: list[str] = []


@dataclass(frozen=True, kw_only=True)
class FileJob(Job):
    """Write a file; what is in ``broken`` raises instead."""

    folder: Path
    broken: frozenset[str] = field(default_factory=frozenset)

    def known(self) -> bool:
        return (self.folder / self.title).is_file()

    def run(self, progress: Progress | None) -> str:
        if self.title in self.broken:
            raise PluginCallFailed("it is broken")
        DONE.append(self.title)
        (self.folder / self.title).write_text("done")
        return "well"


def file_job(folder: Path, name: str, broken: str = "") -> FileJob:
    return FileJob(title=name, label=(), part=name, identity="0" * 64, folder=folder, broken=frozenset(broken))


@given(st.lists(st.integers(), unique=True), st.integers(1, 5))
def test_every_process_has_all_jobs_and_begins_elsewhere(jobs: list[int], count: int) -> None:
    orders = [shared(jobs, Processes(rank, count)) for rank in range(count)]
    assert all(sorted(order) == sorted(jobs) for order in orders)
    if len(jobs) >= count:
        assert len({order[0] for order in orders}) == count


def test_a_known_job_is_not_run_and_a_failed_one_stops_no_other(tmp_path: Path) -> None:
    DONE.clear()
    said: list[str] = []
    jobs = [file_job(tmp_path, name, broken="b") for name in "abc"]
    (tmp_path / "a").write_text("done before")
    assert run_jobs(jobs, tmp_path, say=said.append) == 1
    assert said == ["failed: b: it is broken", "done: c: well"]
    assert DONE == ["c"]
    assert run_jobs(jobs[::2], tmp_path, say=said.append) == 0
    assert DONE == ["c"]


def test_a_job_of_another_process_comes_last_and_is_not_done_again(tmp_path: Path) -> None:
    DONE.clear()
    code = (
        "import sys, time; from pathlib import Path\n"
        "from fusionkit.io.locks import file_lock; from fusionkit.bench.jobs import lock_file\n"
        "folder = Path(sys.argv[1])\n"
        "with file_lock(lock_file(folder, 'a'), wait=True):\n"
        "    print('held', flush=True)\n"
        "    while not (folder / 'c').is_file(): time.sleep(0.01)\n"
        "    (folder / 'a').write_text('theirs')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert run_jobs([file_job(tmp_path, name) for name in "abc"], tmp_path, say=lambda line: None) == 0
    assert DONE == ["b", "c"]
    assert (tmp_path / "a").read_text() == "theirs"
