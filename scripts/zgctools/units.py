"""Durations and sizes as people write them and read them."""

import re

TIME = {'ns': 1e-9, 'us': 1e-6, 'µs': 1e-6, 'ms': 1e-3, 's': 1.0, 'm': 60.0, 'min': 60.0,
        'h': 3600.0}
SIZE = {'': 1, 'b': 1, 'k': 1 << 10, 'm': 1 << 20, 'g': 1 << 30, 't': 1 << 40}
NUMBER = re.compile(r'([0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})\s*([a-zµ]*)$', re.IGNORECASE)


def parse_duration(text):
    """'1ms', '500us', '2s', '1.5' (seconds) -> seconds; ValueError otherwise."""
    found = NUMBER.match(text.strip())
    unit = found.group(2).lower() if found else None
    if found is None or (unit and unit not in TIME):
        raise ValueError('%r is not a duration such as 500us, 1ms or 2s' % text)
    return float(found.group(1)) * (TIME[unit] if unit else 1.0)


def parse_size(text):
    """'2G', '512M', '700MiB', '4096' -> bytes; ValueError otherwise."""
    found = NUMBER.match(text.strip())
    unit = found.group(2).lower() if found else None
    if unit and len(unit) > 1:
        unit = re.sub(r'i?b$', '', unit)
    if found is None or unit not in SIZE:
        raise ValueError('%r is not a size such as 512M or 2G' % text)
    return int(float(found.group(1)) * SIZE[unit])


def duration(seconds):
    """0.000412 -> '412 us': three digits and a unit."""
    if seconds is None:
        return '-'
    size = abs(seconds)
    if size == 0:
        return '0'
    for unit, scale in (('ns', 1e-9), ('us', 1e-6), ('ms', 1e-3)):
        if size < scale * 999.5:
            return '%s %s' % (digits(seconds / scale), unit)
    if size < 119.5:
        return '%s s' % digits(seconds)
    if size < 7200:
        return '%d min %02d s' % divmod(round(seconds), 60)
    return '%d h %02d min' % divmod(round(seconds / 60), 60)


def size(count):
    """Bytes -> '512 M'. Powers of 1024, like the log."""
    if count is None:
        return '-'
    value = float(count)
    for unit in ('B', 'K', 'M', 'G'):
        if abs(value) < 999.5:
            return '%s %s' % (digits(value) if unit != 'B' else '%d' % value, unit)
        value /= 1024.0
    return '%s T' % digits(value)


def count(value):
    """1234567 -> '1,234,567'."""
    if value is None:
        return '-'
    if value == int(value):
        return '{:,}'.format(int(value))
    return digits(value) if abs(value) < 1000 else '{:,.0f}'.format(value)


def percent(value):
    return '-' if value is None else '%s %%' % digits(value * 100)


def digits(value):
    """Three significant digits, no exponent."""
    size = abs(value)
    if size >= 99.95:
        return '%.0f' % value
    if size >= 9.995:
        return '%.1f' % value
    if size >= 0.9995 or size == 0:
        return '%.2f' % value
    return '%.3g' % value
