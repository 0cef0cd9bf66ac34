"""The readable NumPy formula of every kernel: the oracle, and the page a student reads."""
