"""A stand-in for AWS as a process of its own: MiniStack with S3, SQS and what else it has, plus message move tasks."""

import importlib.util
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local.asking import fetch
from infra.local.child import Child, Identity
from infra.local.errors import LocalStackError
from infra.local.folders import empty_run_folder, new_run_folder
from infra.local.ports import LOOPBACK, free_port, is_free

SERVER = Path(__file__).with_name("move_tasks.py")
# Measured at about 1 s.
START_SECONDS = 30
# All that MiniStack gets from our environment; AWS_*, and settings of its own, would change what it does.
PASSED_ON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL")


class Aws:
    """MiniStack on the loopback interface; all that it keeps is in memory.

    Without a `folder` it makes one for its few files, and `close` removes it, all but its log. One that is not
    `guarded` outlives this process.
    """

    def __init__(
        self, *, port: int | None = None, folder: Path | None = None, log: Path | None = None, guarded: bool = True
    ) -> None:
        self.port = port or free_port()
        self.folder = folder or new_run_folder("aws")
        self.log_path = log or self.folder / "aws.log"
        self._folder_is_ours = folder is None
        self._child = Child("MiniStack", log=self.log_path, guarded=guarded)

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        return self._child.pid

    @property
    def identity(self) -> Identity | None:
        """What a later command needs to stop it."""
        return self._child.identity

    def is_alive(self) -> bool:
        """Say whether the process runs."""
        return self._child.is_alive()

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

    def stop(self) -> None:
        """Stop it; what it kept in memory is gone."""
        self._child.stop()

    def kill(self) -> None:
        """End it like a crash does."""
        self._child.kill()

    def close(self) -> None:
        """Stop it and remove its files."""
        self.stop()
        if self._folder_is_ours:
            empty_run_folder(self.folder)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
            # As it starts and stops it removes containers that look like its own from the machine's Docker.
            "DOCKER_HOST": f"unix://{self.folder}/no-docker",
            "SFTP_ENABLED": "0",  # would listen on every interface
        }
