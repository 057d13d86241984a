"""Algorithms: advantages and objectives as pure functions, and the methods made of them."""
