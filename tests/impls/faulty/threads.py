"""Starts a thread when it is imported, as some frameworks do with their first array."""

from concurrent.futures import ThreadPoolExecutor

POOL = ThreadPoolExecutor(1)
POOL.submit(int).result()
