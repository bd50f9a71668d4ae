"""The command line: one file per command, imports inside command bodies."""
