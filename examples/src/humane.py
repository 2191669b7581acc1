"""A function that needs packages: those of the image cost nothing, others are installed for it, once."""


def describe(files: dict[str, int]) -> list[str]:
    import humanize  # noqa: PLC0415  it is on the worker, not necessarily here

    return [f"{name}: {humanize.naturalsize(size)}" for name, size in files.items()]
