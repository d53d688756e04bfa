"""Seals on models and data: bills of materials."""
