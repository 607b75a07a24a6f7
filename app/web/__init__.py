"""Pages for people, and the client library that they use: static files, and ``pages.py``, which serves them."""
