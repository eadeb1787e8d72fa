"""The processes of this machine: started, found and ended by pid.

This program is a child subreaper, so what loses its parent becomes its child; what a runner starts has
a mark in its environment as well. Services are told by the path of the helper that they run: every job
has a helper of its own, in its directory."""
import ctypes
import os
import select
import shutil
import signal
import subprocess
import time

MARK = "STACK_PEERS"
PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become a child subreaper")


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parent_of(pid):
    """The parent's pid; 0 for what has ended, whether or not it was reaped."""
    state, parent = (read(f"/proc/{pid}/stat").rpartition(b")")[2].split() + [b"Z", b"0"])[:2]
    return 0 if state in b"ZX" else int(parent)


def descendants(root):
    children = {}
    for pid in pids():
        children.setdefault(parent_of(pid), []).append(pid)
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def reap():
    """Takes the ends of what became a child of this program."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def end(who):
    """Ends what `who` lists, again and again until it lists nothing."""
    for _ in range(500):
        reap()
        found = who()
        if not found:
            return
        for pid in found:
            kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    raise RuntimeError(f"cannot end {who()}")


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def wait_for(condition, limit, pause=0.02):
    """What `condition` says, as soon as that is true, at the latest after `limit` seconds."""
    until = time.monotonic() + limit
    while not (said := condition()) and time.monotonic() < until:
        reap()
        time.sleep(pause)
    return said


def wait_gone(some, limit):
    """The moment in nanoseconds when the last of them has ended; None if that takes longer."""
    poll, open_ones = select.poll(), set()
    for pid in some:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll.register(fd, select.POLLIN)
        open_ones.add(fd)
    until, moment = time.monotonic() + limit, time.monotonic_ns()
    while open_ones and time.monotonic() < until:
        for fd, _ in poll.poll(100):
            moment = time.monotonic_ns()
            poll.unregister(fd)
            open_ones.remove(fd)
            os.close(fd)
    for fd in open_ones:
        os.close(fd)
    return None if open_ones else moment


class Failed(Exception):
    """What was to be measured did not take place."""


class Job:
    """A directory with a helper of its own, in which a runner is started, perhaps several times."""

    def __init__(self, base, helper, restart):
        self.number = Job.number = getattr(Job, "number", 0) + 1
        self.dir = os.path.join(base, f"job{self.number}")
        os.makedirs(self.dir)
        self.helper = self.path("helper")
        shutil.copy(helper, self.helper)
        self.notes_file, self.output = self.path("notes"), self.path("output")
        self.mark = f"{os.getpid()}.{self.number}"
        self.restart, self.services = restart, []
        self.at_end = []  # what else is to be done when all processes have ended

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def add(self, name, *arguments):
        self.services.append((name, [self.helper, *map(str, arguments)]))

    def environment(self, more):
        return {"PATH": os.environ["PATH"], "HOME": self.dir, "LANG": "C.UTF-8", "NO_COLOR": "1",
                "XDG_STATE_HOME": self.path("state"), "XDG_RUNTIME_DIR": self.dir, MARK: self.mark, **more}

    def start(self, argv, more):
        """Starts a runner as a shell would start it in the background, and gives its pid."""
        with open(self.output, "ab") as out, open(self.path("errors"), "ab") as errors:
            return subprocess.Popen([self.helper, "exec", self.notes_file, *argv], cwd=self.dir,
                                    env=self.environment(more), stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
                                    start_new_session=True).pid

    def notes(self, what):
        """(pid, nanoseconds) of each note of that kind."""
        lines = [line.split() for line in read(self.notes_file).split(b"\n")[:-1]]
        return [(int(pid), int(when)) for kind, pid, when in lines if kind.decode() == what]

    def roles(self):
        """The services' processes that are alive: each role with its pids."""
        found, mine = {}, self.helper.encode()
        for pid in pids():
            words = read(f"/proc/{pid}/cmdline").split(b"\0")
            if words[0] == mine and len(words) > 1 and words[1] not in (b"exec", b"floor") and parent_of(pid):
                found.setdefault(words[1].decode(), []).append(pid)
        return found

    def living(self):
        return [pid for some in self.roles().values() for pid in some]

    def marked(self):
        wanted = f"{MARK}={self.mark}".encode()
        return [pid for pid in pids() if wanted in read(f"/proc/{pid}/environ").split(b"\0") and parent_of(pid)]

    def runners(self):
        """The runner's own processes: what is marked and is not a service."""
        return sorted(set(self.marked()) - set(self.living()))

    def close(self):
        end(lambda: set(self.marked() + self.living()))
        for do in self.at_end:
            do()
        shutil.rmtree(self.dir, ignore_errors=True)
