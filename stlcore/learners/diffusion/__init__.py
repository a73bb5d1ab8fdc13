"""Diffusion models: families of score functions, and the learner that samples with them.

The loop and the pages use the learner and hand it a family of scores.
"""

from stlcore.lazy import hand_on

__getattr__, __all__ = hand_on(
    __name__,
    {
        "convolutional": ["ConvolutionalDenoiser"],
        "denoiser": ["Denoiser"],
        "learner": ["Diffusion", "EmpiricalLaw", "Fitted"],
        "scores": ["LinearScore", "Network", "RandomFeatures", "gradient_flow"],
    },
)
