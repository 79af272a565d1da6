"""One OpenSearch node as a process of its own, answering on the loopback interface only.

    with Node(settings={"http.max_content_length": "1mb"}) as node:
        urlopen(node.url)

Nodes share the server's files (see `layout`); configuration, data and temporary files are each node's own.
"""

import json
import os
import pwd
import secrets
import signal
from pathlib import Path
from typing import Self

from .errors import LocalStackError
from .folders import lets_nobody_through, runs_as_root
from .java import Java, find_java
from .layout import layout
from .polling import fetch
from .ports import LOOPBACK, free_port, is_free
from .server import Server

DEFAULT_VERSION = "3.9.0"
# Measured at 6 to 24 s; a busy machine may take several times that.
START_SECONDS = 300
# A free port may be taken by somebody else before the node binds it.
PORT_ATTEMPTS = 3
PORT_TAKEN = ("BindHttpException", "Address already in use")

Setting = str | int | float | bool

SETTINGS: dict[str, Setting] = {
    "cluster.name": "trailsink-local",
    "discovery.type": "single-node",
    "network.host": LOOPBACK,
    "transport.port": 0,  # any: nobody joins
    # the least that Amazon's domains allow, on their smaller instances: "Quotas" in the developer guide
    "http.max_content_length": "10mb",
    # A laptop's disk is often fuller than the watermarks like, and the data is thrown away.
    "cluster.routing.allocation.disk.threshold_enabled": False,
}
LOGGING = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


class Node(Server):
    """A node that can be started, stopped, killed, paused, and started again on the same port with the same data.

    `settings` become lines of opensearch.yml and win over the defaults; they are read at each start. `quick` keeps
    the JVM from optimising thoroughly: it starts about a second sooner, and indexes at less than half the speed.
    """

    def __init__(  # noqa: PLR0913 - each is one independent choice
        self,
        *,
        version: str = DEFAULT_VERSION,
        settings: dict[str, Setting] | None = None,
        port: int | None = None,
        heap: str = "512m",
        quick: bool = True,
        folder: Path | None = None,
        log: Path | None = None,
        guarded: bool = True,
    ) -> None:
        self.version = version
        self.settings = dict(settings or {})
        self.heap = heap
        self.quick = quick
        self._port_is_ours = port is None
        self._name = f"local-{secrets.token_hex(8)}"  # tells it from others
        super().__init__(f"OpenSearch {version}", "opensearch", port=port, folder=folder, log=log, guarded=guarded)

    def start(self) -> Self:
        """Start the node and wait until it answers; if the port was not asked for, try another when it is taken."""
        attempts = PORT_ATTEMPTS if self._port_is_ours else 1
        while True:
            attempts -= 1
            self.launch()
            try:
                self.wait()
            except LocalStackError:
                taken = any(sign in self._child.tail(60) for sign in PORT_TAKEN)
                self.stop()
                if not taken or not attempts:
                    raise
                self.port = free_port()
            except BaseException:
                self.stop()
                raise
            else:
                # From here on the address is known to others: another start must come back to it.
                self._port_is_ours = False
                return self

    def launch(self) -> None:
        """Start the process and do not wait for it."""
        if self.is_alive():
            raise LocalStackError(f"OpenSearch already runs at {self.url}.")
        if not self._port_is_ours and not is_free(self.port):
            raise LocalStackError(f"Port {self.port} is taken, so OpenSearch cannot have it.")
        java = find_java(self.version)
        server = self._server()
        self._write_configuration()
        home = server if java.complete else self._home_without_analysis(server)
        user = self._hand_over()
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        command = self._command(java, home)
        self._child.launch(command, folder=self.folder, environment=environment, user=user)

    def wait(self) -> float:
        """Wait until the node answers that it can work; return the seconds it took."""
        return self._child.wait_until_it_answers(self.is_healthy, START_SECONDS)

    def pause(self) -> None:
        """Stop the process in its tracks: connections stay open and nothing answers."""
        self._child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._child.signal(signal.SIGCONT)

    def is_healthy(self) -> bool:
        """Say whether this node, and no other server that got its port, answers that it can work."""
        answer = fetch(self.url) or b""
        if json.dumps(self._name).encode() not in answer:
            return False
        return fetch(f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s") is not None

    def _server(self) -> Path:
        return layout(self.version)

    def _write_configuration(self) -> None:
        for name in ("config", "data", "logs", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        paths = {"path.data": str(self.folder / "data"), "path.logs": str(self.folder / "logs")}
        settings = {**SETTINGS, "node.name": self._name, "http.port": self.port, **paths, **self.settings}
        lines = [f"{name}: {json.dumps(value)}\n" for name, value in settings.items()]  # a JSON value is a YAML value
        (self.folder / "config/opensearch.yml").write_text("".join(lines))
        (self.folder / "config/log4j2.properties").write_text(LOGGING)

    def _home_without_analysis(self, server: Path) -> Path:
        """Make a server folder of links that leaves out the module which a cut-down Java cannot run."""
        home = self.folder / "home"
        (home / "modules").mkdir(parents=True, exist_ok=True)
        parts = ["bin", "lib", "plugins"]
        parts += [f"modules/{path.name}" for path in (server / "modules").iterdir() if path.name != "analysis-common"]
        for part in parts:
            if not (home / part).is_symlink():
                (home / part).symlink_to(server / part)
        return home

    def _hand_over(self) -> str | None:
        """If this is root, give the node's folder to the user nobody and return the name; the server refuses root."""
        if not runs_as_root():
            return None
        if not lets_nobody_through(self.folder):
            raise LocalStackError(
                f"OpenSearch refuses to run as root, and the user nobody cannot reach {self.folder}: choose another"
                " folder, or run this as an ordinary user."
            )
        nobody = pwd.getpwnam("nobody")
        for path in (self.folder, *self.folder.rglob("*")):
            if path != self.log_path:
                os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
        return "nobody"

    def _command(self, java: Java, home: Path) -> list[str]:
        """Return the command line that the distribution's start script would come to, less what costs time."""
        return [
            str(java.executable),
            f"-Xms{self.heap}",
            f"-Xmx{self.heap}",
            "-XX:+UseSerialGC",
            *(["-XX:TieredStopAtLevel=1"] if self.quick else []),
            "-XX:-UsePerfData",  # it would leave files in the system's temporary folder
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            "-Djava.awt.headless=true",
            "-Dfile.encoding=UTF-8",
            "-Djna.nosys=true",
            "-Dlog4j.shutdownHookEnabled=false",
            "-Dlog4j2.disable.jmx=true",
            "-Dopensearch.distribution.type=tar",
            "-Dopensearch.bundled_jdk=false",
            f"-Dopensearch.path.home={home}",
            f"-Dopensearch.path.conf={self.folder / 'config'}",
            "-Djava.security.manager=allow" if self.version.startswith("2.") else "--enable-native-access=ALL-UNNAMED",
            "-cp",
            f"{home}/lib/*",
            "org.opensearch.bootstrap.OpenSearch",
        ]
