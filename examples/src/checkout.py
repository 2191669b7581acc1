"""An exception: the answer carries its message and a traceback with these lines."""


class OutOfStockError(Exception):
    pass


STOCK = {"lamp": 2}


def reserve(item: str, amount: int) -> int:
    print(f"reserving {amount} x {item}")
    try:
        left = STOCK[item] - amount
    except KeyError as error:
        raise OutOfStockError(f"there is no {item!r} here") from error
    STOCK[item] = left
    return left
