"""The command line: ``python -m stlcore list | run | claims | pair | student``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from stlcore.lazy import extra
from stlcore.pages import repository
from stlcore.pages.repository import UsageError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 2 for a wrong request, 1 for a failed page."""
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
    run.add_argument("--keep", action="store_true", help="write its tables to book/results/")
    run.set_defaults(command=_run)

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

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a terminal may not know every letter
    options = parser.parse_args(arguments)
    try:
        repository.check_here()
        with extra("book"):
            from nbclient.exceptions import DeadKernelError
            from papermill.exceptions import PapermillExecutionError
    except (UsageError, ModuleNotFoundError) as error:
        print(f"stlcore: {error}", file=sys.stderr)
        return 2
    try:
        return options.command(options)
    except UsageError as error:
        print(f"stlcore: {error}", file=sys.stderr)
        return 2
    except PapermillExecutionError as error:
        last = str(error.evalue).strip() or error.ename
        print(f"stlcore: {options.page} failed with {error.ename}: {last}", file=sys.stderr)
        for note in getattr(error, "__notes__", []):
            print(f"stlcore: {note}", file=sys.stderr)
        return 1
    except DeadKernelError:
        print(f"stlcore: {options.page} failed: its kernel died; is memory short?", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, say; what was there before is still whole
        print(f"stlcore: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


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
    from stlcore.pages.runner import find_page, keep_results, read_parameters, run_page

    page = find_page(options.page)
    given = read_parameters(page, options.p)
    if options.profile:
        given["profile"] = options.profile
    output = options.output or repository.ROOT / "runs" / f"{page.path.stem}.ipynb"
    record = run_page(page, output, given)
    rows = [row for row in record["claims"] if not row["control_of"]]
    held = sum(row["verdict"] == "reproduced" for row in rows)
    print(
        f"{page.id}: {held} of {len(rows)} claims reproduced in "
        f"{record['provenance']['seconds']:.1f} s -> {output}"
    )
    if options.keep:
        for path in keep_results(page, record):
            print(f"kept {path.relative_to(repository.ROOT)}")
    return 0


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
            options.markdown.write_text(claims_page(rows, links), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {options.markdown}: {error.strerror}") from None
    else:
        for row in rows:
            control = f"control of {row['control_of']} " if row["control_of"] else ""
            print(f"{row['id']:<9} {control}{row['verdict']}: {row['sentence']}")
    return 0


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

    from stlcore.pages.course import build_course, student_version
    from stlcore.pages.runner import find_page

    if options.course:
        for path in build_course(options.course, options.output):
            print(f"wrote {path}")
        return 0
    notebook = student_version(find_page(options.page))
    try:
        nbformat.write(notebook, options.output)
    except OSError as error:
        raise UsageError(f"cannot write {options.output}: {error.strerror}") from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
