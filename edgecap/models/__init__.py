"""Other people's captioners behind contract 2: a registry, and one short file per family.

Only the files of families import torch and transformers at module level, and only `registry.load`
imports those, so that a checkpoint can be looked at and refused without either.
"""
