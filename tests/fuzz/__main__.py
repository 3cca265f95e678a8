"""Long mode: ``python -m tests.fuzz`` changes files in 10,000 ways, kills trainings and benches, prints a table."""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.cases import bounded_memory, verdict
from tests.fuzz.kills import kill_benches, kill_trainings
from tests.fuzz.subjects import SUBJECTS

SHARES = {
    "configs": 0.15,
    "records": 0.08,
    "downstream": 0.05,
    "runs": 0.02,
    "weights": 0.27,
    "data": 0.2,
    "cards": 0.23,
}
HEAD = ("subject", "cases", "refused", "accepted", "internal errors", "silent wrongs", "hangs", "seconds", "before")
BEFORE = {
    "configs": "73 of 1519",
    "records": "1 of 2658",
    "downstream": "29 of 1453",
    "runs": "309 of 1469",
    "weights": "123 of 1819",
    "data": "1 of 1261",
}
"""Internal errors of cases, of other changes of the same kinds, on the version before files were checked (f83a2fb)."""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cases", type=int, default=10_000, help="changed files in all")
    options.add_argument("--kills", type=int, default=100, help="killed trainings and benches in all")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", choices=[*SUBJECTS, "kills"], help="one subject alone")
    options.add_argument("--out", type=Path, default=Path("fuzz-failures.jsonl"), help="cases that went wrong")
    given_options = options.parse_args()
    failures: list[dict[str, object]] = []
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, share in SHARES.items():
            if given_options.only in (None, name):
                cases = round(given_options.cases * share)
                rows.append(_changed(name, cases, given_options.seed, Path(folder) / name, failures))
                print("  ".join(map(str, rows[-1])), flush=True)
        if given_options.kills and given_options.only in (None, "kills"):
            for name, kill in (("training", kill_trainings), ("bench", kill_benches)):
                began = time.monotonic()
                wrong = kill(given_options.kills // 2, Path(folder) / name)
                failures += [{"subject": name, "verdict": line} for line in wrong]
                count = given_options.kills // 2
                rows.append((name, count, 0, count - len(wrong), 0, len(wrong), 0, _since(began), ""))
                print("  ".join(map(str, rows[-1])), flush=True)
    given_options.out.write_text("".join(json.dumps(case) + "\n" for case in failures), encoding="utf-8")
    print(f"\n| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nhighest memory {peak:.1f} GiB; {len(failures)} cases went wrong ({given_options.out})")
    return 1 if failures else 0


def _changed(name: str, cases: int, start: int, place: Path, failures: list[dict[str, object]]) -> tuple[object, ...]:
    place.mkdir()
    subject, found, began = SUBJECTS[name](place), Counter[str](), time.monotonic()
    changes = subject.changes()

    @seed(start)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def every_change(data: st.DataObject) -> None:
        change = data.draw(changes)
        said = verdict(subject, change)
        found[said.partition(":")[0]] += 1
        if said not in ("accepted", "refused"):
            failures.append({"subject": name, "verdict": said, **vars(change)})

    with bounded_memory():
        every_change()
    kinds = ("refused", "accepted", "internal error", "silent", "hang")
    return name, found.total(), *(found[kind] for kind in kinds), _since(began), BEFORE.get(name, "")


def _since(began: float) -> int:
    return round(time.monotonic() - began)


raise SystemExit(main())
