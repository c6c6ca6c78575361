"""What receivers of pushed samples have in common, whatever their protocol: for built-in ones and those of plugins.

    answers.py           what an error is answered with
    bodies.py            bodies of requests, unpacked within limits
    push.py              a request that pushes: its source, its guard, its body
    extra_labels.py      additional labels of a request
    outcome.py           what became of pushed samples, in words and counts
    line_listeners.py    both listeners of a protocol of lines, where a configuration says
    line_source.py       the component of such a protocol
    names.py             what becomes of names of other systems
    threads.py           decoding in worker threads, few at a time
    datagrams.py         a listener for datagrams, over UDP or a Unix socket
    datagram_reader.py   what reads them, in a thread or a process of its own
    streams.py           a listener for lines over TCP or a Unix socket

A receiver over HTTP is a plugin with `tinyobs_routes`, one that listens itself has `tinyobs_sources` too.  The formats are
pure and live in `tinyobs.exposition`.
"""
