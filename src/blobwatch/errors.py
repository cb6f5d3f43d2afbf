"""The one exception that carries a sentence for the person at the keyboard."""


class BlobwatchError(ValueError):
    """Something the user can mend: the message says what is wrong and what to do.

    The command line prints the message without a traceback and exits with status 1.
    """


class Unfit(BlobwatchError):
    """A sound file that is no use here: another kind of observation, or one that went wrong."""


class Rejected(Unfit):
    """An exposure that the quality check or a person rejects."""
