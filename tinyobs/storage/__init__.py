"""L2: the storage engine.  Synchronous, single writer, reaches the OS through `disk.Disk` only; enter by `engine.Engine`."""
