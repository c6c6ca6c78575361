"""Metrics from text files."""

from __future__ import annotations

from structlog.testing import capture_logs

from tinyobs.builtin.host.textfile import TextfileCollector
from tinyobs.model.metadata import MetricType

GOOD = """# HELP backup_last Last backup.
# TYPE backup_last gauge
backup_last{host="a"} 5
plain_total 7
# TYPE wait histogram
wait_bucket{le="1"} 2
wait_bucket{le="+Inf"} 3
wait_sum 4
wait_count 3
"""


def test_files_are_exposed(tree):
    """Types and help are the file's; a metric without help says where it comes from; other files do not count."""
    tree.write("root/text/b.prom", GOOD)
    tree.write("root/text/other.txt", "nonsense")
    directory = f"{tree.base}/root/text"
    families = tree.families(TextfileCollector(), textfile_directory=directory)
    assert families["backup_last"].type is MetricType.GAUGE
    assert families["backup_last"].help == "Last backup."
    assert families["backup_last"].points[0].labels == (("host", "a"),)
    assert families["plain_total"].help == f"Metric read from {directory}/b.prom"
    assert [(p.suffix, p.labels, p.value) for p in families["wait"].points] == [
        ("_bucket", (("le", "1.0"),), 2),
        ("_bucket", (("le", "+Inf"),), 3),
        ("_sum", (), 4),
        ("_count", (), 3),
    ]
    assert families["node_textfile_scrape_error"].points[0].value == 0
    (changed,) = families["node_textfile_mtime_seconds"].points
    assert changed.value > 1e9


def test_a_bad_file_costs_only_itself(tree):
    """Malformed lines and timestamps leave the file out, set the error and are logged once."""
    tree.write("root/text/a.prom", "broken{ 1\n")
    tree.write("root/text/b.prom", "good 1\n")
    tree.write("root/text/c.prom", "timed 1 1700000000000\n")
    collector = TextfileCollector()
    with capture_logs() as logs:
        for _ in range(2):
            found = tree.series(collector, textfile_directory=f"{tree.base}/root/text")
    assert found["good"] == 1
    assert "timed" not in found
    assert found["node_textfile_scrape_error"] == 1
    assert len(logs) == 2


def test_no_directory(tree):
    """Without a directory there is nothing to read; one that does not exist is an error."""
    assert tree.series(TextfileCollector()) == {"node_textfile_scrape_error": 0}
    assert tree.series(TextfileCollector(), textfile_directory="/nonexistent") == {"node_textfile_scrape_error": 1}
