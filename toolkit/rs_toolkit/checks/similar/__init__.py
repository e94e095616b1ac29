"""The search for similar photos by features, which duplicates and outliers share.

Takes features of photos.  Gives each photo's most similar ones, and the recall of the search.
"""
