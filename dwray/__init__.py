"""dwray compares convolutional networks on Ray Tune: searched, trained, timed and reported."""

__version__ = "0.1.0"
