"""The theory: pure functions of numbers. No module here imports a learner."""
