"""Learners: what trains in the loop, each in a module or a folder of its own.

They know neither the theory nor the loop; the loop knows no more than their protocol
(:mod:`stlcore.learners.base`). Those with networks need the extra ``torch``.
"""

from stlcore.lazy import hand_on

__getattr__, __all__ = hand_on(
    __name__,
    {
        "averaged": ["Averaged"],
        "base": [
            "Diverged",
            "FiniteTruth",
            "Learner",
            "PoolsSamples",
            "Resumes",
            "ReusesSamples",
            "Round",
            "split",
        ],
        "categorical": ["Categorical", "NextToken", "check_law"],
        "checking": ["check_learner"],
        "community": ["Community"],
        "curated": ["Curated"],
        "diffusion": ["Diffusion"],
        "each": ["Each"],
        "gaussian": ["Gaussian", "GaussianMean", "Normal"],
        "gpt2": ["GPT2"],
        "in_context": ["BayesRidge", "InContext", "LinearAttention"],
        "kde": ["KernelDensity"],
        "linear": ["Line", "LinearRegression"],
        "logistic": ["Labelled", "Logistic"],
        "mixture": ["GaussianMixture1D"],
    },
)
