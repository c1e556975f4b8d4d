"""The only importer of Ray: the linear search as a Tune searcher, the trainables, the callbacks and the stages.

``dwray.LinearSearch`` and ``dwray.TimingReporter`` work with anybody's trainable. The package itself imports nothing:
Ray's autoscaler loads :mod:`dwray.tune.aws` from it, and has no use for Tune and torch.
"""
