"""CoreML ML programs, evaluated anywhere in NumPy: from the protobuf and the weight file up.

The layers, each seeing only those before it: schema, dtypes, mil (what a program is), blob,
image (reading a program), package (reading a directory), ops (what operations mean), checking,
constants, schedule, features, program (running it). A correctness evaluator: its latency is not a
device's, and what a Neural Engine computes may differ (see program.py).
"""
