"""Tables, a picture and the README's sentences, all of them from the results alone."""
import os
import statistics
from html import escape

import faults
import speed

BEGIN, END = "<!-- comparison: written by benches/peers/run.py --render -->", "<!-- end of comparison -->"
PROCESSES = len(faults.ROLES)
BOTH = "supervisor and guardian"  # of `stack`: only its client is left
FAULT_HEADS = ["left after a polite stop", "left after the kill", "run twice after a new start",
               "left after its polite stop", "a new start is refused"]


def worst(row, key):
    """The worst of all rounds; None where there is none."""
    return max((found[key] for found in row["found"]), default=None)


def fault_rows(results):
    """(runner, what was killed, five counts): the first count belongs to the runner, not to the kill."""
    rows = []
    for name in results["runners"]:
        own = [row for row in results["faults"] if row["runner"] == name]
        polite = next((worst(row, "left") for row in own if row["part"] is None), None)
        for row in own:
            if row["part"] is not None:
                counts = [worst(row, key) for key in ("left", "copies", "left in the end", "refused")]
                rows.append((name, row["part"], [polite, counts[0], counts[1], counts[2], counts[3]]))
                polite = None
    return rows


def medians(results):
    """The cells that were measured, each with every runner's median."""
    return {cell: {name: statistics.median(values) for name, values in of.items()} for cell, of in results["speed"].items()}


def short(value):
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def ratio(cell, value, floor):
    """How many times the floor's time it took."""
    return floor / value if cell == speed.LOGS else value / floor


def unit(cell):
    return "MB/s" if cell == speed.LOGS else "ms"


def markdown(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def fault_table(results):
    def shown(count):
        return "" if count is None else f"**{count}**" if count else "0"
    rows, last = [], None
    for name, part, counts in fault_rows(results):
        rows.append(["" if name == last else name, part, *map(shown, counts)])
        last = name
    return markdown(["runner", "killed", *FAULT_HEADS], rows)


def speed_table(results):
    cells = medians(results)
    rows = []
    timed = {name for of in cells.values() for name in of}
    for name in ["floor", *results["runners"]]:
        if name not in timed:
            continue
        row = [name]
        for cell, of in cells.items():
            times = f" ({ratio(cell, of[name], of['floor']):.1f}×)" if name in of and name != "floor" else ""
            row.append(short(of[name]) + times if name in of else "")
        rows.append(row)
    return markdown(["", *(f"{cell}, {unit(cell)}" for cell in cells)], rows)


def tables(results):
    missing = results["not installed"]
    text = fault_table(results) if results["faults"] else ""
    if results["speed"]:
        text += "\n" + speed_table(results)
    if missing:
        text += f"\nNot installed: {', '.join(missing)}.\n"
    return text + "".join(f"\n- {note}" for note in results["notes"])


# ---------------------------------------------------------------- what it says

def listed(names):
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def claims(results):
    """The sentences of the README: what is in them is counted here."""
    rows = fault_rows(results)
    peers = [name for name in results["runners"] if name != "stack"]
    many = len(peers)
    # What got SIGKILL first is the process that was started; a runner of several has another row for all of them.
    first = {name: next(counts for runner, _, counts in rows if runner == name) for name in peers}
    polite = sum(counts[0] > 0 for counts in first.values())
    clean = [name for name in peers if first[name][0] == 0]
    killed = sum(counts[1] > 0 for counts in first.values())
    twice = sum(counts[2] > 0 for counts in first.values())
    refused = [name for name in peers if first[name][4]]
    ours = [count or 0 for runner, part, counts in rows if runner == "stack" and part != BOTH for count in counts]
    both = next(counts for runner, part, counts in rows if runner == "stack" and part == BOTH)
    lines = [
        f"`stack` and {many} other runners looked after the same {PROCESSES} processes, one of them deaf to SIGTERM, one double-forked,"
        " one in a session of its own.",
        f"{polite} of the {many} left processes behind after a polite stop"
        + (f" ({listed(clean)} did not)" if clean else "") + f", and {killed} after SIGKILL.",
        f"After a new start {twice} of the {many} ran services twice"
        + (f"; {listed(refused)} refused to start until a file was removed by hand." if refused else "."),
    ]
    if any(ours):
        lines.append(f"`stack` is not clean: its counts add up to {sum(ours)}.")
    else:
        lines.append("`stack` left none and ran none twice, whichever one of its processes was killed.")
    lines.append(f"If its supervisor and its guardian are killed in the same moment, `stack up` in the foreground ends what they ran:"
                 f" {both[1]} of the {PROCESSES} stayed, {both[2]} ran twice after a new start, and {both[3]} were left in the end."
                 " In the background (`-d`) nobody is there to do that: all of it stays until the next `stack up`, `stack down` or `stack doctor --fix`,"
                 " which end it first.")
    return lines


def faster(results):
    """Where a peer was faster than `stack`, in words."""
    lines = []
    for cell, of in medians(results).items():
        factor = {name: ratio(cell, value, of["stack"]) for name, value in of.items() if name not in ("floor", "stack")}
        better = sorted((name for name in factor if factor[name] < 1), key=factor.get)
        if better:
            lines.append(f"{cell}: {listed([f'{name} ({short(of[name])} {unit(cell)})' for name in better])};"
                         f" `stack` {short(of['stack'])} {unit(cell)}")
    return lines


def readme_part(results):
    said = claims(results)
    slower = [line.split(":")[0] for line in faster(results)]
    text = " ".join(said) + "\n\n![What is left after a polite stop and after SIGKILL, for each runner](docs/comparison.svg)\n\n"
    if slower:
        text += f"Some peer was faster than `stack` in {len(slower)} of {len(results['speed'])} measurements of speed ({'; '.join(slower)}). "
    return text + ("[All numbers, versions and settings](docs/comparison.md); "
                   "[`benches/peers`](benches/peers/README.md) measures them again on your machine.\n")


def page(results):
    rounds = results["rounds"]
    text = ("<!-- Generated by `benches/peers/run.py --render` from comparison.json; do not edit. -->\n\n"
            "# Comparison\n\n"
            f"Measured on {results['date']}, on {results['machine']}, by [`benches/peers`](../benches/peers/README.md), which says how to repeat it."
            f" {results['remark']}".rstrip() + "\n\n"
            "![What is left after which fault](comparison.svg)\n\n## Faults\n\n"
            + "\n".join(f"- {line}" for line in claims(results)) + "\n\n"
            + fault_table(results)
            + f"\nEach number is the worst of {rounds['faults']} rounds. *Left* are processes of {PROCESSES} (a service with a child, a child in a session"
            f" of its own and a double-forked daemon; one deaf to SIGTERM; one that fails at first, where the runner can start it again), counted {faults.MORE} s"
            f" after the end of the grace period of {faults.GRACE} s; after the second start there may be twice as many. *Run twice*"
            " counts which of the six run in two copies. *Refused* is 1 if the runner ends instead of starting, until somebody removes a file.\n"
            "\nrunit and s6 are built to leave services running when their first process is killed: a supervisor for each service goes on,"
            " nothing runs twice, and the new start takes over.\n")
    if "docker compose" in results["runners"]:
        text += ("\ndocker compose is a client: an engine runs its containers, and keeps them when only `docker compose up` is killed. Each container"
                 " has a shim as its parent, and goes on when dockerd and containerd are killed; *all at once* are those, the client and all"
                 " shims. A killed engine is started again before the new start, as an init system would do: it ends what still ran, and starts it"
                 " anew, since it is to restart always. The new start takes over what the engine runs.\n")
    if results["speed"]:
        text += ("\n## Speed\n\n" + speed_table(results)
                 + f"\nMedians of {rounds['speed']} rounds in rotating order; in brackets, how many times as long as the floor: a C program without features"
                 f" that starts the same services, copies their output and stops them. Logs are {results['megabytes']} MB of lines of 100 bytes of one service,"
                 f" {speed.SLOW_MB} MB where that many would take more than {speed.SLOW_SECONDS} s. Empty: the runner does not restart services, or"
                 " does not take their output. Ratios of the same run can be compared, times of different machines cannot.\n")
        timed = {name for of in results["speed"].values() for name in of}
        if untimed := [name for name in results["runners"] if name not in timed]:
            text += f"\n{listed(untimed)}: not timed yet.\n"
        if better := faster(results):
            text += "\nWhere a peer was faster than `stack`:\n\n" + "".join(f"- {line}\n" for line in better)
    text += "\n## Runners\n\n" + markdown(["runner", "version", "settings"],
                                           [[name, of["version"], of["settings"]] for name, of in results["runners"].items()])
    if results["not installed"]:
        text += f"\nNot installed, and so not measured: {', '.join(results['not installed'])}.\n"
    if results["notes"]:
        text += "\nWhat failed in some round, and is not in the medians:\n\n" + "".join(f"- {note}\n" for note in results["notes"])
    return text


# ---------------------------------------------------------------- the picture

GOOD, BAD, NONE = "#d7f0dc", "#f8d3d0", "#eceff1"
INK, PAPER = "#1f2328", "#ffffff"
LEFT, CELL, ROW, HEAD, MARGIN = 304, 110, 24, 44, 16


def picture(results):
    rows = fault_rows(results)
    width, height = MARGIN * 2 + LEFT + CELL * len(FAULT_HEADS), MARGIN * 2 + HEAD + ROW * len(rows) + 28
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
             f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
             "<title>What is left after which fault</title>",
             # A ground of its own, so that it can be read on a dark page, too.
             f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>']

    def say(x, y, words, **more):
        extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
        parts.append(f'<text x="{x}" y="{y}"{extra}>{escape(words)}</text>')
    for column, head in enumerate(FAULT_HEADS):
        words, lines = head.split(), [""]
        for word in words:
            if len(lines[-1]) + len(word) > 15:
                lines.append("")
            lines[-1] = f"{lines[-1]} {word}".strip()
        for number, line in enumerate(lines):
            say(MARGIN + LEFT + CELL * column + CELL // 2, MARGIN + HEAD - 12 - 16 * (len(lines) - 1 - number), line, text_anchor="middle", font_size=12)
    last = None
    for number, (name, part, counts) in enumerate(rows):
        top = MARGIN + HEAD + ROW * number
        if name != last:
            say(MARGIN, top + 16, name, font_weight="bold")
        last = name
        say(MARGIN + 136, top + 16, part)
        for column, count in enumerate(counts):
            if count is None:
                continue
            left = MARGIN + LEFT + CELL * column
            parts.append(f'<rect x="{left + 2}" y="{top + 1}" width="{CELL - 4}" height="{ROW - 2}" rx="3" fill="{BAD if count else GOOD}"/>')
            say(left + CELL // 2, top + 16, str(count), text_anchor="middle", **({"font_weight": "bold"} if count else {}))
    say(MARGIN, height - MARGIN, f"Processes of {PROCESSES}, the worst of {results['rounds']['faults']} rounds, {results['date']}. Second column: what got SIGKILL.", font_size=12)
    return "\n".join(parts) + "\n</svg>\n"


def documents(root, results, only_check):
    """Writes them, or says which ones are not as they would be written; the exit code."""
    with open(os.path.join(root, "README.md")) as file:
        readme = file.read()
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = {"docs/comparison.md": page(results), "docs/comparison.svg": picture(results),
              "README.md": f"{before}{BEGIN}\n{readme_part(results)}{END}{after}"}
    code = 0
    for name, text in wanted.items():
        path = os.path.join(root, name)
        if only_check:
            with open(path) as file:
                if file.read() != text:
                    print(f"{name} does not agree with docs/comparison.json; `benches/peers/run.py --render` writes it anew")
                    code = 1
        else:
            with open(path, "w") as file:
                file.write(text)
    return code
