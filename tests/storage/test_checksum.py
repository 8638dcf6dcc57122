import pytest

from rowcast.storage.checksum import crc32c


@pytest.mark.parametrize(
    ("data", "digest"),
    [  # RFC 3720, B.4
        (b"", "00000000"),
        (b"123456789", "e3069283"),
        (bytes(32), "8a9136aa"),
        (b"\xff" * 32, "62a8ab43"),
        (bytes(range(32)), "46dd794e"),
    ],
)
def test_sums_are_those_of_the_standard_however_the_bytes_are_cut(data, digest):
    assert crc32c([data]).hex() == digest
    assert crc32c([data[i : i + 3] for i in range(0, len(data), 3)]).hex() == digest
