"""The model as a worker of a scan runs it: in one thread."""

from functools import cached_property

from blobwatch.artefact import Model


class OneThread(Model):
    """A model that runs in one thread.

    Left alone, the runtime starts a thread for each core, and they wait busily for work that never comes: in
    several workers they take the cores from each other. The answers are the same, bit for bit.
    """

    @cached_property
    def session(self):
        """The session of `Model`, with all its options but for the number of threads."""
        usual = super().session
        options = usual.get_session_options()
        options.intra_op_num_threads = 1
        return type(usual)(self.onnx, options, providers=usual.get_providers())
