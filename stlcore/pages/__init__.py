"""What a page needs around its experiment: parameters, claims, figures, tables, and its run.

Only notebooks and the command line use it; nothing below imports it. It needs the extra ``book``.
"""

import sys

from stlcore.lazy import hand_on

# Where JupyterLab is installed, whatever reads a notebook would first build a parser of
# international addresses, for a second and a half in every process. No notebook has one.
sys.modules.setdefault("rfc3987_syntax", None)

__getattr__, __all__ = hand_on(
    __name__,
    {
        "claims": ["Claim", "ClaimError", "Claims"],
        "exercise": ["agrees", "numbers"],
        "figures": ["as_array", "exact_curve", "mean_band", "plain_ticks", "theme"],
        "page": ["Page"],
        "parameters": [
            "AtLeast",
            "Between",
            "Count",
            "Counts",
            "Flag",
            "Place",
            "Positive",
            "Probabilities",
            "Probability",
            "Profile",
            "Seed",
            "Text",
            "Within",
            "by_profile",
        ],
        "repository": ["ROOT"],
        "tables": ["show_table"],
    },
)
