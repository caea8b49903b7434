"""The exceptions of the project. Each message is a sentence that says what to do."""


class ImageRejected(ValueError):
    """A picture that cannot be opened; the message says why and what to do, in words for a page."""


class ClipRejected(ImageRejected):
    """A clip that cannot be opened, or has too many frames; the message says what to do."""


class NothingRecorded(RuntimeError):
    """No attention ran, or a chosen layer did not attend."""


class ModelNotFound(ValueError):
    """A model with an unknown name, or without its files; the message says what works."""


class ModelRejected(ValueError):
    """A model that cannot be opened; the message says why and what to do."""


class HeadRejected(ModelRejected):
    """A model whose encoder is complete, with another head than its config describes."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be opened or written; the message says why and what to do."""


class NothingToShow(ValueError):
    """A model that attends, but not from patch to patch; the message lists what it recorded."""


class MethodUnsuitable(ValueError):
    """A method that is not defined for the model; the message says why."""


class DataError(ValueError):
    """A data set that is missing, damaged or of an unknown form."""


class RecipeError(ValueError):
    """A recipe that is missing or has unknown settings."""


class TrainingError(ValueError):
    """A training run that cannot start, continue or end as asked."""


class WorkRefused(RuntimeError):
    """Work that needs more memory or time than the server gives; the message has both numbers."""


class InterventionRefused(ValueError):
    """An intervention that makes no sense for the model; the message says why."""


class SurveyError(ValueError):
    """A survey that cannot start, go on or be merged; the message says why and what to do."""
