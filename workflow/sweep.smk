"""A sweep: every run of a plan as a job, then one table. `python -m stlcore sweep` calls it.

On a cluster many short runs fit one job: --executor slurm --group-components runs=50.
"""

import json
import sys
from pathlib import Path

from stlcore.pages.sweep import gather, options


localrules:
    table,


PLAN = json.loads(Path("plan.json").read_text(encoding="utf-8"))


rule table:
    input:
        expand("runs/{run}.json", run=PLAN["runs"]),
    output:
        "claims.parquet",
    run:
        gather(input, Path("."))


rule run:
    output:
        "runs/{run}.json",
    group:
        "runs"
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        page=PLAN["page"],
        options=lambda wildcards: options(PLAN["runs"][wildcards.run]),
    log:
        "runs/{run}.log",
    shell:
        "exec {sys.executable:q} -m stlcore run {params.page} {params.options} --surprises"
        " -o runs/{wildcards.run}.ipynb --end-with-caller > {log} 2>&1"
