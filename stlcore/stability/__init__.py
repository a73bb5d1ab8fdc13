"""What becomes of a small change in a loop: recursive stability and the collapse criterion.

It runs its loops by :mod:`stlcore.loop`; pages and scripts use it, and nothing below does.
"""

from stlcore.lazy import hand_on

__getattr__, __all__ = hand_on(
    __name__,
    {
        "criterion": ["collapse_criterion"],
        "growth": ["Growth"],
        "implicit": [
            "SmoothLoop",
            "finite_differences",
            "implicit_differences",
            "leave_one_out",
        ],
        "matrix_free": ["implicit_by_products", "settled_trajectory"],
        "replaced_example": ["plan_of", "recursive_stability", "summary"],
        "report": ["Criterion"],
        "response": [
            "Response",
            "from_vector",
            "jackknife_score",
            "learner_response",
            "response_operators",
            "response_radius",
            "tiled",
            "to_vector",
        ],
        "scale": ["Scale"],
        "smooth_loops": ["logistic_loop", "network_loop", "ridge_loop", "transformer_loop"],
    },
)
