"""Parts of a quality job: some pairs of a method on a data set, which one process does at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionkit.bench.jobs import Progress
from fusionkit.bench.quality_job import QualityJob
from fusionkit.bench.records import file_name
from fusionkit.data.pair_set import Pair

__all__ = ["QualityPart", "parts_of"]

_PART, _MOST_PARTS = 8, 64


@dataclass(frozen=True)
class QualityPart:
    """Some pairs of a job, which one process does at a time.

    Attributes:
        job: the method on the data set.
        start: place of the first pair.
        pairs: the pairs.
    """

    job: QualityJob
    start: int
    pairs: Sequence[Pair]

    @property
    def title(self) -> str:
        """Method and data set, for messages."""
        return self.job.title

    @property
    def label(self) -> tuple[str, ...]:
        """Names of the method and data set."""
        return file_name(self.job.name), self.job.dataset.task.name, self.job.dataset.label

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the method, the data set and the first pair."""
        return *self.label, str(self.start)

    @property
    def identity(self) -> str:
        """Digest of the method."""
        return self.job.method.label_digest

    def known(self) -> bool:
        """Return whether nothing is left to do.

        Raises:
            fusionkit.errors.DataError: a record or log is there that cannot be read.
        """
        self.job.refresh()
        return all(self.job.is_done(pair) for pair in self.pairs)

    def run(self, progress: Progress | None) -> str:
        """Do every pair and write the job's record; what fails is in the record.

        Raises:
            fusionkit.errors.DataError: something cannot be written.
            KeyboardInterrupt: interrupted; the record of what is done is written.
        """
        total = len(self.job.dataset.selected)
        try:
            for done, pair in enumerate(self.pairs, self.start):
                if progress:
                    progress(self.title, done, total)
                self.job.do(pair)
        except KeyboardInterrupt:
            self.job.save()
            raise
        self.job.save()
        if progress:
            progress(self.title, self.start + len(self.pairs), total)
        return ""


def parts_of(job: QualityJob) -> list[QualityPart]:
    """The pairs to score, in parts that depend on the data alone, so that all processes have the same."""
    pairs = job.dataset.selected
    size = max(_PART, -(-len(pairs) // _MOST_PARTS))
    return [QualityPart(job, start, pairs[start : start + size]) for start in range(0, len(pairs), size)]
