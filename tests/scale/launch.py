"""Start a program under real ranks, and collect what each of them found."""

import os
import pickle
import subprocess
import sys
import sysconfig
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from time import monotonic

import psutil

HERE = Path(__file__).parent
MPIEXEC = str(Path(sysconfig.get_path("scripts")) / "mpiexec")  # where the mpich of the lock has it
SHARED, SEGMENTS = Path("/dev/shm"), "mpich_shm_*"  # noqa: S108 (MPICH's place, not ours)
LIMIT = 60  # seconds; a case needs one or two, and eight ranks on two cores a few more
TURN, ALONE = 0.1, 2.0  # seconds


@dataclass(frozen=True)
class Ended:
    """How a program over several ranks ended."""

    code: int
    printed: str
    found: list  # by rank what the case returned or raised; None of a rank that came not so far

    @property
    def in_time(self):
        """Whether it ended by itself, and not because the launcher lost its patience."""
        return "APPLICATION TIMED OUT" not in self.printed


def launch(case, size, folder):
    """Run a case of cases.py on so many ranks, and return how it ended."""
    done = start("cases.py", size, case, folder)
    files = [folder / f"{rank}.pickle" for rank in range(size)]
    found = [pickle.loads(f.read_bytes()) if f.exists() else None for f in files]  # noqa: S301
    return Ended(done.returncode, done.stdout, found)


def start(program, size, *arguments):
    """Run a program of this folder on so many ranks, and return its process. It never hangs.

    `-m mpi4py` ends all ranks where one ends with an error of its own. Of ranks that end in another
    way, the launcher tells the codes.
    """
    command = [sys.executable, "-m", "mpi4py", str(HERE / program), *map(str, arguments)]
    with swept(), TemporaryDirectory() as own, TemporaryFile("w+", encoding="utf-8") as printed:
        job = psutil.Popen(
            [MPIEXEC, "-print-all-exitcodes", "-n", str(size), *command],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "MPIEXEC_TIMEOUT": str(LIMIT), "TMPDIR": own},
        )
        code = waited_for(job)
        printed.seek(0)
        return subprocess.CompletedProcess(job.args, code, printed.read())


def waited_for(job):
    """Return the code with which the launcher ends, or with which it is ended.

    About once in 400 jobs of which a rank has died, MPICH 5.0.2 has ended all ranks, and its
    launcher goes on waiting for them. Nobody is left to wait for; so two seconds later it is ended.
    """
    patience, alone = monotonic() + LIMIT + 10, 0
    while alone < ALONE and monotonic() < patience:
        try:
            return job.wait(TURN)
        except psutil.TimeoutExpired:
            alone = 0 if job.children() else alone + TURN
    for process in [*job.children(recursive=True), job]:
        process.kill()
    return job.wait()


@contextmanager
def swept():
    """Remove shared memory that killed ranks leave, two megabytes each; other jobs keep theirs."""
    before = set(SHARED.glob(SEGMENTS))
    yield
    made = (
        set(SHARED.glob(SEGMENTS)) - before
    )  # before the maps: else one of another job would fall
    maps = "".join(text(path) for path in Path("/proc").glob("[0-9]*/maps"))
    for segment in made:
        if segment.name not in maps:
            with suppress(PermissionError):  # that of another user
                segment.unlink(missing_ok=True)


def text(path):
    """Return what a file of a process holds, or nothing if the process is gone."""
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
