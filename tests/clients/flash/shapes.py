"""A local module, which flash ships with the functions that import it."""

from textual import shout

SIDES = {"triangle": 3, "square": 4}


def describe(name):
    """Say how many sides a shape has."""
    return shout(f"{name} has {SIDES[name]} sides")
