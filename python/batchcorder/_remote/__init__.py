"""Recordings in object stores: stores, the fetcher of ranges, and local copies."""
