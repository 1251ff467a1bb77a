"""From files to rows of token ids, in NumPy alone.

``corpus`` prepares text, ``tables`` reads labelled examples, ``rows`` cuts both into rows and frames them, ``shards``
prepares text file by file while it is read, and ``loading`` brings rows to the trainer in order. What is hidden or moved in a
row is in ``plmtrain.corruption``.
"""
