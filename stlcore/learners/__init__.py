"""Learners: what trains in the loop. Each is a module of its own."""
