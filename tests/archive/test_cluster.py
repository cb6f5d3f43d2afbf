"""What Dask remembers of a scan."""

from blobwatch.archive.cluster import MESSAGES, cluster, compute


def test_memory_does_not_grow_with_the_work_that_was_sent():
    """Each piece of work carries the model; Dask would keep the last thousand messages, on either side."""
    with cluster(None, 1) as client:
        for _ in compute(client, len, (bytes(1000) for _ in range(3 * MESSAGES)), lambda: 2):
            pass
        scheduler = client.cluster.scheduler
        logs = [client.scheduler_comm.recent_message_log]
        logs += [comm.recent_message_log for comm in scheduler.stream_comms.values()]
        assert len(logs) == 2
        assert [len(log) for log in logs] == [MESSAGES, MESSAGES]
