"""Reliability under kills, full disks and cancels: ``python -m stress`` runs the full size.

The ordinary test run uses the same pieces at a small size.
"""
