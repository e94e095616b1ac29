"""Settings of training and distillation, from TOML files and options.

Takes text that a person wrote.  Gives checked, frozen settings, or an error that names the field.
"""
