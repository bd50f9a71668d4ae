import sys
from pathlib import Path

# `scripted` is imported by tests here and by the worker processes that they start.
sys.path.insert(0, str(Path(__file__).parent))
