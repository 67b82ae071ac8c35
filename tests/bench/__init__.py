"""The figures itx must reach, each as two arms run alternately: ``python -m tests.bench``. No part of the suite."""
