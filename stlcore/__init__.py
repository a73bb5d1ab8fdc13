"""stlcore: self-consuming training loops, exactly where that is possible.

One loop (:mod:`stlcore.loop`), many learners (:mod:`stlcore.learners`), many
data cycles (:mod:`stlcore.cycles`); the theory (:mod:`stlcore.theory`) stands
apart, so that each can be held against the other.
"""

__version__ = "0.1.0"
