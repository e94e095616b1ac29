"""Settings of training, distillation and export, from TOML files and options.

Takes values that a user wrote.  Gives checked, frozen settings, or an error that names the field.
"""
