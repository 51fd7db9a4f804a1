"""Start a case of cases.py under real ranks, and collect what each of them found."""

import os
import pickle
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
MPIEXEC = str(Path(sysconfig.get_path("scripts")) / "mpiexec")  # where the mpich of the lock has it
LIMIT = 60  # seconds; a case needs one or two, and eight ranks on two cores a few more


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
    """Run a case on so many ranks, and return how it ended. It never hangs.

    `-m mpi4py` ends all ranks where one ends with an error of its own. Of ranks that end in another
    way, the launcher tells the codes.
    """
    program = [sys.executable, "-m", "mpi4py", str(HERE / "cases.py"), case, str(folder)]
    done = subprocess.run(
        [MPIEXEC, "-print-all-exitcodes", "-n", str(size), *program],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT + 10,  # if the launcher hangs itself
        env={**os.environ, "MPIEXEC_TIMEOUT": str(LIMIT)},
    )
    files = [folder / f"{rank}.pickle" for rank in range(size)]
    found = [pickle.loads(f.read_bytes()) if f.exists() else None for f in files]  # noqa: S301
    return Ended(done.returncode, done.stdout, found)
