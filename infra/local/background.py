"""The local stack in the background: `up` leaves it running, `down` ends it and keeps the data, `status` tells.

What runs is written down in `stack.json` as soon as it is started, so that `down` finds it even after an `up` that
was killed half-way.
"""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .aws import Aws
from .child import Identity
from .folders import lets_nobody_through, mark_of, node_base, only_one, runs_as_root
from .node import DEFAULT_VERSION, Node
from .polling import fetch
from .ports import free_port
from .resources import make_resources
from .stack import VARIABLES, as_shell, environment, server_already_there

HEALTH = {"opensearch": "/", "aws": "/_ministack/ready"}

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """One half of the stack: a process that we started, or, without an identity, somebody else's server."""

    name: str
    label: str
    url: str
    folder: Path | None = None
    identity: Identity | None = None

    def answers(self) -> bool:
        """Say whether it is alive and answers."""
        alive = self.identity is None or self.identity.is_alive()
        return alive and fetch(self.url + HEALTH[self.name]) is not None

    def end(self) -> None:
        """Stop its process, if it is ours; its files stay."""
        if self.identity:
            self.identity.end()


class State:
    """What is written down about the running stack in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = folder / "env"
        self.logs = folder / "logs"
        self._file = folder / "stack.json"
        self._ports = folder / "ports.json"
        self.parts: dict[str, Part] = {}
        if self._file.is_file():
            self.parts = {name: _part(name, told) for name, told in json.loads(self._file.read_text()).items()}

    def record(self, part: Part) -> None:
        """Write down a part that was just started."""
        self.parts[part.name] = part
        told = {name: dataclasses.asdict(part) for name, part in self.parts.items()}
        _replace(self._file, json.dumps(told, indent=1, default=str))

    @property
    def last_ports(self) -> dict[str, int]:
        """The ports that each part of ours had last: kept messages and settings of shells name them."""
        ports: dict[str, int] = json.loads(self._ports.read_text()) if self._ports.is_file() else {}
        return ports | {name: _port_of(part) for name, part in self.parts.items() if part.identity}

    @property
    def data(self) -> list[Path]:
        """The folders of the parts, with what they keep."""
        return [*(self.folder / "run").glob("up-*"), *_elsewhere(self.folder).parent.glob(_elsewhere(self.folder).name)]

    def clean(self) -> bool:
        """Remove the data of parts that are stopped; return whether there was any."""
        data = self.data
        for path in data:
            shutil.rmtree(path, ignore_errors=True)
        self._ports.unlink(missing_ok=True)
        return bool(data)

    def end(self, name: str) -> None:
        """Stop a part; it stays written down until another takes its place or everything is forgotten."""
        if name in self.parts:
            self.parts[name].end()

    def end_all(self) -> None:
        """Stop everything and forget it; the data stays."""
        if ports := self.last_ports:
            _replace(self._ports, json.dumps(ports))
        for name in self.parts:
            self.end(name)
        self.parts = {}
        for path in (self.env, self._file):
            path.unlink(missing_ok=True)


def _part(name: str, told: dict[str, Any]) -> Part:
    folder = Path(told["folder"]) if told["folder"] else None
    identity = Identity(**told["identity"]) if told["identity"] else None
    return Part(name, told["label"], told["url"], folder, identity)


def _port_of(part: Part) -> int:
    return int(part.url.rpartition(":")[2])


def _elsewhere(folder: Path) -> Path:
    """Return a pattern of the node's folders where the user nobody cannot reach the stack's own."""
    return node_base() / "run" / f"up-{mark_of(folder)}-*"


def _replace(path: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text)
    scratch.replace(path)


def up(folder: Path, say: Say, *, version: str = DEFAULT_VERSION, port: int | None = None) -> None:
    """Start what is not running; if that fails or is interrupted, nothing is left running.

    `port` is OpenSearch's. Without one it is any free port: nobody has to sign in, and programs try 9200 by habit.
    """
    with only_one(folder / "stack.lock"):
        state = State(folder)
        working = [name for name, part in state.parts.items() if part.answers()]
        if set(working) == set(HEALTH) and state.env.is_file():
            say("The local stack is already up:")
            _tell(state, say)
            return
        try:
            _start(state, working, say, version, port)
        except BaseException:
            state.end_all()
            raise
        say(f"Point a shell at it: . {_for_shell(state.env)}")


def _start(state: State, working: list[str], say: Say, version: str, port: int | None) -> None:
    """Start the parts that do not work, and make what must be in them."""
    for name in [name for name in state.parts if name not in working]:
        say(f"{state.parts[name].label} no longer answers; it is started again.")
        state.end(name)
    if state.data and not working:
        say("The data of the last time is there.")
    began = time.monotonic()
    aws = None if "aws" in working else _launch_aws(state, say)
    node = None if "opensearch" in working else _launch_opensearch(state, say, version, port)
    if aws:
        aws.wait()
        _say_answers(state, "aws", say, began)
    if node:
        node.wait()
        _say_answers(state, "opensearch", say, began)
    aws_url, opensearch_url = (state.parts[name].url for name in ("aws", "opensearch"))
    resources = make_resources(aws_url)
    say(f"Bucket {resources.bucket} announces to {resources.queue_url}")
    _replace(state.env, as_shell(environment(opensearch_url, aws_url, resources)))


def _launch_aws(state: State, say: Say) -> Aws:
    run = _run_folder(state, "aws")
    port = _port(state, "aws", say)
    aws = Aws(port=port, folder=run, log=_log(state, "aws"), guarded=False, persistent=True)
    _launch(state, aws, lambda: Part("aws", "MiniStack", aws.url, run, aws.identity))
    return aws


def _launch_opensearch(state: State, say: Say, version: str, port: int | None) -> Node | None:
    server = server_already_there()
    if server:
        state.record(Part("opensearch", "OpenSearch", server))
        say(f"OpenSearch is the one at {server}")
        return None
    run = _run_folder(state, f"opensearch-{version}")  # one that is older cannot read the data of a newer one
    port = port or _port(state, "opensearch", say)  # one that is taken is an error
    # Not quick: it starts within a second of one that is, and indexes more than twice as fast from then on.
    log = _log(state, "opensearch")
    node = Node(version=version, port=port, folder=run, log=log, quick=False, guarded=False)
    _launch(state, node, lambda: Part("opensearch", f"OpenSearch {version}", node.url, run, node.identity))
    return node


def _launch(state: State, server: Aws | Node, part: Callable[[], Part]) -> None:
    """Start a process and write it down, or else leave no trace of it."""
    try:
        server.launch()
        state.record(part())
    except BaseException:
        server.stop()
        raise


def _run_folder(state: State, name: str) -> Path:
    """Return the folder of a part; the node's must be open to the user nobody when this is root."""
    folder = state.folder / "run" / f"up-{name}"
    if name.startswith("opensearch") and runs_as_root() and not lets_nobody_through(state.folder):
        elsewhere = _elsewhere(state.folder)
        folder = elsewhere.with_name(elsewhere.name.replace("*", name))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _log(state: State, name: str) -> Path:
    """Return the part's log; a fresh stack begins a fresh one, a repaired one goes on."""
    log = state.logs / f"{name}.log"
    if name not in state.parts:
        log.unlink(missing_ok=True)
    return log


def _port(state: State, name: str, say: Say) -> int:
    """Return the port that the part had before, or any that is free."""
    wanted = state.last_ports.get(name)
    port = free_port(wanted)
    if wanted and port != wanted:
        say(f"Port {wanted} is taken; {port} is used instead.")
    return port


def _say_answers(state: State, name: str, say: Say, began: float) -> None:
    part = state.parts[name]
    say(f"{part.label} answers at {part.url} ({time.monotonic() - began:.1f} s)")


def _tell(state: State, say: Say) -> None:
    for part in state.parts.values():
        whose = f"process {part.identity.pid}" if part.identity else "not ours"
        say(f"{part.label} {'answers' if part.answers() else 'does not answer'} at {part.url} ({whose})")
    say(f"Point a shell at it: . {_for_shell(state.env)}")


def _for_shell(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def down(folder: Path, say: Say, *, clean: bool = False) -> None:
    """Stop everything that `up` started; with `clean`, delete the data, too."""
    with only_one(folder / "stack.lock"):
        state = State(folder)
        if state.parts:
            labels = [part.label for part in state.parts.values() if part.identity]
            state.end_all()
            say(f"Stopped: {', '.join(labels)}. The logs are in {state.logs}.")
            say(f"A shell that was pointed at it still is: open a new one, or run: unset {' '.join(VARIABLES)}")
        else:
            say("Nothing is running.")
        if clean:
            say("The data is deleted." if state.clean() else "There is no data.")
        elif state.data:
            say("The data is kept for the next time; with --clean it is deleted.")


def status(folder: Path, say: Say) -> bool:
    """Tell what runs; return whether the whole stack answers."""
    state = State(folder)
    if not state.parts:
        say("Nothing is running.")
        return False
    _tell(state, say)
    return set(state.parts) == set(HEALTH) and all(part.answers() for part in state.parts.values())
