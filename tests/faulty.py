"""A sampler that fails, or dawdles, the first time that it is used; then it is LMS."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xappa.diffusion.samplers import LMS


@dataclass(frozen=True)
class Faulty(LMS):
    """The fault strikes once, in the middle of sampling, whatever the process.

    Parameters
    ----------
    folder : str
        Where the process that was struck leaves its number, in the file ``struck``.
    fault : {"kill", "raise", "wait"}
        End the process by SIGKILL; raise an error; wait until there is a file ``go``, a minute at most.
    """

    folder: str = ""
    fault: str = ""

    def run(self, denoise: Any, x: Any, grid: Any, draws: Any) -> Any:
        """See `LMS.run`."""
        evaluations = 0

        def counted(state: Any, sigma: Any) -> Any:
            nonlocal evaluations
            evaluations += 1
            if evaluations == len(grid) // 2:
                self._strike()
            return denoise(state, sigma)

        return super().run(counted, x, grid, draws)

    def _strike(self) -> None:
        try:
            with (Path(self.folder) / "struck").open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            return
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "raise":
            raise OSError("a fault of the machine")
        end = time.monotonic() + 60
        while not (Path(self.folder) / "go").exists() and time.monotonic() < end:
            time.sleep(0.05)
