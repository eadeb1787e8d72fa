#!/usr/bin/env python3
"""Compares `stack` with other runners: faults, starts, stops, restarts and logs.

    run.py                      measures, prints the tables, writes docs/comparison.{json,md,svg} and the README's part
    run.py --only stack,s6 --json FILE      measures some, writes FILE and nothing else
    run.py --only s6 --speed 0 --merge      puts what is left after faults into docs/comparison.json, which keeps all else
    run.py --faults 0 --merge               the same with the speed of all
    run.py --quick --only stack --json FILE         only faults, once
    run.py --render [--check]   from docs/comparison.json again; with --check only says what differs"""
import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import faults  # noqa: E402
import machine  # noqa: E402
import render  # noqa: E402
import runners  # noqa: E402
import speed  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Measured:
    """All results so far, and what is needed to get more."""

    def __init__(self, base, chosen):
        self.base, self.chosen = base, chosen
        self.helper = os.path.join(base, "helper")
        subprocess.run(["cc", "-O2", "-o", self.helper, os.path.join(HERE, "helper.c")], check=True)
        self.faults, self.speed, self.notes = [], {}, []

    def job(self, restart=False):
        return Work(self.base, self.helper, restart)

    def versions(self):
        with self.job() as job:
            return {runner.name: {"version": runner.version(job.environment(runner.environment(job))),
                                  "settings": runner.settings} for runner in self.chosen}

    def attempt(self, runner, what, measure):
        """What `measure` says; None, with a note, if it cannot be measured."""
        print(f"{runner.name}: {what}", file=sys.stderr)
        try:
            return measure()
        except faults.Failed as problem:
            note = f"{runner.name}: {what}: {problem}".replace(self.base, "…")
            print(f"  {note}", file=sys.stderr)
            if note not in self.notes:
                self.notes.append(note)
            return None

    def keep_fault(self, runner, part, found):
        row = next((row for row in self.faults if (row["runner"], row["part"]) == (runner.name, part)), None)
        if row is None:
            row = {"runner": runner.name, "part": part, "found": []}
            self.faults.append(row)
        if found:
            row["found"].append(found)

    def fault_round(self):
        for runner in self.chosen:
            def stopped():
                with self.job(restart=True) as job:
                    return faults.stopped(runner, job)
            self.keep_fault(runner, None, self.attempt(runner, "polite stop", stopped))
            for part in self.parts(runner):
                def killed():
                    with self.job(restart=True) as job:
                        return faults.killed(runner, job, part)
                self.keep_fault(runner, part, self.attempt(runner, f"SIGKILL to {part}", killed))

    def parts(self, runner):
        def look():
            with self.job(restart=True) as job:
                faults.job_of_six(job)
                open(job.path("was-here"), "w").close()
                return list(runner.parts(job, faults.start(runner, job)))
        return self.attempt(runner, "which processes it has", look) or []

    def speed_round(self, turn, megabytes):
        order = [runners.Floor(), *self.chosen]
        turn %= len(order)
        for name in [*speed.CELLS, speed.LOGS]:
            for runner in order[turn:] + order[:turn]:
                measure, count = speed.CELLS.get(name, (None, 1))
                if count > runner.most or (name in speed.RESTARTS and not runner.restarts):
                    continue
                if name == speed.LOGS and not runner.takes_output:
                    continue

                def one():
                    if name == speed.LOGS:
                        return speed.logs_as_it_can(runner, self.job, megabytes)
                    with self.job(restart=name in speed.RESTARTS) as job:
                        return measure(runner, job)
                value = self.attempt(runner, name, one)
                if value is not None:
                    self.speed.setdefault(name, {}).setdefault(runner.name, []).append(round(value, 3))


class Work(machine.Job):
    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def this_machine():
    processor = next((line.split(":")[1].strip() for line in machine.read("/proc/cpuinfo").decode().split("\n")
                      if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} × {processor}, Linux {platform.release()}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAMES", help="these runners, separated by commas")
    parser.add_argument("--stack", metavar="PATH", help="default: target/release/stack")
    parser.add_argument("--faults", type=int, default=3, metavar="N", help="rounds of faults (3)")
    parser.add_argument("--speed", type=int, default=5, metavar="N", help="rounds of everything else (5)")
    parser.add_argument("--mb", type=int, default=100, help="how much is logged (100)")
    parser.add_argument("--remark", default="", help="what else a reader should know, such as other work on the machine")
    parser.add_argument("--quick", action="store_true", help="the same as --faults 1 --speed 0")
    parser.add_argument("--merge", action="store_true", help="keep what docs/comparison.json says of others, and of what is not measured")
    parser.add_argument("--json", metavar="FILE", help="write results here, and nothing to docs")
    parser.add_argument("--render", action="store_true", help="write the documents from docs/comparison.json")
    parser.add_argument("--check", action="store_true", help="with --render: change nothing, exit 1 on a difference")
    given = parser.parse_args()
    if given.quick:
        given.faults, given.speed = 1, 0
    if given.merge and given.only and given.speed:
        parser.error("times are compared within one run: measure all runners, or none (--speed 0)")
    return given


def measure(given):
    binary = os.path.abspath(given.stack or os.path.join(ROOT, "target/release/stack"))
    runners.STACK.binary = binary if os.access(binary, os.X_OK) else None
    named = given.only.split(",") if given.only else [runner.name for runner in runners.ALL]
    if unknown := set(named) - {runner.name for runner in runners.ALL}:
        sys.exit(f"no such runner: {', '.join(sorted(unknown))}")
    wanted = [runner for runner in runners.ALL if runner.name in named]
    chosen = [runner for runner in wanted if runner.path()]
    machine.become_subreaper()
    before = set(os.listdir("/dev/shm"))
    base = tempfile.mkdtemp(prefix="peers.", dir="/dev/shm")
    try:
        measured = Measured(base, chosen)
        results = {"date": datetime.date.today().isoformat(), "machine": this_machine(),
                   "rounds": {"faults": given.faults, "speed": given.speed}, "megabytes": given.mb, "remark": given.remark,
                   "runners": measured.versions(), "not installed": [runner.name for runner in wanted if runner not in chosen]}
        for _ in range(given.faults):
            measured.fault_round()
        for turn in range(given.speed):
            measured.speed_round(turn, given.mb)
        return results | {"faults": measured.faults, "speed": measured.speed, "notes": measured.notes}
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Nothing is left: neither below this program nor in the directories that it used.
        machine.end(lambda: machine.descendants(os.getpid()))
        shutil.rmtree(base, ignore_errors=True)
        for name in set(os.listdir("/dev/shm")) - before:
            if name.startswith("sem.mp-"):  # of a honcho that was killed
                os.unlink(os.path.join("/dev/shm", name))


def merged(old, new):
    """The old results, in which the new ones stand in place of what was measured again."""
    rounds, again = dict(old["rounds"]), set(new["runners"])
    of_each = old["runners"] | new["runners"]
    names = [runner.name for runner in runners.ALL if runner.name in of_each]
    results = old | {"runners": {name: of_each[name] for name in names}, "remark": new["remark"] or old["remark"],
                     "not installed": [name for name in old["not installed"] if name not in again]}
    cells = [*speed.CELLS, speed.LOGS]
    if new["rounds"]["faults"]:
        rounds["faults"] = min(rounds["faults"], new["rounds"]["faults"])
        rows = [row for row in old["faults"] if row["runner"] not in again] + new["faults"]
        results["faults"] = sorted(rows, key=lambda row: names.index(row["runner"]))
    if new["rounds"]["speed"]:
        rounds["speed"] = new["rounds"]["speed"]
        results |= {"speed": new["speed"], "megabytes": new["megabytes"]}

    def stays(note):
        name, part = note.split(": ")[:2]
        return not new["rounds"]["speed"] if part in cells else name not in again or not new["rounds"]["faults"]
    return results | {"rounds": rounds, "notes": [*filter(stays, old["notes"]), *new["notes"]]}


def main():
    given = arguments()
    # Also where a shell without job control has it ignored, since it is started in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    path = given.json or os.path.join(ROOT, "docs/comparison.json")
    if not given.render:
        results = measure(given)
        if given.merge:
            with open(os.path.join(ROOT, "docs/comparison.json")) as file:
                results = merged(json.load(file), results)
        with open(path, "w") as file:
            json.dump(results, file, indent=1, ensure_ascii=False)
            file.write("\n")
        print(render.tables(results))
        if given.json:
            return 0
    with open(path) as file:
        results = json.load(file)
    return render.documents(ROOT, results, only_check=given.check)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
