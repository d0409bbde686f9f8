"""The benchmarks: every published number, each beside a reference measured in the same run."""
