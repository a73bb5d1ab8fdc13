"""A sweep: the runs of a plan, some in each job, then one table. `python -m stlcore sweep` calls it."""

import json
import sys
from pathlib import Path

from ipykernel.parentpoller import ParentPollerUnix
from snakemake.exceptions import WorkflowError

from stlcore.pages.runner import THREADS, works_alone


localrules:
    table,


PLAN = json.loads(Path("plan.json").read_text(encoding="utf-8"))
SET_THREADS = " ".join(f'{name}="${{{name}:-1}}"' for name in THREADS)


onstart:
    if workflow.is_main_process:
        if "caller" in config:  # a sweep ends with the command that started it
            ParentPollerUnix(config["caller"]).start()
        if not works_alone(Path(".lock")):
            raise WorkflowError("Another sweep is at work in this folder.")


rule table:
    input:
        expand("chunks/{chunk}.done", chunk=PLAN["chunks"]),
    output:  # the table is also made of a sweep that failed, so that it alone does not say enough
        update("claims.parquet"),
        touch("chunks/table.done"),
    shell:  # `run:` would start Snakemake anew, and does not quote the path of this file
        "{sys.executable:q} -m stlcore.pages.sweep"


rule chunk:
    output:
        touch("chunks/{chunk}.done"),
    resources:
        mem_mb=3000,
        runtime=120,
    log:
        "chunks/{chunk}.log",
    shell:
        "{SET_THREADS} MPLBACKEND=agg exec {sys.executable:q} -m stlcore.pages.sweep"
        " {wildcards.chunk} > {log} 2>&1"
