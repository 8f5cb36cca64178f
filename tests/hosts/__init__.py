"""Local servers for tests and demonstrations: containers that run systemd and answer by SSH."""
