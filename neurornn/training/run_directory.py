"""A run's folder: which file holds what, and the care not to lose an earlier run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from neurornn import files
from neurornn.vocabulary import InputError

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class RunDirectory:
    """The paths of a run's files.

    Attributes
    ----------
    path : Path
        The folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """What the run is made of, as TOML."""
        return self.path / "config.toml"

    @property
    def metrics(self) -> Path:
        """One row per training step, as CSV."""
        return self.path / "metrics.csv"

    @property
    def checkpoint(self) -> Path:
        """Everything that training needs to go on."""
        return self.path / "checkpoint.pt"

    @property
    def previous_checkpoint(self) -> Path:
        """The checkpoint before that one."""
        return self.path / "checkpoint.previous.pt"

    @property
    def failure(self) -> Path:
        """Why training failed, where it did."""
        return self.path / "failure.json"

    @property
    def snapshots(self) -> Path:
        """Folder of the members of an ensemble."""
        return self.path / "snapshots"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's files."""
        return self.path / "tensorboard"

    @property
    def network(self) -> Path:
        """Stem of the final weights' two files."""
        return self.path / "network"

    @property
    def activity(self) -> Path:
        """The recorded activity."""
        return self.path / "activity.nc"

    @property
    def report(self) -> Path:
        """The report, one HTML page."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.path / "figures"

    @property
    def analysis(self) -> Path:
        """Folder of the analyses' datasets."""
        return self.path / "analysis"

    @property
    def _files(self) -> tuple[Path, ...]:
        weights = (self.path / "network.safetensors", self.path / "network.json")
        checkpoints = (self.checkpoint, self.previous_checkpoint)
        return (self.config, self.metrics, *checkpoints, *weights, self.failure, self.activity, self.report)

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, overwrite: bool = False) -> RunDirectory:
        """Make the folder of a new run.

        Parameters
        ----------
        path : path-like
            Where to.
        overwrite : bool
            Whether an earlier run there is removed first. Only files that a run writes are; any others in the
            folder stay.

        Returns
        -------
        RunDirectory

        Raises
        ------
        InputError
            Where the folder holds anything and ``overwrite`` is False, where it holds something that is no
            run, or where it cannot be written to; nothing has been touched then.
        """
        run = cls(files.as_path(path, "directory"))
        if run.path.exists() and not run.path.is_dir():
            raise InputError(f"{str(path)!r} is a file, expected a folder for the run: choose another name")
        occupied = run.path.is_dir() and any(not run._is_unfinished_config(own) for own in run.path.iterdir())
        if occupied and not run.config.exists():
            raise InputError(
                f"the folder {str(path)!r} is not empty and holds no run (no config.toml): "
                "choose another folder"
            )
        if occupied and not overwrite:
            raise InputError(
                f"the folder {str(path)!r} already holds a run: choose another folder, or replace that run "
                "with --overwrite (in Python: overwrite=True)"
            )
        files.need_writable_folder(run.path)
        run.need_idle()
        run.sweep()
        if occupied:
            # The configuration stays until the new one takes its place: a folder without one is no run's, and
            # a process that is killed here would leave what can neither be resumed nor overwritten.
            drawn = (*run.figures.glob("*.png"), *run.analysis.glob("*.nc"))
            members = (*run.snapshots.glob("snapshot_*.*"), *run.tensorboard.glob("events.*"))
            for file in (*drawn, *members, *reversed(run._files)):
                if file != run.config:
                    file.unlink(missing_ok=True)
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """Return the folder of an existing run.

        Raises
        ------
        InputError
            Where there is none.
        """
        run = cls(files.as_path(path, "directory"))
        if not run.config.is_file():
            raise InputError(f"there is no run in {str(path)!r} (no config.toml): check the folder's name")
        return run

    def sweep(self) -> None:
        """Remove temporary files that a killed process has left; nobody may be writing there."""
        for folder in (self.path, self.snapshots):
            files.sweep(folder)

    def _is_unfinished_config(self, path: Path) -> bool:
        """Return whether a file is what a process has left that was killed while it began a run."""
        return path.name.startswith(f".{self.config.name}.") and path.name.endswith(files.TEMPORARY)

    def need_checkpoint(self) -> None:
        """Refuse a run that was stopped before it wrote one."""
        if not (self.checkpoint.exists() or self.previous_checkpoint.exists()):
            raise InputError(
                f"the run in {str(self.path)!r} has no checkpoint (it was stopped before the first one): "
                "train it again with --overwrite (in Python: overwrite=True)"
            )

    @property
    def is_finished(self) -> bool:
        """Whether training came to its end and wrote the final weights."""
        return self.network.with_suffix(".json").exists()

    @property
    def is_training(self) -> bool:
        """Whether a process is training in the folder now."""
        try:
            with self.hold():
                return False
        except InputError:
            return True

    def need_idle(self) -> None:
        """Refuse a folder in which a process is training."""
        with self.hold():
            pass

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the folder to this process within the block; the system lets it go when the process ends.

        Raises
        ------
        InputError
            Where another process, or this one, has it.
        """
        if fcntl is None or not self.path.is_dir():
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"a process is training in {str(self.path)!r} now: wait for it, stop it, or choose "
                    "another folder"
                ) from None
            except OSError:
                # File systems of clusters may know no locks.
                pass
            yield
        finally:
            os.close(handle)
