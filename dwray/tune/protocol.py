"""What a sweep's protocol asks of the images, found out before the first trial."""

from dwray.core.batches import batch_bounds, normalisation
from dwray.core.config import ProtocolConfig
from dwray.core.data import Splits
from dwray.errors import DataError
from dwray.spec import SweepSpec


def check_protocol(protocol: ProtocolConfig, splits: Splits, spec: SweepSpec) -> None:
    """Find out before the first trial what a protocol cannot do with these images.

    Raises:
        DataError: ImageNet's statistics do not fit the images, or the notebooks' validation loss has no value.
    """
    try:
        normalisation(splits, protocol.normalisation)
    except ValueError as error:
        raise DataError(f"{splits.name}: {error}; --set protocol.normalisation=dataset") from error
    searched = [size for size in spec.search.axes.get("batch_size", []) if isinstance(size, int)]
    largest = max([spec.training_of(contender).batch_size for contender in spec.networks] + searched)
    timing = spec.timing
    for images in timing.sets if timing else ():
        count, batch = len(getattr(splits, images)), max(timing.batch_sizes if timing else ())
        if count < batch:
            raise DataError(
                f"{splits.name}: timing.batch_sizes: a batch of {batch} is more than the {count} images of the "
                f"{images} set; lower it"
            )
    if protocol.validation_loss_over_batches_minus_one and len(batch_bounds(len(splits.validation), largest)) < 2:
        raise DataError(
            f"{splits.name}: the {len(splits.validation)} validation images are one batch of {largest}, and the loss "
            "of one batch over none is no number; --set protocol.validation_loss_over_batches_minus_one=false"
        )
