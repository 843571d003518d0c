"""Recordings in object stores."""
