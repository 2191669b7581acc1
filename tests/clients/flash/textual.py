"""A local module that only another local module imports."""


def shout(text):
    """Make it loud."""
    return text.upper() + "!"
