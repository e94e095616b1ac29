"""Export of a classifier, and of a filter if there is one, to TFLite and ONNX.

Takes the folders that training left.  Gives a kit and a report on every variant.
"""

from rs_export.export import ExportResult, export_run
from rs_export.recipes import RECIPES, Recipe, default_recipes
from rs_toolkit.config.export import ExportSettings

__all__ = ["RECIPES", "ExportResult", "ExportSettings", "Recipe", "default_recipes", "export_run"]
