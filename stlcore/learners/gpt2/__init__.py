"""GPT-2 as a learner: the network with its training and generation, and what the loop sees.

The loop and the pages use the learner; only the learner uses the network.
"""

from stlcore.lazy import hand_on

__getattr__, __all__ = hand_on(
    __name__,
    {
        "learner": ["GPT2", "token_lists"],
        "network": ["Config"],
    },
)
