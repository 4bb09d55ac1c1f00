"""One job at a time, where several share a folder."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bids_harmony.exceptions import CannotCreateOutput

__all__ = ["locked"]

logger = logging.getLogger(__name__)

#: What a file system says that has no locks (some NFS and FUSE mounts).
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; other jobs wait. The lock goes with the process that holds it.

    Where a file system knows no locks, this is said and the job goes on: what is done under a lock
    must then be right, or mend itself, without it.

    Parameters
    ----------
    path : Path
        The lock file, which stays; its folder is made.

    Raises
    ------
    CannotCreateOutput
        The folder cannot be made or written to.
    """
    from filelock import FileLock

    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise CannotCreateOutput(
                "The folder cannot be made or written to",
                where=str(path.parent),
                got=str(error),
            ) from error
        logger.warning("No locks in %s: parallel jobs may work twice", path.parent)
    try:
        yield
    finally:
        lock.release()
