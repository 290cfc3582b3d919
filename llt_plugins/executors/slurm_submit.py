"""Submitting job arrays through submitit: its sbatch files, its call of sbatch, its job numbers.

What jobs do and return goes through files of our own (see :mod:`slurm_files`), so nothing is
pickled. submitit lets its executors be extended by the methods used here.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from llt_core.interfaces import Job
from llt_core.plugins.code_copy import CodeCopy
from llt_plugins.executors.slurm_files import Batch


class SubmissionError(Exception):
    """Slurm did not take an array; the message is sbatch's own."""


class Arrays:
    """All arrays of one driver: the same options, the same code.

    Attributes
    ----------
    code
        The copy of the code that jobs run; set before the first array.
    """

    code: CodeCopy

    def __init__(self, workspace: Path, options: Mapping[str, Any], python: str) -> None:
        self._workspace, self._options = workspace, options
        self._python = python or shlex.quote(sys.executable)

    def try_out(self, size: int) -> None:
        """Ask sbatch whether it would take an array of ``size``; nothing is submitted.

        Raises
        ------
        SubmissionError
            It would not.
        """
        ArraySubmission(self._workspace, size, self._options).try_out()

    def submit(self, jobs: Sequence[Job]) -> tuple[Batch, str]:
        """Submit one array; return its folder and Slurm's number of it.

        Raises
        ------
        SubmissionError
            Slurm did not take it.
        """
        batch = Batch.create(self._workspace, jobs, self.code.folder.name)
        outcome = shlex.quote(str(batch.outcome_file("?"))).replace("?", '"$SLURM_ARRAY_TASK_ID"')
        options = {
            **self._options,
            "job_name": batch.slurm_name,
            # A process that ends well without a word must not look like a success.
            "teardown": ["status=$?", f"[ -e {outcome} ] || exit 1", "exit $status"],
        }
        try:
            number = ArraySubmission(batch.log, len(jobs), options).submit_command(
                self._command(batch)
            )
        except SubmissionError:
            batch.remove()
            raise
        batch.submitted(number)
        return batch, number

    def _command(self, batch: Batch) -> str:
        """Return the command line of a task; its variables are set after all setup lines."""
        variables = dict(self.code.environment)
        path = shlex.quote(variables.pop("PYTHONPATH")) + "${PYTHONPATH:+:$PYTHONPATH}"
        words = [f"PYTHONPATH={path}", *(f"{k}={shlex.quote(v)}" for k, v in variables.items())]
        # -P: the folder a job runs in must not come before the copy of the code.
        words += [self._python, "-P -u -m llt_plugins.executors.slurm_job"]
        return " ".join([*words, shlex.quote(str(batch.folder))])


class ArraySubmission(SlurmExecutor):
    """One array of tasks that all run the same command line."""

    def __init__(self, folder: Path, size: int, options: Mapping[str, Any]) -> None:
        """Prepare an array of ``size`` tasks.

        Parameters
        ----------
        folder
            Where the submitted file and what the tasks print shall be.
        options
            As submitit names them.

        Raises
        ------
        SubmissionError
            An option cannot be.
        """
        try:
            super().__init__(folder)
            self.update_parameters(**options)
        except (TypeError, ValueError, RuntimeError) as error:
            raise SubmissionError(str(error)) from error
        self.parameters["map_count"] = size

    def submit_command(self, command: str) -> str:
        """Submit the array and return Slurm's number of it.

        Raises
        ------
        SubmissionError
            sbatch refused it.
        """
        try:
            # submitit prints what it raises: it is told once, by whoever catches this.
            with contextlib.redirect_stderr(io.StringIO()):
                return str(self._submit_command(command).job_id)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise SubmissionError(_readable(str(error))) from error

    def try_out(self) -> None:
        """Ask sbatch whether it would take such an array; nothing is submitted.

        Raises
        ------
        SubmissionError
            It would not.
        """
        file = self.folder / f"try.{os.getpid()}.sh"
        command = [*self._make_submission_command(file)[:-1], "--test-only", str(file)]
        try:
            file.write_text(self._make_submission_file_text("true", "try"), encoding="utf-8")
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SubmissionError(f"sbatch does not answer: {error}") from error
        finally:
            file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise SubmissionError(_readable(done.stderr))

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        """Call sbatch without what a job would inherit from one that the driver runs in."""
        inherited = []
        if "SLURM_JOB_ID" in os.environ:
            inherited = [
                f"--unset={name}"
                for name in os.environ
                if name.startswith(("SLURM_", "SRUN_", "SLURMD_")) and name != "SLURM_CONF"
            ]
        return ["env", *inherited, "sbatch", str(submission_file_path)]


def _readable(text: str) -> str:
    """Return what sbatch says, without its prefixes."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in text.splitlines()]
    return "; ".join(line.strip() for line in lines if line.strip()) or "sbatch gives no reason"
