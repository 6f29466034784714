"""The report of a run: one self-contained HTML page. One part of it a file.

It opens with three sentences: what was found, on what evidence, what would contradict it. Reads labelled
datasets. Gives the sentences, figures, tables, and the page that holds them.
"""

from neurornn.report.figures import ReportFigure, draw_figures
from neurornn.report.mechanism import describe_mechanism
from neurornn.report.page import write_report
from neurornn.report.tables import ReportTable, make_tables

__all__ = [
    "ReportFigure",
    "ReportTable",
    "describe_mechanism",
    "draw_figures",
    "make_tables",
    "write_report",
]
