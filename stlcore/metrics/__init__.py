"""How far two laws or two samples are apart, and whether simulated means fit their theory.

Arrays in, numbers out: learners, theory and pages may all use it.
"""

from stlcore.lazy import hand_on

__getattr__, __all__ = hand_on(
    __name__,
    {
        "distances": [
            "deviation_test",
            "difference_score",
            "mass_outside",
            "mean_score",
            "mean_square_test",
            "student_score",
            "total_variation",
            "total_variation_with_tails",
            "trapezoid",
            "wasserstein_atoms",
        ],
        "two_samples": ["fidelity", "mmd_squared", "mmd_test", "nearest"],
    },
)
