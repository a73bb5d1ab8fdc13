"""Transformers that learn in context: the network, its pretraining, and what the loop sees.

The loop and the pages use the learners; only these use the network.
"""

from stlcore.lazy import hand_on

__getattr__, __all__ = hand_on(
    __name__,
    {
        "learner": ["BayesRidge", "Context", "InContext", "LinearAttention", "Reader"],
        "network": ["Architecture"],
        "pretraining": ["Pretraining", "pretrained"],
    },
)
