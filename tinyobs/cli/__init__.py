"""The command line: one module per command group over the same public objects that programs use.

Exit codes: 0 fine; 1 it did not work (a bad configuration, a failed query, a used port); 2 the command line is wrong;
3 the data directory cannot be used (locked, damaged, not readable, of a newer version); 130 interrupted.
"""
