"""Export: recipes, TFLite, ONNX, verification per class, kits."""

from rs_export.export import ExportResult, export_run
from rs_export.recipes import RECIPES, Recipe, default_recipes

__all__ = ["RECIPES", "ExportResult", "Recipe", "default_recipes", "export_run"]
