"""What the servers of the local stack have in common: one child process, a port, and a folder of its own."""

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from .child import Child, Identity
from .folders import empty_run_folder, new_run_folder
from .ports import LOOPBACK, free_port


class Server(ABC):
    """One server on the loopback interface.

    Without a `folder` it makes one, and `close` removes it, all but its log. One that is not `guarded` outlives this
    process.
    """

    def __init__(  # noqa: PLR0913 - each is one independent choice
        self, name: str, kind: str, *, port: int | None, folder: Path | None, log: Path | None, guarded: bool
    ) -> None:
        self.port = port or free_port()
        self.folder = folder or new_run_folder(kind)
        self.log_path = log or self.folder / f"{kind}.log"
        self._folder_is_ours = folder is None
        self._child = Child(name, log=self.log_path, guarded=guarded)

    @property
    def url(self) -> str:
        """Where it answers."""
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
        """Say whether the process runs, which a paused one does."""
        return self._child.is_alive()

    @abstractmethod
    def start(self) -> Self:
        """Start it and wait until it answers."""

    def stop(self) -> None:
        """Stop it in order; its folder stays for another start."""
        self._child.stop()

    def kill(self) -> None:
        """End it like a crash does; its folder stays for another start."""
        self._child.kill()

    def close(self) -> None:
        """Stop it and throw its data away."""
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
