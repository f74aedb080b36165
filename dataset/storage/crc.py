"""CRC-32 of a whole from those of its parts, as in zlib's ``crc32_combine``."""

from functools import lru_cache

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31


def crc32_combine(first: int, second: int, length: int) -> int:
    """CRC-32 of two consecutive pieces.

    Parameters
    ----------
    first, second
        CRC-32 of each.
    length
        Length of the second, bytes.

    Examples
    --------
    >>> import zlib
    >>> crc32_combine(zlib.crc32(b"one "), zlib.crc32(b"after another"), 13)
    2479827919
    >>> zlib.crc32(b"one after another")
    2479827919
    """
    return _times(_shift(length), first) ^ second


@lru_cache(maxsize=64)
def _shift(length: int) -> int:
    """Raise x to the number of bits in `length` bytes, modulo the polynomial, by squaring."""
    power, square = _ONE, _ONE >> 8
    while length:
        if length & 1:
            power = _times(square, power)
        square = _times(square, square)
        length >>= 1
    return power


def _times(one: int, other: int) -> int:
    """Multiply modulo the polynomial; the highest bit stands for x to the power 0."""
    product, bit = 0, _ONE
    while bit:
        if one & bit:
            product ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
        bit >>= 1
    return product
