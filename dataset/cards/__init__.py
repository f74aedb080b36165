"""Descriptions of a dataset for people and for data search engines."""
