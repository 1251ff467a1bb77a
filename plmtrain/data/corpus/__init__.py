"""From text files to prepared arrays: reading, encoding, holding out, writing.

Rows are cut from the arrays in ``plmtrain.data.rows``.
"""
