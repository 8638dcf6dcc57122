"""Plain frozen values: no I/O, no clock, no globals."""
