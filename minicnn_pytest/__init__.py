"""The pytest plugin of minicnn.

It is a package of its own because pytest loads it in every session: without a test that uses it,
neither minicnn nor NumPy is imported.  What the fixture does stands in `minicnn.testing.fixture`.
"""
