"""Rules that make names and labels of dotted names, in the files of statsd_exporter and graphite_exporter.

The file: `mapping_file.py`.  Which rule fits a name: `matching.py`.
"""
