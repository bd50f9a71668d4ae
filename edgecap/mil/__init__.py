"""An evaluator of CoreML ML programs in NumPy, for any system. Reads the protobuf and weight files.

Modules, each importing only those before it: schema, dtypes, mil (the program as data), blob
(weight files), parse (protobuf to mil), package (the directory), ops (the operations), checking,
constants, schedule, features, program (running it). It evaluates correctness: its latency is not
that of a device, and the results of a Neural Engine may differ (see program.py).
"""
