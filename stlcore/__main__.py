"""The command line: ``python -m stlcore``, then one of the commands below."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from stlcore.pages import repository
from stlcore.pages.repository import UsageError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    It is 2 for a wrong request, 1 for a page that failed, 3 for one whose claims came out
    otherwise than it expects.
    """
    parser = argparse.ArgumentParser(prog="python -m stlcore", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    listing = commands.add_parser("list", help="every page with source, claims and last run")
    listing.set_defaults(command=_list)

    run = commands.add_parser("run", help="run one page, with other parameters if you like")
    run.add_argument("page", help="for example c10")
    run.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a parameter, as often as needed",
    )
    run.add_argument("--profile", choices=["quick", "paper"], help="all sizes at once")
    run.add_argument(
        "-o", "--output", type=Path, help="executed notebook (default: runs/<page>.ipynb)"
    )
    run.add_argument(
        "--end-with-caller",
        action="store_true",
        help="stop when the process that started this one is gone, as the pipeline wants it",
    )
    run.add_argument(
        "--surprises",
        action="store_true",
        help="keep the run, with its record, though claims came out otherwise than expected",
    )
    # A number such as -1e3 is a value, not an option.
    run._negative_number_matcher = re.compile(r"-\.?\d")
    run.add_argument("--keep", action="store_true", help="write its tables to book/results/")
    run.set_defaults(command=_run)

    sweep = commands.add_parser("sweep", help="one page over a grid of parameters, or over seeds")
    sweep.add_argument("page")
    sweep.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUES"),
        help="a list, [0.1, 0.3], or a range of whole numbers, 1:100",
    )
    sweep.add_argument("-o", "--output", type=Path, help="folder (default: runs/<page>.sweep)")
    sweep.add_argument(
        "--cores", type=int, default=os.cpu_count(), help="0 only writes the plan, for a cluster"
    )
    sweep.add_argument(
        "--keep",
        action="store_true",
        help="of a sweep over seeds, write how often each claim surprised to book/results/",
    )
    sweep.set_defaults(command=_sweep)

    compare = commands.add_parser(
        "compare", help="a run against another one, or the book's runs against the known numbers"
    )
    compare.add_argument("mine", nargs="?", type=Path, help="executed notebook or record")
    compare.add_argument("other", nargs="?", type=Path, help="(default: the known numbers)")
    compare.add_argument("-o", "--output", type=Path, help="write the receipt, as JSON")
    compare.add_argument(
        "--accept", action="store_true", help="make the numbers of the book's runs the known ones"
    )
    compare.set_defaults(command=_compare)

    claims = commands.add_parser("claims", help="the claims of all executed pages")
    form = claims.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as a list of objects")
    form.add_argument("--markdown", type=Path, metavar="FILE", help="write the book's page")
    claims.set_defaults(command=_claims)

    pairing = commands.add_parser(
        "pair", help="put every page in normal form, with its .ipynb beside it"
    )
    pairing.set_defaults(command=_pair)

    student = commands.add_parser("student", help="a page without its solutions, or a course")
    what = student.add_mutually_exclusive_group(required=True)
    what.add_argument("page", nargs="?")
    what.add_argument("--course", type=Path, metavar="PLAN", help="all of a plan, to a folder")
    student.add_argument("-o", "--output", type=Path, required=True)
    student.set_defaults(command=_student)

    slides = commands.add_parser("slides", help="executed pages as decks for reveal.js")
    slides.add_argument("pages", nargs="+", metavar="page")
    slides.add_argument("-o", "--output", type=Path, required=True, help="folder")
    slides.set_defaults(command=_slides)

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal may not know every letter
    options = parser.parse_args(arguments)
    try:
        repository.check_here()
        import_module("stlcore.pages.runner")  # what every command needs
    except (UsageError, ModuleNotFoundError) as error:
        print(f"stlcore: {error}", file=sys.stderr)
        return 2
    # A cluster, or whoever wants the place, says SIGTERM first: then the page's folder goes, too.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return options.command(options)
    except UsageError as error:
        print(f"stlcore: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, say; what was there before is still whole
        place = error.filename or getattr(options, "output", None)
        where = f": {place}" if place else ""
        print(f"stlcore: {error.strerror or error}{where}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _list(options) -> int:
    from stlcore.pages.runner import executed_records, pages

    records = {record["page"]["id"]: record for record in executed_records()}
    for page in pages():
        record = records.get(page.id)
        state = "never run"
        if record:
            rows = [row for row in record["claims"] if not row["control_of"]]
            held = sum(row["verdict"] == "reproduced" for row in rows)
            run = record["provenance"]
            state = f"{held}/{len(rows)} claims, {run['seconds']:.1f} s on {run['finished']}"
        print(f"{page.id}  {page.title}\n      {page.source} · {state}")
    return 0


def _run(options) -> int:
    from stlcore.pages.runner import load_papermill

    try:
        papermill = load_papermill()
    except ModuleNotFoundError as error:
        raise UsageError(str(error)) from None
    from nbclient.exceptions import DeadKernelError

    try:
        return _run_and_report(options)
    except papermill.PapermillExecutionError as error:
        last = str(error.evalue).strip() or error.ename
        print(f"stlcore: {options.page} failed with {error.ename}: {last}", file=sys.stderr)
        for note in getattr(error, "__notes__", []):
            print(f"stlcore: {note}", file=sys.stderr)
        return 3 if error.ename == "ClaimError" else 1
    except DeadKernelError:
        print(f"stlcore: {options.page} failed: its kernel died; is memory short?", file=sys.stderr)
        return 1


def _run_and_report(options) -> int:
    from stlcore.pages.runner import find_page, keep_results, read_parameters, run_page

    if options.end_with_caller:
        from ipykernel.parentpoller import ParentPollerUnix

        ParentPollerUnix(os.getppid()).start()
    page = find_page(options.page)
    given = read_parameters(page, options.p)
    if options.profile:
        given["profile"] = options.profile
    output = options.output or repository.ROOT / "runs" / f"{page.path.stem}.ipynb"
    record = run_page(page, output, given, surprises=options.surprises)
    rows = [row for row in record["claims"] if not row["control_of"]]
    held = sum(row["verdict"] == "reproduced" for row in rows)
    print(
        f"{page.id}: {held} of {len(rows)} claims reproduced in "
        f"{record['provenance']['seconds']:.1f} s -> {output}"
    )
    if surprising := [row["id"] for row in record["claims"] if row["surprising"]]:
        print(f"otherwise than the page expects: {', '.join(surprising)}")
    if options.keep:
        results = dict(record["results"])
        if given == {"profile": "paper"}:
            results["claims"] = _verdicts(record)
        else:
            print("no verdicts kept, which the book shows of a page's own paper profile alone")
        for path in keep_results(page, {**record, "results": results}):
            print(f"kept {path.relative_to(repository.ROOT)}")
    return 0


def _verdicts(record) -> str:
    """What came of the claims of a run, as a table that the book shows beside its own run."""
    import pandas as pd

    columns = ["id", "control_of", "sentence", "measured", "expected", "verdict"]
    return pd.DataFrame(record["claims"])[columns].to_csv(index=False)


def _sweep(options) -> int:
    from stlcore.pages.runner import executed_records, find_page
    from stlcore.pages.sweep import gather, plan, write_plan

    page = find_page(options.page)
    if options.keep and {name for name, _ in options.p} != {"seed"}:
        raise UsageError("--keep counts surprises over seeds: -p seed 1:200, and nothing else")
    if options.cores < 0:
        raise UsageError(f"cores must be a whole number from 0 up, not {options.cores}")
    runs = plan(page, options.p)
    folder = (options.output or repository.ROOT / "runs" / f"{page.name}.sweep").absolute()
    planned = write_plan(folder, page, runs, max(options.cores, 1))
    last = [r for r in executed_records() if r["page"]["id"] == page.id]
    cost = f", about {last[0]['provenance']['seconds']:.0f} s each" if last else ""
    print(f"{len(runs)} runs of {page.id}{cost}; a killed sweep is taken up by the same command")
    if "repetitions" in page.parameters and {name for name, _ in options.p} == {"seed"}:
        print("More repetitions of its loops cost far less in one run: -p repetitions N.")
    workflow = repository.ROOT / "workflow" / "sweep.smk"
    if options.cores == 0:
        places = shlex.join(["-s", str(workflow), "--directory", str(folder)])
        print(f"as jobs of a cluster: snakemake {places} --executor slurm --jobs 20 --keep-going")
        return 0
    command = ["-m", "snakemake", "-s", workflow, "--directory", folder, "--cores", options.cores]
    quiet = ["--keep-going", "--rerun-incomplete", "--quiet", "rules", "progress"]
    quiet += ["--config", f"caller={os.getpid()}"]
    done = subprocess.run([sys.executable, *map(str, command), *quiet], check=False)
    records = [folder / "runs" / f"{run}.json" for run in planned]
    there = [record for record in records if record.exists()]
    if done.returncode != 0 and there:
        gather(there, folder)  # one run that fails does not cost the others
    if there:
        print(f"the claims of {len(there)} of {len(records)} runs: {folder / 'claims.parquet'}")
    for record in records:
        if record not in there and record.with_suffix(".log").exists():
            print(f"a run that failed says why in {record.with_suffix('.log')}")
            break
    if options.keep and done.returncode == 0:
        _keep_surprises(page, [folder / "runs" / f"{run}.json" for run in runs], options.p[-1][1])
    return int(done.returncode != 0)


def _keep_surprises(page, paths: list[Path], seeds: str) -> None:
    from stlcore.pages.runner import keep_results
    from stlcore.pages.sweep import count_surprises

    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    origin = found[-1]["provenance"] | {
        "commit": "; ".join(sorted({record["provenance"]["commit"] for record in found})),
        "command": f"python -m stlcore sweep {page.name} -p seed {seeds} --keep",
    }
    counts = count_surprises(found).to_csv(index=False)
    for path in keep_results(page, {"results": {"seeds": counts}, "provenance": origin}):
        print(f"kept {path.relative_to(repository.ROOT)}")


def _compare(options) -> int:
    from stlcore.pages.compare import compare, in_words, load, numbers, write_numbers
    from stlcore.pages.runner import executed_records

    if options.accept:
        write_numbers(executed_records())
        return 0
    known = numbers()
    if options.mine:
        runs = [load(options.mine)]
    else:
        runs = [run for run in executed_records() if run["provenance"]["page"] in known]
    receipts = []
    for run in runs:
        page = run["provenance"]["page"]
        if not options.other and page not in known:
            raise UsageError(f"no numbers of {page} are known to compare with")
        receipts.append(compare(run, load(options.other) if options.other else known[page]))
    if options.output:
        options.output.write_text(json.dumps(receipts, indent=1), encoding="utf-8")
    different = [
        receipt
        for receipt in receipts
        if any(row["verdict"] == "different" for row in receipt["claims"] + receipt["tables"])
    ]
    # A reader's own run is told in full, of the book's runs what moved.
    for receipt in receipts if options.mine else different:
        print("\n".join(in_words(receipt)))
    return int(bool(different))


def _claims(options) -> int:
    from stlcore.pages.claims_table import claims_page
    from stlcore.pages.runner import executed_records, pages

    records = executed_records()
    if not records:
        raise UsageError("no page has been run yet; 'make book' runs them all")
    rows = [row for record in records for row in record["claims"]]
    if options.json:
        print(json.dumps(rows, indent=1))
    elif options.markdown:
        links = {p.id: f"notebooks/{p.path.parent.name}/{p.path.stem}.html" for p in pages()}
        try:
            text = claims_page(rows, links, _surprises(links))
            options.markdown.write_text(text, encoding="utf-8")
            data = json.dumps(rows, indent=1) + "\n"
            options.markdown.with_suffix(".json").write_text(data, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {options.markdown}: {error.strerror}") from None
    else:
        for row in rows:
            control = f"control of {row['control_of']} " if row["control_of"] else ""
            print(f"{row['id']:<9} {control}{row['verdict']}: {row['sentence']}")
    return 0


def _surprises(links: dict[str, str]) -> dict:
    """What was counted under other seeds, for each page that was; see ``sweep --keep``."""
    from stlcore.pages.page import read_result

    kept = {page: read_result(page.replace("-", "").lower(), "seeds") for page in links}
    return {page: found[0].fillna({"control_of": ""}) for page, found in kept.items() if found}


def _pair(options) -> int:
    from stlcore.pages.runner import pages, pair

    for page in pages():
        for path, text in pair(page).items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                print(f"wrote {path.name}")
    return 0


def _student(options) -> int:
    import nbformat

    from stlcore.pages.course import build_course
    from stlcore.pages.runner import find_page
    from stlcore.pages.versions import student_version

    if options.course:
        for path in build_course(options.course, options.output):
            print(f"wrote {path}")
        return 0
    if options.output.suffix != ".ipynb":
        raise UsageError(f"the output must be a notebook (.ipynb), not {options.output.name}")
    notebook = student_version(find_page(options.page))
    try:
        nbformat.write(notebook, options.output)
    except OSError as error:
        raise UsageError(f"cannot write {options.output}: {error.strerror}") from None
    return 0


def _slides(options) -> int:
    from stlcore.pages.runner import find_page
    from stlcore.pages.slides import build_slides

    try:
        decks = build_slides([find_page(name) for name in options.pages], options.output)
    except OSError as error:
        raise UsageError(f"cannot write to {options.output}: {error.strerror}") from None
    for path in decks:
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
