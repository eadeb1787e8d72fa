"""What is left after which fault, counted by looking at the machine.

Six processes in three services: one that lives, with a child in its group, one in a session of its own
and a double-forked daemon; one that is deaf to SIGTERM; one that fails at first and is started again."""
import os
import signal
import time

import machine
from machine import Failed
from runners import GRACE

ROLES = ["tree", "child", "session", "daemon", "deaf", "again"]
MORE = 3            # seconds that a runner has after the grace period
STOP_LIMIT = 10     # seconds in which a polite stop may take place: some stop one service after another


def job_of_six(job):
    job.add("plain", "tree")
    job.add("deaf", "deaf")
    job.add("again", "again", job.path("was-here"))
    return job


def start(runner, job):
    pid = job.start(runner.prepare(job), runner.environment(job))
    if not machine.wait_for(lambda: set(job.roles()) >= set(ROLES) and os.path.exists(job.path("was-here.lives")), 20):
        raise Failed(f"only {sorted(job.roles())} run; {machine.read(job.path('errors'))[-200:].decode(errors='replace')}")
    time.sleep(0.3)
    return pid


def left_after(job, limit):
    """How many processes of services are there after so many seconds; at once if there is none any more."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        if machine.wait_for(lambda: not job.living(), until - time.monotonic()):
            time.sleep(0.3)  # nor does anybody start one
            if not job.living():
                return 0
    return len(job.living())


def polite(runner, job, pid):
    """Asks the runner to stop: how many processes are left then."""
    runner.stop(job, pid)
    machine.wait_for(lambda: not machine.parent_of(pid), STOP_LIMIT)
    return left_after(job, MORE)


def stopped(runner, job):
    """A polite stop."""
    job_of_six(job)
    if not runner.restarts:
        open(job.path("was-here"), "w").close()  # so that it lives at once
    pid = start(runner, job)
    left = polite(runner, job, pid)
    return {"left": left, "hangs": int(bool(machine.parent_of(pid)))}


def killed(runner, job, part):
    """SIGKILL to a part of the runner, then a start as if nothing had been, then a polite stop."""
    job_of_six(job)
    open(job.path("was-here"), "w").close()
    pid = start(runner, job)
    victims = runner.parts(job, pid)[part]
    # Several are suspended first, so that none of them can act on the death of another.
    for number in [signal.SIGSTOP, signal.SIGKILL] if len(victims) > 1 else [signal.SIGKILL]:
        for victim in victims:
            machine.kill(victim, number)
    left = left_after(job, GRACE + MORE)
    old = set(job.living())
    again = job.start(runner.prepare(job), runner.environment(job))
    copies, before = 0, {}

    def is_there_anew():
        nonlocal copies, before
        roles = job.roles()
        # What has just been forked has the name of its parent still; so only who was there before counts.
        copies = max(copies, sum(len(set(some) & set(before.get(role, []))) > 1 for role, some in roles.items()))
        before = roles
        return all(set(roles.get(role, [])) - old for role in ROLES)
    machine.wait_for(is_there_anew, GRACE + MORE, 0.05)
    for _ in range(5):
        time.sleep(0.1)
        is_there_anew()
    machine.reap()
    refused = not machine.parent_of(again)
    return {"left": left, "copies": copies, "refused": int(refused), "left in the end": polite(runner, job, again)}
