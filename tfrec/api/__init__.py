"""The public API; `tfrec/__init__.py` names what it promises."""
