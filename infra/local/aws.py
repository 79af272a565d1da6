"""A stand-in for AWS as a process of its own: MiniStack with S3, SQS and what else it has, plus message move tasks."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Self

from worker.deploy.custom_resource import LOOPBACK_VARIABLE

from .errors import LocalStackError
from .polling import fetch
from .ports import LOOPBACK, is_free
from .server import Server

SERVER = Path(__file__).with_name("move_tasks.py")
# Measured at about 1 s.
START_SECONDS = 120
# All that MiniStack gets from our environment; AWS_*, and settings of its own, would change what it does.
PASSED_ON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL")


class Aws(Server):
    """MiniStack, the endpoint of every service; one that is `persistent` keeps in its folder what it has."""

    def __init__(
        self,
        *,
        port: int | None = None,
        folder: Path | None = None,
        log: Path | None = None,
        guarded: bool = True,
        persistent: bool = False,
    ) -> None:
        self._persistent = persistent
        super().__init__("MiniStack", "aws", port=port, folder=folder, log=log, guarded=guarded)

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self.launch()
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def launch(self) -> None:
        """Start the process and do not wait for it."""
        if importlib.util.find_spec("ministack") is None:
            raise LocalStackError(f"MiniStack, the stand-in for AWS, is not installed for {sys.executable}.")
        if self.is_alive():
            raise LocalStackError(f"MiniStack already runs at {self.url}.")
        if not is_free(self.port):
            raise LocalStackError(f"Port {self.port} is taken, so MiniStack cannot have it.")
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        # -P: the server's own folder must not be a source of modules, or ours would hide some of the same name
        command = [sys.executable, "-P", str(SERVER)]
        self._child.launch(command, folder=self.folder, environment=self._environment())

    def wait(self) -> float:
        """Wait until it answers that it is ready; return the seconds it took."""
        return self._child.wait_until_it_answers(self.answers, START_SECONDS)

    def answers(self) -> bool:
        """Say whether it answers right now."""
        return fetch(f"{self.url}/_ministack/ready") is not None

    def reset(self) -> None:
        """Forget every bucket, queue, function and task."""
        if fetch(f"{self.url}/_ministack/reset", method="POST", timeout=30) is None:
            raise LocalStackError(f"MiniStack at {self.url} did not do the reset; its log is {self.log_path}.")

    def _environment(self) -> dict[str, str]:
        """Return MiniStack's whole environment: everything it may write goes into its folder."""
        passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return passed_on | {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": LOOPBACK,  # its default is every interface
            "MINISTACK_HOST": LOOPBACK,  # the host in the queues' URLs
            "LOG_LEVEL": "WARNING",
            "IOT_MTLS_ENABLED": "0",  # it would listen on every interface
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "STATE_DIR": str(self.folder / "state"),
            "S3_DATA_DIR": str(self.folder / "s3"),
            "S3_PERSIST": str(int(self._persistent)),
            "PERSIST_STATE": str(int(self._persistent)),
            # As it starts and stops it removes containers that look like its own from the machine's Docker.
            "DOCKER_HOST": f"unix://{self.folder}/no-docker",
            "SFTP_ENABLED": "0",  # would listen on every interface
            # Functions get this environment, too. Here it is not AWS where a custom resource's response is awaited.
            LOOPBACK_VARIABLE: "1",
        }
