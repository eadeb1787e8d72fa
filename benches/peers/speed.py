"""How fast: starts, stops, restarts and logs, each beside the floor in the same round.

All moments are readings of the monotonic clock, most of them by the helper itself."""
import os
import signal
import time

import machine
from machine import Failed

SLOW_MB = 10        # what a runner has to write first; the whole amount only if that will not take long
SLOW_SECONDS = 10


def begin(runner, job, count):
    """Starts the runner: its pid, when it began, and when each of the services ran."""
    pid = job.start(runner.prepare(job), runner.environment(job))
    if not machine.wait_for(lambda: len(job.notes("runs")) >= count, 30, 0.005):
        raise Failed(f"{len(job.notes('runs'))} of {count} run")
    # What the runner itself needs to be there, such as an engine, may have begun before it.
    return pid, job.notes("begins")[-1][1], [when for _, when in job.notes("runs")]


def stamps(job, count):
    for number in range(count):
        job.add(f"s{number}", "stamp", job.notes_file)


def start(runner, job, count):
    """Until the last of so many services runs, in ms."""
    stamps(job, count)
    _, began, runs = begin(runner, job, count)
    return (max(runs) - began) / 1e6


def stop(runner, job, count):
    """From the request to the end of all services and of the runner, in ms."""
    stamps(job, count)
    pid, _, _ = begin(runner, job, count)
    time.sleep(1)
    # Not the pids of the notes: in a container a service has another one.
    services = job.living()
    asked = time.monotonic_ns()
    runner.stop(job, pid)
    gone = machine.wait_gone([pid, *services], 30)
    if gone is None:
        raise Failed("something is left after 30 s")
    return (gone - asked) / 1e6


def restart(runner, job, after):
    """From the exit of a service, so many ms after its start, to the next one that runs, in ms."""
    job.add("s0", "crash", job.notes_file, after)
    begin(runner, job, 1)
    if not machine.wait_for(lambda: len(job.notes("runs")) > 1 and job.notes("ends"), after / 1000 + 15, 0.005):
        raise Failed("not started again within 15 s")
    return (job.notes("runs")[1][1] - job.notes("ends")[0][1]) / 1e6


def logs(runner, job, megabytes):
    """Until so many MB of lines of one service are in a file, in MB a second."""
    job.add("s0", "flood", job.notes_file, megabytes)
    begin(runner, job, 1)
    time.sleep(0.5)
    wall, clock = time.time_ns(), time.monotonic_ns()
    machine.kill(job.roles()["flood"][0], signal.SIGUSR1)
    if not machine.wait_for(lambda: job.notes("ends"), 120, 0.01):
        raise Failed(f"{megabytes} MB were not taken within 120 s")
    size, quiet = -1, 0
    while quiet < 20:  # until nothing was added for 0.4 s
        time.sleep(0.02)
        now = sum(os.stat(path).st_size for path in outputs(runner, job))
        size, quiet = now, quiet + 1 if now == size else 0
    lines = sum(whole_lines(path) for path in outputs(runner, job))
    if lines < megabytes * 10_000:
        raise Failed(f"only {lines} whole lines of {megabytes * 10_000}")
    last = max(os.stat(path).st_mtime_ns for path in outputs(runner, job)) - wall
    return megabytes * 1e9 / max(last, job.notes("ends")[0][1] - clock)


def outputs(runner, job):
    if not runner.own_logs:
        return [job.output]
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(job.path(runner.own_logs)) for name in names]
    return [path for path in paths if os.path.basename(path) not in ("lock", "config", "state")]


def whole_lines(path):
    with open(path, "rb") as file:
        count, rest = 0, b""
        while block := file.read(1 << 24):
            block, found, after = (rest + block).rpartition(b"\n")
            count += (block + found).count(b"x" * 99 + b"\n") + (block + found).count(b"x" * 99 + b"\r\n")
            rest = after
    return count


def logs_as_it_can(runner, new_job, megabytes):
    """`logs` with the whole amount, or with less if the runner would take long."""
    with new_job() as job:
        rate = logs(runner, job, SLOW_MB)
    if megabytes / rate > SLOW_SECONDS:
        return rate
    with new_job() as job:
        return logs(runner, job, megabytes)


# Name, whether more is better, what is measured, and of whom.
CELLS = {
    "start of 1": (lambda runner, job: start(runner, job, 1), 1),
    "start of 10": (lambda runner, job: start(runner, job, 10), 10),
    "start of 100": (lambda runner, job: start(runner, job, 100), 100),
    "stop of 100": (lambda runner, job: stop(runner, job, 100), 100),
    "restart after an exit at once": (lambda runner, job: restart(runner, job, 0), 1),
    "restart after an exit after 3 s": (lambda runner, job: restart(runner, job, 3000), 1),
}
RESTARTS = [name for name in CELLS if name.startswith("restart")]
LOGS = "logs to a file"
