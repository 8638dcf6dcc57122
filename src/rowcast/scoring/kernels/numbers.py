"""Decimal text to double, and calendar text to microseconds, over the buffers of a text column.

A cell ends in one of five ways: it was read, it is null, it cannot be read, it is a number that
needs more than 53 bits to round (for a slower exact reader), or it is text that only the general
reader may know. Every loop looks at a byte once, so a hostile cell costs its length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integer = int | np.int64

OK, NULL, BAD, LONG, OTHER = 0, 1, 2, 3, 4

POWERS = 10.0 ** np.arange(23)
"""The powers of ten that a double holds exactly."""
EXACT_MANTISSA = 1 << 53
MOST_DIGITS = 18
"""So many digits fit int64 whatever they are."""
EXPONENT_CAP = 100_000

DAY_US = 86_400_000_000
EARLIEST_US = -62_135_596_800_000_000
LATEST_US = 253_402_300_799_999_999
"""Years 1 to 9999, as in every calendar that the outputs know."""
SECONDS_FROM, SECONDS_TO = 631_152_000, 1_893_456_000
"""Years 1990 to 2029: the only range in which a bare number is read as seconds."""

AUTO, UNIX_S, UNIX_MS, UNIX_US, UNIX_NS = 0, 1, 2, 3, 4


@kernel
def null_text(data: NDArray[np.uint8], start: int, stop: int) -> bool:
    """Tell whether the bytes are empty, ``nan`` or ``inf`` in any case, with or without sign."""
    if stop == start:
        return True
    if stop - start > 3 and (data[start] == 43 or data[start] == 45):
        start += 1
    if stop - start != 3:
        return False
    a, b, c = data[start] | 32, data[start + 1] | 32, data[start + 2] | 32
    return bool((a == 110 and b == 97 and c == 110) or (a == 105 and b == 110 and c == 102))


@kernel
def _plain_number(data: NDArray[np.uint8], start: int, stop: int) -> tuple[bool, float]:
    """Read a number of at most 15 digits, perhaps with a minus and a point; most are such.

    That many digits, and the power of ten that the point stands for, are exact.
    """
    one, end = np.uint64(1), np.uint64(stop)  # an index without a sign needs no second look
    at, mantissa, decimals = np.uint64(start), np.int64(0), -1
    negative = at < end and data[at] == 45
    if negative:
        at += one
    digits = 0
    while at < end:
        digit = np.int64(data[at]) - 48
        if 0 <= digit <= 9:
            mantissa = mantissa * 10 + digit
            digits += 1
            if decimals >= 0:
                decimals += 1
            if digits > 15:
                return False, 0.0
        elif digit == -2 and decimals < 0:
            decimals = 0
        else:
            return False, 0.0
        at += one
    if digits == 0:
        return False, 0.0
    value = np.float64(mantissa)
    if decimals > 0:
        value /= POWERS[decimals]
    return True, -value if negative else value


@kernel
def read_numbers(
    data: NDArray[np.uint8],
    starts: NDArray[np.int32],
    stops: NDArray[np.int32],
    null: NDArray[np.bool_],
    values: NDArray[np.float64],
    status: NDArray[np.uint8],
) -> int:
    """Read each cell as a number; NaN unless read. ``null`` may be empty: no cell is null.

    Returns how many cells are LONG: well formed, but beyond the exact fast path, in which a
    mantissa below 2**53 is scaled by an exact power of ten in one correctly rounded step.
    """
    long = 0
    for row in range(len(starts)):
        start, stop = starts[row], stops[row]
        if not (len(null) and null[row]):
            plain, value = _plain_number(data, start, stop)
            if plain:
                values[row], status[row] = value, OK
                continue
        values[row] = np.nan
        if (len(null) and null[row]) or null_text(data, start, stop):
            status[row] = NULL
            continue
        while start < stop and (data[start] == 32 or data[start] == 9):
            start += 1
        while stop > start and (data[stop - 1] == 32 or data[stop - 1] == 9):
            stop -= 1
        at = start
        negative = False
        if at < stop and (data[at] == 45 or data[at] == 43):
            negative = data[at] == 45
            at += 1
        mantissa = np.int64(0)
        digits, kept, point = 0, 0, False
        exponent = np.int64(0)
        while at < stop:
            byte = data[at]
            if 48 <= byte <= 57:
                digits += 1
                if mantissa or byte != 48:
                    kept += 1
                    if kept <= MOST_DIGITS:
                        mantissa = mantissa * 10 + np.int64(byte - 48)
                if point:
                    exponent -= 1
            elif byte == 46 and not point:
                point = True
            else:
                break
            at += 1
        good = digits > 0
        if good and at < stop and (data[at] == 101 or data[at] == 69):
            at += 1
            minus = False
            if at < stop and (data[at] == 45 or data[at] == 43):
                minus = data[at] == 45
                at += 1
            first, written = at, np.int64(0)
            while at < stop and 48 <= data[at] <= 57:
                if written < EXPONENT_CAP:
                    written = written * 10 + np.int64(data[at] - 48)
                at += 1
            good = at > first
            exponent += -written if minus else written
        if not good or at != stop:
            status[row] = BAD
            continue
        status[row] = OK
        if mantissa == 0:
            value = 0.0
        elif kept > MOST_DIGITS or mantissa >= EXACT_MANTISSA or exponent < -22 or exponent > 22:
            status[row] = LONG
            long += 1
            continue
        elif exponent < 0:
            value = np.float64(mantissa) / POWERS[-exponent]
        else:
            value = np.float64(mantissa) * POWERS[exponent]
        values[row] = -value if negative else value
    return long


@kernel
def _number_at(data: NDArray[np.uint8], start: int, count: int) -> Integer:
    """Read exactly ``count`` digits; -1 if one of them is none."""
    value = np.int64(0)
    for at in range(start, start + count):
        byte = data[at]
        if byte < 48 or byte > 57:
            return np.int64(-1)
        value = value * 10 + np.int64(byte - 48)
    return value


@kernel
def days_since_1970(year: Integer, month: Integer, day: Integer) -> Integer:
    """Count days of the Gregorian calendar; -1 << 40 for a date that is none.

    References
    ----------
    Howard Hinnant, "chrono-compatible low-level date algorithms".
    """
    if year < 1 or month < 1 or month > 12 or day < 1:
        return -1 << 40
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = 31
    if month == 2:
        last = 29 if leap else 28
    elif month == 4 or month == 6 or month == 9 or month == 11:
        last = 30
    if day > last:
        return -1 << 40
    y = year - 1 if month <= 2 else year
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


@kernel
def unix_us(value: Integer, unit: int) -> Integer:
    """Turn a Unix time into microseconds; LATEST_US + 1 if it is no time of years 1 to 9999.

    With AUTO the magnitude tells the unit: seconds for the years 1990 to 2029, and milli-,
    micro- and nanoseconds from 1973 on.
    """
    if unit == AUTO:
        if SECONDS_FROM <= value < SECONDS_TO:
            unit = UNIX_S
        elif 10**11 <= value < 10**14:
            unit = UNIX_MS
        elif 10**14 <= value < 10**17:
            unit = UNIX_US
        elif value >= 10**17:
            unit = UNIX_NS
        else:
            return LATEST_US + 1
    scale = 1_000_000 if unit == UNIX_S else 1_000
    if unit == UNIX_NS:
        return value // 1_000
    if unit == UNIX_US:
        scale = 1
    if value > LATEST_US // scale or value < EARLIEST_US // scale:
        return LATEST_US + 1
    return value * scale


@kernel
def _digits_of(data: NDArray[np.uint8], start: int, stop: int) -> bool:
    for at in range(start, stop):
        if data[at] < 48 or data[at] > 57:
            return False
    return stop > start


@kernel
def _time_us(data: NDArray[np.uint8], at: int, stop: int, zone_allowed: bool) -> Integer:
    """Read ``HH:MM:SS[.f][Z|+HH:MM]`` to the end; -1 << 60 if it is not that.

    Digits beyond microseconds are cut off.
    """
    wrong = -1 << 60
    if stop - at < 8 or data[at + 2] != 58 or data[at + 5] != 58:
        return wrong
    hour, minute = _number_at(data, at, 2), _number_at(data, at + 3, 2)
    second = _number_at(data, at + 6, 2)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return wrong
    us: Integer = ((hour * 60 + minute) * 60 + second) * 1_000_000
    at += 8
    if at < stop and data[at] == 46:
        at += 1
        unit, first = 100_000, at
        while at < stop and 48 <= data[at] <= 57:
            us += unit * np.int64(data[at] - 48)
            unit //= 10
            at += 1
        if at == first:
            return wrong
    if at == stop:
        return us
    if not zone_allowed:
        return wrong
    if data[at] | 32 == 122 and at + 1 == stop:
        return us
    if stop - at == 6 and (data[at] == 43 or data[at] == 45) and data[at + 3] == 58:
        ahead, minutes = _number_at(data, at + 1, 2), _number_at(data, at + 4, 2)
        if ahead < 0 or ahead > 23 or minutes < 0 or minutes > 59:
            return wrong
        shift = (ahead * 60 + minutes) * 60_000_000
        return us - shift if data[at] == 43 else us + shift
    return wrong


@kernel
def _calendar_us(data: NDArray[np.uint8], start: int, stop: int) -> Integer:
    """Read ``YYYY-MM-DD`` or ``YYYY/MM/DD`` with an optional time; LATEST_US + 1 if it is not."""
    wrong = LATEST_US + 1
    mark = data[start + 4]
    if (mark != 45 and mark != 47) or data[start + 7] != mark:
        return wrong
    year, month = _number_at(data, start, 4), _number_at(data, start + 5, 2)
    days = days_since_1970(year, month, _number_at(data, start + 8, 2))
    if days == -1 << 40:
        return wrong
    us = days * DAY_US
    if stop - start > 10:
        between = data[start + 10]
        if between != 32 and (mark == 47 or between | 32 != 116):
            return wrong
        time = _time_us(data, start + 11, stop, mark == 45)
        if time == -1 << 60:
            return wrong
        us += time
    return us


@kernel
def read_timestamps(
    data: NDArray[np.uint8],
    starts: NDArray[np.int32],
    stops: NDArray[np.int32],
    null: NDArray[np.bool_],
    unit: int,
    values: NDArray[np.int64],
    status: NDArray[np.uint8],
) -> int:
    """Read each cell as microseconds since 1970; 0 unless read.

    ``unit`` is AUTO, or the unit of Unix times, which are then the only form. Returns how many
    cells are OTHER: of none of the forms known here, and short enough to be another.
    """
    other = 0
    for row in range(len(starts)):
        start, stop = starts[row], stops[row]
        values[row] = 0
        if (len(null) and null[row]) or null_text(data, start, stop):
            status[row] = NULL
            continue
        us: Integer = LATEST_US + 1
        signed = unit != AUTO and data[start] == 45
        first = start + 1 if signed else start
        if stop - first <= MOST_DIGITS + 1 and _digits_of(data, first, stop):
            value = np.int64(0)
            fits = True
            for at in range(first, stop):
                digit = np.int64(data[at] - 48)
                if value > (9_223_372_036_854_775_807 - digit) // 10:
                    fits = False
                    break
                value = value * 10 + digit
            if fits:
                us = unix_us(-value if signed else value, unit)
        elif unit == AUTO and stop - start >= 10:
            us = _calendar_us(data, start, stop)
        if EARLIEST_US <= us <= LATEST_US:
            values[row], status[row] = us, OK
        elif unit == AUTO and 10 <= stop - start <= 20:
            status[row] = OTHER
            other += 1
        else:
            status[row] = BAD
    return other


@kernel
def fill_calendar(
    moments: NDArray[np.int64], status: NDArray[np.uint8], out: NDArray[np.float64]
) -> None:
    """Write the place of each moment in time and in the calendar; NaN where it is not OK.

    ``out`` has the columns days since 1970 with fraction, year, month, day, weekday (Monday is
    0), day of year, hour.

    References
    ----------
    Howard Hinnant, "chrono-compatible low-level date algorithms".
    """
    for row in range(len(moments)):
        if status[row] != OK:
            for column in range(7):
                out[row, column] = np.nan
            continue
        days, of_day = moments[row] // DAY_US, moments[row] % DAY_US
        shifted = days + 719468
        era = shifted // 146097
        of_era = shifted - era * 146097
        year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
        of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
        month = (5 * of_year + 2) // 153
        day = of_year - (153 * month + 2) // 5 + 1
        month += 3 if month < 10 else -9
        year = year_of_era + era * 400 + (1 if month <= 2 else 0)
        out[row, 0] = days + of_day / DAY_US
        out[row, 1] = year
        out[row, 2] = month
        out[row, 3] = day
        out[row, 4] = (days + 3) % 7
        out[row, 5] = days - days_since_1970(year, 1, 1) + 1
        out[row, 6] = of_day // 3_600_000_000
