"""A cache as an object that DuckDB scans."""
