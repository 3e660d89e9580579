"""The topology that is wanted (spec), the one that runs (map), the eleven steps, and the way between two maps (diff).

Pure data and functions: nothing here reads a file, a clock or the environment.
"""
