"""Every exception of the project. Each message is a sentence that says what to do."""


class ImageRejected(ValueError):
    """A picture that is not taken; the message says why and what to do, in words for a page."""


class NothingRecorded(RuntimeError):
    """No attention, or not the attention asked for, was seen."""


class ModelNotFound(ValueError):
    """No model of this name, or its files are not here; the message says what works."""


class ModelRejected(ValueError):
    """A model that cannot be opened; the message says why and what to do."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be opened or written; the message says why and what to do."""


class NothingToShow(ValueError):
    """The model attends, but not from patch to patch; the message says what was seen."""


class MethodUnsuitable(ValueError):
    """The method makes no sense on this model; the message says why."""


class DataError(ValueError):
    """A data set that is missing, damaged or of no known form."""


class RecipeError(ValueError):
    """A recipe that is missing or says something unknown."""


class TrainingError(ValueError):
    """A run that cannot begin, go on or end as asked."""
