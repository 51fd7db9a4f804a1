"""Batch norm beyond one process: ranks of a real MPI, a cluster of Dask."""
