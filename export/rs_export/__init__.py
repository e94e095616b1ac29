"""Export: recipes, fine-tuning, TFLite, ONNX, verification per class, kits.

Takes the folder of a trained classifier, and of a filter.  Gives a kit and a report of every
variant.
"""

from rs_export.export import ExportResult, export_run
from rs_export.recipes import RECIPES, Recipe, default_recipes
from rs_toolkit.config.export import ExportSettings

__all__ = ["RECIPES", "ExportResult", "ExportSettings", "Recipe", "default_recipes", "export_run"]
