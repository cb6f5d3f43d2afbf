"""The one exception that carries a sentence for the person at the keyboard."""


class BlobwatchError(ValueError):
    """Something the user can mend: the message says what is wrong and what to do.

    The command line prints the message without a traceback and exits with status 1.
    """
