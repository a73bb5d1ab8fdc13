"""The theory: pure functions of numbers, which know no learner.

Pages and tests hold them against the learners, and no other floor but stability uses them.
The module says whose theory it is, so names are imported from there:
:mod:`~stlcore.theory.contamination`, :mod:`~stlcore.theory.limits`,
:mod:`~stlcore.theory.normal`, :mod:`~stlcore.theory.enumeration`,
:mod:`~stlcore.theory.projection` and :mod:`~stlcore.theory.planning` for paper C;
:mod:`~stlcore.theory.tv_bounds`, :mod:`~stlcore.theory.gaussian_loops`,
:mod:`~stlcore.theory.kde` and :mod:`~stlcore.theory.diffusion` for paper B;
:mod:`~stlcore.theory.recursive_stability`, :mod:`~stlcore.theory.linear_attention` and
:mod:`~stlcore.theory.augmentation` for paper A; :mod:`~stlcore.theory.beyond` for what the
papers leave open, and :mod:`~stlcore.theory.report` for what they say of one loop.
"""
