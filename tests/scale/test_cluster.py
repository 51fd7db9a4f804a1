"""Statistics of a Dask array on a cluster: the same, also where workers die on the way."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import psutil
import pytest
from distributed import Client, KilledWorker, LocalCluster

from refbn import chunked_moments, chunked_population_statistics

LIMIT = 60  # seconds; what is done here needs five at the most, most of it to start workers again
KILL = 9  # SIGKILL, which Windows knows by its number only: the process gets no time to say goodbye
CHUNKS, SHAPE = 12, (500, 6)


@pytest.fixture(autouse=True)
def cluster():
    """Start two workers, processes of their own, that listen on this machine only."""
    here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, processes=True, threads_per_worker=1, **here) as workers,
        Client(workers),
    ):
        yield workers


def in_time(function, *arguments):
    """Return what a function returns, or raise what it raises; it must not take for ever."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(function, *arguments).result(timeout=LIMIT)
    finally:
        pool.shutdown(wait=False)  # a function that hangs ends with the cluster


def data(before=lambda _: None):
    """Return a Dask array whose chunks are made where they are needed, after a call with a number."""

    def chunk(block_id):
        before(block_id[0])
        return 1000 + np.random.default_rng(block_id[0]).standard_normal(SHAPE)

    rows, channels = SHAPE
    chunks = ((rows,) * CHUNKS, (channels,))
    return da.map_blocks(chunk, chunks=chunks, dtype=float, meta=np.empty((0, 0)))


@pytest.fixture(scope="module")
def right():
    """Return the statistics that one process finds on its threads, with no cluster."""
    with dask.config.set(scheduler="threads"):
        return chunked_population_statistics(data())


def assert_same(running, right):
    """Statistics are equal up to rounding: of a mean of 1000, and of a variance of 1."""
    assert running.num_batches == right.num_batches == CHUNKS
    np.testing.assert_allclose(running.mean, right.mean, rtol=1e-15)
    np.testing.assert_allclose(running.var, right.var, rtol=1e-12)


# Laws


def test_a_cluster_finds_what_threads_find(right):
    """Two workers find the statistics that one process finds, and the moments."""
    assert_same(in_time(chunked_population_statistics, data()), right)
    moments = in_time(chunked_moments(data(), 0).compute)
    np.testing.assert_allclose(moments.var(ddof=1), right.var, rtol=1e-12)


def test_both_workers_work(tmp_path):
    """The chunks are shared out: neither worker reads all of them, and none is this process."""

    def before(number):
        (tmp_path / f"{number}-{os.getpid()}").touch()

    in_time(chunked_population_statistics, data(before))
    readers = Counter(file.name.partition("-")[2] for file in tmp_path.iterdir())
    assert len(readers) == 2
    assert str(os.getpid()) not in readers
    assert readers.total() == CHUNKS


def test_a_worker_that_is_killed_changes_nothing(right, tmp_path):
    """Killed in mid computation, a worker takes its results along; they are made again."""

    def before(number):
        (tmp_path / f"{number}-{os.getpid()}").touch()
        mine = [file for file in tmp_path.iterdir() if file.name.endswith(f"-{os.getpid()}")]
        if len(mine) == 4:  # three chunks are done, one is begun
            try:
                (tmp_path / "killed").touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), KILL)

    with dask.config.set(split_every=CHUNKS):  # nothing is merged before all chunks are done
        running = in_time(chunked_population_statistics, data(before))
    assert_same(running, right)
    assert (tmp_path / "killed").exists()
    read = Counter(file.name.partition("-")[0] for file in tmp_path.glob("*-*"))
    assert len(read) == CHUNKS
    assert list(read.values()).count(2) >= 4


# Edges and errors


def test_a_chunk_that_kills_its_worker_is_an_error():
    """A chunk that no worker survives ends the run with an error that says so; nothing hangs."""

    def before(number):
        if number == 7:
            os.kill(os.getpid(), KILL)

    with pytest.raises(KilledWorker, match="on 2 different workers, but all those workers died"):
        in_time(chunked_population_statistics, data(before))


def test_the_bad_chunk_is_named_from_afar():
    """An error comes back from a worker with the note that says which chunk it was."""
    x = data()
    x = da.concatenate([x, da.full((2, SHAPE[1]), np.nan)])
    with pytest.raises(
        ValueError, match=rf"must be finite[^$]*It was the chunk x.blocks\[{CHUNKS}, 0\]"
    ):
        in_time(chunked_population_statistics, x)


def test_nothing_listens_to_other_machines(cluster):
    """Scheduler and workers open ports on this machine's own address only."""
    here = psutil.Process()
    open_ports = [
        (connection.laddr.ip, process.name(), connection.laddr.port)
        for process in (here, *here.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(open_ports) > len(cluster.workers)
    assert {ip for ip, *_ in open_ports} == {"127.0.0.1"}, open_ports
