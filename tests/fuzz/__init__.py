"""Any text that the rules accept, in every file that it reaches, read by the programs that the files are for.

`python -m tests.fuzz OUT` writes OUT/: files in large numbers, what each must be read as, and `read.py`, which runs on a
host with nginx, systemd and logrotate, and says what was read otherwise. Each run makes the same.
"""
