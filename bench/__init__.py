"""The benchmark: the real server beside floors in C and servers that people would pick instead. See ``scripts/bench``."""
