"""What a page needs around its experiment: parameters, claims, figures, tables, and its run.

Only notebooks and the command line use it; nothing below imports it. It needs the extra ``book``.
"""

from stlcore.lazy import hand_on

__getattr__, __all__ = hand_on(
    __name__,
    {
        "claims": ["Claim", "ClaimError", "Claims"],
        "exercise": ["agrees", "numbers"],
        "figures": ["as_array", "exact_curve", "mean_band", "theme"],
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
