"""One class for each runner: how it is told of the same services, started, and asked to stop.

Each one is given the settings of its own manual under which the least is left behind: signals to whole
groups where it knows such, SIGKILL after the grace period, restarts without a delay. `prepare(job)` writes
what it reads into `job.dir` and gives the command that starts it in the foreground."""
import json
import os
import shlex
import shutil
import signal
import subprocess

import engine
import machine

GRACE = 2  # seconds that every service has between the stop signal and SIGKILL
# What a stop needs after a fault (deaf services, a first process that was killed) takes time of its own,
# so that it is left out where the stop of many services is measured.
FEW = 10
PEERS = os.environ.get("PEERS", os.path.expanduser("~/stack-peers"))  # where `setup` puts them
FOLDERS = [os.path.join(PEERS, part) for part in ("bin", "venv/bin", "npm/node_modules/.bin", "engine/usr/sbin", "engine/usr/bin")]


def search_path():
    return os.pathsep.join([*FOLDERS, os.environ["PATH"]])


def ask(command):
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Runner:
    name = program = ""
    version_words = ["--version"]  # the name of a Debian package; None for a crate
    signal = signal.SIGTERM
    restarts = True     # whether it can start again what has ended
    takes_output = True
    own_logs = None     # where its log files are, if output does not go to its own stdout
    most = 1000
    settings = ""

    def path(self):
        return shutil.which(self.program or self.name, path=search_path())

    def version(self, environment):
        if self.version_words is None:
            return self.version_of_crate()
        if isinstance(self.version_words, str):
            command = ["dpkg-query", "-W", "-f", "${Version}", self.version_words]
        else:
            command = [self.path(), *self.version_words]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
        words = (said.stdout or said.stderr).split()
        return next((word.strip("v,") for word in words if word.strip("v,")[:1].isdigit()), "?")

    def version_of_crate(self):
        """What cargo has noted, for a program that cannot tell."""
        words = machine.read(os.path.join(PEERS, ".crates.toml")).decode().replace('"', "").split()
        return words[words.index(self.name) + 1] if self.name in words else "?"

    def environment(self, job):
        return {}

    def prepare(self, job):
        raise NotImplementedError

    def stop(self, job, pid):
        machine.kill(pid, self.signal)

    def parts(self, job, pid):
        """What SIGKILL is sent to: a name, and pids. A runner of several processes can lose one or all."""
        everything = job.runners()
        return {self.program or self.name: [pid]} | ({"all at once": everything} if len(everything) > 1 else {})

    @staticmethod
    def procfile(job):
        return job.write("Procfile", "".join(f"{name}: exec {shlex.join(argv)}\n" for name, argv in job.services))


class Floor(Runner):
    """No runner, but the least that one has to do: see helper.c."""
    name = "floor"

    def path(self):
        return None

    def prepare(self, job):
        plan = job.write("plan", "".join("\t".join(argv) + "\n" for _, argv in job.services))
        return [job.helper, "floor", plan]


class Stack(Runner):
    name = "stack"
    settings = f"restart always, stop_grace_period {GRACE}s"
    signal = signal.SIGINT
    binary = None

    def path(self):
        return self.binary or super().path()

    def prepare(self, job):
        services = {}
        for name, argv in job.services:
            services[name] = {"command": argv, "restart": "always" if job.restart else "no", "stop_grace_period": f"{GRACE}s"}
            if job.restart:
                services[name] |= {"restart_policy": {"delay": "0s"}}
        job.write("stack.yaml", json.dumps({"name": f"peers{job.number}", "dotenv": False, "services": services}))
        return [self.path(), "up"]

    def parts(self, job, pid):
        # Each is the parent of the next one.
        runners = job.runners()
        guardian = next(one for one in runners if machine.parent_of(one) == pid)
        supervisor = next(one for one in runners if machine.parent_of(one) == guardian)
        return {"supervisor": [supervisor], "guardian": [guardian], "client": [pid],
                "supervisor and guardian": [guardian, supervisor]}


class DockerCompose(Runner):
    """Its services are containers with nothing in them but the helper and the job's directory."""
    name, program = "docker compose", "docker-compose"
    version_words = ["version", "--short"]
    signal = signal.SIGINT
    settings = (f"restart always, init, network_mode host, stop_grace_period {GRACE}s; an engine of its own that runs already,"
                " with its standard settings but without networks")

    def path(self):
        return super().path() if engine.can_run(search_path()) else None

    def version(self, environment):
        said = subprocess.run(["dockerd", "--version"], capture_output=True, text=True, env={"PATH": search_path()})
        return f"{super().version(environment)}, engine {said.stdout.split()[2].strip(',')}"

    def environment(self, job):
        return engine.environment(job)

    def prepare(self, job):
        engine.start(job, search_path())
        helper = engine.static_helper(os.path.dirname(job.dir))
        services = {name: {"image": engine.IMAGE, "pull_policy": "never", "command": argv, "init": True, "network_mode": "host",
                           "restart": "always" if job.restart else "no", "stop_grace_period": f"{GRACE}s",
                           "volumes": [f"{job.dir}:{job.dir}", f"{helper}:{job.helper}:ro"]} for name, argv in job.services}
        job.write("compose.yaml", json.dumps({"name": f"peers{job.number}", "services": services}))
        return [self.path(), "up"]

    def parts(self, job, pid):
        everything = job.runners()
        itself = [one for one in everything if machine.read(f"/proc/{one}/comm").decode().strip() in engine.ITSELF]
        return {"docker compose up": [pid], "dockerd and containerd": itself, "all at once": everything}


class Supervisor(Runner):
    name, program = "supervisor", "supervisord"
    own_logs = "log"
    settings = f"startsecs=0, stopasgroup, killasgroup, stopwaitsecs={GRACE}"

    def prepare(self, job):
        os.makedirs(job.path("log"), exist_ok=True)
        text = (f"[supervisord]\nnodaemon=true\nlogfile={job.path('sv.log')}\npidfile={job.path('sv.pid')}\n"
                f"childlogdir={job.dir}\nminfds=4096\n[unix_http_server]\nfile={job.path('sv.sock')}\n")
        for name, argv in job.services:
            text += (f"[program:{name}]\ncommand={shlex.join(argv)}\nstartsecs=0\nredirect_stderr=true\n"
                     f"autorestart={str(job.restart).lower()}\nstopasgroup=true\nkillasgroup=true\n"
                     f"stopwaitsecs={GRACE}\nstdout_logfile={job.path('log')}/{name}\nstdout_logfile_maxbytes=0\n")
        return [self.path(), "-c", job.write("sv.conf", text)]


class Circus(Runner):
    name, program = "circus", "circusd"
    own_logs = "log"
    settings = f"check_delay=0.1, warmup_delay=0, stop_children, graceful_timeout={GRACE}"

    def prepare(self, job):
        os.makedirs(job.path("log"), exist_ok=True)
        text = ("[circus]\ncheck_delay = 0.1\nwarmup_delay = 0\n"
                f"endpoint = ipc://{job.path('c.ep')}\npubsub_endpoint = ipc://{job.path('c.ps')}\n")
        for name, argv in job.services:
            text += (f"[watcher:{name}]\ncmd = {argv[0]}\nargs = {shlex.join(argv[1:])}\nwarmup_delay = 0\n"
                     f"respawn = {job.restart}\nmax_retry = -1\ncopy_env = True\nstop_children = True\n"
                     f"graceful_timeout = {GRACE}\nstdout_stream.class = FileStream\n"
                     f"stdout_stream.filename = {job.path('log')}/{name}\n")
        return [self.path(), "--log-level", "error", job.write("circus.ini", text)]


class Honcho(Runner):
    name = "honcho"
    version_words = ["version"]
    signal = signal.SIGINT
    restarts = False
    settings = "a Procfile"

    def prepare(self, job):
        return [self.path(), "-f", self.procfile(job), "start"]


class Foreman(Honcho):
    name = "foreman"
    settings = f"a Procfile, -t {GRACE}"

    def prepare(self, job):
        return [self.path(), "start", "-t", str(GRACE), "-f", self.procfile(job)]


class Hivemind(Honcho):
    name = "hivemind"
    version_words = ["--version"]
    settings = f"a Procfile, -t {GRACE}"

    def prepare(self, job):
        return [self.path(), "-t", str(GRACE), self.procfile(job)]


class Overmind(Runner):
    name = "overmind"
    signal = signal.SIGINT
    most = 100
    settings = f"a Procfile, -t {GRACE}, -r all"

    def prepare(self, job):
        again = ["-r", "all"] if job.restart else []
        return [self.path(), "start", "-N", "-t", str(GRACE), *again, "-f", self.procfile(job)]


class Concurrently(Runner):
    name = "concurrently"
    signal = signal.SIGINT
    settings = f"--restart-tries -1 --restart-after 0 --kill-timeout {GRACE}000"

    def prepare(self, job):
        again = ["--restart-tries", "-1", "--restart-after", "0"] if job.restart else []
        return [self.path(), *again, "--kill-timeout", f"{GRACE}000", *(f"exec {shlex.join(argv)}" for _, argv in job.services)]


class Pm2(Runner):
    name, program = "pm2", "pm2-runtime"
    signal = signal.SIGINT
    own_logs = ".pm2/logs"
    settings = f"pm2-runtime, kill_timeout {GRACE}000, restart_delay 0"

    def environment(self, job):
        return {"PM2_HOME": job.path(".pm2"), "PM2_DISCRETE_MODE": "true"}

    def prepare(self, job):
        apps = [{"name": name, "script": argv[0], "args": argv[1:], "exec_interpreter": "none", "exec_mode": "fork",
                 "autorestart": job.restart, "restart_delay": 0, "min_uptime": 0, "max_restarts": 1000,
                 "kill_timeout": GRACE * 1000, "merge_logs": True, "pmx": False} for name, argv in job.services]
        return [self.path(), "start", job.write("apps.config.json", json.dumps({"apps": apps}))]


class ProcessCompose(Runner):
    name = "process-compose"
    version_words = ["version"]
    signal = signal.SIGINT
    settings = f"headless, backoff_seconds 1 (its least), shutdown.timeout_seconds {GRACE} (not for 10 and more services, whose stop it delays)"

    def prepare(self, job):
        processes = {name: {"command": "exec " + shlex.join(argv),
                            "availability": {"restart": "always" if job.restart else "no", "backoff_seconds": 1}}
                     for name, argv in job.services}
        if len(processes) < FEW:
            for process in processes.values():
                process["shutdown"] = {"timeout_seconds": GRACE}
        text = json.dumps({"version": "0.5", "processes": processes})
        return [self.path(), "up", "-t=false", "--no-server", "--keep-project", "-L", job.path("pc.log"),
                "-f", job.write("process-compose.json", text)]


class Horust(Runner):
    name = "horust"
    version_words = None
    takes_output = False
    settings = f"backoff 0s, termination.wait {GRACE}s; takes no output"

    def prepare(self, job):
        strategy = "always" if job.restart else "never"
        for name, argv in job.services:
            job.write(f"services/{name}.toml",
                      f'command = {json.dumps(shlex.join(argv))}\nstart-delay = "0s"\n[restart]\nstrategy = "{strategy}"\n'
                      f'backoff = "0s"\nattempts = 0\n[termination]\nsignal = "TERM"\nwait = "{GRACE}s"\n')
        os.makedirs(job.path("uds"), exist_ok=True)
        return [self.path(), "--uds-folder-path", job.path("uds"), "--services-path", job.path("services")]


class Runit(Runner):
    name, program = "runit", "runsvdir"
    version_words = "runit"
    own_logs = "log"
    settings = f"SIGHUP to runsvdir, then sv -w {GRACE} force-shutdown (not for 10 and more services)"

    def prepare(self, job):
        for name, argv in job.services:
            job.write(f"sv/{name}/run", f"#!/bin/sh\nexec {shlex.join(argv)}\n", 0o755)
            if argv[1] == "flood":
                os.makedirs(job.path(f"log/{name}"), exist_ok=True)
                job.write(f"log/{name}/config", "s0\nn0\n")
                job.write(f"sv/{name}/log/run", f"#!/bin/sh\nexec svlogd {job.path('log')}/{name}\n", 0o755)
        # It sleeps for a second if the directory was changed within the present one.
        os.utime(job.path("sv"), (1e9, 1e9))
        return [self.path(), job.path("sv")]

    def stop(self, job, pid):
        machine.kill(pid, signal.SIGHUP)
        if len(job.services) < FEW:
            services = [job.path(f"sv/{name}") for name, _ in job.services]
            ask(["sv", "-w", str(GRACE), "force-shutdown", *services])


class S6(Runner):
    name, program = "s6", "s6-svscan"
    version_words = "s6"
    own_logs = "log"
    settings = f"timeout-kill {GRACE}000, SIGTERM to s6-svscan"

    def prepare(self, job):
        for name, argv in job.services:
            job.write(f"sv/{name}/run", f"#!/bin/sh\nexec {shlex.join(argv)}\n", 0o755)
            job.write(f"sv/{name}/timeout-kill", f"{GRACE}000\n")
            if argv[1] == "flood":
                os.makedirs(job.path(f"log/{name}"), exist_ok=True)
                job.write(f"sv/{name}/log/run", f"#!/bin/sh\nexec s6-log n20 s268435455 {job.path('log')}/{name}\n", 0o755)
        return [self.path(), "-c", "400", job.path("sv")]

    def stop(self, job, pid):
        if len(job.services) < FEW:
            for name, _ in job.services:
                ask(["s6-svc", "-dx", job.path(f"sv/{name}")])
        machine.kill(pid, signal.SIGTERM)


STACK = Stack()
ALL = [STACK, DockerCompose(), ProcessCompose(), Supervisor(), Circus(), Runit(), S6(), Pm2(), Horust(), Overmind(), Hivemind(),
       Honcho(), Foreman(), Concurrently()]
