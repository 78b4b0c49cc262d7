"""Loss and accuracy of a training, iteration by iteration: from Caffe's log, and as the CSV files of its log parser."""

from cdeep3m.evaluation.learning_curves.caffe_log import find_log, read_log
from cdeep3m.evaluation.learning_curves.tables import ITERATION, Curves, Table, find_csvs, read_csv, write_csvs

__all__ = ["ITERATION", "Curves", "Table", "find_csvs", "find_log", "read_csv", "read_log", "write_csvs"]
