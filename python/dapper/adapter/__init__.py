"""The debug adapter: `python -m dapper.adapter`, or this folder run by any interpreter."""
