"""A Docker engine that belongs to one job: dockerd with its containerd, and an empty image.

Nothing that the machine has is touched: it has a mount namespace of its own, in which /run is empty (a
containerd of the machine is not found) and changes to /etc go into the job's directory, as all data
does; it makes no network and no firewall rule. So it needs root. Killed and started again, it finds what
it ran, as an engine does that an init system starts again."""
import glob
import http.client
import io
import os
import shutil
import socket
import subprocess
import tarfile

import machine

IMAGE = "peers"
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "helper.c")
PROGRAMS = ["dockerd", "containerd", "containerd-shim-runc-v2", "runc", "docker-init", "unshare", "nsenter"]
ITSELF = ["dockerd", "containerd"]
START_LIMIT = 60
OWN_MOUNTS = """
    mount -t tmpfs peers /run
    mount -t overlay -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/work" peers /etc
"""


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(job, method, path, body=None):
    """Whether the engine says that it is so, or has done it."""
    connection = Connection(job.path("engine/socket"))
    try:
        connection.request(method, path, body, {"Content-Type": "application/x-tar"} if body else {})
        response = connection.getresponse()
        response.read()
        return response.status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def can_run(path):
    return os.geteuid() == 0 and all(shutil.which(program, path=path) for program in PROGRAMS)


def environment(job):
    return {"DOCKER_HOST": f"unix://{job.path('engine/socket')}", "DOCKER_CONFIG": job.dir}


def start(job, path):
    """Starts the job's engine if it does not run; with an image that has no file in it."""
    if ask(job, "GET", "/_ping"):
        return
    folder, group = job.path("engine"), f"peers.{job.mark}"
    flags = {"data-root": f"{folder}/data", "exec-root": f"{folder}/exec", "pidfile": f"{folder}/pid",
             "host": f"unix://{folder}/socket", "config-file": f"{folder}/daemon.json", "cgroup-parent": f"/{group}",
             "exec-opt": "native.cgroupdriver=cgroupfs", "bridge": "none", "iptables": "false", "ip6tables": "false",
             "ip-forward": "false"}
    command = ["dockerd", *(f"--{name}={value}" for name, value in flags.items())]
    is_new = not os.path.exists(folder)
    if is_new:
        for part in ("etc", "work"):
            os.makedirs(job.path(f"engine/{part}"))
        job.write("engine/daemon.json", "{}")
        job.at_end.append(lambda: remove_groups(group))
        enter, mounts = ["unshare", "--mount"], OWN_MOUNTS
    else:
        enter, mounts = ["nsenter", f"--mount=/proc/{os.getpid()}/fd/{job.namespace}"], ""
    shell = ["sh", "-ec", f'{mounts} exec "$@" >>"$0/log" 2>&1', folder]
    pid = job.start([*enter, *shell, *command], {"PATH": path})
    if not machine.wait_for(lambda: ask(job, "GET", "/_ping") or not machine.parent_of(pid), START_LIMIT) or not machine.parent_of(pid):
        raise machine.Failed(f"no engine: {machine.read(job.path('engine/log'))[-300:].decode(errors='replace')}")
    if is_new:
        job.namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        job.at_end.append(lambda: os.close(job.namespace))
        if not ask(job, "POST", f"/images/create?fromSrc=-&repo={IMAGE}", archive_of_nothing()):
            raise machine.Failed("the engine does not take an image")


def archive_of_nothing():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        folder = tarfile.TarInfo("proc")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return file.getvalue()


def static_helper(base):
    """The helper for a container in which there is no library."""
    path = os.path.join(base, "helper.static")
    if not os.path.exists(path):
        done = subprocess.run(["cc", "-O2", "-static", "-o", path, SOURCE], capture_output=True, text=True)
        if done.returncode:
            raise machine.Failed(f"no static helper: {done.stderr[-200:]}")
    return path


def remove_groups(name):
    """Removes what a killed engine leaves of its control groups, in each hierarchy."""
    def are_gone():
        tops = glob.glob(f"/sys/fs/cgroup/{name}") + glob.glob(f"/sys/fs/cgroup/*/{name}")
        for top in tops:
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass  # what was killed has not ended yet
        return not tops
    machine.wait_for(are_gone, 10)
