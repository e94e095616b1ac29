"""CLIP models as teachers of a filter; torch and open_clip are imported only in this folder.

Takes weights (which may be hostile), prompts and photos.  Gives embeddings of photos and texts.
"""
