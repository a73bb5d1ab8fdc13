"""stlcore: self-consuming training loops, exactly where that is possible.

One loop, many learners, many data cycles, in storeys. A floor imports only what lies below it:

- ``checks``, ``lazy``, ``schedules``, ``streams``, ``laws``: the ground floor. Checks of numbers,
  shares and sizes of every round, seeds, kernels and normal mixtures
- ``cycles``, ``metrics``, ``data``: what a round eats; distances and tests; real data
- ``learners`` and ``theory``: what trains, and what should come out. Neither knows the other,
  so that each can be held against the other
- ``loop``, ``checkpoints``: the loop, which knows no learner by name
- ``stability``: what becomes of a small change in a loop
- ``pages``: what a page needs around its experiment, and the command line ``python -m stlcore``
"""

__version__ = "1.0.0"
